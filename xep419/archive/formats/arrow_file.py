"""Arrow IPC files and streams read and written by pyarrow, batch by batch: what ``arrow.py`` does with one.

The record batches stay what they were, and so do the compression of their bodies and all metadata. Memory is that of
the file's largest record batch: the format has no smaller unit. Of a dictionary-encoded column the dictionary is
recoded, and its values are what is counted.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import IO, Any

from ...errors import CorruptArchiveError, RestorationError
from ..recoding import Recoding
from ..tally import Tally
from . import ArchivedStanza, Proved
from .arrow import FILE_MAGIC
from .columnar import (
    ColumnSearch,
    ProveColumn,
    RecodeColumn,
    archived,
    arrow_errors,
    prove_array,
    prove_batches,
    recode_array,
    recode_batch,
    same,
)

try:
    import pyarrow as pa
except ImportError as error:
    raise ImportError("Arrow archives need pyarrow: pip install 'xep419[archive]'") from error

WHAT = "Arrow file or stream"


def search(source: IO[bytes], column: str | None) -> None:
    with arrow_errors(WHAT):
        find_column(source, column)


def recode(source: IO[bytes], target: IO[bytes], column: str | None, recoding: Recoding, tally: Tally) -> None:
    with arrow_errors(WHAT):
        name = find_column(source, column)
        options = layout(source)
        with _Reader(source) as reader, reader.writer(target, options) as writer:
            recode_column = recode_by_row(recoding, tally)
            if pa.types.is_dictionary(reader.schema.field(name).type):
                recode_column = recode_by_dictionary(recoding, tally)
            row = 0
            for batch, metadata in reader.batches():
                for recoded in recode_batch(batch, name, recode_column, row):
                    writer.write_batch(recoded, metadata)
                row += batch.num_rows


def prove(source: IO[bytes], target: IO[bytes], column: str | None, recoding: Recoding) -> Proved:
    with arrow_errors(WHAT):
        name = find_column(source, column)
        with _Reader(source) as reader, _Reader(target) as other:
            if not reader.schema.equals(other.schema, check_metadata=True) or reader.metadata != other.metadata:
                raise RestorationError("the schema or the metadata of the target is not that of the source")
            proof = prove_by_row(recoding)
            if pa.types.is_dictionary(reader.schema.field(name).type):
                proof = prove_by_dictionary(recoding)
            return prove_batches(
                (batch for batch, _ in reader.batches()), (batch for batch, _ in other.batches()), name, proof
            )


def stanzas(source: IO[bytes], column: str | None, recoding: Recoding) -> Iterator[ArchivedStanza]:
    with arrow_errors(WHAT):
        name = find_column(source, column)
        with _Reader(source) as reader:
            yield from archived((batch for batch, _ in reader.batches()), name, recoding)


def find_column(source: IO[bytes], named: str | None) -> str:
    with _Reader(source) as reader:
        search = ColumnSearch(reader.schema, named)
        for batch, _ in reader.batches():
            if search.look(batch):
                break
        return search.found()


class _Reader:
    """A file's or a stream's batches with their metadata, from the beginning of ``source``."""

    def __init__(self, source: IO[bytes]) -> None:
        source.seek(0)
        self._is_file = source.read(len(FILE_MAGIC)) == FILE_MAGIC
        source.seek(0)
        self._source = source
        options = pa.ipc.IpcReadOptions(use_threads=False)
        open_reader = pa.ipc.open_file if self._is_file else pa.ipc.open_stream
        self._reader = open_reader(source, options=options)
        self.schema: pa.Schema = self._reader.schema
        #: of a file as a whole, where this pyarrow can read it
        self.metadata: dict[bytes, bytes] | None = getattr(self._reader, "metadata", None) or None

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._reader.__exit__(*exc_info)

    def batches(self) -> Iterator[tuple[pa.RecordBatch, Any]]:
        """:raises CorruptArchiveError: a batch is inconsistent, or something follows the end of a stream."""
        if self._is_file:
            for number in range(self._reader.num_record_batches):
                yield self._checked(self._reader.get_batch_with_custom_metadata(number))
            return
        for read in self._reader.iter_batches_with_custom_metadata():
            yield self._checked(read)
        if self._source.read(1):
            raise CorruptArchiveError("bytes follow the end of this Arrow stream", offset=self._source.tell() - 1)

    def _checked(self, read: Any) -> tuple[pa.RecordBatch, Any]:
        read.batch.validate(full=True)
        return read.batch, read.custom_metadata

    def writer(self, target: IO[bytes], options: pa.ipc.IpcWriteOptions) -> Any:
        """For a target of the same kind."""
        if not self._is_file:
            return pa.ipc.new_stream(target, self.schema, options=options)
        if self.metadata is None:
            return pa.ipc.new_file(target, self.schema, options=options)
        return pa.ipc.new_file(target, self.schema, options=options, metadata=self.metadata)


# -- columns ------------------------------------------------------------------------------------------------


def recode_by_row(recoding: Recoding, tally: Tally) -> RecodeColumn:
    return lambda array, first: recode_array(array, recoding, tally, first)


def recode_by_dictionary(recoding: Recoding, tally: Tally) -> RecodeColumn:
    """Recodes each dictionary once: the batches that share it share its successor."""
    known: list[tuple[pa.Array, pa.Array]] = []

    def recode(array: pa.Array, first: int) -> pa.Array:
        if not known or not known[0][0].equals(array.dictionary):
            known[:] = [(array.dictionary, recode_array(array.dictionary, recoding, tally, 0, "dictionary value"))]
        return pa.DictionaryArray.from_arrays(array.indices, known[0][1], ordered=array.type.ordered)

    return recode


def prove_by_row(recoding: Recoding) -> ProveColumn:
    return lambda array, recoded, first: prove_array(array, recoded, recoding, first)


def prove_by_dictionary(recoding: Recoding) -> ProveColumn:
    known: list[tuple[pa.Array, pa.Array]] = []

    def prove(array: pa.Array, recoded: pa.Array, first: int) -> tuple[int, int]:
        if not same(array.indices, recoded.indices):
            raise RestorationError(f"the dictionary's indices are not the same from row {first} on")
        mine, theirs = array.dictionary, recoded.dictionary
        if known and known[0][0].equals(mine) and known[0][1].equals(theirs):
            return 0, 0
        known[:] = [(mine, theirs)]
        if len(mine) != len(theirs):
            raise RestorationError(f"a dictionary of {len(mine)} values is expected, but {len(theirs)} came")
        return prove_array(mine, theirs, recoding, 0, "dictionary value")

    return prove


# -- layout -------------------------------------------------------------------------------------------------

# Of the metadata, which are FlatBuffers (Arrow's Message.fbs): positions of the fields, values of the enumerations.
_HEADER_TYPE, _HEADER = 1, 2
_DICTIONARY_BATCH, _RECORD_BATCH = 2, 3
_DICTIONARY_DATA, _BATCH_COMPRESSION, _CODEC = 1, 3, 0
_CODECS = ("lz4", "zstd")


def layout(source: IO[bytes]) -> pa.ipc.IpcWriteOptions:
    """The writer's options that a file or stream was written with, as its first batch tells."""
    source.seek(0)
    if source.read(len(FILE_MAGIC)) != FILE_MAGIC:
        source.seek(0)
    messages = pa.ipc.MessageReader.open_stream(source)
    version = messages.read_next_message().metadata_version
    compression = None
    try:
        compression = _compression(memoryview(messages.read_next_message().metadata))
    except StopIteration:
        pass
    except (struct.error, IndexError) as error:
        raise CorruptArchiveError(f"the metadata of the first batch are inconsistent: {error}") from error
    return pa.ipc.IpcWriteOptions(
        metadata_version=version, compression=compression, use_threads=False, emit_dictionary_deltas=True
    )


