"""Parquet and Arrow archives: what pyarrow reads of the target is the source with every stanza recoded, all else alike.

Files are written and read back by pyarrow itself; single stanzas are recoded by the package's own calls, whose tests are
elsewhere.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import math
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow")

import pyarrow as pa
import pyarrow.parquet as pq

import xep419
from xep419 import rot13
from xep419.archive.formats import columnar
from xep419.archive.formats.arrow import Arrow
from xep419.archive.formats.parquet import Parquet
from xep419.archive.recoding import Recoding
from xep419.archive.tally import Skip, Tally
from xep419.errors import CorruptArchiveError, RestorationError, UnsupportedArchiveError

pytestmark = pytest.mark.any_isa

STANZAS = [
    "<message to='romeo@montague.example'><body>Hey!</body><delay xmlns='urn:xmpp:delay'/></message>",
    "<iq><query xmlns='http://jabber.org/protocol/disco#info'><feature var='urn:xmpp:ping'/></query></iq>",
    "<presence><status>Gr\u00fc\u00dfe http://example.org/</status></presence>",
    "<a xmlns='https://example.org/'/>",
]
BROKEN = "<message><body>Hey!</message>"
BROKEN_SKIP = "'</body>' is expected"
LETTERS = 3  # that STANZAS gain
ROWS: list[str | None] = [*STANZAS, None, *STANZAS, BROKEN, *STANZAS]

TYPES = [pa.string(), pa.large_string(), pa.binary(), pa.large_binary(), pa.string_view(), pa.binary_view()]
DICTIONARIES = [
    pa.dictionary(pa.int32(), pa.string()),
    pa.dictionary(pa.int8(), pa.binary()),
    pa.dictionary(pa.uint16(), pa.large_string(), ordered=True),
]
RECODINGS = [
    Recoding(),
    Recoding(rounds_to=1),
    Recoding(rounds_from=1),
    Recoding(rounds_from=1, rounds_to=1),
    Recoding(upgrade=False),
    Recoding(check=False),
    Recoding(rounds_from=2, rounds_to=3, check=False),
]


def parquet_file(table: pa.Table, **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file


def ipc_file(table: pa.Table, rows: int | None = None, **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    with pa.ipc.new_file(file, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=rows)
    return file


def ipc_stream(table: pa.Table, rows: int | None = None, **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    with pa.ipc.new_stream(file, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=rows)
    return file


def read(file: io.BytesIO) -> pa.Table:
    data = file.getvalue()
    if data.startswith(b"PAR1"):
        return pq.read_table(io.BytesIO(data))
    if data.startswith(b"ARROW1"):
        return pa.ipc.open_file(data).read_all()
    return pa.ipc.open_stream(data).read_all()


WRITERS = [(Parquet, parquet_file), (Arrow, ipc_file), (Arrow, ipc_stream)]
every_writer = pytest.mark.parametrize(("kind", "write"), WRITERS, ids=["parquet", "file", "stream"])
Kind = Callable[..., Any]
Write = Callable[..., io.BytesIO]


def array(rows: list[str | None], kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(kind):
        encoded = array(rows, kind.value_type).dictionary_encode()
        return pa.DictionaryArray.from_arrays(
            encoded.indices.cast(kind.index_type), encoded.dictionary, ordered=kind.ordered
        )
    return pa.array([None if row is None else row.encode() for row in rows], pa.binary()).cast(kind)


def table_of(rows: list[str | None], kind: pa.DataType = pa.string(), **others: Any) -> pa.Table:  # noqa: B008
    columns = {"id": pa.array(range(len(rows))), "stanza": array(rows, kind), **others}
    return pa.table(columns).replace_schema_metadata({"of": "romeo"})


def recode(archive: Any, source: io.BytesIO, recoding: Recoding = Recoding()) -> tuple[io.BytesIO, Tally]:  # noqa: B008
    target, tally = io.BytesIO(), Tally()
    archive.recode([source], [target], recoding, tally)
    return target, tally


def values(table: pa.Table) -> list[str | None]:
    found = table.column("stanza").to_pylist()
    return [value.decode() if isinstance(value, bytes) else value for value in found]


def recoded(row: str | None, recoding: Recoding) -> str | None:
    if row is None or (row == BROKEN and recoding.check):
        return row
    plain = rot13(row, rounds=recoding.rounds_from)
    return rot13(xep419.upgrade(plain) if recoding.upgrade else plain, rounds=recoding.rounds_to)


def stored(rows: list[str | None], recoding: Recoding) -> list[str | None]:
    return [row if row is None or row == BROKEN else rot13(row, rounds=recoding.rounds_from) for row in rows]


# -- what comes out -----------------------------------------------------------------------------------------


@every_writer
@pytest.mark.parametrize("recoding", RECODINGS, ids=str)
@pytest.mark.parametrize("type_", [*TYPES, *DICTIONARIES], ids=str)
def test_stanzas_are_recoded_and_the_rest_is_the_same(
    kind: Kind, write: Write, type_: pa.DataType, recoding: Recoding
) -> None:
    rows = stored(ROWS, recoding)
    source = write(table_of(rows, type_))
    assert kind().recognises(source.getvalue()[:65536], recoding)
    target, tally = recode(kind(), source, recoding)
    before, after = read(source), read(target)
    assert after.schema.equals(before.schema, check_metadata=True)
    assert after.drop_columns("stanza") == before.drop_columns("stanza")
    assert values(after) == [recoded(row, recoding) for row in rows]
    by_value = kind is Arrow and pa.types.is_dictionary(type_)
    times = 1 if by_value else 3
    assert tally.stanzas == len(STANZAS) * times + (not recoding.check)
    assert tally.insecure.total() == LETTERS * times
    assert tally.secure == Counter({"https://example.org/": times})
    place = f"dictionary value {len(STANZAS)}" if by_value else "row 9"
    assert [skip.place for skip in tally.skips] == ([place] if recoding.check else [])
    proved = kind().prove([source], [target], recoding)
    assert proved == (tally.stanzas, LETTERS * times if recoding.upgrade else 0)


@every_writer
def test_what_is_no_stanza_stays_and_is_reported(kind: Kind, write: Write) -> None:
    target, tally = recode(kind(), write(table_of([*STANZAS, "", "Hey", BROKEN])))
    assert values(read(target))[len(STANZAS) :] == ["", "Hey", BROKEN]
    assert tally.skipped == 3
    assert tally.skips[1] == Skip("row 5", "a start tag is expected, not 'H'", 0)
    assert tally.skips[2].place == "row 6"
    assert tally.skips[2].offset == BROKEN.index("</message>")


@every_writer
def test_every_stanza_is_given_with_its_place(kind: Kind, write: Write) -> None:
    source = write(table_of([STANZAS[0], None, BROKEN, STANZAS[1]]))
    recoding = Recoding(rounds_to=1)
    found = list(kind().stanzas([source], recoding))
    assert found == [
        ("row 0", STANZAS[0].encode()),
        ("row 2", BROKEN.encode()),
        ("row 3", STANZAS[1].encode()),
    ]
    target, _tally = recode(kind(), source, recoding)
    back = Recoding(rounds_from=1)
    assert [xep419.downgrade(data) for _place, data in kind().stanzas([target], back)] == [data for _, data in found]


@every_writer
def test_a_sliced_table_and_all_nulls(kind: Kind, write: Write) -> None:
    table = table_of([None] * 9 + ROWS * 3).slice(5, 20)
    target, tally = recode(kind(), write(table))
    assert values(read(target)) == [recoded(row, Recoding()) for row in values(table)]
    assert tally.skipped == 1


@every_writer
def test_other_columns_of_any_type_come_through(kind: Kind, write: Write) -> None:
    count = len(STANZAS)
    others = {
        "float": pa.array([math.nan, -0.0, None, math.inf]),
        "half": pa.array([1.5, None, 2.0, math.nan], pa.float32()),
        "list": pa.array([[1.0, math.nan], [], None, [2.0]]),
        "struct": pa.array([{"a": "<b/>", "c": math.nan}, None, {"a": None, "c": 1.0}, {"a": "", "c": 2.0}]),
        "map": pa.array([[("a", math.nan), ("b", 1.0)], None, [], [("c", None)]], pa.map_(pa.string(), pa.float64())),
        "time": pa.array([1, 2, None, 4], pa.timestamp("ns", "UTC")),
        "decimal": pa.array([1, 2, None, 4], pa.decimal128(9, 2)),
        "flag": pa.array([True, False, None, True]),
        "word": pa.array(["a", "b", "a", None]).dictionary_encode(),
        "null": pa.nulls(count),
    }
    source = write(table_of([*STANZAS], **others))
    target, _tally = recode(kind(), source)
    assert str(read(target).drop_columns("stanza")) == str(read(source).drop_columns("stanza"))
    assert kind().prove([source], [target], Recoding()) == (count, LETTERS)


def test_parquet_keeps_row_groups_and_the_layout_of_columns() -> None:
    table = table_of(STANZAS * 25, room=["a"] * 100, at=list(range(100)))
    source = parquet_file(
        table,
        row_group_size=30,
        compression={"id": "gzip", "stanza": "zstd", "room": "snappy", "at": "none"},
        use_dictionary=["room"],
        column_encoding={"stanza": "DELTA_LENGTH_BYTE_ARRAY", "at": "DELTA_BINARY_PACKED", "id": "PLAIN"},
        write_statistics=["id", "at"],
        write_page_index=True,
        sorting_columns=[pq.SortingColumn(0)],
    )
    target, _tally = recode(Parquet(), source)
    before, after = pq.ParquetFile(source).metadata, pq.ParquetFile(target).metadata
    assert [after.row_group(i).num_rows for i in range(after.num_row_groups)] == [30, 30, 30, 10]
    for group in range(after.num_row_groups):
        assert after.row_group(group).sorting_columns == before.row_group(group).sorting_columns
        for index in range(after.num_columns):
            mine, theirs = after.row_group(group).column(index), before.row_group(group).column(index)
            for fact in ("compression", "encodings", "is_stats_set", "has_column_index", "physical_type"):
                assert getattr(mine, fact) == getattr(theirs, fact), fact


def test_parquet_by_other_tools_than_arrow_keeps_its_metadata_and_has_no_more() -> None:
    table, source = table_of([*STANZAS]), io.BytesIO()
    with pq.ParquetWriter(source, table.schema, store_schema=False, version="1.0") as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({"of": "romeo"})
    target, _tally = recode(Parquet(), source)
    assert pq.ParquetFile(target).metadata.metadata == {b"of": b"romeo"}
    assert pq.ParquetFile(target).metadata.format_version == "1.0"


def test_a_large_row_group_is_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xep419.archive.formats.parquet_file.PORTION", 20_000)
    source = parquet_file(table_of(STANZAS * 500), use_dictionary=False)
    target, tally = recode(Parquet(), source)
    groups = pq.ParquetFile(target).metadata
    assert groups.num_row_groups > 5
    assert max(groups.row_group(i).total_byte_size for i in range(groups.num_row_groups)) < 40_000
    assert values(read(target)) == [recoded(row, Recoding()) for row in STANZAS * 500]
    assert Parquet().prove([source], [target], Recoding()) == (tally.stanzas, LETTERS * 500)


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
@pytest.mark.parametrize("write", [ipc_file, ipc_stream])
@pytest.mark.parametrize("type_", [pa.string(), DICTIONARIES[0]], ids=str)
def test_arrow_keeps_batches_and_compression(compression: str | None, write: Write, type_: pa.DataType) -> None:
    table = table_of(STANZAS * 500, type_)
    source = write(table, 300, compression=compression)
    target, _tally = recode(Arrow(), source)
    assert read(target).column("id").num_chunks == 7
    assert abs(len(target.getvalue()) - len(source.getvalue())) < 20_000
    again = write(read(target), None, compression=compression)
    assert abs(len(again.getvalue()) - len(target.getvalue())) < 0.2 * len(again.getvalue()) + 10_000


def test_arrow_keeps_the_metadata_of_batches() -> None:
    table, source = table_of([*STANZAS]), io.BytesIO()
    with pa.ipc.new_stream(source, table.schema) as writer:
        writer.write_batch(table.to_batches()[0], custom_metadata={"batch": "1"})
    target, _tally = recode(Arrow(), source)
    found = pa.ipc.open_stream(target.getvalue()).read_next_batch_with_custom_metadata()
    assert found.custom_metadata == {b"batch": b"1"}


def test_a_batch_that_outgrows_its_offsets_is_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = STANZAS * 10
    size = sum(len(row.encode()) for row in rows)
    monkeypatch.setattr(columnar, "MOST_BYTES", size)
    source = ipc_file(table_of(rows))
    target, tally = recode(Arrow(), source)
    assert read(target).column("id").num_chunks == 2
    assert values(read(target)) == [recoded(row, Recoding()) for row in rows]
    assert tally.stanzas == 40
    assert Arrow().prove([source], [target], Recoding()) == (40, 10 * LETTERS)


@pytest.mark.parametrize("type_", [pa.string(), DICTIONARIES[0]], ids=str)
def test_a_stanza_that_outgrows_its_offsets_alone_is_refused(
    monkeypatch: pytest.MonkeyPatch, type_: pa.DataType
) -> None:
    monkeypatch.setattr(columnar, "MOST_BYTES", len(STANZAS[0]))
    with pytest.raises(UnsupportedArchiveError) as raised:
        recode(Arrow(), ipc_file(table_of([STANZAS[0]], type_)))
    assert str(raised.value) == f"the stanzas of row 0 outgrow a column of type {type_}"


# -- which column -------------------------------------------------------------------------------------------


@every_writer
@pytest.mark.parametrize("name", ["packet", "xml", "value"])
def test_the_column_is_found_by_its_content(kind: Kind, write: Write, name: str) -> None:
    table = pa.table({"body": ["Hey <3", "it's >"], "n": [1, 2], name: [STANZAS[0], None]})
    target, tally = recode(kind(), write(table))
    assert read(target).column(name).to_pylist() == [xep419.upgrade(STANZAS[0]), None]
    assert tally.stanzas == 1


@every_writer
def test_of_several_the_name_tells(kind: Kind, write: Write) -> None:
    table = pa.table({"html": ["<p>Hey</p>"], "xml": ["<a xmlns='urn:xmpp:a'/>"], "stanza": ["<b xmlns='http:'/>"]})
    target, _tally = recode(kind(), write(table))
    assert read(target).to_pylist() == [
        {"html": "<p>Hey</p>", "xml": "<a xmlns='urn:xmpp:a'/>", "stanza": "<b xmlns='https:'/>"}
    ]
    target, _tally = recode(kind(column="xml"), write(table))
    assert read(target).column("xml").to_pylist() == ["<a xmlns='urn:xmpps:a'/>"]


@every_writer
@pytest.mark.parametrize(
    ("columns", "named", "message"),
    [
        ({"a": ["<a/>"], "b": ["<b/>"]}, None, "several columns hold XML elements: name one of a, b"),
        ({"a": ["Hey"], "b": [None], "n": [1]}, None, "no column holds XML elements; of text or bytes are a"),
        ({"n": [1], "m": [2]}, None, "no column is of text or bytes; the columns are n, m"),
        ({"a": ["<a/>"]}, "b", "there is no column 'b'; the columns are a"),
        ({"n": [1]}, "n", "a column of text or bytes is expected, but 'n' is of type int64"),
        ({"s": [{"stanza": "<a/>"}]}, "s.stanza", "there is no column 's.stanza'; the columns are s"),
    ],
)
def test_other_files_are_refused_by_what_they_hold(
    kind: Kind, write: Write, columns: dict[str, list[Any]], named: str | None, message: str
) -> None:
    with pytest.raises(UnsupportedArchiveError) as raised:
        recode(kind(column=named), write(pa.table(columns)))
    assert str(raised.value) == message


@every_writer
def test_a_named_column_may_be_empty(kind: Kind, write: Write) -> None:
    source = write(table_of([]))
    target, tally = recode(kind(column="stanza"), source)
    assert read(target) == read(source)
    assert tally == Tally()
    assert kind(column="stanza").prove([source], [target], Recoding()) == (0, 0)


# -- recognition and corruption -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head", [b"", b"<a/>", b"{}", b"PAR", b"ARROW", b"\xff\xff\xff\xff", b"\xff\xff\xff\xff\x10\0\0\0" + b"x" * 16]
)
def test_other_files_are_not_recognised(head: bytes) -> None:
    assert not Parquet().recognises(head, Recoding())
    assert not Arrow().recognises(head, Recoding())


def test_near_misses_are_refused_with_the_reason() -> None:
    with pytest.raises(UnsupportedArchiveError, match=r"^this Parquet file is encrypted: decrypt it first$"):
        Parquet().recognises(b"PARE\x15\x04", Recoding())
    with pytest.raises(
        UnsupportedArchiveError, match=r"^this is a Feather file of version 1: write it anew as version 2$"
    ):
        Arrow().recognises(b"FEA1\0\0\0\0", Recoding())


@every_writer
def test_a_truncated_file_is_corrupt(kind: Kind, write: Write) -> None:
    data = write(table_of(STANZAS * 20)).getvalue()
    for size in {12, len(data) // 2, len(data) - 9 if kind is Parquet or data.startswith(b"ARROW1") else 500}:
        with pytest.raises(CorruptArchiveError):
            recode(kind(column="stanza"), io.BytesIO(data[:size]))


@every_writer
def test_a_corrupt_file_is_corrupt_or_gives_no_crash(kind: Kind, write: Write) -> None:
    data = write(table_of(STANZAS * 20)).getvalue()
    for at in range(4, len(data), 53):
        source = io.BytesIO(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        with contextlib.suppress(CorruptArchiveError, UnsupportedArchiveError):
            recode(kind(column="stanza"), source)


def test_bytes_behind_a_stream_are_not_lost() -> None:
    data = ipc_stream(table_of([*STANZAS])).getvalue()
    with pytest.raises(CorruptArchiveError) as raised:
        recode(Arrow(), io.BytesIO(data + b"more"))
    assert str(raised.value) == f"bytes follow the end of this Arrow stream (at byte {len(data)})"


# -- the proof ----------------------------------------------------------------------------------------------


@every_writer
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [*rows[:-1], rows[-1].replace("Hey", "Hay")], "row 3: "),
        (lambda rows: [rows[1], rows[0], *rows[2:]], "row 0: "),
        (lambda rows: [*rows[:-1], None], "row 3: it is null on one side alone"),
        (lambda rows: rows[:-1], "the target has fewer rows than the source"),
        (lambda rows: [*rows, rows[0]], "the target has more rows than the source"),
        (lambda rows: [rows[0][:-1], ">" + rows[1], *rows[2:]], "row 0: "),
    ],
)
def test_the_proof_finds_what_is_not_the_same(
    kind: Kind, write: Write, change: Callable[[list[Any]], list[Any]], message: str
) -> None:
    rows = [STANZAS[1], STANZAS[2], STANZAS[3], STANZAS[0]]
    source = write(pa.table({"stanza": rows}))
    upgraded = list(map(xep419.upgrade, rows))
    assert kind().prove([source], [write(pa.table({"stanza": upgraded}))], Recoding()) == (4, LETTERS)
    with pytest.raises(RestorationError) as raised:
        kind().prove([source], [write(pa.table({"stanza": change(upgraded)}))], Recoding())
    assert str(raised.value).startswith(message)


@every_writer
def test_the_proof_compares_the_other_columns_and_the_schema(kind: Kind, write: Write) -> None:
    rows = ["<a/>", "<b/>"]
    source = write(pa.table({"stanza": rows, "x": [1.0, math.nan], "y": [[1], [2]]}))
    for others, message in [
        ({"x": [1.0, 2.0], "y": [[1], [2]]}, "column 'x' is not the same in rows 0 to 2"),
        ({"x": [1.0, math.nan], "y": [[1, 2], []]}, "column 'y' is not the same in rows 0 to 2"),
        ({"x": [1.0, None], "y": [[1], [2]]}, "column 'x' is not the same in rows 0 to 2"),
        ({"x": [1.0, math.nan]}, "the schema"),
    ]:
        with pytest.raises(RestorationError) as raised:
            kind().prove([source], [write(pa.table({"stanza": rows, **others}))], Recoding())
        assert str(raised.value).startswith(message)


@every_writer
@pytest.mark.parametrize(
    "wrapped",
    [
        pa.array,
        lambda floats: pa.array([[number] for number in floats]),
        lambda floats: pa.array([{"a": number} for number in floats]),
        lambda floats: pa.array([[("a", number)] for number in floats], pa.map_(pa.string(), pa.float64())),
    ],
    ids=["alone", "list", "struct", "map"],
)
def test_the_proof_compares_floats_bit_for_bit(
    kind: Kind, write: Write, wrapped: Callable[[list[float]], pa.Array]
) -> None:
    source, same, other = (
        write(pa.table({"stanza": ["<a/>", "<b/>"], "x": wrapped(floats)}))
        for floats in ([0.0, 1.0], [0.0, 1.0], [-0.0, 1.0])
    )
    assert kind().prove([source], [same], Recoding()) == (2, 0)
    with pytest.raises(RestorationError) as raised:
        kind().prove([source], [other], Recoding())
    assert str(raised.value).startswith("column 'x' is not the same in rows 0 to 2")


def test_the_proof_compares_statistics_with_the_values() -> None:
    columns = {
        "stanza": [*STANZAS, None],
        "word": [None, "é", "zz", "a", None],
        "number": pa.array([3, 200, 7, 0, 1], pa.uint8()),
        "nulls": pa.array([None] * 5, pa.int64()),
        "large": ["x" * 9000] * 5,  # of which pyarrow writes none
        "nested": [{"a": 1}, {"a": None}, None, {"a": 2}, {"a": 3}],
    }
    source = parquet_file(pa.table(columns), row_group_size=2)
    target, _tally = recode(Parquet(), source)
    assert Parquet().prove([source], [target], Recoding()) == (4, LETTERS)
    data = target.getvalue()
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    for value, column in [
        (xep419.upgrade(STANZAS[1]).encode(), "stanza"),
        (b"zz", "word"),
        (b"\xc8\0\0\0", "number"),
    ]:
        places = [match.start() for match in re.finditer(re.escape(value), data) if match.start() > footer]
        assert places, column
        for place in places:
            wrong = io.BytesIO(data[:place] + bytes([value[0] ^ 1]) + data[place + 1 :])
            with pytest.raises(RestorationError, match=f"the statistics of column '{column}' in row group "):
                Parquet().prove([source], [wrong], Recoding())


# -- by itself ------------------------------------------------------------------------------------------------


@every_writer
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize(
    ("columns", "named", "reason"),
    [
        ({"t": ["hello"]}, None, "no column holds XML elements; of text or bytes are t"),
        ({"n": [1]}, None, "no column is of text or bytes; the columns are n"),
        ({"s": ["<a/>"], "q": ["<b/>"]}, None, "several columns hold XML elements: name one of s, q"),
        ({"s": ["<a/>"]}, "x", "there is no column 'x'; the columns are s"),
    ],
)
def test_a_file_that_is_named_and_whose_column_is_not_found_is_refused(
    tmp_path: Path,
    kind: Kind,
    write: Write,
    columns: dict[str, list[Any]],
    named: str | None,
    reason: str,
    compress: Callable[[bytes], bytes],
) -> None:
    pytest.importorskip("fsspec")
    from xep419 import archive

    source = tmp_path / "a"
    source.write_bytes(compress(write(pa.table(columns)).getvalue()))
    options = {} if named is None else {"column": named}
    with pytest.raises(UnsupportedArchiveError) as caught:
        archive.reencrypt(source, in_place=True, options=options)
    assert str(caught.value) == f"{source}: {reason}"
    assert list(tmp_path.iterdir()) == [source]
