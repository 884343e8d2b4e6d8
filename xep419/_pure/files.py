"""Local files by their descriptors, at any place, block by block. Offsets are given: nobody's position moves."""

from __future__ import annotations

import os
from collections.abc import Iterator

from .cipher import rotate

BLOCK = 1 << 18


def blocks(file: int, start: int, end: int, rounds: int) -> Iterator[bytes]:
    """Bytes ``[start, end)``, or those up to the file's end, rotated.

    :raises OSError: the system refused; ``filename`` is the descriptor.
    """
    while start < end:
        try:
            block = os.pread(file, min(BLOCK, end - start), start)
        except OSError as error:
            raise OSError(error.errno, error.strerror, file) from None
        if not block:
            return
        yield rotate(block, rounds)
        start += len(block)


def write_at(file: int, data: bytes, place: int) -> int:
    """All of ``data``.

    :raises OSError: the system refused; ``filename`` is the descriptor.
    """
    done = 0
    while done < len(data):
        try:
            done += os.pwrite(file, memoryview(data)[done:], place + done)
        except OSError as error:
            raise OSError(error.errno, error.strerror, file) from None
    return done
