"""SQL archives, on SQLite: what becomes of each row, what is left alone, and that every row is done once, whatever happens.

Against PostgreSQL, MariaDB and the servers that fill these: tests/interop/test_databases.py.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pickle
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed")

from archived import rot13, stanza

from xep419.archive.databases import Database, open_database
from xep419.archive.databases import connections as connections_module
from xep419.archive.databases import rows as rows_module
from xep419.archive.databases import statements as statements_module
from xep419.archive.formats import ArchivedStanza
from xep419.archive.recoding import Recoding
from xep419.archive.tally import Skip, Tally
from xep419.errors import ArchiveError, RestorationError, UnsupportedArchiveError

pytestmark = pytest.mark.any_isa

PROSODY = """
CREATE TABLE "prosody" ("host" TEXT NOT NULL, "user" TEXT NOT NULL, "store" TEXT NOT NULL, "key" TEXT NOT NULL,
    "type" TEXT NOT NULL, "value" TEXT NOT NULL);
CREATE TABLE "prosodyarchive" ("sort_id" INTEGER PRIMARY KEY AUTOINCREMENT, "host" TEXT NOT NULL, "user" TEXT NOT NULL,
    "store" TEXT NOT NULL, "key" TEXT NOT NULL, "when" INTEGER NOT NULL, "with" TEXT NOT NULL, "type" TEXT NOT NULL,
    "value" TEXT NOT NULL);
CREATE UNIQUE INDEX "prosodyarchive_index" ON "prosodyarchive" ("host", "user", "store", "key");
"""
EJABBERD = """
CREATE TABLE spool (username text NOT NULL, xml text NOT NULL, seq INTEGER PRIMARY KEY AUTOINCREMENT,
    created_at TIMESTAMP NOT NULL DEFAULT 5);
CREATE TABLE archive (username text NOT NULL, timestamp BIGINT UNSIGNED NOT NULL, peer text NOT NULL,
    bare_peer text NOT NULL, xml text NOT NULL, txt text, id INTEGER PRIMARY KEY AUTOINCREMENT, kind text, nick text,
    created_at timestamp NOT NULL DEFAULT 5);
CREATE TABLE caps_features (node text NOT NULL, subnode text NOT NULL, feature text);
CREATE TABLE pubsub_node (host text NOT NULL, node text NOT NULL, nodeid INTEGER PRIMARY KEY);
CREATE TABLE pubsub_item (nodeid bigint, itemid text NOT NULL, payload text NOT NULL);
"""
OPENFIRE = """
CREATE TABLE ofmessagearchive (messageid BIGINT NULL, conversationid INTEGER NOT NULL, fromjid VARCHAR(1024) NOT NULL,
    sentdate BIGINT NOT NULL, stanza TEXT NULL, body TEXT);
