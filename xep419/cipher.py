"""ROT-13, once and doubly (XEP-0419, Stanza Encryption): one-shot, into a buffer, in place, incremental."""

from __future__ import annotations

from ._backend import cipher as _cipher
from ._backend import incremental as _incremental

rot13 = _cipher.rot13
double_rot13 = _cipher.double_rot13
rot13_into = _cipher.rot13_into
double_rot13_into = _cipher.double_rot13_into
rot13_inplace = _cipher.rot13_inplace
Encryptor = _incremental.Encryptor
Decryptor = _incremental.Decryptor

__all__ = [
    "Decryptor",
    "Encryptor",
    "double_rot13",
    "double_rot13_into",
    "rot13",
    "rot13_inplace",
    "rot13_into",
]
