"""SQL archives on PostgreSQL and MariaDB, with ejabberd's and Prosody's schemas, whatever happens to the server."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import random
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed")

from archived import rot13, stanza

from xep419.archive.databases import Database, open_database
from xep419.archive.recoding import Recoding
from xep419.archive.tally import Skip, Tally
from xep419.errors import ArchiveError, UnsupportedArchiveError

from . import sql_servers
from .servers import NotInstalledError
from .sql_servers import SQLServer

pytestmark = [pytest.mark.interop, pytest.mark.any_isa]

PROSODY = {
    "postgresql": """CREATE TABLE "prosodyarchive" ("sort_id" BIGSERIAL PRIMARY KEY, "host" TEXT NOT NULL,
        "user" TEXT NOT NULL, "store" TEXT NOT NULL, "key" TEXT NOT NULL, "when" INTEGER NOT NULL, "with" TEXT NOT NULL,
        "type" TEXT NOT NULL, "value" TEXT NOT NULL)""",
    "mariadb": """CREATE TABLE `prosodyarchive` (`sort_id` INTEGER PRIMARY KEY AUTO_INCREMENT, `host` TEXT NOT NULL,
        `user` TEXT NOT NULL, `store` TEXT NOT NULL, `key` TEXT NOT NULL, `when` INTEGER NOT NULL, `with` TEXT NOT NULL,
        `type` TEXT NOT NULL, `value` MEDIUMTEXT NOT NULL) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin""",
}
OPENFIRE = """CREATE TABLE ofMessageArchive (messageID BIGINT NULL, conversationID BIGINT NOT NULL, fromJID VARCHAR(255),
    sentDate BIGINT NOT NULL, stanza TEXT NULL, body TEXT)"""
_numbers = itertools.count()


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> Iterator[SQLServer]:
    pytest.importorskip({"postgresql": "psycopg", "mariadb": "pymysql"}[request.param])
    with contextlib.ExitStack() as running:
        try:
            found = running.enter_context(getattr(sql_servers, request.param)())
        except NotInstalledError as error:
            if os.environ.get("CI"):
                pytest.fail(str(error))
            pytest.skip(str(error))
        yield found


@pytest.fixture
def database(server: SQLServer) -> str:
    """The name of an empty database."""
    name = f"archive{next(_numbers)}"
    server.run(server.first, f"CREATE DATABASE {name}{' CHARACTER SET utf8mb4' if server.name == 'mariadb' else ''}")
    return name


@pytest.fixture
def archive(server: SQLServer, database: str) -> str:
    """The name of a Prosody's database with fifty stanzas."""
    return fill_prosody(server, database, 50)


def fill_prosody(server: SQLServer, database: str, count: int, *options: tuple[str, str]) -> str:
    create = PROSODY[server.name]
    for old, new in options:
        assert old in create
        create = create.replace(old, new)
    server.run(database, create)
    quote = '"' if server.name == "postgresql" else "`"
    columns = ", ".join(f"{quote}{name}{quote}" for name in "host user store key when with type value".split())
    rows: list[tuple[object, ...]] = [
        ("x", "alice", "archive", f"k{n}", 5, "bob@x", "xml", stanza(n)) for n in range(1, count + 1)
    ]
    server.run(database, f"INSERT INTO prosodyarchive ({columns}) VALUES ({', '.join(['%s'] * 8)})", rows)
    return database


def opened(server: SQLServer, database: str, rounds_to: int = 1) -> Database:
    return open_database(f"{server.url}/{database}", recoding=Recoding(rounds_to=rounds_to))


def go_on(found: Database, rows: int = 2000) -> Tally:
    tally = Tally()
    found.begin("job")
    for unit in found.units(rows):
        tally.add(unit.run())
    found.finish()
    return tally


def values(server: SQLServer, database: str) -> list[str]:
    return server.run(database, "SELECT value FROM prosodyarchive ORDER BY sort_id")


def secured(first: int, last: int) -> list[str]:
    return [rot13(stanza(n, "s")) for n in range(first, last + 1)]


