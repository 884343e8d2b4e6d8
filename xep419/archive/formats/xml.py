"""XML documents and recorded XMPP streams: one document after another, recoded from end to end.

A recorded stream is one direction of a connection as it went over the wire: a stream header, stanzas, perhaps restarts,
and often no end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import IO, ClassVar

from ...errors import MalformedXMLError, RestorationError, UnsupportedArchiveError
from ...namespaces import NamespaceCensus, match_upgraded
from ...stream import DocumentChecker, StanzaStream
from ..recoding import MAX_MARKUP, Recoding
from ..tally import Tally
from . import CHUNK, ArchivedStanza, Proved

#: bytes that a first-level element may have to be handed out whole
MAX_STANZA = 1 << 26

_BEFORE_ROOT = re.compile(
    rb"(?:\xef\xbb\xbf)?(?:[ \t\r\n]|<\?.*?\?>|<!--.*?-->|<!DOCTYPE(?:[^>\[]|\[[^\]]*\])*>)*", re.DOTALL | re.IGNORECASE
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

    def recognises(self, head: bytes, recoding: Recoding) -> bool:
        name = root_name(recoding.plain(head))
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
        while piece := source.read(CHUNK):
            if recoding.check:
                plain = recoding.plain(piece)
                if checker is None:
                    checker = DocumentChecker(max_markup=MAX_MARKUP, stream=is_stream(plain))
                checker.feed(plain)
            target.write(recoder.update(piece))
        if checker is not None:
            checker.finalize()
            tally.stanzas += checker.stanzas
        elif recoding.check:
            raise MalformedXMLError("an XML document is expected, but the file is empty", offset=0)
        target.write(recoder.finalize())
        tally.count(census.counts())

    def prove(self, sources: Sequence[IO[bytes]], targets: Sequence[IO[bytes]], recoding: Recoding) -> Proved:
        (source,), (target,) = sources, targets
        letters = match_streams(source, target, recoding)
        return Proved(-1, letters)

    def stanzas(self, sources: Sequence[IO[bytes]], recoding: Recoding) -> Iterator[ArchivedStanza]:
        (source,) = sources
        stream = StanzaStream(max_stanza=MAX_STANZA, restricted=False)
        number = 0
        while piece := source.read(CHUNK):
            for stanza in stream.feed(recoding.plain(piece)):
                number += 1
                yield ArchivedStanza(f"element {number}", stanza)


def match_streams(source: IO[bytes], target: IO[bytes], recoding: Recoding) -> int:
    """The letters inserted between two streams that are else the same, rotated back.

    :raises RestorationError: they are not.
    """
    raise NotImplementedError
