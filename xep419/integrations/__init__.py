"""The package inside other libraries: one file for each, imported only when asked for by its full name."""