"""
SCHEMAS = {"prosody": PROSODY, "ejabberd": EJABBERD, "openfire": OPENFIRE}


def create(path: Path, schema: str, stanzas: Sequence[object]) -> Path:
    """A database with one row for each stanza, keys from 1 on, and rows that hold none."""
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.executescript(SCHEMAS.get(schema, schema))
        if "prosodyarchive" in SCHEMAS.get(schema, schema):
            row = "INSERT INTO prosodyarchive VALUES (?, 'x', 'alice', 'archive', ?, 5, 'bob@x', ?, ?)"
            database.executemany(row, [(n, f"k{n}", "xml", value) for n, value in enumerate(stanzas, 1)])
            database.execute(row, (999_999, "other", "json", '{"xmlns":"urn:xmpp:x"}'))
        elif "ejabberd" in schema:
            row = "INSERT INTO archive (id, username, timestamp, peer, bare_peer, xml, txt) VALUES (?, 'alice', 5, 'b', 'b', ?, ?)"
            database.executemany(row, [(n, value, "urn:xmpp:x http://x") for n, value in enumerate(stanzas, 1)])
            database.executemany(
                "INSERT INTO spool VALUES ('bob', ?, ?, 5)", [(v, n) for n, v in enumerate(stanzas, 1)]
            )
        else:
            row = "INSERT INTO ofmessagearchive VALUES (?, ?, 'a@x', 5, ?, 'urn:xmpp:x')"
            database.executemany(row, [(n, n // 3, value) for n, value in enumerate(stanzas, 1)])
    return path


def query(path: Path, sql: str, *values: object) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.text_factory = bytes
        return database.execute(sql, values).fetchall()


def values(path: Path) -> list[object]:
    """The stanzas of a Prosody archive in order, as bytes."""
    return [value for (value,) in query(path, "SELECT value FROM prosodyarchive WHERE type = 'xml' ORDER BY sort_id")]


def dump(path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as database:
        return list(database.iterdump())


def run(path: Path | str, rows: int = 7, *, verify: bool = True, **options: object) -> Tally:
    """A whole job."""
    tally = Tally()
    with open_database(str(path), recoding=Recoding(**options), verify=verify) as database, database.lock():
        database.begin("job")
        for unit in database.units(rows):
            tally.add(unit.run())
        database.finish()
    return tally


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return create(tmp_path / "prosody.sqlite", "prosody", [stanza(n) for n in range(1, 51)])


def begun(path: Path, rounds_to: int = 1, name: str = "job") -> Database:
    database = open_database(str(path), recoding=Recoding(rounds_to=rounds_to))
    database.begin(name)
    return database


class TestWhatIsDone:
    @pytest.mark.parametrize("verify", [True, False])
    @pytest.mark.parametrize("rounds", [1, 2])
    @pytest.mark.parametrize("schema", SCHEMAS)
    def test_every_stanza_is_recoded_and_all_else_is_as_it_was(
        self, tmp_path: Path, schema: str, rounds: int, verify: bool
    ) -> None:
        old = [stanza(n) for n in range(1, 31)]
        new = [stanza(n, "s") if rounds == 2 else rot13(stanza(n, "s")) for n in range(1, 31)]
        path = create(tmp_path / "old", schema, old)
        tally = run(path, rounds_to=rounds, verify=verify)
        assert dump(path) == dump(create(tmp_path / "new", schema, new))
        tables = 2 if schema == "ejabberd" else 1
        assert dataclasses.asdict(tally) == dataclasses.asdict(
            Tally(
                stanzas=30 * tables,
                bytes_read=sum(len(text.encode()) for text in old) * tables,
                bytes_written=sum(len(text.encode()) for text in new) * tables,
                insecure=tally.insecure,
            )
        )
        assert tally.insecure == {
            "urn:xmpp:sid:0": 30 * tables,
            "http://jabber.org/protocol/chatstates": 30 * tables,
        }

    def test_an_archive_once_rotated_becomes_doubly_rotated(self, tmp_path: Path) -> None:
        path = create(tmp_path / "old", "prosody", [rot13(stanza(n)) for n in range(5)])
        run(path, rounds_from=1, rounds_to=2)
        assert values(path) == [stanza(n, "s").encode() for n in range(5)]

    def test_names_stay_without_an_upgrade(self, archive: Path) -> None:
        before = dump(archive)
        tally = run(archive, upgrade=False)
        assert dump(archive) == before
        assert tally.letters == 100

    def test_a_second_job_over_an_upgraded_archive_writes_no_row(self, archive: Path) -> None:
        run(archive)
        query(archive, "CREATE TRIGGER none BEFORE UPDATE ON prosodyarchive BEGIN SELECT RAISE(ABORT, 'written'); END")
        tally = run(archive)
        assert (tally.stanzas, tally.letters, sum(tally.secure.values())) == (50, 0, 100)

    def test_text_stays_text_and_blobs_stay_blobs(self, tmp_path: Path) -> None:
        path = create(tmp_path / "x", "prosody", [stanza(1), stanza(2).encode()])
        run(path)
        sql = "SELECT typeof(value), CAST(value AS BLOB) FROM prosodyarchive WHERE type = 'xml' ORDER BY sort_id"
        assert query(path, sql) == [(b"text", stanza(1, "s").encode()), (b"blob", stanza(2, "s").encode())]

    def test_a_database_in_utf_16(self, tmp_path: Path) -> None:
        path = create(tmp_path / "x", "PRAGMA encoding = 'UTF-16';" + PROSODY, [stanza(1)])
        run(path, rounds_to=1)
        assert values(path) == [rot13(stanza(1, "s")).encode()]

    @pytest.mark.parametrize("mode", ["wal", "delete"])
    def test_the_journal_mode_stays(self, archive: Path, mode: str) -> None:
        query(archive, f"PRAGMA journal_mode = {mode}")
        run(archive)
        assert query(archive, "PRAGMA journal_mode") == [(mode.encode(),)]

    def test_an_sqlite_url_is_a_path_too(self, archive: Path) -> None:
        assert run(f"sqlite:///{archive}").stanzas == 50

    def test_a_row_in_which_nothing_changes_is_not_written(self, tmp_path: Path) -> None:
        path = create(tmp_path / "x", "prosody", [stanza(1), "<a/>", stanza(3), "<a", stanza(5)])
        query(
            path,
            "CREATE TRIGGER t BEFORE UPDATE ON prosodyarchive WHEN new.value = old.value"
            " BEGIN SELECT RAISE(ABORT, 'written'); END",
        )
        assert run(path).stanzas == 4
        new = [stanza(n, "s").encode() for n in (1, 3, 5)]
        assert values(path) == [new[0], b"<a/>", new[1], b"<a", new[2]]

    def test_an_empty_archive(self, tmp_path: Path) -> None:
        path = tmp_path / "empty"
        query(path, PROSODY.split(";")[1])
        assert run(path) == Tally()


CORRUPT: list[tuple[object, str, int | None]] = [
    ("<a><b></a>", "the end tag </b> is expected, not </a>", 6),
    ("", "", None),
    (b"<a>\xff</a>", "", 3),
    (
        "\x01compressed",
        "the stanza is in the compressed form of ejabberd's compress_xml, which cannot be rewritten",
        None,
    ),
    (
        b"\x01\xff\x00",
        "the stanza is in the compressed form of ejabberd's compress_xml, which cannot be rewritten",
        None,
    ),
]


class TestWhatIsLeftAlone:
    @pytest.mark.parametrize("text", [True, False], ids=["text", "blob"])
    @pytest.mark.parametrize(("value", "reason", "offset"), CORRUPT)
    def test_a_corrupt_row_is_skipped_and_told_and_the_others_are_done(
        self, tmp_path: Path, value: str | bytes, reason: str, offset: int | None, text: bool
    ) -> None:
        path = create(tmp_path / "x", "prosody", [stanza(1), value, stanza(3)])
        stored = value.encode() if isinstance(value, str) else value
        cast = "CAST(? AS TEXT)" if text else "?"
        query(path, f"UPDATE prosodyarchive SET value = {cast} WHERE sort_id = 2", stored)
        tally = run(path)
        assert values(path) == [stanza(1, "s").encode(), stored, stanza(3, "s").encode()]
        assert (tally.stanzas, tally.skipped) == (2, 1)
        (skip,) = tally.skips
        assert skip.place == "prosodyarchive sort_id=2"
        if reason:
            assert skip.reason == reason
        if offset is not None:
            assert skip.offset == offset

    def test_text_that_is_not_utf_8_is_skipped_without_a_check_too(self, tmp_path: Path) -> None:
        path = create(tmp_path / "x", "prosody", ["?"])
        query(path, "UPDATE prosodyarchive SET value = CAST(? AS TEXT) WHERE sort_id = 1", "<é>".encode() + b"\xff")
        tally = run(path, check=False)
        assert tally.skips == [Skip("prosodyarchive sort_id=1", "expected text in UTF-8, got byte 0xFF", 4)]

    def test_a_value_that_is_no_text(self, tmp_path: Path) -> None:
        path = create(tmp_path / "x", PROSODY.replace('"value" TEXT', '"value" INTEGER'), [5])
        assert run(path).skips == [Skip("prosodyarchive sort_id=1", "expected text or bytes, got int")]

    def test_a_stanza_that_its_column_has_no_room_for(self, tmp_path: Path) -> None:
        room = len(stanza(2)) + 1
        schema = PROSODY.replace('"value" TEXT', f'"value" VARCHAR({room})')
        path = create(tmp_path / "x", schema, [stanza(1).replace("see", ""), stanza(2), "<a/>"])
        reason = f"the column holds {room} characters, but the stanza would have {room + 1}"
        assert run(path).skips == [Skip("prosodyarchive sort_id=2", reason)]
        assert values(path) == [stanza(1, "s").replace("see", "").encode(), stanza(2).encode(), b"<a/>"]

    @pytest.mark.parametrize(
        ("limit", "charset", "value", "size"),
        [
            (65_535, "utf8mb4", "é" * 32_768, 65_536),
            (65_535, "latin1", "é" * 65_536, 65_536),
            (10, "ucs2", "é" * 6, 12),
            (10, "utf32", "é" * 3, 12),
            (10, "binary", b"x" * 11, 11),
        ],
    )
    def test_room_is_counted_in_the_columns_character_set(
        self, limit: int, charset: str, value: str | bytes, size: int
    ) -> None:
        capacity = rows_module.Capacity(limit, charset)
        assert capacity.misses(value) == f"the column holds {limit} bytes, but the stanza would have {size}"
        assert capacity.misses(value[: len(value) * limit // size]) is None

    def test_openfire_rows_without_a_stanza_or_a_key_of_their_own(self, tmp_path: Path) -> None:
        path = create(tmp_path / "x", "openfire", [])
        for message, conversation, value in [
            (1, 7, stanza(1)),
            (2, 7, None),
            (None, 7, stanza(3)),
            (4, 8, stanza(4)),
            (4, 8, stanza(5)),
            ("m", 9, stanza(6)),
        ]:
            query(path, "INSERT INTO ofmessagearchive VALUES (?, ?, 'a', 5, ?, '')", message, conversation, value)
        tally = run(path, rounds_to=1)
        assert tally.left_alone == {"ofmessagearchive: no stanza was stored": 1}
        assert [str(skip) for skip in tally.skips] == [
            "ofmessagearchive conversationid=7 messageid=None: a column that tells the row from others is NULL",
            "ofmessagearchive conversationid=8 messageid=4: another row has the same key",
            "ofmessagearchive conversationid=8 messageid=4: another row has the same key",
            "ofmessagearchive conversationid=9 messageid=m: a column that tells the row from others holds no whole number",
        ]
        stored = query(path, "SELECT stanza FROM ofmessagearchive ORDER BY rowid")
        assert stored == [(rot13(stanza(1, "s")).encode(),), (None,), *[(stanza(n).encode(),) for n in (3, 4, 5, 6)]]

    def test_a_row_with_the_key_of_one_that_holds_a_stanza(self, tmp_path: Path) -> None:
        """Where nothing keeps the keys apart: the row that holds none stays."""
        schema = PROSODY.replace("INTEGER PRIMARY KEY AUTOINCREMENT", "INTEGER NOT NULL")
        path = create(tmp_path / "x", schema, [stanza(1), stanza(2)])
        query(path, "UPDATE prosodyarchive SET sort_id = 2 WHERE type = 'json'")
        assert run(path).stanzas == 2
        assert query(path, "SELECT value FROM prosodyarchive WHERE type = 'json'") == [(b'{"xmlns":"urn:xmpp:x"}',)]

    def test_rows_added_after_a_job_began(self, archive: Path) -> None:
        with begun(archive) as database:
            query(
                archive,
                "INSERT INTO prosodyarchive SELECT 1000000, host, user, store, 'new', 5, 'b', 'xml', '<a/>' FROM prosodyarchive LIMIT 1",
            )
            for unit in database.units(7):
                unit.run()
        assert values(archive)[-2:] == [rot13(stanza(50, "s")).encode(), b"<a/>"]


class TestDetection:
    @pytest.mark.parametrize("schema", SCHEMAS)
    def test_each_schema_by_its_tables(self, tmp_path: Path, schema: str) -> None:
        with open_database(str(create(tmp_path / "x", schema, ["<a/>"] * 3))) as database:
            assert database.name == schema
            assert database.count() == (6 if schema == "ejabberd" else 3)
            assert database.identity == f"sqlite+pysqlite:///{tmp_path / 'x'}"

    @pytest.mark.parametrize(
        ("tables", "message"),
        [
            ("CREATE TABLE jids (a); CREATE TABLE logs (b)", "this is the message log of a client (Gajim): it holds text taken out of stanzas, no stanza"),
            ("CREATE TABLE ChatLogs (a)", "this is the message log of a client (Profanity): it holds text taken out of stanzas, no stanza"),
            ("CREATE TABLE archive (id, xml)", "expected the tables prosodyarchive or archive and spool or ofMessageArchive, but the database has archive"),
            ("CREATE TABLE a (b); DROP TABLE a", "expected the tables prosodyarchive or archive and spool or ofMessageArchive, but the database has no table"),
            (PROSODY + EJABBERD, "the database holds the tables of prosody and ejabberd: say which to take"),
        ],
    )  # fmt: skip
    def test_what_is_refused(self, tmp_path: Path, tables: str, message: str) -> None:
        with contextlib.closing(sqlite3.connect(tmp_path / "x")) as database:
            database.executescript(tables)
        with pytest.raises(UnsupportedArchiveError) as caught:
            open_database(str(tmp_path / "x"))
        assert str(caught.value) == message

    @pytest.mark.parametrize("key", [-(1 << 63), "abc", 2.5, b"k"])
    def test_keys_that_are_no_numbers_are_refused(self, tmp_path: Path, key: object) -> None:
        schema = PROSODY.replace("INTEGER PRIMARY KEY AUTOINCREMENT", "INTEGER NOT NULL")
        path = create(tmp_path / "x", schema, [stanza(1)])
        query(path, "UPDATE prosodyarchive SET sort_id = ? WHERE type = 'xml'", key)
        with open_database(str(path)) as database, pytest.raises(UnsupportedArchiveError) as caught:
            database.rehearse()
        assert str(caught.value).startswith(
            "the keys of prosodyarchive, its column sort_id, are expected to be whole numbers above -2**63, but go from "
        )
        with open_database(str(path)) as database, pytest.raises(UnsupportedArchiveError):
            database.begin("job")

    def test_one_of_two_schemas_can_be_named(self, tmp_path: Path) -> None:
        with open_database(str(create(tmp_path / "x", PROSODY + EJABBERD, [])), schema="ejabberd") as database:
            assert database.name == "ejabberd"

    @pytest.mark.parametrize(
        ("schema", "message"),
        [
            ("openfire", "expected the tables ofMessageArchive, but the database has prosody, prosodyarchive, sqlite_sequence"),
            ("tigase", "expected a database schema out of prosody, ejabberd, openfire, got 'tigase'"),
        ],
    )  # fmt: skip
    def test_a_schema_that_is_not_there(self, archive: Path, schema: str, message: str) -> None:
        with pytest.raises(UnsupportedArchiveError) as caught:
            open_database(str(archive), schema=schema)
        assert str(caught.value).replace(", sqlite_sequence", "") == message.replace(", sqlite_sequence", "")

    @pytest.mark.parametrize(
        ("address", "kind", "message"),
        [
            ("oracle://host/x", UnsupportedArchiveError, "expected a database of sqlite, postgresql, mysql or mariadb, got 'oracle'"),
            ("sqlite://", UnsupportedArchiveError, "expected the path of an SQLite file, got a database in memory"),
            ("://", UnsupportedArchiveError, "expected a database URL such as postgresql://user@host/name"),
            ("{dir}/none", ArchiveError, "{dir}/none: No such file or directory"),
            ("{dir}/text", UnsupportedArchiveError, "{dir}/text: this is not an SQLite database"),
        ],
    )  # fmt: skip
    def test_what_is_no_database(self, tmp_path: Path, address: str, kind: type[ArchiveError], message: str) -> None:
        (tmp_path / "text").write_text("SQLite")
        with pytest.raises(kind) as caught:
            open_database(address.format(dir=tmp_path))
        assert str(caught.value) == message.format(dir=tmp_path)
        assert not (tmp_path / "none").exists()


class TestUnits:
    def test_they_cut_the_rows_by_number(self, archive: Path) -> None:
        with begun(archive) as database:
            keys = [unit.key for unit in database.units(20)]
        assert keys == ["prosodyarchive:(0,20]", "prosodyarchive:(20,40]", "prosodyarchive:(40,999999]"]

    def test_and_by_size(self, tmp_path: Path) -> None:
        path = create(tmp_path / "x", "prosody", ["<a>" + "x" * 1_500_000 + "</a>"] * 7)
        with begun(path) as database:
            assert [unit.last for unit in database.units()] == [3, 6, 999_999]

    def test_all_rows_of_one_conversation_are_in_one(self, tmp_path: Path) -> None:
        path = create(tmp_path / "x", "openfire", [stanza(n) for n in range(9)])
        with begun(path) as database:
            assert [(unit.first, unit.last) for unit in database.units(2)] == [(-1, 0), (0, 1), (1, 2), (2, 3)]

    def test_they_need_a_job(self, archive: Path) -> None:
        with open_database(str(archive)) as database, pytest.raises(ArchiveError) as caught:
            next(database.units())
        assert str(caught.value) == "expected a job to have begun, but begin() was not called"

    def test_they_run_in_other_processes(self, archive: Path) -> None:
        with begun(archive) as database, ProcessPoolExecutor(2, get_context("spawn")) as pool:
            for done in [pool.submit(unit.run) for unit in database.units(5)]:
                done.result()
        assert values(archive) == [rot13(stanza(n, "s")).encode() for n in range(1, 51)]

    def test_no_password_is_shown(self) -> None:
        from sqlalchemy import make_url

        from xep419.archive.databases.rows import Column, RowsUnit
        from xep419.archive.databases.schemas import SCHEMAS

        url = make_url("postgresql+psycopg://me:hunter2@host/db?sslpassword=hunter2")
        unit = RowsUnit(url, Column(SCHEMAS[0].tables[0]), 0, 1, Recoding())
        database = Database(url, SCHEMAS[0], (unit.column,), Recoding(), True)
        assert pickle.loads(pickle.dumps(unit)).url.password == "hunter2"
        assert "hunter2" not in repr(unit) + repr(database) + unit.key + database.identity
        assert database.identity == "postgresql+psycopg://me@host/db"


class TestOnce:
    """With an odd number of rotations, a row that is done twice is as it was, and wrong."""

    def test_a_unit_that_is_done_only_tells_what_it_came_to(self, archive: Path) -> None:
        with begun(archive) as database:
            unit = next(database.units(10))
            first = unit.run()
            done = values(archive)
            assert unit.run() == first
        assert values(archive) == done
        assert first.stanzas == 10

    def test_a_range_of_which_a_part_is_done_is_refused(self, archive: Path) -> None:
        with begun(archive) as database:
            unit = next(database.units(10))
            unit.run()
            with pytest.raises(ArchiveError) as caught:
                dataclasses.replace(unit, first=5, last=15).run()
        assert str(caught.value) == "prosodyarchive: rows of (5,15] were done already, as (0,10]"

    def test_another_that_does_the_unit_meanwhile(self, archive: Path) -> None:
        with begun(archive) as database:
            unit = next(database.units(10))
            other = dataclasses.replace(unit, recoding=Meanwhile(rounds_to=1, action=lambda: unit.run()))
            assert other.run() == unit.run()
        assert values(archive)[9:11] == [rot13(stanza(10, "s")).encode(), stanza(11).encode()]

    def test_another_that_does_a_part_of_the_unit_meanwhile(self, archive: Path) -> None:
        with begun(archive) as database:
            unit = next(database.units(10))
            part = dataclasses.replace(unit, first=5, last=15)
            other = dataclasses.replace(unit, recoding=Meanwhile(rounds_to=1, action=lambda: part.run()))
            with pytest.raises(ArchiveError) as caught:
                other.run()
        assert str(caught.value) == "prosodyarchive: rows of (0,10] were done already, as (5,15]"
        assert values(archive)[4:6] == [stanza(5).encode(), rot13(stanza(6, "s")).encode()]

    def test_a_job_goes_on_by_another_name_and_with_other_ranges(self, archive: Path) -> None:
        with begun(archive) as database:
            units = list(database.units(9))
            for unit in (units[1], units[3]):
                unit.run()
        query(archive, "DELETE FROM prosodyarchive WHERE sort_id IN (1, 11, 50)")
        with begun(archive, name="other") as database:
            tallies = [unit.run() for unit in database.units(4)]
        assert sum(tally.stanzas for tally in tallies) == 48  # 11 was done before it was deleted
        assert values(archive) == [rot13(stanza(n, "s")).encode() for n in range(1, 51) if n not in (1, 11, 50)]

    def test_a_job_that_does_something_else_is_refused(self, archive: Path) -> None:
        begun(archive).close()
        with pytest.raises(ArchiveError) as caught:
            begun(archive, rounds_to=2, name="two")
        assert str(caught.value) == (
            "expected to go on with a job that rotates from 0 to 2 rounds, with names upgraded, but the unfinished job 'job'"
            " in the database's table xep419_progress rotates from 0 to 1 rounds, with names upgraded"
        )

    @settings(max_examples=12, deadline=None)
    @given(st.data())
    def test_whatever_is_done_in_whatever_pieces(
        self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
    ) -> None:
        path = create(tmp_path_factory.mktemp("x") / "x", "prosody", [stanza(n) for n in range(1, 26)])
        left = set(range(1, 26))
        for _attempt in range(3):
            with begun(path) as database:
                units = list(database.units(data.draw(st.integers(1, 9))))
                for unit in data.draw(st.lists(st.sampled_from(units), max_size=4)):
                    unit.run()
            gone = data.draw(st.sets(st.integers(1, 25), max_size=4))
            left -= gone
            for number in gone:
                query(path, "DELETE FROM prosodyarchive WHERE sort_id = ?", number)
        run(path, rounds_to=1)
        assert values(path) == [rot13(stanza(n, "s")).encode() for n in sorted(left)]

    @pytest.mark.any_python
    def test_a_process_killed_at_any_instant(self, tmp_path: Path) -> None:
        """Each time it gets a little further; at last it is let through."""
        stanzas = [stanza(n) for n in range(3000)]
        path = create(tmp_path / "x", "prosody", stanzas)
        code = (
            "import sys\nfrom xep419.archive.databases import open_database\n"
            "from xep419.archive.recoding import Recoding\n"
            "database = open_database(sys.argv[1], recoding=Recoding(rounds_to=1))\ndatabase.begin('job')\nprint(flush=True)\n"
            "for unit in database.units(20):\n    unit.run()\n"
        )
        chance = random.Random(419)
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        stages = set()
        for _kill in range(12):
            child = subprocess.Popen([sys.executable, "-c", code, str(path)], env=environment, stdout=subprocess.PIPE)
            with child:
                assert child.stdout is not None
                child.stdout.readline()
                time.sleep(chance.uniform(0, 0.04))
                child.send_signal(signal.SIGKILL)
            stages.add(query(path, "SELECT COUNT(*) FROM xep419_progress")[0][0])
        assert len(stages) > 1  # it was killed in the middle
        run(path, rounds_to=1)
        assert values(path) == [rot13(stanza(n, "s")).encode() for n in range(3000)]


@dataclasses.dataclass(frozen=True)
class Meanwhile(Recoding):
    """Does something once between a unit's reading and its writing."""

    action: object = None

    def stanzas(self, batch: Sequence[bytes]) -> list[bytes]:
        action = self.action
        object.__setattr__(self, "action", None)
        if callable(action):
            action()
        return super().stanzas(batch)


