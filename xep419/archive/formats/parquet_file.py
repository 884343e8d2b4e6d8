"""Parquet files read and written by pyarrow, row group by row group: what ``parquet.py`` does with one.

What pyarrow tells of a file's layout is kept: row groups, and for each column compression, encoding, statistics. Other
parts of the layout, which it does not tell or cannot write (page sizes, bloom filters), come out as it makes them. Row
groups of more than ``PORTION`` bytes are divided: so much is held in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

from ...errors import RestorationError
from ..recoding import Recoding
from ..tally import Tally
from . import ArchivedStanza, Proved
from .columnar import (
    PORTION,
    ColumnSearch,
    archived,
    arrow_errors,
    prove_array,
    prove_batches,
    recode_array,
    recode_batch,
)

try:
    import pyarrow as pa
    from pyarrow import compute, parquet
except ImportError as error:
    raise ImportError("Parquet archives need a pyarrow with Parquet: pip install 'xep419[archive]'") from error

WHAT = "Parquet file"
#: rows of a batch at most; pyarrow's own default
MOST_ROWS = 1 << 16


def search(source: IO[bytes], column: str | None) -> None:
    with arrow_errors(WHAT), _open(source) as file:
        find_column(file, column)


def recode(source: IO[bytes], target: IO[bytes], column: str | None, recoding: Recoding, tally: Tally) -> None:
    with arrow_errors(WHAT), _open(source) as file:
        name = find_column(file, column)
        options = layout(file.metadata, file.schema_arrow, name)
        row = 0
        with parquet.ParquetWriter(target, file.schema_arrow, **options) as writer:
            if not options["store_schema"]:  # else they are stored with it
                writer.add_key_value_metadata(file.schema_arrow.metadata or {})
            for table in _portions(file):
                recoded: list[pa.RecordBatch] = []
                for batch in table.to_batches():
                    recoded += recode_batch(
                        batch, name, lambda array, first: recode_array(array, recoding, tally, first), row
                    )
                    row += batch.num_rows
                writer.write_table(pa.Table.from_batches(recoded, file.schema_arrow), max(1, table.num_rows))


def prove(source: IO[bytes], target: IO[bytes], column: str | None, recoding: Recoding) -> Proved:
    with arrow_errors(WHAT), _open(source) as file, _open(target) as other:
        if not file.schema_arrow.equals(other.schema_arrow, check_metadata=True):
            raise RestorationError("the schema of the target is not that of the source")
        name = find_column(file, column)
        return prove_batches(
            _batches(file),
            _as_told(other),
            name,
            lambda array, recoded, first: prove_array(array, recoded, recoding, first),
        )


def stanzas(source: IO[bytes], column: str | None, recoding: Recoding) -> Iterator[ArchivedStanza]:
    with arrow_errors(WHAT), _open(source) as file:
        name = find_column(file, column)
        yield from archived(_batches(file, [name]), name, recoding)


def find_column(file: parquet.ParquetFile, named: str | None) -> str:
    search = ColumnSearch(file.schema_arrow, named)
    for batch in _batches(file, search.names):
        if search.look(batch):
            break
    return search.found()


def _open(source: IO[bytes]) -> parquet.ParquetFile:
    source.seek(0)
    return parquet.ParquetFile(source, buffer_size=1 << 20, pre_buffer=False)


def _batch_rows(file: parquet.ParquetFile, group: int) -> int:
    """Rows of a batch, of a row group, that have about a quarter of a portion as they are encoded."""
    told = file.metadata.row_group(group)
    wanted = PORTION // 4 * told.num_rows // max(1, told.total_byte_size)
    return int(min(max(wanted, 1), MOST_ROWS))


def _group_batches(file: parquet.ParquetFile, group: int, columns: list[str] | None) -> Iterator[pa.RecordBatch]:
    rows = _batch_rows(file, group)
    yield from file.iter_batches(batch_size=rows, row_groups=[group], columns=columns, use_threads=False)


def _batches(file: parquet.ParquetFile, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    for group in range(file.num_row_groups):
        yield from _group_batches(file, group, columns)


def _portions(file: parquet.ParquetFile) -> Iterator[pa.Table]:
    """Each row group as a table; the large ones in several."""
    for group in range(file.num_row_groups):
        held: list[pa.RecordBatch] = []
        size = 0
        for batch in _group_batches(file, group, None):
            if held and size + batch.nbytes > PORTION:
                yield pa.Table.from_batches(held, file.schema_arrow)
                held, size = [], 0
            held.append(batch)
            size += batch.nbytes
        yield pa.Table.from_batches(held, file.schema_arrow)


# -- statistics ---------------------------------------------------------------------------------------------


def _as_told(file: parquet.ParquetFile) -> Iterator[pa.RecordBatch]:
    """The batches, of which each row group's statistics must be true: whoever selects by them passes over the others.

    :raises RestorationError: they are not.
    """
    for group in range(file.num_row_groups):
        told = file.metadata.row_group(group)
        chunks = {told.column(index).path_in_schema: told.column(index) for index in range(told.num_columns)}
        found = {name: _Extremes() for name, chunk in chunks.items() if chunk.is_stats_set}
        for batch in _group_batches(file, group, None):
            for name, extremes in found.items():
                if len(chunks) == told.num_columns and batch.schema.names.count(name) == 1:
                    extremes.add(batch.column(name))
            yield batch
        for name, extremes in found.items():
            if not extremes.are_told_by(chunks[name].statistics):
                raise RestorationError(f"the statistics of column {name!r} in row group {group} are wrong")


class _Extremes:
    """The least and the greatest value of a column, and its nulls; of types whose order is the same everywhere."""

    def __init__(self) -> None:
        self._chunks: list[dict[str, Any]] = []
        self._nulls = 0

    def add(self, array: pa.Array) -> None:
        if pa.types.is_integer(array.type) or any(
            is_kind(array.type)
            for is_kind in (pa.types.is_string, pa.types.is_binary, pa.types.is_large_string, pa.types.is_large_binary)
        ):
            self._chunks.append(compute.min_max(array).as_py())
            self._nulls += array.null_count

    def are_told_by(self, statistics: parquet.Statistics) -> bool:
        if not self._chunks:
            return True
        if statistics.has_null_count and statistics.null_count != self._nulls:
            return False
        least, greatest = (
            [_ordered(chunk[which]) for chunk in self._chunks if chunk[which] is not None] for which in ("min", "max")
        )
        if not least or not statistics.has_min_max:
            return not statistics.has_min_max
        return (_ordered(statistics.min), _ordered(statistics.max)) == (min(least), max(greatest))


def _ordered(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value


# -- layout -------------------------------------------------------------------------------------------------

_DICTIONARY = {"PLAIN_DICTIONARY", "RLE_DICTIONARY"}
_CHOSEN = {"DELTA_BINARY_PACKED", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY", "BYTE_STREAM_SPLIT"}


def layout(metadata: parquet.FileMetaData, schema: pa.Schema, column: str) -> dict[str, Any]:
    """The writer's options that come nearest to how a file is laid out, as its first row group tells."""
    options: dict[str, Any] = {
        "version": "1.0" if metadata.format_version == "1.0" else "2.6",
        "store_schema": b"ARROW:schema" in (metadata.metadata or {}),
    }
    if not metadata.num_row_groups:
        return options
    group = metadata.row_group(0)
    chunks = [group.column(index) for index in range(group.num_columns)]
    dictionaries = [chunk.path_in_schema for chunk in chunks if _DICTIONARY & set(chunk.encodings)]
    statistics = [chunk.path_in_schema for chunk in chunks if chunk.is_stats_set]
    encodings = {
        chunk.path_in_schema: min(_CHOSEN & set(chunk.encodings))
        for chunk in chunks
        if chunk.path_in_schema not in dictionaries and _CHOSEN & set(chunk.encodings)
    }
    options |= {
        "compression": {chunk.path_in_schema: _codec(chunk.compression) for chunk in chunks},
        "use_dictionary": dictionaries or False,
        "write_statistics": statistics or False,
        "column_encoding": encodings or None,
        "write_page_index": any(chunk.has_column_index for chunk in chunks),
        "use_deprecated_int96_timestamps": any(chunk.physical_type == "INT96" for chunk in chunks),
        "use_compliant_nested_type": not any(".list.item" in chunk.path_in_schema for chunk in chunks),
        "store_decimal_as_integer": _has_integer_decimals(metadata.schema),
    }
    # The order of the stanzas may be another once letters came in.
    kept = [order for order in group.sorting_columns if chunks[order.column_index].path_in_schema != column]
    if kept and len(kept) == len(group.sorting_columns):
        options["sorting_columns"] = kept
    return options


def _codec(told: str) -> str:
    return "NONE" if told == "UNCOMPRESSED" else told


def _has_integer_decimals(schema: parquet.ParquetSchema) -> bool:
    leaves = (schema.column(index) for index in range(len(schema)))
    return any(leaf.logical_type.type == "DECIMAL" and leaf.physical_type in ("INT32", "INT64") for leaf in leaves)
