"""The file formats of archives: what each must do, and which one a file is in, told by its content.

A format reads and writes streams of bytes that are already decompressed and unpacked; it opens no file, decides no
name, and knows nothing of journals or engines. Databases are not files: see ``databases``.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from ...errors import UnsupportedArchiveError
from ..recoding import Recoding
from ..tally import Tally
from .chat_logs import refuse_chat_logs

#: bytes of a file that recognition may look at
HEAD = 1 << 16
#: bytes read at a time
CHUNK = 1 << 19

NO_OPTIONS: Mapping[str, Any] = types.MappingProxyType({})


class Proved(NamedTuple):
    """What a proof went over: the counts must be those of the recoding.

    ``stanzas`` is None where they are not told apart.
    """

    stanzas: int | None
    letters: int


class ArchivedStanza(NamedTuple):
    """One stanza as stored, rotated back: where it stands, as an operator would find it, and its XML."""

    place: str
    data: bytes


class Format(Protocol):
    """One way to keep stanzas in a file, or in a group of files that only make sense together.

    ``sources`` and ``targets`` hold one binary file for each of the group's files, in the group's order: nearly always
    one. Memory is bounded: nothing is read whole.
    """

    #: as ``--format`` names it
    name: ClassVar[str]
    #: as a person would say it
    title: ClassVar[str]
    #: whether the sources must be seekable (they are spooled where they are not)
    random_access: ClassVar[bool]

    @property
    def in_python(self) -> bool:
        """Whether it is Python that parses the container, so that two threads are no faster than one."""

    def recognises(self, head: bytes, recoding: Recoding) -> bool:
        """Whether a file that begins with ``head`` (at most :data:`HEAD` bytes, else all of it) is in this format.

        :raises UnsupportedArchiveError: it is something near, and the reason why it is refused.
        """

    def companions(self, name: str) -> tuple[str, ...]:
        """The names, beside ``name``, of the other files of its group. Empty but for formats that need it."""

    def recode(
        self, sources: Sequence[IO[bytes]], targets: Sequence[IO[bytes]], recoding: Recoding, tally: Tally
    ) -> None:
        """Writes the sources with every stanza recoded, all else byte for byte, and counts stanzas, names and skips.

        A part that can be told from the rest (a line, a row) and is corrupt is written as it was, and counted by
        ``tally.skip``.

        :raises XEP419Error: the file as a whole is corrupt, with the offset; what was written is thrown away.
        """

    def prove(self, sources: Sequence[IO[bytes]], targets: Sequence[IO[bytes]], recoding: Recoding) -> Proved:
        """Reads both sides again, by another way than :meth:`recode` where that can be.

        Rotating back and removing the inserted letters must give the source's stanzas, and everything else must be
        the same.

        :raises RestorationError: it does not.
        """

    def stanzas(self, sources: Sequence[IO[bytes]], recoding: Recoding) -> Iterator[ArchivedStanza]:
        """Every stanza, rotated back, in order; corrupt ones as they are. ``place`` is relative to the file."""


@runtime_checkable
class Searching(Protocol):
    """What a format does besides whose stanzas are in one of several columns or fields, which the content tells."""

    def search(self, source: IO[bytes]) -> None:
        """Looks which one it is.

        :raises UnsupportedArchiveError: none, or more than one, and none was named.
        """


def formats(options: Mapping[str, Any] = NO_OPTIONS) -> tuple[Format, ...]:
    """All of them, in the order in which they are asked to recognise a file.

    :param options: what some formats can be told: ``column`` (Parquet, Arrow), ``field`` (JSON Lines).
    """
    from .arrow import Arrow
    from .jsonl import JSONLines
    from .parquet import Parquet
    from .prosody_internal import ProsodyInternal
    from .prosody_xmlarchive import ProsodyXMLArchive
    from .xep0227 import XEP0227
    from .xml import XMLDocument

    column, field = options.get("column"), options.get("field")
    return (
        Parquet(column),
        Arrow(column),
        JSONLines(field),
        ProsodyXMLArchive(),
        ProsodyInternal(),
        XEP0227(),
        XMLDocument(),
    )


def by_name(name: str, options: Mapping[str, Any] = NO_OPTIONS) -> Format:
    """The format that ``--format`` names.

    :raises UnsupportedArchiveError: there is none of that name.
    """
    known = {one.name: one for one in formats(options)}
    if name not in known:
        raise UnsupportedArchiveError(f"expected a format out of {', '.join(known)}, got {name!r}")
    return known[name]


def recognise(head: bytes, recoding: Recoding, options: Mapping[str, Any] = NO_OPTIONS) -> Format | None:
    """The format of a file that begins with ``head``, or None when it holds no stanza that we know of.

    :raises UnsupportedArchiveError: it is something near, and the reason why it is refused.
    """
    refuse_chat_logs(head)
    for known in formats(options):
        if known.recognises(head, recoding):
            return known
    return None