class TestOthersAtWork:
    def meanwhile(self, path: Path, sql: str, rounds_to: int = 1) -> Tally:
        with begun(path) as database:
            unit = next(database.units())
            change = Meanwhile(rounds_to=rounds_to, action=lambda: query(path, sql))
            return dataclasses.replace(unit, recoding=change).run()

    @pytest.mark.parametrize("mode", ["wal", "delete"])
    def test_a_row_changed_meanwhile_is_done_as_it_is_then(self, archive: Path, mode: str) -> None:
        query(archive, f"PRAGMA journal_mode = {mode}")
        tally = self.meanwhile(
            archive, "UPDATE prosodyarchive SET value = '<a xmlns=\"urn:xmpp:new\"/>' WHERE sort_id = 7"
        )
        assert values(archive)[5:8] == [
            rot13(stanza(7 - 1, "s")).encode(),
            b'<n kzyaf="hea:kzccf:arj"/>',
            rot13(stanza(8, "s")).encode(),
        ]
        assert (tally.stanzas, tally.insecure["urn:xmpp:new"], tally.insecure["urn:xmpp:sid:0"]) == (50, 1, 49)

    def test_something_else_changed_meanwhile(self, archive: Path) -> None:
        """Each row's old value is then compared; where nothing changed, it need not be."""
        tally = self.meanwhile(archive, "INSERT INTO prosody VALUES ('x', 'alice', 'roster', 'k', 'json', '{}')")
        assert values(archive) == [rot13(stanza(n, "s")).encode() for n in range(1, 51)]
        assert (tally.stanzas, tally.letters) == (50, 100)

    def test_a_row_that_became_corrupt_meanwhile(self, archive: Path) -> None:
        tally = self.meanwhile(archive, "UPDATE prosodyarchive SET value = '<a>' WHERE sort_id = 7")
        assert values(archive)[6] == b"<a>"
        assert (tally.stanzas, tally.skipped) == (49, 1)

    def test_a_row_deleted_meanwhile(self, archive: Path) -> None:
        tally = self.meanwhile(archive, "DELETE FROM prosodyarchive WHERE sort_id = 7")
        assert (tally.stanzas, tally.left_alone) == (49, {"prosodyarchive: deleted meanwhile": 1})
        assert len(values(archive)) == 49

    def test_a_database_that_stores_something_else_than_was_written(self, archive: Path) -> None:
        query(
            archive,
            "CREATE TRIGGER t AFTER UPDATE ON prosodyarchive WHEN new.sort_id = 7 BEGIN UPDATE prosodyarchive SET value = substr(new.value, 1, 99) WHERE sort_id = 7; END",
        )
        before = values(archive)
        with pytest.raises(RestorationError) as caught:
            run(archive)
        assert str(caught.value) == "prosodyarchive sort_id=7: the database gave back something else than was written"
        assert values(archive) == before

    def test_a_database_that_another_holds(self, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(connections_module._CONNECT, "sqlite", {"timeout": 0.1})
        with begun(archive) as database, contextlib.closing(sqlite3.connect(archive)) as other:
            unit = next(database.units())
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(ArchiveError) as caught:
                unit.run()
            other.rollback()
            assert unit.run().stanzas == 50
        assert str(caught.value) == f"sqlite+pysqlite:///{archive}: database is locked"

    @pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are seen on Linux only")
    def test_a_database_that_another_process_has_open(self, archive: Path) -> None:
        code = "import sqlite3, sys\nx = sqlite3.connect(sys.argv[1])\nx.execute('SELECT * FROM prosody')\nprint(flush=True)\ninput()"
        command = [sys.executable, "-c", code, str(archive)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            other.stdout.readline()
            with pytest.raises(ArchiveError) as caught:
                run(archive)
            with open_database(str(archive)) as database:
                database.begin("job", while_in_use=True)
                assert [unit.run().stanzas for unit in database.units()] == [50]
            other.communicate(b"\n")
        name = Path(os.path.realpath(sys.executable)).name[:15]
        assert str(caught.value).replace(name, "python") == (
            f"{archive}: process {other.pid} (python) has the database open; a server loses messages that it cannot write"
            " at once to an SQLite database: stop it first, or take --while-in-use"
        )

    def test_a_full_disk(self, tmp_path: Path) -> None:
        """By a limit on the file's size, in a process of its own; afterwards the database is as it was."""
        path = create(tmp_path / "x", "prosody", ["<a xmlns='urn:xmpp:x'>" + "é" * 2000 + "</a>"] * 200)
        code = (
            "import os, resource, sys\nfrom xep419.archive.databases import open_database\n"
            "database = open_database(sys.argv[1])\ndatabase.begin('job')\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
            "try:\n    next(database.units()).run()\nexcept Exception as error:\n    print(type(error).__name__, error)\n"
        )
        before = values(path)
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", code, path], env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout.startswith(f"ArchiveError sqlite+pysqlite:///{path}: ")
        assert values(path) == before
        assert run(path).stanzas == 200

    def test_a_damaged_database(self, archive: Path) -> None:
        data = archive.read_bytes()
        archive.write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))
        with pytest.raises(ArchiveError) as caught:
            run(archive)
        assert str(caught.value) == f"sqlite+pysqlite:///{archive}: database disk image is malformed"


