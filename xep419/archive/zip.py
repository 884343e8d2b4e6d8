"""Zip files whose members are recoded one by one; every other member is copied as it is packed, encrypted ones too.

Extracts nothing: names are only told. See ``zip_members`` for how members are found.
"""

from __future__ import annotations

import array
import contextlib
import io
import posixpath
import zlib
from collections.abc import Iterator, Sequence
from typing import IO, Any, ClassVar, NamedTuple, cast

from ..errors import ArchiveError, CorruptArchiveError, RestorationError, UnsupportedArchiveError, XEP419Error
from .compression import DEFLATE, Compressor, decompressed
from .formats import HEAD, ArchivedStanza, Proved
from .members import SEPARATED, Nowhere, Recogniser, Spool, copy, is_equal, prove_member, recode_member, stanzas_of
from .recoding import Recoding
from .tally import Tally
from .zip_members import (
    DEFLATED,
    ENCRYPTED,
    PATCH,
    STORED,
    STRONGLY_ENCRYPTED,
    Checked,
    Directory,
    Local,
    Member,
    Part,
    first_name,
    is_zip,
)

#: what zip files begin with that are the documents and programs of something else
_PACKAGES = (b"mimetype", b"[Content_Types].xml", b"_rels/", b"META-INF/")


class Zip:
    """:param recogniser: finds the formats of members."""

    name: ClassVar[str] = "zip"
    title: ClassVar[str] = "zip archive"
    random_access: ClassVar[bool] = True
    in_python: ClassVar[bool] = True  # whatever its members are, which is not known before

    def __init__(self, recogniser: Recogniser) -> None:
        self._recogniser = recogniser

    def recognises(self, head: bytes, recoding: Recoding) -> bool:
        if is_zip(head) and first_name(head).startswith(_PACKAGES):
            raise UnsupportedArchiveError("it is an office document, a book or a program, whose XML is not of stanzas")
        return is_zip(head)

    def companions(self, name: str) -> tuple[str, ...]:
        return ()

    def recode(
        self, sources: Sequence[IO[bytes]], targets: Sequence[IO[bytes]], recoding: Recoding, tally: Tally
    ) -> None:
        (source,), (target,) = sources, targets
        directory = Directory(source)
        separated = self._separated(source, directory, recoding)
        offsets = array.array("Q", bytes(8 * len(directory)))
        changed: dict[int, tuple[int, int, int]] = {}
        is_packed = not isinstance(target, Nowhere)
        place = 0
        for number, side in _sides(source, directory):
            offsets[number] = place
            with Spool() as spool:
                packed = self._recode_member(side, spool, is_packed, separated, recoding, tally)
                if packed is None:
                    copy(side.whole, target)
                    place += side.end - side.member.offset
                else:
                    changed[number] = packed
                    header = side.local.of(side.member.recoded(*packed))
                    target.write(header)
                    spool.seek(0)
                    copy(spool, target)
                    place += len(header) + packed[1]
        length = 0
        for number, offset in enumerate(offsets):
            member = directory.member(number)
            if number in changed:
                member = member.recoded(*changed[number])
            record = member.record(offset)
            length += len(record)
            target.write(record)
        target.write(directory.ending(place, length))

    def _recode_member(
        self, side: Side, spool: Spool, is_packed: bool, separated: set[str], recoding: Recoding, tally: Tally
    ) -> tuple[int, int, int] | None:
        """The checksum and sizes, packed and as it is, of the recoded member, whose packed data are in ``spool``."""
        member = side.member
        if not _is_file(member):
            return None
        reason = SEPARATED if member.name in separated else _refusal(member)
        if reason is not None:
            tally.leave_alone(reason)
            return None
        packing = Packing(spool, is_packed and member.method == DEFLATED)
        if not recode_member(member.name, side.opened, cast(IO[bytes], packing), recoding, tally, self._recogniser):
            return None
        packing.finish()
        return packing.crc, spool.tell(), packing.tell()

    def _separated(self, source: IO[bytes], directory: Directory, recoding: Recoding) -> set[str]:
        """The names of members that only make sense together with others."""
        found: set[str] = set()
        for _number, side in _sides(source, directory):
            if _is_file(side.member) and _refusal(side.member) is None:
                folder, name = posixpath.split(side.member.name)
                with contextlib.suppress(CorruptArchiveError), side.opened() as file:
                    companions = self._recogniser.companions(name, file.read(HEAD), recoding)
                    found.update(posixpath.join(folder, one) for one in (name, *companions) if companions)
        return found

    def prove(self, sources: Sequence[IO[bytes]], targets: Sequence[IO[bytes]], recoding: Recoding) -> Proved:
        (source,), (target,) = sources, targets
        stanzas: int | None = 0
        letters = 0
        try:
            before, after = Directory(source), Directory(target)
            separated = self._separated(source, before, recoding)
            if before.order != after.order:
                raise RestorationError("the same members in the same order are expected")
            for (_number, one), (_same, other) in zip(_sides(source, before), _sides(target, after), strict=True):
                proved = self._prove_member(one, other, one.member.name in separated, recoding)
                letters += proved.letters
                stanzas = None if stanzas is None or proved.stanzas is None else stanzas + proved.stanzas
            target.seek(after.start + after.length)
            if target.read() != before.ending(after.start, after.length):
                raise RestorationError("the end of the directory differs")
        except (ArchiveError, RestorationError):
            raise
        except XEP419Error as error:
            raise RestorationError(error.message, offset=error.offset) from error
        return Proved(stanzas, letters)

    def _prove_member(self, before: Side, after: Side, is_separated: bool, recoding: Recoding) -> Proved:
        member, other = before.member, after.member
        is_same = is_equal(before.whole, after.whole)
        expected = member if is_same else member.recoded(other.crc, other.compressed, other.size)
        if expected.record(other.offset) != other.record(other.offset):
            raise RestorationError(f"{member.name}: its entry differs in more than its size")
        if not _is_file(member) or _refusal(member) or is_separated:
            if not is_same:
                raise RestorationError(f"{member.name}: it differs, though it was to be left alone")
            return Proved(0, 0)
        if not is_same and after.whole.read(after.local.length) != before.local.of(expected):
            raise RestorationError(f"{member.name}: its header differs in more than its size")
        return prove_member(member.name, before.opened, after.opened, is_same, recoding, self._recogniser)

    def stanzas(self, sources: Sequence[IO[bytes]], recoding: Recoding) -> Iterator[ArchivedStanza]:
        (source,) = sources
        directory = Directory(source)
        separated = self._separated(source, directory, recoding)
        for _number, side in _sides(source, directory):
            name = side.member.name
            if _is_file(side.member) and _refusal(side.member) is None and name not in separated:
                yield from stanzas_of(name, side.opened, recoding, self._recogniser)


