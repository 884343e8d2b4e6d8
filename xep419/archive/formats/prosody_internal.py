"""Prosody's internal archives: ``STORE/USER.list``, one Lua table for each stanza, by ``mod_storage_internal``.

Archives of messages, offline messages and PEP items are all kept so. The stanza is looked at as the XML that
``util.stanza`` would make of it, and the letters that its names gain go into the Lua strings they came from: no byte
but these changes. The archive's own fields (``when``, ``with``, ``key``, the attributes ``stamp`` and
``stamp_legacy``) are not the stanza's. Cuts and reads no Lua itself, and does not know what a namespace looks like.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import IO, ClassVar

from ...errors import CorruptArchiveError, RestorationError, UnsupportedArchiveError, XEP419Error
from ...names import Scope
from ...stream import check_stanza
from ..recoding import Recoding
from ..tally import Tally
from . import ArchivedStanza, Proved
from .lua import Item, items
from .lua_stanza import LuaStanza, StanzaReader

_DAT = re.compile(rb"\s*return\s*\{")
_LIST = re.compile(rb"\s*item\s*\(\s*([\"{]?)")


class ProsodyInternal:
    """``.list`` files of Prosody's that hold stanzas."""

    name: ClassVar[str] = "prosody-internal"
    title: ClassVar[str] = "Prosody's internal archive (.list)"
    random_access: ClassVar[bool] = False
    in_python: ClassVar[bool] = True

    def recognises(self, head: bytes, recoding: Recoding) -> bool:
        if _DAT.match(head):
            raise UnsupportedArchiveError("this is a .dat file of Prosody's: settings of a store, no stanza")
        found = _LIST.match(head)
        if found is None:
            return False
        if found[1] == b'"':
            raise UnsupportedArchiveError("this is a list of days or keys of Prosody's: it holds no stanza")
        return found[1] == b"{"

    def companions(self, name: str) -> tuple[str, ...]:
        return ()

    def recode(
        self, sources: Sequence[IO[bytes]], targets: Sequence[IO[bytes]], recoding: Recoding, tally: Tally
    ) -> None:
        (source,), (target,) = sources, targets
        names: Counter[tuple[str, Scope, bool]] = Counter()
        reader = StanzaReader(recoding.rounds_from)
        for item in items(source):
            try:
                recoded = _read(reader, item, recoding.check).recoded(recoding, names)
            except CorruptArchiveError as error:
                tally.skip(item.place, error.message, error.offset)
                target.write(item.data)
            else:
                tally.stanzas += 1
                target.write(recoded)
        tally.count(names)

    def prove(self, sources: Sequence[IO[bytes]], targets: Sequence[IO[bytes]], recoding: Recoding) -> Proved:
        (source,), (target,) = sources, targets
        before, after = StanzaReader(recoding.rounds_from), StanzaReader(recoding.rounds_to)
        plain = dataclasses.replace(recoding, rounds_from=0, rounds_to=0)  # the readers rotate back
        stanzas = letters = 0
        for original, recoded in itertools.zip_longest(items(source), items(target)):
            if original is None or recoded is None:
                raise RestorationError("expected as many items as the source has, got more or fewer")
            try:
                stanza = _read(before, original, recoding.check)
            except CorruptArchiveError:
                _require(original.data == recoded.data, original, "a broken item came out changed")
            else:
                stanzas += 1
                letters += _prove_item(stanza, original, recoded, after, plain)
        return Proved(stanzas, letters)

    def stanzas(self, sources: Sequence[IO[bytes]], recoding: Recoding) -> Iterator[ArchivedStanza]:
        (source,) = sources
        reader = StanzaReader(recoding.rounds_from)
        for item in items(source):
            try:
                yield ArchivedStanza(item.place, reader.read(item.data).xml)
            except CorruptArchiveError:
                yield ArchivedStanza(item.place, item.data)


def _read(reader: StanzaReader, item: Item, check: bool) -> LuaStanza:
    """:raises CorruptArchiveError: no stanza, or no well-formed one where that is asked; with the file's offset."""
    try:
        stanza = reader.read(item.data)
    except CorruptArchiveError as error:
        raise CorruptArchiveError(error.message, offset=item.offset + (error.offset or 0)) from None
    if check:
        try:
            check_stanza(stanza.xml)
        except XEP419Error as error:
            message = f"its stanza is not well-formed: {error.message}"
            raise CorruptArchiveError(message, offset=item.offset) from None
    return stanza


def _require(condition: bool, item: Item, message: str) -> None:
    if not condition:
        raise RestorationError(f"{item.place}: {message}", offset=item.offset)


def _prove_item(stanza: LuaStanza, original: Item, recoded: Item, reader: StanzaReader, plain: Recoding) -> int:
    """The stanzas against each other as XML, and the items as Lua: string by string, and all that is between."""
    try:
        after = reader.read(recoded.data)
    except CorruptArchiveError as error:
        raise RestorationError(f"{original.place}: {error.message}", offset=recoded.offset) from None
    letters = plain.prove(stanza.xml, after.xml)
    pieces, pieces_after = stanza.plain_pieces(), after.plain_pieces()
    _require(len(pieces) == len(pieces_after), original, "it has more strings, or fewer")
    grown = 0
    for number, (text, text_after) in enumerate(zip(pieces, pieces_after, strict=True)):
        if text != text_after:
            _require(stanza.is_own(number), original, "what stands around the stanza's strings changed")
            _require(_is_grown(text, text_after), original, f"the string {text!r} came out as {text_after!r}")
            grown += 1
    _require(grown == letters, original, "its strings are written otherwise")
    return letters


def _is_grown(text: bytes, after: bytes) -> bool:
    """Whether ``after`` is ``text`` and one letter."""
    at = next((at for at, byte in enumerate(text) if after[at : at + 1] != bytes([byte])), len(text))
    return after[:at] + after[at + 1 :] == text
