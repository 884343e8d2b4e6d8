"""``DocumentChecker`` and ``check_stanza`` in plain Python: the framer where nothing is cut out.

No byte of an element is kept but the names of those that are open and the piece of markup that is being read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from .._grammar import CODES, FAULT_CODES, SPACE, again, fault, not_a_stanza, not_alone
from ..errors import XEP419Error
from .cipher import fold_rounds, to_bytes
from .files import blocks
from .framing import BEFORE_ROOT, IN_ROOT, TEXT, Framer, limit_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._types import Buffer

_MARKUP = CODES["OPEN"]  # the first state in which markup is unfinished
_TAG = range(_MARKUP, CODES["END_SPACE"] + 1)
_REFERENCE = range(CODES["REFERENCE"], CODES["HEX"] + 1)
_TARGET = (CODES["PI_OPEN"], CODES["PI_TARGET"])
_MOST_BYTES = (1 << 32) - 1


class _Checker(Framer):
    """``limit`` is that of one tag, reference or XML declaration, and that of the names of all open elements."""

    _completed_stanzas = _boundary = 0
    _header: tuple[int, int] | None = None

    @contextlib.contextmanager
    def _set_up_checking(self, limit: int) -> Iterator[None]:
        with self._set_up(limit, False):
            self._completed_stanzas = self._boundary = 0
            self._header = None
            yield

    def _markup(self) -> int | None:
        """Where the markup begins that is being read and must be held back whole."""
        if self._state in _REFERENCE and self._back == TEXT:
            return self._reference
        if self._state in _TAG or self._state in _REFERENCE or self._state in _TARGET or self._is_declaration:
            return self._token
        return None

    def _room(self, end: int) -> int:
        start = self._markup()
        return end if start is None else start + self._limit

    def _over_limit(self) -> XEP419Error:
        start = self._markup()
        assert start is not None
        return fault(FAULT_CODES["MARKUP_LIMIT"], b"", self._limit, start)

    def _held_from(self, end: int) -> int:
        start = self._markup()
        return end if start is None else start

    def _open(self, name: bytes) -> None:
        if len(name) + self._names_size > self._limit:
            raise fault(FAULT_CODES["NAMES_LIMIT"], b"", self._limit, self._token)
        super()._open(name)

    def _take_header(self, complete: bool) -> None:
        self._header = (self._item, self._at + 1) if complete else None
        if complete:
            self._boundary = self._at + 1

    def _take_stanza(self) -> None:
        self._completed_stanzas += 1
        self._boundary = self._at + 1

    def _unfinished(self) -> XEP419Error | None:
        """What is wrong when the input ends here."""
        end = self._base + len(self._buffer)
        if self._state >= _MARKUP:
            start = self._markup()
            return fault(FAULT_CODES["UNFINISHED"], b"", b"", self._token if start is None else start)
        if self._where == BEFORE_ROOT:
            return fault(FAULT_CODES["NO_ROOT"], b"", b"", end)
        if len(self._names) > self._restarts:
            return fault(FAULT_CODES["OPEN_ELEMENT"], b"", self._names[-1], end)
        return None


class DocumentChecker(_Checker):
    """Checks that an XML document that comes in pieces is well-formed; nothing of it is given back."""

    def __init__(self, *, max_markup: int = 1 << 20, stream: bool = False) -> None:
        restarts = bool(stream)
        with self._set_up_checking(limit_of("max_markup", max_markup)):
            self._restarts = restarts
            self._text = not restarts

    def feed(self, data: Buffer | str, /) -> None:
        """Checks the bytes that come next."""
        with self._used():
            self._advance(to_bytes(data))

    def finalize(self) -> None:
        """Checks that the document may end here. The object takes no more after this."""
        with self._used():
            error = self._unfinished()
            if error is not None:
                self._error = again(error)
                raise error
            self._error = ValueError(f"this {type(self).__name__} was finalized: make a new one for the next document")

    @property
    def stanzas(self) -> int:
        return self._completed_stanzas

    @property
    def boundary(self) -> int:
        return self._boundary

    @property
    def header(self) -> tuple[int, int] | None:
        return self._header


def check_file(checker: DocumentChecker, source: int, /, *, start: int, end: int, rounds: int = 0) -> int:
    """Gives the checker bytes ``[start, end)`` of a file, or those up to its end."""
    if not isinstance(checker, DocumentChecker):
        raise TypeError(f"checker must be a DocumentChecker, not {type(checker).__name__!r}")
    read = 0
    for block in blocks(source, start, end, fold_rounds(rounds)):
        read += len(block)
        checker.feed(block)
    return read


class _StanzaEndedError(Exception):
    """The one stanza is complete."""


class _Stanza(_Checker):
    _restarts = False

    def __init__(self) -> None:
        with self._set_up_checking(_MOST_BYTES):
            self._where = IN_ROOT
            self._names = [b""]

    def _take_stanza(self) -> None:
        super()._take_stanza()
        raise _StanzaEndedError


def check_stanza(data: Buffer | str, /) -> None:
    """Checks that the bytes are one complete element; white space may stand around it."""
    stanza = to_bytes(data)
    start = len(stanza) - len(stanza.lstrip(SPACE))
    head = stanza[start : start + 2]
    if head[:1] != b"<" or head[1:] in (b"!", b"?", b"/", b"\0"):
        raise not_a_stanza(head, start)
    checker = _Stanza()
    try:
        checker._advance(stanza)
    except _StanzaEndedError:
        rest = stanza[checker._boundary :].lstrip(SPACE)
        if rest:
            raise not_alone(rest[0], len(stanza) - len(rest)) from None
        return
    error = checker._unfinished()
    assert error is not None
    raise error
