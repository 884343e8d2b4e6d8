"""An archive format run over bytes: recoded, proved, and read from files that give little at a time."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from xep419.archive.formats import Format, Proved
from xep419.archive.recoding import Recoding
from xep419.archive.tally import Tally
from xep419.errors import RestorationError

#: rotations that together make every way that an archive may come and go, with and without visible letters
ROTATIONS = [(0, 2), (0, 1), (1, 2), (1, 1), (3, 0)]


class Trickle(io.BytesIO):
    """Gives at most ``most`` bytes at a time."""

    def __init__(self, data: bytes, most: int) -> None:
        super().__init__(data)
        self._most = most

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(self._most if size is None or size < 0 else min(size, self._most))


class Repeated(io.RawIOBase):
    """``head``, ``times`` times what ``body`` makes of a number, and ``tail``, without ever holding all of it."""

    def __init__(self, head: bytes, body: Callable[[int], bytes], tail: bytes, times: int) -> None:
        self._parts = itertools.chain([head], map(body, range(times)), [tail])
        self._held = b""

    def read(self, size: int = -1, /) -> bytes:
        while len(self._held) < size and (part := next(self._parts, None)) is not None:
            self._held += part
        data, self._held = self._held[:size], self._held[size:]
        return data


class Discarded(io.RawIOBase):
    """Counts what is written and throws it away."""

    written = 0

    def write(self, data: Any, /) -> int:
        self.written += len(data)
        return len(data)


def recode(
    kind: Format, sources: Sequence[bytes], recoding: Recoding | None = None, *, most: int = 1 << 30
) -> tuple[list[bytes], Tally]:
    """The targets that come of the sources, and the counts."""
    targets, tally = [io.BytesIO() for _ in sources], Tally()
    kind.recode([Trickle(source, most) for source in sources], targets, recoding or Recoding(), tally)
    return [target.getvalue() for target in targets], tally


def prove(
    kind: Format,
    sources: Sequence[bytes],
    targets: Sequence[bytes],
    recoding: Recoding | None = None,
    *,
    most: int = 1 << 30,
) -> Proved:
    return kind.prove(
        [Trickle(source, most) for source in sources],
        [Trickle(target, most) for target in targets],
        recoding or Recoding(),
    )


def assert_flips_are_caught(
    kind: Format,
    sources: Sequence[bytes],
    targets: Sequence[bytes],
    recoding: Recoding,
    number: int,
    at: int,
    mask: int,
) -> None:
    """Any other byte in one of the targets makes the proof fail."""
    damaged = list(targets)
    flipped = bytearray(damaged[number])
    flipped[at] ^= mask
    damaged[number] = bytes(flipped)
    with pytest.raises(RestorationError):
        prove(kind, sources, damaged, recoding)
