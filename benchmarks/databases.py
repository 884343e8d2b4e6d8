"""Rows per second through an SQL archive: ``python benchmarks/databases.py [ROWS …] [--jobs N] [--url URL]``.

On SQLite, or in an empty database on a server. The archive is Prosody's, of rows of about 300 bytes with two insecure
names each. Each size is measured with and without verification; the rates of two sizes tell whether the time is linear.
What is done to each row is judged by tests, not here; that all were done is checked.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import sqlalchemy
from sqlalchemy.dialects.mysql import LONGTEXT

from xep419.archive.databases import RowsUnit, open_database
from xep419.archive.databases.connections import database_url
from xep419.archive.recoding import Recoding
from xep419.archive.tally import Tally

SCHEMA = """
CREATE TABLE prosodyarchive (sort_id INTEGER PRIMARY KEY AUTOINCREMENT, host TEXT NOT NULL, user TEXT NOT NULL,
    store TEXT NOT NULL, key TEXT NOT NULL, "when" INTEGER NOT NULL, "with" TEXT NOT NULL, type TEXT NOT NULL,
    value TEXT NOT NULL);
CREATE UNIQUE INDEX prosodyarchive_index ON prosodyarchive (host, user, store, key);
CREATE INDEX prosodyarchive_with_when ON prosodyarchive (host, user, store, "with", "when");
"""
STANZA = (
    "<message type='chat' to='bob@x.example' from='alice@x.example/t1' id='0f930655e98f4c1fafb4f79d{0:08d}'>"
    "<body>hello {0} see http://example.org/ &amp; urn:xmpp:text café</body>"
    "<origin-id id='oid{0}' xmlns='urn:xmpp:sid:0'/><request xmlns='urn:xmpp:receipts'/></message>"
)
COLUMNS = ("sort_id", "host", "user", "store", "key", "when", "with", "type", "value")


def row(n: int) -> tuple[object, ...]:
    return n, "x", "alice", "archive", f"key{n}", 1_795_366_844 + n, "bob@x.example", "xml", STANZA.format(n)


def create(path: Path, rows: int) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.executescript(SCHEMA)
        insert = f"INSERT INTO prosodyarchive VALUES ({', '.join('?' * len(COLUMNS))})"
        database.executemany(insert, map(row, range(1, rows + 1)))


@contextlib.contextmanager
def created(url: str, rows: int) -> Iterator[str]:
    """The same on a server, for as long as it lasts; fails where such a table is already."""
    text = sqlalchemy.Text().with_variant(LONGTEXT, "mysql", "mariadb")
    names = [column for column in COLUMNS if column not in ("sort_id", "when")]
    columns = [sqlalchemy.Column(name, text, nullable=False) for name in names]
    key = sqlalchemy.Column("sort_id", sqlalchemy.BigInteger, primary_key=True)
    table = sqlalchemy.Table(
        "prosodyarchive", sqlalchemy.MetaData(), key, sqlalchemy.Column("when", sqlalchemy.BigInteger), *columns
    )
    engine = sqlalchemy.create_engine(database_url(url))
    table.create(engine)
    try:
        for first in range(1, rows + 1, 5000):
            some = [dict(zip(COLUMNS, row(n), strict=True)) for n in range(first, min(first + 5000, rows + 1))]
            with engine.begin() as connection:
                connection.execute(table.insert(), some)
        yield url
    finally:
        table.drop(engine)
        engine.dispose()


def run(address: str, jobs: int, *, verify: bool) -> tuple[Tally, float]:
    tally = Tally()
    with contextlib.ExitStack() as open_, open_database(address, recoding=Recoding(), verify=verify) as database:
        begun = time.perf_counter()
        database.begin("benchmark")
        tallies: Iterator[Tally]
        if jobs == 1:
            tallies = map(RowsUnit.run, database.units())
        else:
            context = multiprocessing.get_context("spawn")
            tallies = open_.enter_context(ProcessPoolExecutor(jobs, context)).map(RowsUnit.run, database.units())
        for part in tallies:
            tally.add(part)
        taken = time.perf_counter() - begun
        database.finish()
    return tally, taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0] if __doc__ else None)
    parser.add_argument("rows", type=int, nargs="*", default=[100_000, 400_000])
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--url", help="of an empty database on a server")
    options = parser.parse_args()
    for rows in options.rows:
        for verify in (True, False):
            with contextlib.ExitStack() as made:
                if options.url:
                    address = made.enter_context(created(options.url, rows))
                else:
                    address = str(Path(made.enter_context(tempfile.TemporaryDirectory()), "prosody.sqlite"))
                    create(Path(address), rows)
                tally, taken = run(address, options.jobs, verify=verify)
            assert (tally.stanzas, tally.letters, tally.skipped) == (rows, 2 * rows, 0)
            how = "verified" if verify else "not verified"
            print(f"{rows:9,d} rows, {options.jobs} jobs, {how:12s}: {rows / taken:9,.0f} rows/s")


if __name__ == "__main__":
    main()
