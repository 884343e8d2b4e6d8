"""One member of a tar or zip, recoded and proved like a file of its own. Knows neither tar nor zip, and opens no file.

A member that cannot be recoded stays as it was, with the reason in the tally; the others go on.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import IO, Any, Protocol

from ..errors import ArchiveError, CorruptArchiveError, RestorationError, UnsupportedArchiveError, XEP419Error
from .formats import CHUNK, ArchivedStanza, Format, Proved
from .recoding import Recoding
from .storage import Location, naming
from .tally import Tally

#: bytes of a spooled member that stay in memory; the rest goes to a file in the directory for temporary files
SPOOLED = 4 << 20
NO_STANZA = "nothing in it is known to be a stanza"
SEPARATED = "it only makes sense together with another file, which is not looked for in an archive: unpack it first"

#: opens a member, to be read from its beginning
Opened = Callable[[], AbstractContextManager[IO[bytes]]]


class Recogniser(Protocol):
    """Finds the formats of members."""

    def recognise(self, file: IO[bytes], recoding: Recoding) -> Format | None:
        """The format of a file, which is read from its beginning and left there; None where it holds no stanza.

        :raises XEP419Error: it is corrupt or refused.
        """

    def may_know(self, head: bytes, recoding: Recoding) -> bool:
        """Whether :meth:`recognise` may find more than nothing in a file that begins with ``head``."""

    def companions(self, name: str, head: bytes, recoding: Recoding) -> tuple[str, ...]:
        """The names, beside ``name``, of the members that only make sense together with it."""


class Spool(tempfile.SpooledTemporaryFile[bytes]):
    """A temporary file, gone when it is closed. Failures name its directory, not what is being read or written."""

    def __init__(self) -> None:
        super().__init__(SPOOLED)

    def write(self, data: Any) -> int:
        with naming(Location(tempfile.gettempdir())):
            return super().write(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        with naming(Location(tempfile.gettempdir())):
            super().seek(offset, whence)  # before 3.11 it returns None
        return self.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    @contextlib.contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """As an :data:`Opened` of what was written."""
        self.seek(0)
        yield self


class Nowhere(io.RawIOBase):
    """Takes what a dry run writes. Who would compress for it does not, which takes most of the time."""

    def __init__(self) -> None:
        self._place = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        count = memoryview(data).nbytes
        self._place += count
        return count

    def tell(self) -> int:
        return self._place


class Readable(Protocol):
    def read(self, count: int, /) -> bytes: ...


def copy(source: Readable, target: IO[bytes]) -> None:
    while piece := source.read(CHUNK):
        target.write(piece)


@contextlib.contextmanager
def accessible(form: Format, file: IO[bytes]) -> Iterator[IO[bytes]]:
    """The file as the format needs it: in a spool where that reads at random."""
    if not form.random_access:
        yield file
        return
    with Spool() as spool:
        copy(file, spool)
        spool.seek(0)
        yield spool


def recode_whole(form: Format, source: IO[bytes], target: IO[bytes], recoding: Recoding, tally: Tally) -> None:
    """Recodes a file that can only be read on, to its very end, where its sums are checked."""
    with accessible(form, source) as file:
        form.recode([file], [target], recoding, tally)
        if not form.random_access and file.read(1):
            raise CorruptArchiveError(f"the end is expected after the {form.title}")


def recode_member(
    name: str, opened: Opened, target: IO[bytes], recoding: Recoding, tally: Tally, recogniser: Recogniser
) -> bool:
    """Whether ``target`` holds the member recoded; else what it holds is worth nothing, and the tally says why."""
    counts = Tally()
    try:
        with opened() as file:
            form = recogniser.recognise(file, recoding)
            if form is None:
                tally.left_alone[NO_STANZA] += 1
                return False
            recode_whole(form, file, target, recoding, counts)
    except UnsupportedArchiveError as error:
        tally.leave_alone(error.message)
        return False
    except ArchiveError:
        raise
    except XEP419Error as error:
        tally.skip(name, error.message, error.offset)
        return False
    counts.skips[:] = [skip._replace(place=f"{name}: {skip.place}") for skip in counts.skips]
    tally.add(counts)
    return True


def prove_member(
    name: str, before: Opened, after: Opened, is_same: bool, recoding: Recoding, recogniser: Recogniser
) -> Proved:
    """Proves a member recoded, or rightly left as it was.

    :param is_same: whether it has the same bytes on both sides.
    :raises RestorationError: it is neither.
    """
    try:
        if is_same:
            _prove_untouched(before, recoding, recogniser)
            return Proved(None, 0)
        with before() as source, after() as target:
            form = recogniser.recognise(source, recoding)
            if form is None:
                raise RestorationError("it differs, though nothing in it is known to be a stanza")
            with accessible(form, source) as original, accessible(form, target) as recoded:
                return form.prove([original], [recoded], recoding)
    except RestorationError as error:
        raise RestorationError(f"{name}: {error.message}", offset=error.offset) from error


def _prove_untouched(opened: Opened, recoding: Recoding, recogniser: Recogniser) -> None:
    """A member whose letters must be rotated is the same only where it cannot be recoded, or has none.

    Names that were to be upgraded and are not show in the counts.
    """
    if not recoding.is_visible:
        return
    with Spool() as recoded:
        if recode_member("", opened, recoded, recoding, Tally(), recogniser):
            with opened() as file, recoded.opened() as other:
                if not is_equal(file, other):
                    raise RestorationError("it is as it was, though it can be re-encrypted")


def is_equal(one: Readable, other: Readable) -> bool:
    """Whether two files have the same bytes from where they are on."""
    while True:
        left, right = one.read(CHUNK), other.read(CHUNK)
        if left != right:
            return False
        if not left:
            return True


def stanzas_of(name: str, opened: Opened, recoding: Recoding, recogniser: Recogniser) -> Iterator[ArchivedStanza]:
    """The stanzas of a member; none of one that cannot be read."""
    with contextlib.suppress(CorruptArchiveError, UnsupportedArchiveError), opened() as file:
        form = recogniser.recognise(file, recoding)
        if form is not None:
            with accessible(form, file) as source:
                for place, data in form.stanzas([source], recoding):
                    yield ArchivedStanza(f"{name}: {place}", data)