class Stored:
    """Packs nothing, as a compressor."""

    def compress(self, data: Any, /) -> Any:
        return data

    def flush(self) -> bytes:
        return b""


class Packing(Compressor):
    """Packs what is written, and knows its checksum as well as its size."""

    def __init__(self, target: IO[bytes], is_packed: bool) -> None:
        super().__init__(target, DEFLATE.encoder(b"") if is_packed else Stored())
        self.crc = 0

    def write(self, data: Any) -> int:
        self.crc = zlib.crc32(data, self.crc)
        return super().write(data)


class Side(NamedTuple):
    """A member in a file: its header, its entry, and where what follows it begins."""

    file: IO[bytes]
    local: Local
    member: Member
    end: int

    @property
    def whole(self) -> Part:
        """Header, data, and what lies before the next."""
        return Part(self.file, self.member.offset, self.end - self.member.offset)

    @contextlib.contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """What is in it."""
        packed = io.BufferedReader(Part(self.file, self.member.offset + self.local.length, self.member.compressed))
        file = packed if self.member.method == STORED else decompressed(packed, DEFLATE)
        with io.BufferedReader(Checked(file, self.member)) as checked:
            yield checked


def _sides(file: IO[bytes], directory: Directory) -> Iterator[tuple[int, Side]]:
    """The members as they lie in the file, with their numbers."""
    for number, member, end in directory.in_order():
        yield number, Side(file, directory.local(member, end), member, end)


def _is_file(member: Member) -> bool:
    return member.size > 0 and not member.raw_name.endswith(b"/")


def _refusal(member: Member) -> str | None:
    """Why a member cannot be looked into."""
    if member.flags & (ENCRYPTED | STRONGLY_ENCRYPTED):
        return "an encrypted member of a zip archive"
    if member.method not in (STORED, DEFLATED) or member.flags & PATCH:
        return f"a member of a zip archive that is packed by method {member.method}, which is not known here"
    return None
