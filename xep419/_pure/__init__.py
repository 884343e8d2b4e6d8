"""The package's work in plain Python: same functions, same results, no compiled code.

Chosen only on request: a build with ``XEP419_NO_EXTENSIONS=1``, or ``XEP419_ISA=python``.
"""
