"""``match_upgraded`` in plain Python: an upgrade beside its input, sharing no code with the scanner."""

from __future__ import annotations

import operator

from ..errors import RestorationError
from .cipher import fold_rounds, to_bytes
from .files import blocks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._types import Buffer

_STEP = 4096


def _same_bytes(a: bytes, i: int, b: bytes, j: int) -> int:
    """How many bytes from ``a[i]`` and ``b[j]`` on are alike before the first that are not."""
    most, alike, step = min(len(a) - i, len(b) - j), 0, _STEP
    while step and alike < most:
        end = min(alike + step, most)
        if a[i + alike : i + end] == b[j + alike : j + end]:
            alike = end
        else:
            step //= 2
    return alike


def match_upgraded(
    original: Buffer | str, upgraded: Buffer | str, /, *, final: bool = False, previous: int = -1
) -> tuple[int, int, int]:
    """Compares bytes with their upgraded form, as far as both go: they must differ by inserted letters alone."""
    before = operator.index(previous)
    if not -1 <= before <= 255:
        raise ValueError(f"previous must be a byte's value or -1, not {before}")
    a, b = to_bytes(original, "original"), to_bytes(upgraded, "upgraded")
    i = j = letters = 0
    while True:
        alike = _same_bytes(a, i, b, j)
        i, j = i + alike, j + alike
        if i == len(a) or j == len(b):
            break
        before = b[j - 1] if j else before
        if not (b[j] == 0x73 and before in (0x70, 0x50, 0x3B) and a[i] in b":&"):
            raise RestorationError.at(a[i], b[j], i)
        letters += 1
        j += 1
    if final and (i < len(a) or j < len(b)):
        raise RestorationError.at(a[i] if i < len(a) else None, b[j] if j < len(b) else None, i)
    return i, j, letters


def match_files(
    original: int,
    upgraded: int,
    /,
    *,
    start: int,
    end: int,
    place: int,
    place_end: int,
    most: int,
    rounds: int = 0,
    upgraded_rounds: int = 0,
    previous: int = -1,
) -> tuple[int, int, int, int, bool]:
    """Compares bytes ``[start, end)`` of a file with ``[place, place_end)`` of its upgraded form, or to their ends."""
    sides = (
        blocks(original, start, end, fold_rounds(rounds)),
        blocks(upgraded, place, place_end, fold_rounds(upgraded_rounds)),
    )
    before, after = b"", b""
    matched = passed = letters = 0
    while matched < most:
        before, after = before or next(sides[0], b""), after or next(sides[1], b"")
        try:
            taken, gone, inserted = match_upgraded(before, after, final=not (before and after), previous=previous)
        except RestorationError as error:
            raise RestorationError(error.message, offset=start + matched + (error.offset or 0)) from None
        if not (before or after):
            return matched, passed, letters, previous, True
        previous = after[gone - 1] if gone else previous
        matched, passed, letters = matched + taken, passed + gone, letters + inserted
        before, after = before[taken:], after[gone:]
    return matched, passed, letters, previous, False
