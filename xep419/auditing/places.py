"""Where something stands: how to tell a source and a byte in it from an offset in what is read."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Protocol

from ..names import Place, Scope
from ..namespaces import NamespaceCensus

#: of a name: itself, its kind, whether it is secure
Key = tuple[str, Scope, bool]


class Locator(Protocol):
    """Knows the places that byte offsets in what was read stand for."""

    def at(self, offset: int) -> Place: ...

    def found(self, census: NamespaceCensus) -> tuple[dict[Key, int], dict[Key, tuple[Place, ...]]]:
        """How often each name came in what was read, and its first places."""


class InDocument:
    """What was read is a document, from byte ``start`` on; a census counts it from its beginning."""

    def __init__(self, source: str, start: int = 0) -> None:
        self._source = source
        self._start = start

    def at(self, offset: int) -> Place:
        return Place(self._source, self._start + offset)

    def found(self, census: NamespaceCensus) -> tuple[dict[Key, int], dict[Key, tuple[Place, ...]]]:
        return census.found(self._source)


class InRows:
    """What was read is rows of an archive, each with one byte behind it."""

    def __init__(self, places: Sequence[str], rows: Iterable[bytes]) -> None:
        self._places = places
        self._starts = [0, *accumulate(len(row) + 1 for row in rows)]

    def at(self, offset: int) -> Place:
        row = bisect_right(self._starts, offset) - 1
        return Place(self._places[row], offset - self._starts[row])

    def found(self, census: NamespaceCensus) -> tuple[dict[Key, int], dict[Key, tuple[Place, ...]]]:
        places = census.places().items()
        return census.counts(), {key: tuple(map(self.at, offsets)) for key, offsets in places}