@pytest.mark.parametrize("new", [False, True], ids=["old schema", "new schema"])
def test_ejabberds_own_schemas(server: SQLServer, database: str, new: bool) -> None:
    short = {"postgresql": "pg", "mariadb": "mysql"}[server.name]
    script = sql_servers.EJABBERD_SCHEMAS / f"{short}{'.new' if new else ''}.sql"
    if not script.exists():
        pytest.fail(str(script)) if os.environ.get("CI") else pytest.skip("ejabberd is not installed")
    server.load(database, script)
    host, value = (", server_host", ", 'x'") if new else ("", "")
    rows: list[tuple[object, ...]] = [(stanza(n), "http://x urn:xmpp:x") for n in range(1, 41)]
    server.run(
        database,
        f"INSERT INTO archive (username, timestamp, peer, bare_peer, xml, txt{host}) VALUES ('a', 5, 'b', 'b', %s, %s{value})",
        rows,
    )
    server.run(database, "UPDATE archive SET xml = '\x01packed' WHERE id = 3")
    server.run(database, f"INSERT INTO spool (username, xml{host}) VALUES ('a', %s{value})", [row[:1] for row in rows])
    server.run(database, "INSERT INTO caps_features (node, subnode, feature) VALUES ('n', 's', 'urn:xmpp:ping')")
    before = tables_and_indexes(server, database)
    with opened(server, database) as found, found.lock():
        assert (found.name, found.count()) == ("ejabberd", 80)
        assert [place for place, _data in found.stanzas()] == [
            *(f"archive id={n}" for n in range(1, 41)), *(f"spool seq={n}" for n in range(1, 41)),
        ]  # fmt: skip
        rehearsed = found.rehearse()
        tally = go_on(found, 7)
        assert found.elsewhere() == [("caps_features.feature", 1)]
    assert tally == rehearsed
    reason = "the stanza is in the compressed form of ejabberd's compress_xml, which cannot be rewritten"
    assert (tally.stanzas, tally.letters, tally.skips) == (79, 158, [Skip("archive id=3", reason)])
    assert server.run(database, "SELECT xml FROM archive ORDER BY id") == [
        *secured(1, 2),
        "\x01packed",
        *secured(4, 40),
    ]
    assert server.run(database, "SELECT xml FROM spool ORDER BY seq") == secured(1, 40)
    assert set(server.run(database, "SELECT txt FROM archive")) == {"http://x urn:xmpp:x"}
    assert tables_and_indexes(server, database) == before


def tables_and_indexes(server: SQLServer, database: str) -> list[str]:
    if server.name == "postgresql":
        return sorted(server.run(database, "SELECT relname::text FROM pg_class WHERE relkind IN ('r', 'i')"))
    tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
    indexes = "SELECT index_name FROM information_schema.statistics WHERE table_schema = DATABASE()"
    return sorted(server.run(database, tables) + server.run(database, indexes))


