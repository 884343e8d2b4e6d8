"""``Encryptor``, ``Decryptor`` and ``NamespaceCensus`` in plain Python: the pure scanner fed piece by piece."""

from __future__ import annotations

import contextlib
import operator
import re
from collections.abc import Iterable, Iterator

from .._encoding import HEAD_BYTES, check_encoding
from ..errors import LimitExceededError, XEP419Error
from ..names import Place, Scope, is_secure, resolve_references
from .cipher import fold_rounds, rotate, to_bytes
from .exclusive import Exclusive
from .files import blocks, write_at
from .namespaces import find, scope_bits, splice_down, splice_up
from .scanner import HOLD_REFERENCE, HOLD_TAG, HOLD_TEXT, SHORT_TEXT, Finding, Scanner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._types import Buffer


_END_TAG = re.compile(rb"[<>]")
#: by the quote that is open, or 0
_START_TAG = {0: re.compile(rb"[<>'\"]"), 0x22: re.compile(rb'["<]'), 0x27: re.compile(rb"['<]")}


class TagEnd:
    """Searches a start or end tag that comes in pieces for its end, looking at each byte once."""

    def __init__(self, tag: bytes) -> None:
        self._quote = 0
        self._is_end_tag = tag[1:2] == b"/"
        self.reached(tag[1:])

    def reached(self, piece: bytes) -> bool:
        if self._is_end_tag:
            return _END_TAG.search(piece) is not None
        at = 0
        while found := _START_TAG[self._quote].search(piece, at):
            letter = piece[found.start()]
            if letter in b"<>":
                return True
            self._quote = 0 if self._quote else letter
            at = found.end()
        return False


def max_markup_of(limit: int) -> int:
    count = operator.index(limit)
    if count < 1:
        raise ValueError(f"max_markup must be 1 or more, not {count}")
    return count


class _Incremental(Exclusive):
    _error: BaseException | None = None

    @contextlib.contextmanager
    def _set_up(
        self, direction: int, rounds: int, max_markup: int, scope: Scope, known_only: bool = True
    ) -> Iterator[None]:
        """Ready for a document; within it, a subclass sets what it has besides."""
        folded, limit, scopes = fold_rounds(rounds), max_markup_of(max_markup), scope_bits(scope)
        with self._initializing():
            self._direction = direction
            self._rounds = folded
            self._max_markup = limit
            self._known_only = known_only
            self._scanner = Scanner(scopes)
            self._pending = bytearray()
            self._offset = 0  # input bytes before the pending ones
            self._base = 0  # the same, before the piece that is spliced
            self._started = False
            self._tag_end: TagEnd | None = None
            self._error = None
            yield

    def _take(self, data: Buffer | str) -> bytes:
        self._check_usable()
        with self._used_alone():
            return self._update(data)

    def _end(self) -> bytes:
        self._check_usable()
        with self._used_alone():
            rest = self._advance(True) if self._direction else b""
        self._error = ValueError(f"this {type(self).__name__} was finalized: make a new one for the next document")
        return rest

    def _check_usable(self) -> None:
        if self._error is not None:
            raise self._error

    def _update(self, data: Buffer | str) -> bytes:
        piece = to_bytes(data)
        if not self._direction:
            return rotate(piece, self._rounds)
        if self._direction < 0:
            piece = rotate(piece, self._rounds)
        self._pending += piece
        if self._waits(piece):
            self._check_limit()
            return b""
        return self._advance(False)

    def _waits(self, piece: bytes) -> bool:
        """Whether the bytes held back are still unfinished; looks at the new piece only."""
        hold = self._scanner.hold
        if hold == HOLD_TAG and self._tag_end is not None:
            return not self._tag_end.reached(piece)
        if hold == HOLD_REFERENCE:
            return b";" not in piece and b"<" not in piece
        if hold == HOLD_TEXT:
            # shorter text is looked at again; longer text was, and begins with a name or part of one
            return len(self._pending) - len(piece) >= SHORT_TEXT and b"<" not in piece
        return not self._started and len(self._pending) < HEAD_BYTES

    def _advance(self, final: bool) -> bytes:
        data = bytes(self._pending)
        if not self._started:
            try:
                check_encoding(data[:HEAD_BYTES])
            except XEP419Error as error:
                self._error = error
                raise
            self._started = True
        found, done = self._scanner.scan(data, final)
        self._pending = bytearray(data[done:])
        self._base = self._offset
        self._offset += done
        self._tag_end = TagEnd(data[done:]) if self._scanner.hold == HOLD_TAG else None
        self._check_limit()
        return self._spliced(data[:done], found)

    def _spliced(self, data: bytes, found: list[Finding]) -> bytes:
        if self._direction > 0:
            return splice_up(data, found, self._rounds)
        return splice_down(data, found, self._known_only, 0)

    def _check_limit(self) -> None:
        if len(self._pending) > self._max_markup and self._scanner.hold >= HOLD_REFERENCE:
            self._error = LimitExceededError(
                f"a tag or name of at most {self._max_markup} bytes is expected,"
                f" but {len(self._pending)} bytes came without its end",
                offset=self._offset,
            )
            raise self._error


