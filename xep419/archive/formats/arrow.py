"""Arrow IPC as a format of archives: files (Feather version 2 among them) and streams.

Recognition imports pyarrow only for what begins as a stream does; the work is ``arrow_file.py``'s.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import IO, ClassVar

from ...errors import UnsupportedArchiveError
from ..recoding import Recoding
from ..tally import Tally
from . import ArchivedStanza, Proved

FILE_MAGIC, FEATHER_1 = b"ARROW1\0\0", b"FEA1"
CONTINUATION = b"\xff\xff\xff\xff"


class Arrow:
    """:param column: the name of the column of stanzas; ``None``: the one that holds XML elements."""

    name: ClassVar[str] = "arrow"
    title: ClassVar[str] = "Arrow IPC file or stream with a column of stanzas"
    random_access: ClassVar[bool] = True
    in_python: ClassVar[bool] = False

    def __init__(self, column: str | None = None) -> None:
        self.column = column

    def recognises(self, head: bytes, recoding: Recoding) -> bool:
        if head.startswith(FEATHER_1):
            raise UnsupportedArchiveError("this is a Feather file of version 1: write it anew as version 2")
        return head.startswith(FILE_MAGIC) or _begins_stream(head)

    def companions(self, name: str) -> tuple[str, ...]:
        return ()

    def search(self, source: IO[bytes]) -> None:
        from . import arrow_file

        arrow_file.search(source, self.column)

    def recode(
        self, sources: Sequence[IO[bytes]], targets: Sequence[IO[bytes]], recoding: Recoding, tally: Tally
    ) -> None:
        from . import arrow_file

        (source,), (target,) = sources, targets
        arrow_file.recode(source, target, self.column, recoding, tally)

    def prove(self, sources: Sequence[IO[bytes]], targets: Sequence[IO[bytes]], recoding: Recoding) -> Proved:
        from . import arrow_file

        (source,), (target,) = sources, targets
        return arrow_file.prove(source, target, self.column, recoding)

    def stanzas(self, sources: Sequence[IO[bytes]], recoding: Recoding) -> Iterator[ArchivedStanza]:
        from . import arrow_file

        (source,) = sources
        return arrow_file.stanzas(source, self.column, recoding)


def _begins_stream(head: bytes) -> bool:
    """Whether a stream's first message, its schema, stands at the beginning."""
    if not head.startswith(CONTINUATION) or len(head) < 8:
        return False
    (size,) = struct.unpack_from("<i", head, 4)
    if size <= 0:
        return False
    if len(head) < 8 + size:
        return len(head) > 8 + 64  # a schema larger than what is seen
    import pyarrow as pa

    try:
        pa.ipc.read_schema(pa.py_buffer(head[: 8 + size]))
    except (pa.ArrowException, OSError):
        return False
    return True