def test_openfires_names_as_the_database_writes_them(server: SQLServer, database: str) -> None:
    server.run(database, OPENFIRE)
    rows: list[tuple[object, ...]] = [(n, n // 3, stanza(n)) for n in range(1, 21)]
    server.run(database, "INSERT INTO ofMessageArchive VALUES (%s, %s, 'a', 5, %s, '')", rows)
    server.run(database, "INSERT INTO ofMessageArchive VALUES (21, 7, 'a', 5, NULL, '')")
    with opened(server, database) as found:
        tally = go_on(found, 4)
    assert (tally.stanzas, sum(tally.left_alone.values())) == (20, 1)
    assert server.run(database, "SELECT stanza FROM ofMessageArchive ORDER BY messageID") == [*secured(1, 20), None]


def test_a_server_killed_again_and_again(server: SQLServer, database: str) -> None:
    """Nothing is half done and nothing is done twice: an odd number of rotations would show it."""
    count = 6000
    fill_prosody(server, database, count)
    chance = random.Random(419)
    for _kill in range(3):
        killer = threading.Timer(chance.uniform(0.05, 0.3), server.kill)
        with opened(server, database) as found:
            found.begin("job")
            killer.start()
            with pytest.raises(ArchiveError) as caught:
                run_all(found)
            assert "secret" not in str(caught.value)
            killer.join()
        server.start()
    assert 20 <= len(server.run(database, "SELECT of_table FROM xep419_progress")) < count / 20
    with opened(server, database) as found:
        tally = go_on(found, 500)
    assert values(server, database) == secured(1, count)
    assert (tally.stanzas, tally.letters, tally.skipped) == (count, 2 * count, 0)


def run_all(found: Database) -> None:
    for unit in found.units(20):
        unit.run()


@pytest.mark.parametrize("server", ["postgresql"], indirect=True)
def test_an_index_that_was_not_finished_is_made_anew(server: SQLServer, database: str) -> None:
    """A job that is killed while PostgreSQL makes the index leaves one that is listed and never used."""
    fill_prosody(server, database, 5, ("BIGSERIAL PRIMARY KEY", "BIGSERIAL"))
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'xep419_prosodyarchive_sort_id'::regclass"
    with opened(server, database) as found:
        found.begin("job")
        assert server.run(database, valid) == [True]
        server.run(database, valid.replace("SELECT indisvalid FROM pg_index", "UPDATE pg_index SET indisvalid = false"))
        found.begin("job")
        assert server.run(database, valid) == [True]
        assert go_on(found).stanzas == 5
    assert server.run(database, "SELECT 1 FROM pg_class WHERE relname LIKE 'xep419%'") == []


def test_two_jobs_refuse_each_other(server: SQLServer, archive: str) -> None:
    with opened(server, archive) as one, opened(server, archive) as two:
        with one.lock(), pytest.raises(ArchiveError) as caught, two.lock():
            pass
        with two.lock():
            pass
    assert str(caught.value) == f"{one.identity}: expected no other job on the database, but one is running"


def test_a_wrong_password_is_not_told(server: SQLServer, archive: str) -> None:
    with pytest.raises(ArchiveError) as caught:
        open_database(server.url.replace("secret", "hunter2") + f"/{archive}")
    assert "hunter2" not in str(caught.value)
    assert "password" in str(caught.value)


@dataclasses.dataclass(frozen=True)
class Meanwhile(Recoding):
    """Does something each time between reading and writing."""

    action: Callable[[], object] = lambda: None

    def stanzas(self, batch: Sequence[bytes]) -> list[bytes]:
        self.action()
        return super().stanzas(batch)


def run_while(server: SQLServer, archive: str, action: Callable[[], object]) -> Tally:
    with opened(server, archive) as found:
        found.begin("job")
        unit = next(found.units())
        tally = dataclasses.replace(unit, recoding=Meanwhile(rounds_to=1, action=action)).run()
        found.finish()
    return tally


@pytest.mark.parametrize("change", ["UPPER(value)", "CONCAT(value, ' ')"])
def test_a_row_that_changes_a_little_is_seen(server: SQLServer, archive: str, change: str) -> None:
    """MySQL's own comparison would take it for the old one."""
    server.run(archive, "UPDATE prosodyarchive SET value = '<a>x</a>' WHERE sort_id = 7")
    todo = [lambda: server.run(archive, f"UPDATE prosodyarchive SET value = {change} WHERE sort_id = 7")]
    tally = run_while(server, archive, lambda: todo.pop()() if todo else None)
    assert values(server, archive)[6] == {"U": "<N>K</N>", "C": "<n>k</n> "}[change[0]]
    assert tally.stanzas == 50


def test_a_row_that_keeps_changing_is_given_up(server: SQLServer, archive: str) -> None:
    new = itertools.count()
    tally = run_while(
        server,
        archive,
        lambda: server.run(archive, f"UPDATE prosodyarchive SET value = '<a{next(new)}/>' WHERE sort_id = 7"),
    )
    assert tally.skips == [Skip("prosodyarchive sort_id=7", "the row was changed by another 5 times meanwhile")]
    assert values(server, archive) == [*secured(1, 6), f"<a{next(new) - 1}/>", *secured(8, 50)]


def test_a_column_without_room(server: SQLServer, database: str) -> None:
    """ejabberd issue 2213: MySQL cuts TEXT off after 65,535 bytes, and says nothing unless it is strict."""
    old, new, fits, over = {
        "postgresql": (
            '"value" TEXT',
            '"value" VARCHAR(1000)',
            1000,
            "1000 characters, but the stanza would have 1001",
        ),
        "mariadb": ("`value` MEDIUMTEXT", "`value` TEXT", 65_535, "65535 bytes, but the stanza would have 65536"),
    }[server.name]
    fill_prosody(server, database, 2, (old, new))
    start, end = "<a xmlns='urn:xmpp:x'>", "</a>"
    letter = 1 if server.name == "postgresql" else 2
    room = fits - len(start) - len(end)
    for number, size in enumerate((room, room - 1), 1):
        text = f"{start}{'é' * (size // letter)}{'x' * (size % letter)}{end}"
        server.run(database, "UPDATE prosodyarchive SET value = %s WHERE sort_id = %s", [(text, number)])
    with opened(server, database) as found:
        tally = go_on(found)
    assert tally.skips == [Skip("prosodyarchive sort_id=1", f"the column holds {over}")]
    assert (tally.stanzas, tally.letters) == (1, 1)


def test_unsafe_databases_are_refused(server: SQLServer, database: str) -> None:
    if server.name == "mariadb":
        fill_prosody(server, database, 1, (") CHARACTER", ") ENGINE=MyISAM CHARACTER"))
        message = "table prosodyarchive is kept by MyISAM, which has no transactions: convert it first (ALTER TABLE prosodyarchive ENGINE=InnoDB)"
    else:
        server.run(database, "CREATE DATABASE ascii TEMPLATE template0 ENCODING SQL_ASCII LOCALE 'C'")
        database = fill_prosody(server, "ascii", 1)
        message = (
            "the database's encoding is SQL_ASCII: it does not say what its text is, and Prosody and ejabberd use UTF8"
        )
    with pytest.raises(UnsupportedArchiveError) as caught:
        opened(server, database)
    assert str(caught.value) == message


@pytest.mark.parametrize("server", ["mariadb"], indirect=True)
def test_utf_8_that_was_stored_as_latin1(server: SQLServer, database: str) -> None:
    fill_prosody(server, database, 0, ("utf8mb4 COLLATE utf8mb4_bin", "latin1"))
    text = "<a xmlns='urn:xmpp:x'>é☃</a>".encode()
    row = "INSERT INTO prosodyarchive VALUES (1, 'x', 'alice', 'archive', 'k', 5, 'bob', 'xml', %s)"
    server.run(database, row, [(text.decode("cp1252"),)])
    with opened(server, database, 2) as found:
        assert go_on(found).stanzas == 1
    stored = server.run(database, "SELECT CAST(value AS BINARY) FROM prosodyarchive")
    assert stored == ["<a xmlns='urn:xmpps:x'>é☃</a>".encode()]
