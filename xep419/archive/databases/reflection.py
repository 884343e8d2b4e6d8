"""What a database says of its tables: columns and what they hold, indexes, engines. Changes nothing but indexes."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy

from ...errors import UnsupportedArchiveError
from .connections import Connection
from .rows import Capacity, Column
from .schemas import SCHEMAS, Schema, StanzaTable, detect

#: an insecure name alone, as Prosody's name of a store, or in quotes
_INSECURE = tuple(
    pattern.format(scheme)
    for scheme in ("http:", "urn:xmpp:")
    for pattern in ("{}%", "pep_{}%", '%"{}%', "%'{}%")
)  # fmt: skip


def find_schema(connection: Connection, wanted: str | None) -> Schema:
    """The schema of the database, its tables as they are written there.

    :raises UnsupportedArchiveError: there is none, more than one, or one that cannot be changed safely.
    """
    inspector = connection.inspect()
    known = {table.name.lower() for schema in SCHEMAS for table in schema.tables}
    names = inspector.get_table_names()
    schema = detect({name: _columns(inspector, name) if name.lower() in known else () for name in names}, wanted)
    _refuse_unsafe(connection, schema)
    return schema


def _columns(inspector: sqlalchemy.Inspector, table: str) -> list[str]:
    return [column["name"] for column in inspector.get_columns(table)]


def _refuse_unsafe(connection: Connection, schema: Schema) -> None:
    if connection.dialect == "postgresql" and connection.select("SHOW server_encoding")[0][0] == "SQL_ASCII":
        raise UnsupportedArchiveError(
            "the database's encoding is SQL_ASCII: it does not say what its text is, and Prosody and ejabberd use UTF8"
        )
    if connection.dialect != "mysql":
        return
    sql = "SELECT engine FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?"
    for table in schema.tables:
        engine = connection.select(sql, table.name)[0][0]
        if engine.lower() != "innodb":
            raise UnsupportedArchiveError(
                f"table {table.name} is kept by {engine}, which has no transactions: convert it first"
                f" (ALTER TABLE {table.name} ENGINE=InnoDB)"
            )


def stanza_column(connection: Connection, table: StanzaTable) -> Column:
    """The table's column of stanzas, with what it holds at most."""
    if connection.dialect == "mysql":
        return _mysql_column(connection, table)
    for column in connection.inspect().get_columns(table.name):
        if column["name"] == table.stanza:
            return Column(table, Capacity(getattr(column["type"], "length", None)))
    raise AssertionError("the table was found by this column")


def _mysql_column(connection: Connection, table: StanzaTable) -> Column:
    """MySQL's TEXT is limited in bytes of its character set, its VARCHAR in characters."""
    sql = (
        "SELECT data_type, character_maximum_length, character_octet_length, character_set_name"
        " FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ? AND column_name = ?"
    )
    ((kind, characters, octets, charset),) = connection.select(sql, table.name, table.stanza)
    if kind in ("varchar", "char"):
        return Column(table, Capacity(characters), loose=True)
    return Column(table, Capacity(octets, charset or "binary"), loose=charset is not None)


def has_index(connection: Connection, table: StanzaTable) -> bool:
    """Whether the table can be gone through by its key without a scan for each range."""
    inspector = connection.inspect()
    keys: list[Sequence[str | None]] = [inspector.get_pk_constraint(table.name)["constrained_columns"]]
    unfinished = _unfinished_indexes(connection)
    keys += [index["column_names"] for index in inspector.get_indexes(table.name) if index["name"] not in unfinished]
    keys += [unique["column_names"] for unique in inspector.get_unique_constraints(table.name)]
    return any(list(columns[:1]) == [table.key] for columns in keys)


def _unfinished_indexes(connection: Connection) -> set[str]:
    """What PostgreSQL lists, but does not use: who made it concurrently was killed."""
    if connection.dialect != "postgresql":
        return set()
    sql = "SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE NOT indisvalid"
    return {name for (name,) in connection.select(sql)}


def _index_name(table: StanzaTable) -> str:
    return f"xep419_{table.name}_{table.key}".lower()


def add_index(connection: Connection, table: StanzaTable) -> None:
    """An index of our own, for as long as the job takes: ejabberd's PostgreSQL schema has none on its keys."""
    drop_index(connection, table)
    without_lock = "CONCURRENTLY " if connection.dialect == "postgresql" else ""
    where = f"{connection.quoted(table.name)} ({connection.quoted(table.key)})"
    connection.execute(f"CREATE INDEX {without_lock}{connection.quoted(_index_name(table))} ON {where}")


def drop_index(connection: Connection, table: StanzaTable) -> None:
    name = _index_name(table)
    if any(index["name"] == name for index in connection.inspect().get_indexes(table.name)):
        of_table = f" ON {connection.quoted(table.name)}" if connection.dialect == "mysql" else ""
        connection.execute(f"DROP INDEX {connection.quoted(name)}{of_table}")


def insecure_elsewhere(connection: Connection, schema: Schema) -> list[tuple[str, int]]:
    """Columns beside the stanzas' in which insecure names stand, each with the number of rows."""
    inspector = connection.inspect()
    names = set(inspector.get_table_names())
    found = []
    for table, column in schema.elsewhere:
        if table in names and column in _columns(inspector, table):
            tests = " OR ".join([f"LOWER({connection.quoted(column)}) LIKE ?"] * len(_INSECURE))
            sql = f"SELECT COUNT(*) FROM {connection.quoted(table)} WHERE {tests}"
            ((rows,),) = connection.select(sql, *_INSECURE)
            if rows:
                found.append((f"{table}.{column}", rows))
    return found
