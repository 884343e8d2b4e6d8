"""XML documents and recorded XMPP streams: one document after another, recoded from end to end.

A recorded stream is one direction of a connection as it went over the wire: a stream header, stanzas, perhaps restarts,
and often no end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import IO, ClassVar

from ..._encoding import check_encoding
from ...errors import MalformedXMLError, RestorationError, UnsupportedArchiveError
from ...namespaces import NamespaceCensus, match_upgraded
from ...stream import DocumentChecker, StanzaStream
from ..descriptors import match, pair, recode_rest
from ..recoding import MAX_MARKUP, Recoding
from ..tally import Tally
from . import CHUNK, HEAD, ArchivedStanza, Proved

#: bytes that a first-level element may have to be handed out whole
MAX_STANZA = 1 << 26

#: of a DTD: what stands between its brackets; quotes and comments may hold such a bracket. Each part ends in one way
#: only: else what has no end would be tried in every combination
_SUBSET = rb"""\[(?:[^\]"'<]|"[^"]*"|'[^']*'|<!--(?:[^-]|-(?!->))*-->|<\?(?:[^?]|\?(?!>))*\?>|<(?!!--|\?))*\]"""
_BEFORE_ROOT = re.compile(
    rb"(?:\xef\xbb\xbf)?(?:[ \t\r\n]|<\?.*?\?>|<!--.*?-->|<!DOCTYPE(?:[^>\[]|" + _SUBSET + rb")*>)*",
    re.DOTALL | re.IGNORECASE,
)
_ROOT = re.compile(rb"<([^\s<>/!?\"'=]+)")


def root_name(head: bytes) -> bytes | None:
    """The name of the root element, prefix included, or None where ``head`` does not begin an XML document."""
    before = _BEFORE_ROOT.match(head)
    found = _ROOT.match(head, before.end() if before else 0)
    return found[1] if found else None


def is_stream(head: bytes) -> bool:
    """Whether the document's root is an XMPP stream's."""
    name = root_name(head)
    return name is not None and name.rpartition(b":")[2] == b"stream"


class XMLDocument:
    """Recodes whole documents; with verification they must be well-formed first."""

    name: ClassVar[str] = "xml"
    title: ClassVar[str] = "XML document or recorded stream"
    random_access: ClassVar[bool] = False
    in_python: ClassVar[bool] = False

    def recognises(self, head: bytes, recoding: Recoding) -> bool:
        name = root_name(recoding.plain(head))
        if name is None and b"<" in head[:8]:
            check_encoding(head[:8])
        if name is not None and name.lower() == b"html":
            raise UnsupportedArchiveError(
                "this is an HTML page, such as a client's chat log: it holds text taken out of stanzas, no stanza"
            )
        return name is not None

    def companions(self, name: str) -> tuple[str, ...]:
        return ()

    def recode(
        self, sources: Sequence[IO[bytes]], targets: Sequence[IO[bytes]], recoding: Recoding, tally: Tally
    ) -> None:
        (source,), (target,) = sources, targets
        census = NamespaceCensus()
        recoder = recoding.incremental(census)
        checker = None
        files = pair(source, target) if recoding.upgrade else None
        while piece := source.read(CHUNK):
            if recoding.check:
                plain = recoding.plain(piece)
                if checker is None:
                    checker = DocumentChecker(max_markup=MAX_MARKUP, stream=is_stream(plain[:HEAD]))
                checker.feed(plain)
            target.write(recoder.update(piece))
            if files is not None and len(piece) == CHUNK:
                start, place = source.tell(), target.tell()
                start, place = recode_rest(files, recoder, checker, start, place, recoding.rounds_from)
                source.seek(start)
                target.seek(place)
        if checker is not None:
            checker.finalize()
            tally.stanzas += checker.stanzas
        elif recoding.check:
            raise MalformedXMLError("an XML document is expected, but the file is empty", offset=0)
        target.write(recoder.finalize())
        tally.count(census.counts())

    def prove(self, sources: Sequence[IO[bytes]], targets: Sequence[IO[bytes]], recoding: Recoding) -> Proved:
        (source,), (target,) = sources, targets
        files = pair(source, target)
        if files is not None:
            return Proved(None, match(files, recoding))
        return Proved(None, match_pieces(pieces(source), pieces(target), recoding))

    def stanzas(self, sources: Sequence[IO[bytes]], recoding: Recoding) -> Iterator[ArchivedStanza]:
        (source,) = sources
        stream = StanzaStream(max_stanza=MAX_STANZA, restricted=False)
        number = 0
        while piece := source.read(CHUNK):
            for stanza in stream.feed(recoding.plain(piece)):
                number += 1
                yield ArchivedStanza(f"element {number}", stanza)


def match_pieces(source: Iterator[bytes], target: Iterator[bytes], recoding: Recoding) -> int:
    """The letters inserted between two runs of bytes that are else the same, each rotated back.

    :raises RestorationError: they are not.
    """
    original, upgraded = Window(source, recoding.plain), Window(target, recoding.decoded)
    letters = done = 0
    previous = -1
    final = False
    while not final:
        final = not (original.fill() & upgraded.fill())
        try:
            matched, passed, inserted = match_upgraded(original.data, upgraded.data, final=final, previous=previous)
        except RestorationError as error:
            raise RestorationError(error.message, offset=done + (error.offset or 0)) from None
        if inserted and not recoding.upgrade:
            raise RestorationError("no inserted letter is expected, since no name was to be upgraded", offset=done)
        previous = upgraded.data[passed - 1] if passed else previous
        letters += inserted
        done += matched
        original.data = original.data[matched:]
        upgraded.data = upgraded.data[passed:]
    return letters


class Window:
    """The bytes of one side that are not matched yet, of the piece that it has come to."""

    def __init__(self, pieces: Iterator[bytes], decoded: Callable[[bytes], bytes]) -> None:
        self._pieces = pieces
        self._decoded = decoded
        self.data = memoryview(b"")

    def fill(self) -> bool:
        """Takes the next piece where this one is used up; False where there is none."""
        if not self.data:
            self.data = memoryview(self._decoded(next(self._pieces, b"")))
        return bool(self.data)


def pieces(file: IO[bytes]) -> Iterator[bytes]:
    """A file to its end."""
    while piece := file.read(CHUNK):
        yield piece
