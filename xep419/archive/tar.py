"""Tar files whose members are recoded one by one; every other byte is copied. Extracts nothing: names are only told.

See ``tar_members`` for how members are found.
"""

from __future__ import annotations

import itertools
import posixpath
from collections.abc import Iterator, Sequence
from typing import IO, ClassVar

from ..errors import ArchiveError, CorruptArchiveError, RestorationError, XEP419Error
from .formats import HEAD, ArchivedStanza, Proved
from .members import (
    NO_STANZA,
    SEPARATED,
    Readable,
    Recogniser,
    Spool,
    copy,
    is_equal,
    prove_member,
    recode_member,
    stanzas_of,
)
from .recoding import Recoding
from .tally import Tally
from .tar_members import Member, Reader, is_tar


class Tar:
    """:param recogniser: finds the formats of members."""

    name: ClassVar[str] = "tar"
    title: ClassVar[str] = "tar archive"
    random_access: ClassVar[bool] = False  # but it is read twice from the beginning
    in_python: ClassVar[bool] = True  # whatever its members are, which is not known before

    def __init__(self, recogniser: Recogniser) -> None:
        self._recogniser = recogniser

    def recognises(self, head: bytes, recoding: Recoding) -> bool:
        return is_tar(head)

    def companions(self, name: str) -> tuple[str, ...]:
        return ()

    def recode(
        self, sources: Sequence[IO[bytes]], targets: Sequence[IO[bytes]], recoding: Recoding, tally: Tally
    ) -> None:
        (source,), (target,) = sources, targets
        separated = self._separated(source, recoding)
        reader = Reader(source)
        for member in reader.members():
            head = reader.read(HEAD) if member.is_plain else b""
            if member.name in separated:
                tally.left_alone[SEPARATED] += 1
            elif member.is_sparse:
                tally.left_alone["a sparse file in a tar archive"] += 1
            elif head and self._recogniser.may_know(head, recoding):
                with _spooled(head, reader) as original:
                    self._write_recoded(member, original, reader.padding(), target, recoding, tally)
                continue
            elif head:
                tally.left_alone[NO_STANZA] += 1
            _write(member, head, reader, target)
            target.write(reader.padding())
        target.write(reader.end)
        if _copy_rest(source, target):
            tally.left_alone["data after the end of a tar archive"] += 1

    def _separated(self, source: IO[bytes], recoding: Recoding) -> set[str]:
        """The names of members that only make sense together with others, which also may come before them."""
        found: set[str] = set()
        reader = Reader(source)
        for member in reader.members():
            if member.is_plain:
                directory, name = posixpath.split(member.name)
                if companions := self._recogniser.companions(name, reader.read(HEAD), recoding):
                    found.update(posixpath.join(directory, one) for one in (name, *companions))
        return found

    def _write_recoded(
        self, member: Member, original: Spool, padding: bytes, target: IO[bytes], recoding: Recoding, tally: Tally
    ) -> None:
        with Spool() as recoded:
            if recode_member(member.name, original.opened, recoded, recoding, tally, self._recogniser):
                member = member.resized(recoded.seek(0, 2))
                padding = b"\0" * member.padding
                chosen = recoded
            else:
                chosen = original
            chosen.seek(0)
            _write(member, b"", chosen, target)
            target.write(padding)

    def prove(self, sources: Sequence[IO[bytes]], targets: Sequence[IO[bytes]], recoding: Recoding) -> Proved:
        (source,), (target,) = sources, targets
        separated = self._separated(source, recoding)
        before, after = Reader(source), Reader(target)
        stanzas: int | None = 0
        letters = 0
        try:
            for one, other in itertools.zip_longest(before.members(), after.members()):
                if one is None or other is None:
                    raise RestorationError("the same members are expected on both sides")
                proved = self._prove_member(one, before, other, after, one.name not in separated, recoding)
                letters += proved.letters
                stanzas = None if stanzas is None or proved.stanzas is None else stanzas + proved.stanzas
            if before.end != after.end or not is_equal(source, target):
                raise RestorationError("what follows the last member differs")
        except (ArchiveError, RestorationError):
            raise
        except XEP419Error as error:
            raise RestorationError(error.message, offset=error.offset) from error
        return Proved(stanzas, letters)

    def _prove_member(
        self, one: Member, before: Reader, other: Member, after: Reader, may_differ: bool, recoding: Recoding
    ) -> Proved:
        head = before.read(HEAD) if one.is_plain and may_differ else b""
        if not head or not self._recogniser.may_know(head, recoding):
            if one.blocks != other.blocks or after.read(len(head)) != head or not is_equal(before, after):
                raise RestorationError(f"{one.name}: it differs, though nothing in it is known to be a stanza")
            if before.padding() != after.padding():
                raise RestorationError(f"{one.name}: what follows it differs")
            return Proved(0, 0)
        if one.without_size != other.without_size:
            raise RestorationError(f"{one.name}: its header differs in more than its size")
        with _spooled(head, before) as original, _spooled(b"", after) as recoded:
            with original.opened() as left, recoded.opened() as right:
                is_same = one.size == other.size and is_equal(left, right)
            return prove_member(one.name, original.opened, recoded.opened, is_same, recoding, self._recogniser)

    def stanzas(self, sources: Sequence[IO[bytes]], recoding: Recoding) -> Iterator[ArchivedStanza]:
        (source,) = sources
        separated = self._separated(source, recoding)
        reader = Reader(source)
        for member in reader.members():
            head = reader.read(HEAD) if member.is_plain and member.name not in separated else b""
            if head and self._recogniser.may_know(head, recoding):
                with _spooled(head, reader) as spool:
                    yield from stanzas_of(member.name, spool.opened, recoding, self._recogniser)


def _spooled(head: bytes, rest: Readable) -> Spool:
    spool = Spool()
    try:
        spool.write(head)
        copy(rest, spool)
    except BaseException:
        spool.close()
        raise
    return spool


def _write(member: Member, head: bytes, rest: Readable, target: IO[bytes]) -> None:
    target.write(member.blocks)
    target.write(head)
    copy(rest, target)


def _copy_rest(source: IO[bytes], target: IO[bytes]) -> bool:
    """Copies what follows the first block of the end; whether it is more than the zeros that belong there.

    :raises CorruptArchiveError: the second block of the end is missing.
    """
    size, has_data = 0, False
    while piece := source.read(HEAD):
        size += len(piece)
        has_data = has_data or bool(piece.strip(b"\0"))
        target.write(piece)
    if size < 512:
        raise CorruptArchiveError("two blocks of zeros are expected at the end of a tar archive, but the file ended")
    return has_data
