"""The compiled core: Cython over raw buffers, C for the vector instructions."""