def _compression(message: memoryview) -> str | None:
    """The codec of a message's body, where it is a dictionary or a record batch."""
    (root,) = struct.unpack_from("<I", message, 0)
    kind = _field(message, root, _HEADER_TYPE)
    header = _field(message, root, _HEADER)
    if kind is None or header is None or message[kind] not in (_DICTIONARY_BATCH, _RECORD_BATCH):
        return None
    batch: int | None = _pointed(message, header)
    if message[kind] == _DICTIONARY_BATCH:
        data = _field(message, _pointed(message, header), _DICTIONARY_DATA)
        batch = None if data is None else _pointed(message, data)
    compression = None if batch is None else _field(message, batch, _BATCH_COMPRESSION)
    if compression is None:
        return None
    codec = _field(message, _pointed(message, compression), _CODEC)
    return _CODECS[0 if codec is None else message[codec]]


def _field(buffer: memoryview, table: int, number: int) -> int | None:
    """Where a field of a table stands, None where it has its default."""
    (back,) = struct.unpack_from("<i", buffer, table)
    (size,) = struct.unpack_from("<H", buffer, table - back)
    place = 4 + 2 * number
    if place >= size:
        return None
    (offset,) = struct.unpack_from("<H", buffer, table - back + place)
    return table + offset if offset else None


def _pointed(buffer: memoryview, at: int) -> int:
    (offset,) = struct.unpack_from("<I", buffer, at)
    return int(at + offset)
