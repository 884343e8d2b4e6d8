"""Parquet as a format of archives. Recognition needs nothing; the work is pyarrow's and ``parquet_file.py``'s."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import IO, ClassVar

from ...errors import UnsupportedArchiveError
from ..recoding import Recoding
from ..tally import Tally
from . import ArchivedStanza, Proved

MAGIC, ENCRYPTED = b"PAR1", b"PARE"


class Parquet:
    """:param column: the name of the column of stanzas; ``None``: the one that holds XML elements."""

    name: ClassVar[str] = "parquet"
    title: ClassVar[str] = "Parquet file with a column of stanzas"
    random_access: ClassVar[bool] = True
    in_python: ClassVar[bool] = False

    def __init__(self, column: str | None = None) -> None:
        self.column = column

    def recognises(self, head: bytes, recoding: Recoding) -> bool:
        if head.startswith(ENCRYPTED):
            raise UnsupportedArchiveError("this Parquet file is encrypted: decrypt it first")
        return head.startswith(MAGIC)

    def companions(self, name: str) -> tuple[str, ...]:
        return ()

    def search(self, source: IO[bytes]) -> None:
        from . import parquet_file

        parquet_file.search(source, self.column)

    def recode(
        self, sources: Sequence[IO[bytes]], targets: Sequence[IO[bytes]], recoding: Recoding, tally: Tally
    ) -> None:
        from . import parquet_file

        (source,), (target,) = sources, targets
        parquet_file.recode(source, target, self.column, recoding, tally)

    def prove(self, sources: Sequence[IO[bytes]], targets: Sequence[IO[bytes]], recoding: Recoding) -> Proved:
        from . import parquet_file

        (source,), (target,) = sources, targets
        return parquet_file.prove(source, target, self.column, recoding)

    def stanzas(self, sources: Sequence[IO[bytes]], recoding: Recoding) -> Iterator[ArchivedStanza]:
        from . import parquet_file

        (source,) = sources
        return parquet_file.stanzas(source, self.column, recoding)
