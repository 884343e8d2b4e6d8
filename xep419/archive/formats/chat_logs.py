"""What is near an archive and holds no stanza that a format could find: chat logs of clients, databases met as files.

Sources: Pidgin's libpurple/log.c, Profanity's src/chatlog.c and src/database.c, Gajim's gajim/common/storage/archive.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from ...errors import UnsupportedArchiveError

#: how an SQLite file begins
SQLITE = b"SQLite format 3\0"

#: clients that log to SQLite, each with tables that tell its database
_TABLES = (("Gajim", {"jids", "logs"}), ("Profanity", {"chatlogs"}), ("Dino", {"message", "conversation"}))
#: clients that log to text, each with the first line of a log
_FIRST_LINES = (
    ("Pidgin", re.compile(rb"Conversation with [^\r\n]+ at [^\r\n]+ on [^\r\n]+ \([\w-]+\)\r?\n")),
    ("Pidgin", re.compile(rb"System log for account [^\r\n]+ \([\w-]+\) connected at [^\r\n]+\n")),
    ("Profanity", re.compile(rb"(?:\d{4}-\d\d-\d\dT)?\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d(?::?\d\d)?)? - [^\r\n]+\n")),
)
_TABLE = re.compile(rb"CREATE TABLE\s+[\"'`\[]?(\w+)", re.IGNORECASE)


def client_of(tables: Collection[str]) -> str | None:
    """The client whose log a database with these tables is."""
    names = {name.lower() for name in tables}
    return next((client for client, telling in _TABLES if telling <= names), None)


def reason_of(client: str) -> str:
    return f"this is the message log of a client ({client}): it holds text taken out of stanzas, no stanza"


def refuse_chat_logs(head: bytes) -> None:
    """Lets pass what may be an archive.

    :raises UnsupportedArchiveError: a file that begins with ``head`` is none, and the reason.
    """
    if head.startswith(SQLITE):
        # A small database has all of its schema on its first pages, in clear text.
        client = client_of({name.decode() for name in _TABLE.findall(head)})
        raise UnsupportedArchiveError(
            "this is an SQLite database, which is only re-encrypted where it is named as a SOURCE itself"
            if client is None
            else reason_of(client)
        )
    for client, first_line in _FIRST_LINES:
        if first_line.match(head):
            raise UnsupportedArchiveError(reason_of(client))