class TestStatements:
    @given(st.lists(st.integers(0, 150_000), min_size=1, max_size=130))
    def test_rows_go_to_mysql_in_pieces_of_bounded_size(self, sizes: list[int]) -> None:
        rows = [(key, "x" * size) for key, size in enumerate(sizes)]
        news = ["y" * size for size in sizes]
        pieces = list(statements_module._pieces(rows, news))
        assert [row for some, _news in pieces for row in some] == rows
        assert [new for _rows, some in pieces for new in some] == news
        for some, _news in pieces:
            assert 1 <= len(some) <= 50
            assert len(some) == 1 or sum(2 * len(value) for _key, value in some) <= 200_000


class TestProof:
    """One comparison for many rows says what one for each does."""

    @pytest.mark.parametrize("recoding", [Recoding(), Recoding(rounds_to=1), Recoding(rounds_from=1, rounds_to=1)])
    def test_letters_of_all(self, recoding: Recoding) -> None:
        originals = [recoding.plain(stanza(n).encode()) for n in range(20)]
        assert recoding.prove_all(originals, recoding.stanzas(originals)) == 40
        assert recoding.prove_all([], []) == 0

    @pytest.mark.parametrize(
        ("originals", "recoded"),
        [
            ([b"<a/>", b"<b/>"], [b"<a/><", b"b/>"]),
            ([b"<a/>", b"<b/>"], [b"<a/>", b"<c/>"]),
            ([b"http", b":"], [b"https", b":"]),
            ([b"a\0", b"b"], [b"a", b"\0b"]),
            ([b"a", b"b\0c"], [b"a\0b", b"c"]),
        ],
    )
    def test_bytes_that_moved_from_one_to_another(self, originals: list[bytes], recoded: list[bytes]) -> None:
        with pytest.raises(RestorationError):
            Recoding().prove_all(originals, recoded)

    def test_the_row_is_told(self, archive: Path) -> None:
        @dataclasses.dataclass(frozen=True)
        class Broken(Recoding):
            def stanzas(self, batch: Sequence[bytes]) -> list[bytes]:
                return [data.replace(b"see", b"sea") if b"id='7'" in data else data for data in super().stanzas(batch)]

        before = values(archive)
        with begun(archive, 2) as database:
            unit = dataclasses.replace(next(database.units()), recoding=Broken())
            with pytest.raises(RestorationError) as caught:
                unit.run()
        assert str(caught.value) == (
            "prosodyarchive sort_id=7: expected byte 0x65 at this place of the restored input, got 0x61 (at byte 24)"
        )
        assert values(archive) == before


