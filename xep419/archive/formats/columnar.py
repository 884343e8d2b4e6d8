"""Columns of stanzas in Arrow arrays: which column it is, recoding it, the proof. Reads and writes no file.

Needs pyarrow. The work on a column is done over its buffers, without an object for any row
(:func:`xep419.columns.recode_values`); the proof goes from row to row instead.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from ...columns import recode_values
from ...errors import CorruptArchiveError, RestorationError, UnsupportedArchiveError
from ..recoding import Recoding
from ..stored import fault_of, is_stanza_unchanged, looks_like_element, preferred, read_back
from ..tally import Tally
from . import ArchivedStanza, Proved

try:
    import pyarrow as pa
except ImportError as error:
    raise ImportError("columnar archives need pyarrow: pip install 'xep419[archive]'") from error

#: bytes of rows worked on at a time, where the file does not force more
PORTION = 1 << 24
#: bytes that the values of a column with offsets of 4 bytes may have
MOST_BYTES = (1 << 31) - 1
#: values of a column that are looked at to tell what it holds
SAMPLES = 16

#: an array and the number of its first row to the array recoded; two arrays and that number to what was proved
RecodeColumn: TypeAlias = Callable[["pa.Array", int], "pa.Array"]
ProveColumn: TypeAlias = Callable[["pa.Array", "pa.Array", int], tuple[int, int]]


@contextlib.contextmanager
def arrow_errors(what: str) -> Iterator[None]:
    """pyarrow's errors about what it reads as errors of the archive; those of the operating system stay."""
    try:
        yield
    except pa.ArrowNotImplementedError as error:
        raise UnsupportedArchiveError(f"this {what} needs what pyarrow cannot do: {error}") from error
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise CorruptArchiveError(f"this is no whole {what}: {error}") from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise CorruptArchiveError(f"this is no whole {what}: {error}") from error


# -- types --------------------------------------------------------------------------------------------------


def _is_view(kind: pa.DataType) -> bool:
    return any(
        getattr(pa.types, name)(kind) for name in ("is_string_view", "is_binary_view") if hasattr(pa.types, name)
    )


def _is_large(kind: pa.DataType) -> bool:
    return bool(pa.types.is_large_string(kind) or pa.types.is_large_binary(kind))


def may_hold_stanzas(kind: pa.DataType) -> bool:
    """Whether a column of this type may hold stanzas: text or bytes of any size, also as a dictionary."""
    if pa.types.is_dictionary(kind):
        return may_hold_stanzas(kind.value_type) and not pa.types.is_dictionary(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_binary(kind)) or _is_large(kind) or _is_view(kind)


