"""Where something stands: a source and a byte in it; and how to tell that from an offset in what is read."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate, repeat
from typing import NamedTuple, Protocol


class Place(NamedTuple):
    """A byte of a source."""

    source: str
    offset: int

    def __str__(self) -> str:
        return f"{self.source}: byte {self.offset}"


class Locator(Protocol):
    """Knows the places that byte offsets in what was read stand for."""

    def at(self, offset: int) -> Place: ...

    def all(self, offsets: Iterable[int]) -> Iterable[Place]: ...


class InDocument:
    """What was read is a document, from byte ``start`` on."""

    def __init__(self, source: str, start: int = 0) -> None:
        self._source = source
        self._start = start

    def at(self, offset: int) -> Place:
        return Place(self._source, self._start + offset)

    def all(self, offsets: Iterable[int]) -> Iterable[Place]:
        fields = zip(repeat(self._source), map(self._start.__add__, offsets), strict=False)
        return map(tuple.__new__, repeat(Place), fields)  # takes a third of Place's own time


class InRows:
    """What was read is rows of an archive, each with one byte behind it."""

    def __init__(self, places: Sequence[str], rows: Iterable[bytes]) -> None:
        self._places = places
        self._starts = [0, *accumulate(len(row) + 1 for row in rows)]

    def at(self, offset: int) -> Place:
        row = bisect_right(self._starts, offset) - 1
        return Place(self._places[row], offset - self._starts[row])

    def all(self, offsets: Iterable[int]) -> Iterable[Place]:
        return map(self.at, offsets)
