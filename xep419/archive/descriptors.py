"""Local files recoded and proved by their descriptors, where both sides are: without the GIL, a few MB at a time.

The same as by reading and writing streams, in less time: threads do not wait for each other, and no block of bytes is
made into an object. Between two steps a job may tell how far it is, or end.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import IO, Protocol, runtime_checkable

from ..errors import RestorationError
from ..files import check_file, match_files
from ..stream import DocumentChecker
from .recoding import IncrementalRecoder, Recoding

#: bytes of source between two returns to Python
STEP = 1 << 22


@runtime_checkable
class Local(Protocol):
    """A stream over what may be a file of this machine's."""

    def fileno(self) -> int:
        """Its descriptor, with nothing of the file left in a buffer.

        :raises OSError: it has none.
        """

    def passed(self, offset: int) -> None:
        """The bytes before ``offset`` were read by the descriptor, or as a stream."""

    def named(self) -> AbstractContextManager[None]:
        """Failures of storage come out as errors that name the file."""


class Pair:
    """A source, and the file that is made of it or is held against it; by their descriptors."""

    def __init__(self, source: Local, target: Local) -> None:
        self._source, self._target = source, target
        self.source, self.target = source.fileno(), target.fileno()

    def passed(self, offset: int) -> None:
        """The source's bytes before ``offset`` were read."""
        self._source.passed(offset)

    @contextlib.contextmanager
    def named(self) -> Iterator[None]:
        """What the system refuses names the file that it was."""
        try:
            yield
        except OSError as error:
            with (self._target if error.filename == self.target else self._source).named():
                raise


def pair(source: IO[bytes], target: IO[bytes]) -> Pair | None:
    """Both, if they are local files; None if one is not."""
    if sys.platform == "win32":
        return None  # no file can be read at a place that is given
    left, right = getattr(source, "raw", source), getattr(target, "raw", target)
    if isinstance(left, Local) and isinstance(right, Local):
        with contextlib.suppress(OSError):
            return Pair(left, right)
    return None


def recode_rest(
    files: Pair, recoder: IncrementalRecoder, checker: DocumentChecker | None, start: int, place: int, rounds: int
) -> tuple[int, int]:
    """Recodes the source from ``start`` to its end, written to ``place``; what came before was given to the recoder.

    :param checker: is given each step's bytes before the recoder is.
    :param rounds: rotations that the source came with.
    :returns: where both were left.
    """
    while True:
        end = start + STEP
        with files.named():
            if checker is not None:
                end = start + check_file(checker, files.source, start=start, end=end, rounds=rounds % 2)
            read, written = recoder.update_file(files.source, files.target, start=start, end=end, place=place)
        start, place = start + read, place + written
        files.passed(start)
        if read < STEP:
            return start, place


def match(files: Pair, recoding: Recoding) -> int:
    """The letters inserted between two files that are else the same, each rotated back.

    :raises RestorationError: they are not.
    """
    start = place = letters = 0
    previous, is_done = -1, False
    while not is_done:
        with files.named():
            matched, passed, inserted, previous, is_done = match_files(
                files.source,
                files.target,
                start=start,
                end=sys.maxsize,
                place=place,
                place_end=sys.maxsize,
                most=STEP,
                rounds=recoding.rounds_from % 2,
                upgraded_rounds=recoding.rounds_to % 2,
                previous=previous,
            )
        if inserted and not recoding.upgrade:
            raise RestorationError("no inserted letter is expected, since no name was to be upgraded", offset=start)
        start, place, letters = start + matched, place + passed, letters + inserted
        files.passed(start)
    return letters