#: names that a census keeps apart, and bytes of one that it keeps
MOST_NAMES, LONGEST_NAME = 65536, 1024


class NamespaceCensus(_Incremental):
    """Counts the names in ``scope`` of a document that comes piece by piece."""

    _counts_for_other = False
    _insecure = _secure = _overflow = 0

    def __init__(self, *, scope: Scope = Scope.ALL, max_markup: int = 1 << 20, places: int = 0) -> None:
        most_places = operator.index(places)
        if not 0 <= most_places <= 1000:
            raise ValueError(f"places must be 0 to 1000, not {most_places}")
        with self._set_up(1, 0, max_markup, scope):
            self._most_places = most_places
            self._places: dict[tuple[bytes, int, bool], list[int]] = {}
            self._whole = 0  # bytes of the documents given whole
            self._counted: dict[tuple[bytes, int, bool], int] = {}
            self._insecure = self._secure = self._overflow = 0

    def update(self, data: Buffer | str, /) -> None:
        """Counts the names that ``data`` completes."""
        if self._counts_for_other:
            raise RuntimeError("this NamespaceCensus counts what an Encryptor upgrades: feed that")
        self._take(data)

    def finalize(self) -> None:
        """Counts what was held back as it would be at the end of the document. The counts stay."""
        self._end()

    def count(self, documents: Iterable[Buffer | str], /) -> None:
        """Counts the names of whole documents, each by itself."""
        self._check_usable()
        with self._used_alone():
            for document in documents:
                data = to_bytes(document)
                self._count(data, self._whole, find(document, data, self._scanner.scopes))
                self._whole += len(data)

    @property
    def insecure(self) -> int:
        return self._insecure

    @property
    def secure(self) -> int:
        return self._secure

    @property
    def overflow(self) -> int:
        return self._overflow

    def counts(self) -> dict[tuple[str, Scope, bool], int]:
        """How often each name came so far, in order of first appearance."""
        counts: dict[tuple[str, Scope, bool], int] = {}
        with self._used_alone():
            for (raw, kind, secure), count in self._counted.items():
                key = resolve_references(raw), Scope(kind), secure
                counts[key] = counts.get(key, 0) + count
        return counts

    def places(self) -> dict[tuple[str, Scope, bool], list[int]]:
        """The first places of each name, by the keys of ``counts``."""
        places: dict[tuple[str, Scope, bool], list[int]] = {}
        with self._used_alone():
            for raw, kind, secure in self._counted:
                key = resolve_references(raw), Scope(kind), secure
                places.setdefault(key, []).extend(self._places.get((raw, kind, secure), ()))
        return {key: sorted(found)[: self._most_places] for key, found in places.items()}

    def found(
        self, source: str, /
    ) -> tuple[dict[tuple[str, Scope, bool], int], dict[tuple[str, Scope, bool], tuple[Place, ...]]]:
        """``counts`` and ``places`` at once, these as tuples of Place."""
        places = self.places().items()
        return self.counts(), {key: tuple(Place(source, offset) for offset in found) for key, found in places}

    def count_of(self, name: str, kind: Scope, /) -> int:
        """How often one name came so far, as it is written here: without references."""
        key = name.encode("utf-8", "surrogateescape"), scope_bits(kind), is_secure(name)
        with self._used_alone():
            return self._counted.get(key, 0)

    def _spliced(self, data: bytes, found: list[Finding]) -> bytes:
        self._count(data, self._base, found)
        return b""

    def _count(self, data: bytes, base: int, found: list[Finding]) -> None:
        for name in found:
            self._secure += name.secure
            self._insecure += not name.secure
            key = data[name.start : name.end], name.kind, name.secure
            if len(key[0]) > LONGEST_NAME or (key not in self._counted and len(self._counted) == MOST_NAMES):
                self._overflow += 1
            else:
                self._counted[key] = count = self._counted.get(key, 0) + 1
                if count <= self._most_places:
                    self._places.setdefault(key, []).append(base + name.start)

    def _count_for_other(self, data: bytes, base: int, found: list[Finding]) -> None:
        with self._used_alone():
            self._count(data, base, found)


