"""What two SQLite files hold beside stanzas, compared: the tables, and every value that no job may change."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ...errors import ArchiveError
from .schemas import StanzaTable
from .sqlite_files import open_to_read

_VIRTUAL = "CREATE VIRTUAL TABLE"  # its rows stand in tables of their own, which are compared


def differences(source: str, target: str, tables: Sequence[StanzaTable]) -> Iterator[tuple[str, str]]:
    """The tables in which ``target`` is not ``source``, and how.

    :param source: an SQLite file's path; so ``target``.
    :param tables: those with stanzas, whose texts and bytes are for others to compare.
    :raises ArchiveError: a file cannot be read.
    """
    stanzas = {table.name: table for table in tables}
    try:
        with contextlib.closing(_open(source)) as one, contextlib.closing(_open(target)) as other:
            if _schema(one) != _schema(other):
                yield "the schema", "the tables, indexes, views and triggers are not the same"
                return
            for kind, name, sql in _schema(one):
                if kind != "table" or str(sql).upper().startswith(_VIRTUAL):
                    continue
                select = f"SELECT {_selected(_columns(one, name), stanzas.get(name))} FROM {_quoted(name)} NOT INDEXED"
                if (reason := _difference(one.execute(select), other.execute(select))) is not None:
                    yield name, reason
            if (fault := _fault(other)) is not None and _fault(one) is None:
                yield "the file", fault
    except (sqlite3.Error, UnicodeError) as error:  # SQLite quotes what is broken
        raise ArchiveError(f"{source}, {target}: they cannot be compared: {error}") from error


def _open(path: str) -> sqlite3.Connection:
    connection = open_to_read(path)
    connection.text_factory = lambda stored: stored.decode("utf-8", "surrogateescape")
    return connection


def _schema(connection: sqlite3.Connection) -> list[tuple[str, str, str | None]]:
    return connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name").fetchall()


def _fault(connection: sqlite3.Connection) -> str | None:
    """What is broken within the file, such as an index that does not lead to its rows."""
    ((found,),) = connection.execute("PRAGMA integrity_check(1)")
    return None if found == "ok" else " ".join(str(found).split())


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    """Those that are stored: generated ones may follow the stanza."""
    return [_quoted(name) for _id, name, *_rest in connection.execute(f"PRAGMA table_info({_quoted(table)})")]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _selected(columns: Iterable[str], table: StanzaTable | None) -> str:
    """Every column; of that of the stanzas only what is none."""
    if table is None:
        return ", ".join(columns)
    stanza = _quoted(table.stanza)
    test = f"TYPEOF({stanza}) IN ('text', 'blob')"
    if table.only is not None:
        column, value = table.only
        test += f" AND {_quoted(column)} = '{value}'"
    others = [column for column in columns if column != stanza]
    return ", ".join([*others, f"TYPEOF({stanza})", f"CASE WHEN {test} THEN NULL ELSE {stanza} END"])


def _difference(rows: Iterable[tuple[Any, ...]], others: Iterable[tuple[Any, ...]]) -> str | None:
    for number, (row, other) in enumerate(itertools.zip_longest(rows, others), 1):
        if row is None or other is None:
            return f"it has {'fewer' if other is None else 'more'} rows"
        if row != other:
            return f"row {number} is not the same"
    return None
