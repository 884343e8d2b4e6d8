"""Chat logs of clients, in the layouts that Gajim, Profanity and Pidgin write: no stanza is in them, and so it is said.

The layouts are libpurple's log.c, Profanity's chatlog.c and database.c, and Gajim's logger.py.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

pytest.importorskip("fsspec")

from archives import document, tree

from xep419 import UnsupportedArchiveError, archive

pytestmark = pytest.mark.any_isa

GAJIM = """
CREATE TABLE jids(jid_id INTEGER PRIMARY KEY AUTOINCREMENT UNIQUE, jid TEXT UNIQUE, type INTEGER);
CREATE TABLE unread_messages(message_id INTEGER PRIMARY KEY AUTOINCREMENT UNIQUE, jid_id INTEGER, shown BOOLEAN);
CREATE TABLE logs(log_line_id INTEGER PRIMARY KEY AUTOINCREMENT UNIQUE, account_id INTEGER, jid_id INTEGER,
    contact_name TEXT, time INTEGER, kind INTEGER, show INTEGER, message TEXT, subject TEXT, additional_data TEXT,
    stanza_id TEXT);
CREATE INDEX idx_logs_jid_id_time ON logs (jid_id, time DESC);
INSERT INTO jids VALUES (1, 'bob@example.org', 0);
INSERT INTO logs VALUES (1, 1, 1, NULL, 1795300000, 4, 0, 'see http://example.org/ <b/>', NULL, '{}', 'x');
"""
PROFANITY = """
CREATE TABLE `ChatLogs` (`id` INTEGER PRIMARY KEY AUTOINCREMENT, `from_jid` TEXT NOT NULL, `to_jid` TEXT NOT NULL,
    `from_resource` TEXT, `to_resource` TEXT, `message` TEXT, `timestamp` TEXT, `type` TEXT, `stanza_id` TEXT,
    `archive_id` TEXT, `encryption` TEXT, `marked_read` INTEGER, `replace_id` TEXT);
CREATE TABLE `DbVersion` (`dv_id` INTEGER PRIMARY KEY, `version` INTEGER UNIQUE);
INSERT INTO `ChatLogs` VALUES (1, 'alice@example.org', 'bob@example.org', 'a', NULL, 'urn:xmpp:ping <a xmlns="http://x"/>',
    '2026-11-22T17:09:37+01:00', 'chat', 'x', NULL, 'none', 0, NULL);
"""
FILES = {
    "pidgin.html": (
        '<html><head><meta http-equiv="content-type" content="text/html; charset=UTF-8"><title>Conversation with'
        " bob@example.org at Sun 22 Nov 2026 05:09:37 PM CET on alice@example.org/home (jabber)</title></head><body>"
        "<h3>Conversation with bob@example.org at Sun 22 Nov 2026 05:09:37 PM CET on alice@example.org/home (jabber)"
        '</h3>\n<font color="#16569E"><font size="2">(05:09:41 PM)</font> <b>alice@example.org/home:</b></font>'
        " see <a href='http://example.org/'>http://example.org/</a><br/>\n</body></html>\n"
    ),
    "pidgin.txt": (
        "Conversation with bob@example.org at Sun 22 Nov 2026 05:09:37 PM CET on alice@example.org/home (jabber)\n"
        "(05:09:41 PM) alice@example.org/home: <message xmlns='http://example.org/'/>\n"
    ),
    "pidgin-system.txt": "System log for account alice@example.org/home (jabber) connected at Sun 22 Nov 2026\n---- x\n",
    "profanity.log": "2026-11-22T17:09:37.123456+01:00 - me: <message xmlns='http://example.org/'/>\n",
    "profanity-old.log": "17:09:37 - bob@example.org: urn:xmpp:ping\n17:09:40 - *me waves\n",
}
DATABASES = {"gajim.db": GAJIM, "profanity.db": PROFANITY}
CLIENT = {"gajim": "Gajim", "profanity": "Profanity", "pidgin": "Pidgin"}


def make(directory: Path, name: str) -> Path:
    path = directory / name
    if name in FILES:
        path.write_text(FILES[name])
    else:
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.executescript(DATABASES[name])
    return path


def reason(name: str) -> str:
    if name.endswith(".html"):
        return "this is an HTML page, such as a client's chat log: it holds text taken out of stanzas, no stanza"
    client = CLIENT[name.split(".")[0].split("-")[0]]
    return f"this is the message log of a client ({client}): it holds text taken out of stanzas, no stanza"


@pytest.mark.parametrize("name", [*FILES, *DATABASES])
@pytest.mark.parametrize("in_place", [True, False])
def test_named_as_a_source_it_is_refused_and_nothing_is_written(tmp_path: Path, name: str, in_place: bool) -> None:
    if name in DATABASES:
        pytest.importorskip("sqlalchemy")
    path = make(tmp_path, name)
    (tmp_path / "a.xml").write_bytes(document(1, 3))
    before = tree(tmp_path)
    target = None if in_place else tmp_path / "out"
    for sources in ([path], [tmp_path / "a.xml", path]):
        with pytest.raises(UnsupportedArchiveError) as caught:
            archive.reencrypt(sources, target, in_place=in_place)
        assert str(caught.value) == f"{path}: {reason(name)}"
        assert tree(tmp_path) == before
    for refused in (lambda: archive.scan(path), lambda: list(archive.stanzas(path))):
        with pytest.raises(UnsupportedArchiveError, match="it holds text taken out of stanzas, no stanza"):
            refused()


@pytest.mark.parametrize("name", [*FILES, *DATABASES])
def test_below_a_directory_it_is_left_alone_with_the_reason(tmp_path: Path, name: str) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    path = make(source, name)
    (source / "a.xml").write_bytes(document(1, 3))
    report = archive.reencrypt(source, target)
    assert (report.exit_status, report.units, report.tally.stanzas) == (0, 2, 3)
    assert report.tally.left_alone == {reason(name): 1}
    assert (target / name).read_bytes() == path.read_bytes()


def test_a_servers_database_below_a_directory_must_be_named_itself(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "prosody.sqlite")) as database:
        database.execute("CREATE TABLE prosodyarchive (sort_id INTEGER PRIMARY KEY, value TEXT)")
    report = archive.scan(tmp_path)
    assert report.tally.left_alone == {
        "this is an SQLite database, which is only re-encrypted where it is named as a SOURCE itself": 1
    }
