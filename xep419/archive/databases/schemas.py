"""Where the servers' databases keep stanzas: one record for each table. No SQL is run here.

Sources: Prosody's mod_storage_sql, ejabberd's sql/*.sql, the SQL files of Openfire's monitoring plugin.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from ...errors import UnsupportedArchiveError
from ..formats.chat_logs import client_of, reason_of


@dataclasses.dataclass(frozen=True)
class StanzaTable:
    """A table of which one column holds stanzas, one in each row."""

    name: str
    #: an integer column by which the table is gone through, in ascending order; it may repeat
    key: str
    stanza: str
    #: further columns that with ``key`` tell a row, where ``key`` alone does not
    beside: tuple[str, ...] = ()
    #: column and value of the rows that hold a stanza, where others do not
    only: tuple[str, str] | None = None
    #: further columns that tell this table from another one of its name
    telling: tuple[str, ...] = ()

    @property
    def identity(self) -> tuple[str, ...]:
        return (self.key, *self.beside)

    @property
    def identify(self) -> Callable[[Sequence[object]], object]:
        """What gives a row's identity: its key, or where columns stand beside that, a tuple."""
        return operator.itemgetter(*range(len(self.identity)))

    def found_in(self, tables: Mapping[str, Collection[str]]) -> StanzaTable | None:
        """This table as the database writes its names, or None where it has none such.

        PostgreSQL folds names that the schema did not quote to small letters.

        :param tables: the columns of each table.
        """
        for name in tables:
            if name.lower() != self.name.lower():
                continue
            written = {column.lower(): column for column in tables[name]}
            wanted = (*self.identity, self.stanza, *(self.only or ())[:1], *self.telling)
            if all(column.lower() in written for column in wanted):
                return dataclasses.replace(
                    self,
                    name=name,
                    key=written[self.key.lower()],
                    stanza=written[self.stanza.lower()],
                    beside=tuple(written[column.lower()] for column in self.beside),
                    only=self.only and (written[self.only[0].lower()], self.only[1]),
                )
        return None

    def place(self, row: Iterable[object]) -> str:
        """A row, given by its first values, as an operator would find it: ``prosodyarchive sort_id=17``."""
        told = (value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in row)
        values = zip(self.identity, told, strict=False)
        return " ".join((self.name, *(f"{column}={value}" for column, value in values)))


@dataclasses.dataclass(frozen=True)
class Schema:
    """A server's tables; ``elsewhere`` are columns that hold namespace names, or XML with them, and are left alone."""

    name: str
    title: str
    tables: tuple[StanzaTable, ...]
    elsewhere: tuple[tuple[str, str], ...] = ()


SCHEMAS = (
    Schema(
        "prosody",
        "Prosody's SQL storage",
        (
            StanzaTable(
                "prosodyarchive", "sort_id", "value", only=("type", "xml"), telling=("host", "user", "store", "with")
            ),
        ),
        (("prosody", "store"), ("prosody", "key"), ("prosody", "value"), ("prosodyarchive", "store")),
    ),
    Schema(
        "ejabberd",
        "ejabberd's SQL storage",
        (
            StanzaTable("archive", "id", "xml", telling=("username", "bare_peer", "txt")),
            StanzaTable("spool", "seq", "xml", telling=("username",)),
        ),
        (("caps_features", "feature"), ("pubsub_node", "node"), ("pubsub_item", "payload")),
    ),
    Schema(
        "openfire",
        "Openfire's message archive",
        # Neither column has a unique index, and only the conversation's has any.
        (StanzaTable("ofMessageArchive", "conversationID", "stanza", beside=("messageID",), telling=("sentDate",)),),
    ),
)


def detect(tables: Mapping[str, Collection[str]], wanted: str | None = None) -> Schema:
    """The schema of a database, with the tables that are there as they are written there.

    :param tables: the columns of each table.
    :param wanted: a schema's name, where it is known.
    :raises UnsupportedArchiveError: there is none, or more than one.
    """
    if wanted is not None and wanted not in (known.name for known in SCHEMAS):
        names = ", ".join(known.name for known in SCHEMAS)
        raise UnsupportedArchiveError(f"expected a database schema out of {names}, got {wanted!r}")
    found = []
    for schema in SCHEMAS:
        here = tuple(table for known in schema.tables if (table := known.found_in(tables)))
        if here and wanted in (None, schema.name):
            found.append(dataclasses.replace(schema, tables=here))
    if len(found) == 1:
        return found[0]
    if found:
        names = " and ".join(schema.name for schema in found)
        raise UnsupportedArchiveError(f"the database holds the tables of {names}: say which to take")
    raise UnsupportedArchiveError(_why_none(tables, wanted))


def _why_none(tables: Mapping[str, Collection[str]], wanted: str | None) -> str:
    client = client_of(tables)
    if client is not None and wanted is None:
        return reason_of(client)
    expected = " or ".join(
        " and ".join(table.name for table in known.tables) for known in SCHEMAS if wanted in (None, known.name)
    )
    return f"expected the tables {expected}, but the database has {', '.join(sorted(tables)) or 'no table'}"