class TestWithoutAJob:
    def test_stanzas_are_rotated_back_and_come_with_their_places(self, tmp_path: Path) -> None:
        path = create(tmp_path / "x", "ejabberd", [rot13(stanza(1)), "\x01\x02"])
        with open_database(str(path), recoding=Recoding(rounds_from=1)) as database:
            assert list(database.stanzas()) == [
                ArchivedStanza("archive id=1", stanza(1).encode()),
                ArchivedStanza("archive id=2", b"\x01\x02"),
                ArchivedStanza("spool seq=1", stanza(1).encode()),
                ArchivedStanza("spool seq=2", b"\x01\x02"),
            ]

    @pytest.mark.parametrize("schema", SCHEMAS)
    def test_a_rehearsal_changes_nothing_and_tells_what_a_job_comes_to(self, tmp_path: Path, schema: str) -> None:
        path = create(tmp_path / "x", schema, [*(stanza(n) for n in range(20)), "<a>", "\x01"])
        before = dump(path)
        with open_database(str(path)) as database:
            tally = database.rehearse()
        assert dump(path) == before
        assert tally == run(path)
        assert tally.skipped == (4 if schema == "ejabberd" else 2)

    def test_names_elsewhere_are_told(self, tmp_path: Path) -> None:
        path = create(tmp_path / "e", "ejabberd", [])
        for feature in ("urn:xmpp:ping", "HTTP://jabber.org/x", "vcard-temp", "urn:xmpps:ping"):
            query(path, "INSERT INTO caps_features VALUES ('http://client', 'x', ?)", feature)
        query(path, "INSERT INTO pubsub_node VALUES ('x', 'urn:xmpp:avatar:data', 1)")
        query(path, "INSERT INTO pubsub_item VALUES (1, 'x', '<data xmlns=''urn:xmpp:avatar:data''/>')")
        with open_database(str(path)) as database:
            assert database.elsewhere() == [
                ("caps_features.feature", 2),
                ("pubsub_node.node", 1),
                ("pubsub_item.payload", 1),
            ]
        path = create(tmp_path / "p", "prosody", ["<a xmlns='urn:xmpp:x'/>"])
        query(
            path,
            "INSERT INTO prosody VALUES ('x', 'alice', 'pep', 'urn:xmpp:avatar:data', 'json', '{\"name\":\"http://x\"}')",
        )
        query(path, "UPDATE prosodyarchive SET store = 'pep_urn:xmpp:avatar:data' WHERE sort_id = 1")
        with open_database(str(path)) as database:
            assert database.elsewhere() == [
                ("prosody.key", 1),
                ("prosody.value", 1),
                ("prosodyarchive.store", 1),
            ]

    def test_a_key_without_an_index_gets_one_while_the_job_lasts(self, tmp_path: Path) -> None:
        schema = PROSODY.replace("INTEGER PRIMARY KEY AUTOINCREMENT", "INTEGER NOT NULL")
        path = create(tmp_path / "x", schema, [stanza(n) for n in range(5)])
        sql = "SELECT name FROM sqlite_master WHERE name LIKE 'xep419%' ORDER BY name"
        with begun(path) as database:
            assert query(path, sql) == [(b"xep419_progress",), (b"xep419_prosodyarchive_sort_id",)]
            begun(path).close()  # again, after a crash
            assert len(list(database.stanzas())) == 5
            database.finish()
        assert query(path, sql) == []


