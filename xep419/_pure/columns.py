"""Columns of stanzas in plain Python: one row after another."""

from __future__ import annotations

import itertools
import struct

from .._encoding import HEAD_BYTES, check_encoding
from ..errors import XEP419Error
from ..names import Scope
from .checking import check_stanza
from .cipher import fold_rounds, rotate, to_bytes
from .incremental import NamespaceCensus
from .namespaces import splice_up
from .scanner import Scanner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._types import Buffer


def _is_taken(row: bytes, check: bool) -> bool:
    try:
        if check:
            check_stanza(row)
        else:
            check_encoding(row[:HEAD_BYTES])
    except XEP419Error:
        return False
    return True


def _is_null(valid: bytes | None, row: int) -> bool:
    return valid is not None and not valid[row >> 3] >> (row & 7) & 1


def _names_of(census: NamespaceCensus) -> dict[tuple[str, Scope, bool], int]:
    """The counts; under the empty name, of any kind, those of the names that found no place in the census."""
    counts = census.counts()
    for secure, total in ((False, census.insecure), (True, census.secure)):
        rest = total - sum(count for (_name, _kind, is_secure), count in counts.items() if is_secure == secure)
        if rest:
            counts["", Scope.ALL, secure] = rest
    return counts


def _check_offsets(offsets: tuple[int, ...], size: int) -> None:
    before = offsets[0]
    for row, offset in enumerate(offsets[1:]):
        if before < 0 or offset < before or offset > size:
            raise ValueError(f"the offsets of row {row} do not rise within the {size} bytes of the values")
        before = offset
    if before < 0:
        raise ValueError(f"the offsets of row 0 do not rise within the {size} bytes of the values")


def recode_values(
    values: Buffer,
    offsets: Buffer,
    /,
    *,
    large: bool = False,
    valid: Buffer | None = None,
    rounds_from: int = 0,
    rounds_to: int = 2,
    upgrade: bool = True,
    check: bool = True,
    census: bool = False,
    limit: int | None = None,
) -> tuple[bytes, bytes, list[int], dict[tuple[str, Scope, bool], int]]:
    back, forth = fold_rounds(rounds_from), fold_rounds(rounds_to)
    stored, places = to_bytes(values, "values"), to_bytes(offsets, "offsets")
    width, most = (8, (1 << 63) - 1) if large else (4, (1 << 31) - 1)
    most = most if limit is None else min(most, limit)
    if not places or len(places) % width:
        raise ValueError(f"offsets must be one or more integers of {width} bytes, not {len(places)} bytes")
    rows = len(places) // width - 1
    layout = f"={rows + 1}{'q' if large else 'i'}"
    bounds = struct.unpack(layout, places)
    _check_offsets(bounds, len(stored))
    bits = None if valid is None else to_bytes(valid, "valid")
    if bits is not None and len(bits) * 8 < rows:
        raise ValueError(f"valid must have a bit for each of {rows} rows, not {len(bits)} bytes")
    plain = rotate(stored, back)
    pieces: list[bytes] = []
    ends = [0]
    left: list[int] = []
    names = NamespaceCensus()
    for row, (start, end) in enumerate(itertools.pairwise(bounds)):
        piece = plain[start:end]
        if _is_null(bits, row):
            piece = b""
        elif _is_taken(piece, check):
            found = Scanner(Scope.ALL.value).scan(piece, True)[0] if upgrade or census else []
            if census:
                names._count(piece, 0, found)
            piece = splice_up(piece, found if upgrade else [], forth)
        else:
            piece = stored[start:end]
            left.append(row)
        pieces.append(piece)
        ends.append(ends[-1] + len(piece))
        if ends[-1] > most:
            raise OverflowError(f"the recoded values would have more than {most} bytes")
    return b"".join(pieces), struct.pack(layout, *ends), left, _names_of(names)
