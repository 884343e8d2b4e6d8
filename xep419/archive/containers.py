"""Looks through compression and packing for the format inside: what turns any file into something to recode.

Formats know nothing of this; here alone they are put into each other.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any, ClassVar, cast

from ..errors import ArchiveError, CorruptArchiveError, RestorationError, UnsupportedArchiveError, XEP419Error
from .compression import BUFFER, Compression, Compressor, Decompressed, compression_of, decompressed
from .formats import HEAD, NO_OPTIONS, ArchivedStanza, Format, Proved, Searching, by_name, formats, recognise
from .members import SEPARATED, Nowhere, accessible, recode_whole
from .recoding import Recoding
from .tally import Tally
from .tar import Tar
from .zip import Zip

#: how many times something may be compressed or packed: four are an XML file that is compressed, in a zip, in a tar.gz
MOST_LAYERS = 4


def format_named(name: str, options: dict[str, Any]) -> Format:
    """The format that ``--format`` names.

    :raises UnsupportedArchiveError: there is none of that name.
    """
    return by_name(name, options)


def recognise_file(
    file: IO[bytes], recoding: Recoding, options: Mapping[str, Any] = NO_OPTIONS, name: str | None = None
) -> Format | None:
    """The format of a file that can be read at random, or None where it holds no stanza that we know of.

    :param name: the format of what is inside, which is not asked then.
    :raises CorruptArchiveError: its compression is broken already where it begins.
    :raises UnsupportedArchiveError: it is something near, or there are too many layers.
    """
    return Layer(dict(options), name).recognise(file, recoding)


@dataclasses.dataclass(frozen=True)
class Layer:
    """Recognises what lies at one depth: in ``depth`` compressions and packings."""

    options: Mapping[str, Any]
    named: str | None = None
    depth: int = 0

    def recognise(self, file: IO[bytes], recoding: Recoding) -> Format | None:
        file.seek(0)
        head = file.read(HEAD)
        file.seek(0)
        if (compression := compression_of(head)) is not None:
            inner = self._deeper().recognise(decompressed(file, compression), recoding)
            file.seek(0)
            return None if inner is None else Compressed(compression, inner)
        return self._packing(head, recoding) or self._alone(head, recoding)

    def _packing(self, head: bytes, recoding: Recoding) -> Format | None:
        for packing in (Tar, Zip):
            if packing(self).recognises(head, recoding):
                return packing(self._deeper())
        return None

    def _deeper(self) -> Layer:
        if self.depth == MOST_LAYERS:
            raise UnsupportedArchiveError(f"it is compressed or packed more than {MOST_LAYERS} times")
        return dataclasses.replace(self, depth=self.depth + 1)

    def _alone(self, head: bytes, recoding: Recoding) -> Format | None:
        found = self._unpacked(head, recoding)
        if found is not None and self.depth and found.companions("name"):
            raise UnsupportedArchiveError(SEPARATED)
        return found

    def _unpacked(self, head: bytes, recoding: Recoding) -> Format | None:
        return recognise(head, recoding, self.options) if self.named is None else by_name(self.named, self.options)

    def may_know(self, head: bytes, recoding: Recoding) -> bool:
        try:
            if compression_of(head) is not None or self._packing(head, recoding) is not None:
                return True
            return self._unpacked(head, recoding) is not None
        except XEP419Error:
            return True  # the reason is told by recognise

    def companions(self, name: str, head: bytes, recoding: Recoding) -> tuple[str, ...]:
        for known in formats(self.options):
            if names := known.companions(name):
                with contextlib.suppress(XEP419Error):
                    if known.recognises(head, recoding):
                        return names
        return ()


class Compressed:
    """A compressed file of another format; what is written is compressed alike."""

    name: ClassVar[str] = "compressed"
    title: ClassVar[str] = "compressed file"
    random_access: ClassVar[bool] = False  # but it is read from the beginning more than once

    def __init__(self, compression: Compression, inner: Format) -> None:
        self._compression = compression
        self._inner = inner

    @property
    def in_python(self) -> bool:
        return self._inner.in_python

    def recognises(self, head: bytes, recoding: Recoding) -> bool:
        return compression_of(head) == self._compression

    def companions(self, name: str) -> tuple[str, ...]:
        return ()

    def search(self, source: IO[bytes]) -> None:
        if isinstance(self._inner, Searching):
            with self._decompressed(source) as (plain, _head), accessible(self._inner, plain) as file:
                self._inner.search(file)

    def recode(
        self, sources: Sequence[IO[bytes]], targets: Sequence[IO[bytes]], recoding: Recoding, tally: Tally
    ) -> None:
        (source,), (target,) = sources, targets
        with self._decompressed(source) as (plain, head):
            if isinstance(target, Nowhere):
                recode_whole(self._inner, plain, target, recoding, tally)
                return
            packed = Compressor(target, self._compression.encoder(head))
            recode_whole(self._inner, plain, cast(IO[bytes], packed), recoding, tally)
            packed.finish()

    def prove(self, sources: Sequence[IO[bytes]], targets: Sequence[IO[bytes]], recoding: Recoding) -> Proved:
        (source,), (target,) = sources, targets
        with (
            _of_result(),
            self._decompressed(target) as (after, _head),
            self._decompressed(source) as (before, _),
            accessible(self._inner, before) as original,
            accessible(self._inner, after) as recoded,
        ):
            proved = self._inner.prove([original], [recoded], recoding)
            if not self._inner.random_access and (original.read(1) or recoded.read(1)):
                raise RestorationError("the end is expected on both sides")
        return proved

    def stanzas(self, sources: Sequence[IO[bytes]], recoding: Recoding) -> Iterator[ArchivedStanza]:
        (source,) = sources
        with self._decompressed(source) as (plain, _head), accessible(self._inner, plain) as file:
            yield from self._inner.stanzas([file], recoding)

    @contextlib.contextmanager
    def _decompressed(self, file: IO[bytes]) -> Iterator[tuple[IO[bytes], bytes]]:
        """What is in it, and its first compressed bytes. Offsets of faults that are found inside are not the file's."""
        raw = Decompressed(file, self._compression)
        try:
            yield io.BufferedReader(raw, BUFFER), raw.head
        except XEP419Error as error:
            if error is raw.fault or error.offset is None:
                raise
            raise type(error)(f"{error.message} (at byte {error.offset} once decompressed)") from error


@contextlib.contextmanager
def _of_result() -> Iterator[None]:
    """What was written must be readable."""
    try:
        yield
    except ArchiveError:
        raise
    except CorruptArchiveError as error:
        raise RestorationError(error.message, offset=error.offset) from error