def test_a_real_prosodys_archive(shared: Path, tmp_path: Path) -> None:
    path = tmp_path / "prosody.sqlite"
    path.write_bytes((shared / "archives" / "prosody-sqlite" / "prosody.sqlite").read_bytes())
    before = values(path)
    tally = run(path)
    assert tally.stanzas == len(before) > 0
    assert (tally.skipped, len(b"".join(values(path)))) == (0, len(b"".join(before)) + tally.letters)


def test_the_extra_is_named_where_sqlalchemy_is_missing() -> None:
    code = (
        "import sys\nsys.modules['sqlalchemy'] = None\ntry:\n    import xep419.archive.databases\n"
        "except ImportError as error:\n    print(error)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("xep419.archive.databases needs SQLAlchemy 2 (")
    assert done.stdout.endswith("): pip install 'xep419[archive]'\n")


def test_the_extra_is_named_where_a_driver_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("psycopg", "pymysql"):
        monkeypatch.setitem(sys.modules, module, None)
    for kind, extra in {"postgresql": "postgresql", "mysql": "mysql", "mariadb": "mysql"}.items():
        with pytest.raises(ImportError) as caught:
            open_database(f"{kind}://missing.example/x")
        assert str(caught.value).endswith(f": pip install 'xep419[{extra}]'")


@pytest.fixture(autouse=True)
def _no_connection_outlives_its_test() -> Iterator[None]:
    yield
    connections_module._engine_of.cache_clear()
