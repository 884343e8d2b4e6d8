"""Local files from end to end by their descriptors: the core reads and writes, and comes back only when it is done.

What an :class:`xep419.Encryptor`, a :class:`xep419.stream.DocumentChecker` and
:func:`xep419.namespaces.match_upgraded` do with pieces, these do with files, block by block and without the GIL:
threads that work on files of their own do not wait for each other. Offsets are given, so no position of a descriptor
moves. Not on Windows, where no file can be read at a given place.
"""

from __future__ import annotations

from ._backend import checking as _checking
from ._backend import incremental as _incremental
from ._backend import restoration as _restoration

recode_file = _incremental.recode_file
check_file = _checking.check_file
match_files = _restoration.match_files

__all__ = ["check_file", "match_files", "recode_file"]