class _Transform(_Incremental):
    def update(self, data: Buffer | str, /) -> bytes:
        """The output that ``data`` completes; the rest is held back until more comes."""
        return self._take(data)

    def finalize(self) -> bytes:
        """The rest of the output. The object is done with after this."""
        return self._end()


class Encryptor(_Transform):
    """``upgrade`` (the names in ``scope``), then the rotations, over a document that comes piece by piece."""

    def __init__(
        self,
        *,
        upgrade: bool = True,
        rounds: int = 2,
        max_markup: int = 1 << 20,
        scope: Scope = Scope.ALL,
        census: NamespaceCensus | None = None,
    ) -> None:
        if census is not None:
            if not isinstance(census, NamespaceCensus):
                raise TypeError(f"census must be a NamespaceCensus or None, not {type(census).__name__!r}")
            if not upgrade:
                raise ValueError("census needs upgrade=True: without it no names are looked for")
        with self._set_up(1 if upgrade else 0, rounds, max_markup, scope):
            self._census = census
            if census is not None:
                census._counts_for_other = True

    def _spliced(self, data: bytes, found: list[Finding]) -> bytes:
        if self._census is not None:
            self._census._count_for_other(data, self._base, found)
        return super()._spliced(data, found)


class Decryptor(_Transform):
    """The rotations, then ``downgrade`` if asked for: the names in ``scope``, all or only the registered ones."""

    def __init__(
        self,
        *,
        downgrade: bool = False,
        rounds: int = 2,
        max_markup: int = 1 << 20,
        scope: Scope = Scope.ALL,
        known_only: bool = True,
    ) -> None:
        with self._set_up(-1 if downgrade else 0, rounds, max_markup, scope, bool(known_only)):
            pass


def recode_file(
    encryptor: Encryptor, source: int, target: int, /, *, start: int, end: int, place: int, rounds: int = 0
) -> tuple[int, int]:
    """Reads bytes ``[start, end)`` of a file, or those up to its end, and writes what the Encryptor makes of them."""
    if not isinstance(encryptor, Encryptor):
        raise TypeError(f"encryptor must be an Encryptor, not {type(encryptor).__name__!r}")
    encryptor._check_usable()
    if encryptor._direction <= 0 or not encryptor._started:
        raise ValueError("encryptor must be one that upgrades, and has begun its document by update()")
    read = written = 0
    for block in blocks(source, start, end, fold_rounds(rounds)):
        read += len(block)
        written += write_at(target, encryptor.update(block), place + written)
    return read, written
