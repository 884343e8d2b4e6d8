"""What a fuzzer's bytes mean: a document, and behind it a few bytes that choose how it is given.

With the choices at the end, the document's bytes are those that dictionaries and comparisons speak of. All zeros is
the plain choice everywhere, and too few bytes are filled up with them. No property of the package belongs here.
"""

from __future__ import annotations

import array
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from layout import CHOICES, FLAGS, FORM, GROWTH, ISA, PIECES, ROUNDS, SCOPE, SPARE

import xep419

#: the scanner lists candidates, and the GIL is released, by this many bytes
WINDOW = 32_768

#: sizes are multiplied where they would cut into more
MOST_PIECES = 200

Given = Any  # any C-contiguous buffer of bytes, or str
T = TypeVar("T")


class Case:
    """One input, taken apart."""

    def __init__(self, data: bytes) -> None:
        cut = max(0, len(data) - CHOICES)
        self.written = data[:cut]
        self.choices = data[cut:].ljust(CHOICES, b"\0")
        self.document = self._grown()

    def _grown(self) -> bytes:
        """The document, for a few of the choices put where a window of the scanner ends, or made longer than one."""
        written, choice = self.written, self.choices[GROWTH]
        if choice < 252 or not written:
            return written
        if choice == 252:
            return written * (WINDOW // len(written) + 2)
        if choice == 253:
            return b" " * (WINDOW - min(len(written), self.choices[SPARE])) + written
        if choice == 254:
            return written + b"x" * (WINDOW - min(len(written), self.choices[SPARE])) + written
        return written * 8

    def one_of(self, what: int, among: Sequence[T]) -> T:
        return among[self.choices[what] % len(among)]

    def flag(self, bit: int) -> bool:
        return bool(self.choices[FLAGS] >> bit & 1)

    @property
    def isa(self) -> str:
        return self.one_of(ISA, xep419.available_isas()[::-1])

    @property
    def scope(self) -> xep419.Scope:
        return xep419.Scope(self.choices[SCOPE] & 63 or 63)

    @property
    def rounds(self) -> int:
        return self.one_of(ROUNDS, (2, 1, 0, 3, 4, 1 << 70))

    def given(self, data: bytes | None = None) -> Given:
        """The document (or other data) as one of the forms of argument."""
        if data is None:
            data = self.document
        forms: tuple[Callable[[bytes], Given], ...] = (_exact, bytes, _text, bytearray, _inner_view)
        return self.one_of(FORM, forms)(data)

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """The data cut by the last choices, over and over; none of them: in one piece."""
        sizes = self.choices[PIECES:]
        if not any(sizes):
            yield data
            return
        scale = 1 + len(data) * len(sizes) // (sum(sizes) * MOST_PIECES)
        at = 0
        for size in itertools.cycle(sizes):
            if at >= len(data):
                return
            yield data[at : at + size * scale]
            at += size * scale


def _exact(data: bytes) -> Given:
    """A buffer of just these bytes: the allocator's guards stand right behind it (``bytes`` end in a zero more)."""
    return array.array("B", data)


def _text(data: bytes) -> Given:
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data


def _inner_view(data: bytes) -> Given:
    return memoryview(b"'" + data + b'"')[1:-1]


def outcome(call: Callable[..., Any], /, *arguments: object, **options: object) -> Any:
    """What a call returns, or the type, message and offset of what it raises about the data.

    Anything else it raises is a finding.
    """
    try:
        return call(*arguments, **options)
    except xep419.XEP419Error as error:
        return type(error), str(error), error.offset


def failed(result: object) -> bool:
    """Whether an :func:`outcome` is an error."""
    return isinstance(result, tuple) and len(result) == 3 and isinstance(result[0], type)


def as_bytes(result: object) -> bytes:
    if isinstance(result, str):
        return result.encode("utf-8", "surrogatepass")
    assert isinstance(result, bytes), result
    return result