def _plain_layout(array: pa.Array) -> pa.Array:
    """The same values in offsets and bytes, from the first item of its buffers on."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if _is_view(array.type):
        array = array.cast(pa.large_string() if pa.types.is_string_view(array.type) else pa.large_binary())
    return pa.concat_arrays([array]) if array.offset else array


def _as_type(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """Values in offsets and bytes as a column of type ``kind`` again."""
    if array.type == kind:
        return array
    if pa.types.is_dictionary(kind):
        encoded = _as_type(array, kind.value_type).dictionary_encode()
        indices = encoded.indices.cast(kind.index_type)
        return pa.DictionaryArray.from_arrays(indices, encoded.dictionary, ordered=kind.ordered)
    return array.cast(kind)


def _buffers(array: pa.Array) -> tuple[memoryview | None, memoryview, memoryview]:
    """Validity, offsets and values of an array in plain layout."""
    valid, offsets, values = array.buffers()
    width = 8 if _is_large(array.type) else 4
    places = memoryview(offsets)[: (len(array) + 1) * width] if offsets is not None and offsets.size else bytes(width)
    return (
        memoryview(valid) if valid is not None and array.null_count else None,
        memoryview(places),
        memoryview(values) if values is not None else memoryview(b""),
    )


# -- which column -------------------------------------------------------------------------------------------


class ColumnSearch:
    """Finds the column of stanzas by the first values of each; :meth:`look` takes the rows in order."""

    def __init__(self, schema: pa.Schema, named: str | None) -> None:
        """:raises UnsupportedArchiveError: no column, or not the one that is named, can hold stanzas."""
        self._names = [field.name for field in schema if may_hold_stanzas(field.type)]
        all_names = ", ".join(schema.names) or "none"
        if named is not None and schema.names.count(named) != 1:
            many = "more than one" if named in schema.names else "no"
            raise UnsupportedArchiveError(f"there is {many} column {named!r}; the columns are {all_names}")
        if named is not None and named not in self._names:
            raise UnsupportedArchiveError(
                f"a column of text or bytes is expected, but {named!r} is of type {schema.field(named).type}"
            )
        if not self._names:
            raise UnsupportedArchiveError(f"no column is of text or bytes; the columns are {all_names}")
        self._samples: dict[str, list[bytes]] = {name: [] for name in self._names if schema.names.count(name) == 1}
        self._named = named
        #: columns that must be in the batches to look at
        self.names = [named] if named is not None else list(self._samples)

    def look(self, batch: pa.RecordBatch) -> bool:
        """Whether enough was seen: a value at least of one of the columns."""
        if self._named is None:
            for name, samples in self._samples.items():
                values = (value for value in values_of(batch.column(name)) if value is not None)
                samples += itertools.islice(values, SAMPLES - len(samples))
        return self._named is not None or any(map(self._holds_elements, self._samples))

    def _holds_elements(self, name: str) -> bool:
        """Whether most of the values that were seen are elements."""
        samples = self._samples[name]
        return 2 * sum(map(looks_like_element, samples)) > len(samples)

    def found(self) -> str:
        """:raises UnsupportedArchiveError: no column holds elements, or several do and no name tells which is meant."""
        if self._named is not None:
            return self._named
        found = [name for name in self._samples if self._holds_elements(name)]
        if not found:
            names = ", ".join(self._names)
            raise UnsupportedArchiveError(f"no column holds XML elements; of text or bytes are {names}")
        name = preferred(found)
        if name is None:
            raise UnsupportedArchiveError(f"several columns hold XML elements: name one of {', '.join(found)}")
        return name


# -- recoding -----------------------------------------------------------------------------------------------


def recode_array(array: pa.Array, recoding: Recoding, tally: Tally, first: int, what: str = "row") -> pa.Array:
    """The array with every value recoded; nulls stay, and so do values that are no stanza, which are tallied.

    :param first: number of the first value, for the places of skips.
    :raises OverflowError: the recoded values need larger offsets than the type has; nothing is tallied.
    """
    plain = _plain_layout(array)
    valid, offsets, values = _buffers(plain)
    large = _is_large(plain.type)
    new_values, new_offsets, left, names = recode_values(
        values,
        offsets,
        large=large,
        valid=valid,
        rounds_from=recoding.rounds_from,
        rounds_to=recoding.rounds_to,
        upgrade=recoding.upgrade,
        check=recoding.check,
        census=True,
        limit=None if large else MOST_BYTES,
    )
    bitmap = plain.buffers()[0] if plain.null_count else None
    buffers = [bitmap, pa.py_buffer(new_offsets), pa.py_buffer(new_values)]
    recoded = _as_type(pa.Array.from_buffers(plain.type, len(plain), buffers, plain.null_count), array.type)
    for at in left:
        fault = fault_of(_value(plain, at), recoding)
        assert fault is not None
        tally.skip(f"{what} {first + at}", fault.message, fault.offset)
    tally.stanzas += len(plain) - plain.null_count - len(left)
    tally.count(names)
    return recoded


def _value(array: pa.Array, row: int) -> bytes:
    buffer = array[row].as_buffer()
    return b"" if buffer is None else bytes(buffer)


def recode_batch(batch: pa.RecordBatch, column: str, recode: RecodeColumn, first: int) -> Iterator[pa.RecordBatch]:
    """The batch with the column recoded: in two or more where its values outgrow the offsets of the column's type.

    :raises UnsupportedArchiveError: one value alone does.
    """
    index = batch.schema.get_field_index(column)
    try:
        recoded = recode(batch.column(index), first)
    except OverflowError as error:
        kind = batch.schema.field(index).type
        if batch.num_rows < 2 or pa.types.is_dictionary(kind):
            raise UnsupportedArchiveError(f"the stanzas of row {first} outgrow a column of type {kind}") from error
        half = batch.num_rows // 2
        yield from recode_batch(batch.slice(0, half), column, recode, first)
        yield from recode_batch(batch.slice(half), column, recode, first + half)
    else:
        columns = [*batch.columns[:index], recoded, *batch.columns[index + 1 :]]
        yield pa.RecordBatch.from_arrays(columns, schema=batch.schema)


# -- reading ------------------------------------------------------------------------------------------------


def values_of(array: pa.Array) -> Iterator[bytes | None]:
    """The value of each row, None where it is null."""
    plain = _plain_layout(array)
    _valid, offsets, values = _buffers(plain)
    bounds = offsets.cast("q" if _is_large(plain.type) else "i")
    valid = plain.is_valid().to_pylist() if plain.null_count else None
    start = bounds[0]
    for row in range(len(plain)):
        end = bounds[row + 1]
        yield bytes(values[start:end]) if valid is None or valid[row] else None
        start = end


def archived(batches: Iterable[pa.RecordBatch], column: str, recoding: Recoding) -> Iterator[ArchivedStanza]:
    first = 0
    for batch in batches:
        for row, stored in enumerate(values_of(batch.column(column)), first):
            if stored is not None:
                yield ArchivedStanza(f"row {row}", read_back(stored, recoding))
        first += batch.num_rows


# -- the proof ----------------------------------------------------------------------------------------------


def same(one: pa.Array, other: pa.Array) -> bool:
    """Whether two arrays of a type hold the same; floating-point numbers, not-a-numbers included, bit for bit."""
    kind = one.type
    if not _has_floats(kind):
        return bool(one.equals(other))
    if len(one) != len(other) or not one.is_valid().equals(other.is_valid()):
        return False
    if pa.types.is_floating(kind):
        bits = {16: pa.int16(), 32: pa.int32(), 64: pa.int64()}[kind.bit_width]
        mine, theirs = (pa.concat_arrays([array]).drop_null().view(bits) for array in (one, other))
        return bool(mine.equals(theirs))
    if pa.types.is_struct(kind):
        return all(map(same, one.flatten(), other.flatten()))
    if pa.types.is_dictionary(kind):
        return same(one.dictionary_decode(), other.dictionary_decode())
    if pa.types.is_map(kind):
        return same(*(array.cast(pa.list_(kind.field(0))) for array in (one, other)))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return bool(one.value_lengths().equals(other.value_lengths())) and same(one.flatten(), other.flatten())
    return bool(one.equals(other))


def _has_floats(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _has_floats(kind.value_type)
    return bool(pa.types.is_floating(kind)) or any(_has_floats(kind.field(at).type) for at in range(kind.num_fields))


def aligned(
    source: Iterable[pa.RecordBatch], target: Iterable[pa.RecordBatch]
) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]:
    """Both sides in portions of as many rows each.

    :raises RestorationError: one has more rows.
    """
    others = iter(target)
    other: pa.RecordBatch | None = None
    for batch in source:
        while batch.num_rows:
            while other is None or not other.num_rows:
                other = next(others, None)
                if other is None:
                    raise RestorationError("the target has fewer rows than the source")
            count = min(batch.num_rows, other.num_rows)
            yield batch.slice(0, count), other.slice(0, count)
            batch, other = batch.slice(count), other.slice(count)
    if (other is not None and other.num_rows) or any(rest.num_rows for rest in others):
        raise RestorationError("the target has more rows than the source")


def prove_array(
    source: pa.Array, target: pa.Array, recoding: Recoding, first: int, what: str = "row"
) -> tuple[int, int]:
    """Stanzas and letters.

    :raises RestorationError: a value of the target does not give that of the source.
    """
    stanzas = letters = 0
    for at, (original, recoded) in enumerate(zip(values_of(source), values_of(target), strict=True), first):
        try:
            gained = _prove_value(original, recoded, recoding)
        except RestorationError as error:
            raise RestorationError(f"{what} {at}: {error.message}", offset=error.offset) from error
        if gained is not None:
            stanzas, letters = stanzas + 1, letters + gained
    return stanzas, letters


def _prove_value(original: bytes | None, recoded: bytes | None, recoding: Recoding) -> int | None:
    """Letters that the value gained, None where it is not recoded."""
    if original is None or recoded is None:
        if original is not recoded:
            raise RestorationError("it is null on one side alone")
        return None
    if original == recoded:
        return 0 if is_stanza_unchanged(original, recoding) else None
    return recoding.prove(original, recoded)


def prove_batches(
    source: Iterable[pa.RecordBatch], target: Iterable[pa.RecordBatch], column: str, prove: ProveColumn
) -> Proved:
    """Every other column must be the same, and ``prove`` must accept this one.

    :raises RestorationError: it is not so.
    """
    stanzas = letters = first = 0
    for batch, other in aligned(source, target):
        for index, name in enumerate(batch.schema.names):
            if name != column and not same(batch.column(index), other.column(index)):
                raise RestorationError(f"column {name!r} is not the same in rows {first} to {first + batch.num_rows}")
        proved, gained = prove(batch.column(column), other.column(column), first)
        stanzas, letters, first = stanzas + proved, letters + gained, first + batch.num_rows
    return Proved(stanzas, letters)
