"""The statements by which rows are read and written, as each database takes them fastest. Knows nothing of values.

A row is written only where it still holds its old value. One statement writes many rows: a statement for each costs a
server more than all the rest, and SQLite half as much again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .connections import Connection
from .schemas import StanzaTable

Row = Sequence[Any]  # the identity's values, then the stanza
Wanted = Sequence[Row]  # the identity's values, the old stanza, the new one

#: rows of one statement to MySQL, and about how many characters it may have: old servers refuse more than 1 MiB
_MYSQL_ROWS = 200
_MYSQL_SIZE = 200_000


def selection(connection: Connection, table: StanzaTable, what: str = "") -> tuple[str, tuple[str, ...]]:
    """``SELECT`` of the identity and the stanza, or of ``what``, up to and with a ``WHERE`` that more may follow."""
    columns = what or ", ".join(map(connection.quoted, (*table.identity, table.stanza)))
    condition, values = _stanzas(connection, table)
    return f"SELECT {columns} FROM {connection.quoted(table.name)} WHERE {condition}", values


def _stanzas(connection: Connection, table: StanzaTable) -> tuple[str, tuple[str, ...]]:
    """The condition for rows that hold a stanza."""
    if table.only is None:
        return "1 = 1", ()
    return f"{connection.quoted(table.only[0])} = ?", table.only[1:]


def read(connection: Connection, table: StanzaTable, first: int, last: int) -> Sequence[Row]:
    """The rows with keys in (first, last], in order."""
    start, values = selection(connection, table)
    key = connection.quoted(table.key)
    return connection.select(f"{start} AND {key} > ? AND {key} <= ? ORDER BY {key}", *values, first, last)


def update(
    connection: Connection, table: StanzaTable, wanted: Wanted, *, loose: bool = False, untouched: bool = False
) -> int:
    """Writes each new value over its old one; how many rows still held that. To be called in a transaction.

    :param wanted: at least one value differs in each; in the order of their keys.
    :param loose: whether the database's comparison takes values for the same that are not.
    :param untouched: nothing in the database can have changed since the old values were read.
    """
    if not wanted:
        return 0
    if connection.dialect == "postgresql":
        return _update_from_arrays(connection, table, wanted)
    if connection.dialect == "mysql":
        return sum(_update_from_union(connection, table, some, loose) for some in _pieces(wanted))
    if untouched:
        return _update_by_function(connection, table, wanted)
    stanza = connection.quoted(table.stanza)
    names = (*map(connection.quoted, table.identity), stanza)
    held = " AND ".join(f"{name} = ?{number}" for number, name in enumerate(names, 1))
    sql = f"UPDATE {connection.quoted(table.name)} SET {stanza} = ?{len(names) + 1} WHERE {held}"
    return connection.execute_many(sql, wanted)


def _update_by_function(connection: Connection, table: StanzaTable, wanted: Wanted) -> int:
    """One pass over the range, in which SQLite asks for each row's new value; the old one need not be compared."""
    news: dict[Any, Any]
    new: Callable[..., Any]
    if table.beside:
        news = {tuple(row[:-2]): row[-1] for row in wanted}
        new, is_wanted = lambda *identity: news[identity], lambda *identity: identity in news
    else:
        news = {row[0]: row[-1] for row in wanted}
        new, is_wanted = news.__getitem__, news.__contains__
    connection.register("xep419_new", new)
    connection.register("xep419_is_wanted", is_wanted)
    identity = ", ".join(map(connection.quoted, table.identity))
    stanza, key = connection.quoted(table.stanza), connection.quoted(table.key)
    condition, values = _stanzas(connection, table)
    return connection.execute(
        f"UPDATE {connection.quoted(table.name)} SET {stanza} = xep419_new({identity}) WHERE {condition}"
        f" AND {key} >= ? AND {key} <= ? AND xep419_is_wanted({identity})",
        *values,
        wanted[0][0],
        wanted[-1][0],
    )


def _update_from_arrays(connection: Connection, table: StanzaTable, wanted: Wanted) -> int:
    """An array for each column; the range is told too, so that no plan goes through the whole table."""
    kind = "bytea" if isinstance(wanted[0][-1], bytes) else "text"
    kinds = [*["bigint"] * len(table.identity), kind, kind]
    names = [f"c{number}" for number in range(len(kinds))]
    columns = [connection.quoted(name) for name in (*table.identity, table.stanza)]
    arrays = ", ".join(f"?::{each}[]" for each in kinds)
    held = " AND ".join(f"held.{column} = wanted.{name}" for column, name in zip(columns, names, strict=False))
    sql = (
        f"UPDATE {connection.quoted(table.name)} AS held SET {columns[-1]} = wanted.{names[-1]}"
        f" FROM unnest({arrays}) AS wanted ({', '.join(names)})"
        f" WHERE {held} AND held.{columns[0]} >= ? AND held.{columns[0]} <= ?"
    )
    return connection.execute(sql, *map(list, zip(*wanted, strict=True)), wanted[0][0], wanted[-1][0])


def _update_from_union(connection: Connection, table: StanzaTable, wanted: Wanted, loose: bool) -> int:
    """A table made of the parameters, which ``STRAIGHT_JOIN`` has gone through first: by the key, to each row alone."""
    names = [f"c{number}" for number in range(len(wanted[0]))]
    columns = [connection.quoted(name) for name in (*table.identity, table.stanza)]
    same = [f"held.{column} = wanted.{name}" for column, name in zip(columns, names, strict=False)]
    if loose:
        same[-1] = f"CAST(CONVERT(held.{columns[-1]} USING utf8mb4) AS BINARY) = CAST(wanted.{names[-2]} AS BINARY)"
    first = "SELECT " + ", ".join(f"? AS {name}" for name in names)
    other = " UNION ALL SELECT " + ", ".join("?" for _name in names)
    sql = (
        f"UPDATE ({first}{other * (len(wanted) - 1)}) AS wanted STRAIGHT_JOIN {connection.quoted(table.name)} AS held"
        f" ON {' AND '.join(same)} SET held.{columns[-1]} = wanted.{names[-1]}"
    )
    return connection.execute(sql, *(value for row in wanted for value in row))


def _pieces(wanted: Wanted) -> Iterator[Wanted]:
    """Some rows at a time; a row that is larger than all that by itself."""
    start = size = 0
    for end, row in enumerate(wanted):
        size += len(row[-2]) + len(row[-1])
        if end > start and (size > _MYSQL_SIZE or end - start == _MYSQL_ROWS):
            yield wanted[start:end]
            start, size = end, len(row[-2]) + len(row[-1])
    yield wanted[start:]
