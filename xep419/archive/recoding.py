"""What is done to each stanza of an archive, and the proof that nothing was lost by it. Knows no format and no file.

A stanza that was rotated ``rounds_from`` times is rotated back, its namespaces are upgraded, and it is rotated
``rounds_to`` times: XEP-0419's encryption of an archive, whatever rotation the archive came with.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ..cipher import Encryptor, rot13
from ..errors import RestorationError
from ..files import recode_file
from ..namespaces import NamespaceCensus, encrypt_many, match_upgraded

#: bytes of an XML document that one tag may have
MAX_MARKUP = 1 << 20


class IncrementalRecoder:
    """A :class:`Recoding` of one XML document that comes in pieces; ``census`` counts its names on the way."""

    def __init__(self, recoding: Recoding, census: NamespaceCensus | None = None) -> None:
        self._rounds_from = recoding.rounds_from
        self._encryptor = Encryptor(
            upgrade=recoding.upgrade,
            rounds=recoding.rounds_to,
            max_markup=MAX_MARKUP,
            census=census if recoding.upgrade else None,
        )
        self._census = None if recoding.upgrade else census  # the encryptor counts in the scan that it makes anyway

    def update(self, data: bytes | memoryview) -> bytes:
        if self._rounds_from:
            data = rot13(data, rounds=self._rounds_from)
        if self._census is not None:
            self._census.update(data)
        return self._encryptor.update(data)

    def update_file(self, source: int, target: int, *, start: int, end: int, place: int) -> tuple[int, int]:
        """:func:`xep419.files.recode_file`, where names are upgraded and a first piece was given to :meth:`update`."""
        return recode_file(self._encryptor, source, target, start=start, end=end, place=place, rounds=self._rounds_from)

    def finalize(self) -> bytes:
        if self._census is not None:
            self._census.finalize()
        return self._encryptor.finalize()


@dataclasses.dataclass(frozen=True)
class Recoding:
    """:param rounds_from: rotations that the archive came with, 0 or more.
    :param rounds_to: rotations that it leaves with, 0 or more.
    :param upgrade: whether insecure namespace names become secure.
    :param check: whether a stanza or document must be well-formed to be touched; the others are skipped. Rewriting
        itself is total: it loses no byte of anything.
    """

    rounds_from: int = 0
    rounds_to: int = 2
    upgrade: bool = True
    check: bool = True

    def __post_init__(self) -> None:
        for field in ("rounds_from", "rounds_to"):
            if not isinstance(getattr(self, field), int) or getattr(self, field) < 0:
                raise ValueError(f"{field} must be a whole number of 0 or more, not {getattr(self, field)!r}")

    @property
    def is_visible(self) -> bool:
        """Whether letters come out other than they went in: an odd number of rotations altogether."""
        return bool((self.rounds_from + self.rounds_to) % 2)

    def incremental(self, census: NamespaceCensus | None = None) -> IncrementalRecoder:
        return IncrementalRecoder(self, census)

    def stanza(self, data: bytes) -> bytes:
        """One stanza, recoded."""
        recoder = self.incremental()
        return recoder.update(data) + recoder.finalize()

    def stanzas(self, batch: Sequence[bytes]) -> list[bytes]:
        """Many stanzas, each a document of its own, recoded."""
        if self.upgrade and not self.rounds_from and self.rounds_to == 2:
            return encrypt_many(batch)
        return [self.stanza(data) for data in batch]

    def plain(self, data: bytes) -> bytes:
        """Source bytes with their rotations undone."""
        return rot13(data) if self.rounds_from % 2 else data

    def plains(self, batch: Sequence[bytes]) -> Sequence[bytes]:
        """:meth:`plain` of each."""
        return [rot13(data) for data in batch] if self.rounds_from % 2 else batch

    def decoded(self, data: bytes) -> bytes:
        """Target bytes with their rotations undone."""
        return rot13(data) if self.rounds_to % 2 else data

    def prove(self, original: bytes, recoded: bytes) -> int:
        """How many letters a whole stanza gained; all else came through.

        :raises RestorationError: taking the inserted letters out of ``recoded``, rotated back, does not give
            ``original``, rotated back.
        """
        return self.prove_all([original], [recoded])

    def prove_all(self, originals: Sequence[bytes], recoded: Sequence[bytes]) -> int:
        """:meth:`prove` of every stanza; which one is at fault is not told."""
        decoded = [rot13(data) for data in recoded] if self.rounds_to % 2 else recoded
        pairs = zip(self.plains(originals), decoded, strict=True)
        letters = sum(match_upgraded(plain, upgraded, final=True)[2] for plain, upgraded in pairs)
        if letters and not self.upgrade:
            raise RestorationError("no letter is expected to be inserted, but names were upgraded", offset=0)
        return letters
