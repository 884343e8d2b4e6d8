"""``xep419 archive`` on what real servers stored: they give the same messages afterwards, with secure names."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

pytest.importorskip("slixmpp", reason="slixmpp is not installed")
pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed")
pytest.importorskip("click", reason="click is not installed")

from . import servers
from .client import Client, waits

pytestmark = [pytest.mark.interop, pytest.mark.any_isa]

TEXTS = (
    "see http://example.org/ & urn:xmpp:text <tag> é ☃ 😀 'q' \"d\" \\ ]]>",
    "line\nline\ttab <a xmlns='http://x'/>",
    'item({ ["xmlns"] = "http://x"; });\nitem({});\n',
)

Start = Callable[[], AbstractContextManager[servers.Server]]
Run = Callable[..., None]
PAGE = Path(__file__).parents[2] / "docs" / "archive.md"
#: by user: what the archive gave, and how often it named receipts
Before = dict[str, tuple[list[str], int]]


def archive(*arguments: str | Path, status: int = 0) -> dict[str, Any]:
    """Runs the command as an operator does, and returns its report."""
    command = [sys.executable, "-m", "xep419", "archive", arguments[0], "--json", *map(str, arguments[1:])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (status, ""), done.stdout
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def receipts(report: dict[str, Any]) -> int:
    """How often the archives of all users name them insecurely."""
    return sum(entry["count"] for entry in report["names"] if entry["name"] == "urn:xmpp:receipts")


def stored(before: Before) -> int:
    return sum(count for _bodies, count in before.values())


def owners(root: Path) -> dict[Path, tuple[int, int, int]]:
    found = {path: path.stat() for path in (root, *root.rglob("*"))}
    return {path: (one.st_uid, one.st_gid, one.st_mode) for path, one in found.items()}


def times(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in root.rglob("*")}


async def talk(server: servers.Server) -> None:
    alice, bob = Client(server, "alice", None), Client(server, "bob", None)
    got: list[Any] = []
    receipts: list[Any] = []
    bob.add_event_handler("message", lambda message: got.append(message) if message["body"] else None)
    alice.add_event_handler("receipt_received", receipts.append)
    for client in (alice, bob):
        await client.login()
    for text in TEXTS:
        message = alice.make_message(mto=bob.boundjid.full, mbody=text, mtype="chat")
        message["request_receipt"] = True
        message.send()
    await waits(lambda: len(got) == len(receipts) == len(TEXTS))
    for client in (alice, bob):
        await client.logout()


async def archived(server: servers.Server, user: str) -> tuple[list[str], bytes]:
    """The bodies that a query of the archive gives (XEP-0313), and what came over the wire."""
    client = Client(server, user, None)
    client.register_plugin("xep_0313")
    await client.login()
    before = len(client.came)
    results = client.xep("0313").retrieve(iterator=True)
    bodies = [
        found["mam_result"]["forwarded"]["stanza"]["body"] async for page in results for found in page["mam"]["results"]
    ]
    came = bytes(client.came[before:])
    await client.logout()
    return bodies, came


def names(came: bytes) -> tuple[int, int]:
    """How often receipts were named insecurely and securely."""
    came = came.replace(b'"', b"'")
    return came.count(b"'urn:xmpp:receipts'"), came.count(b"'urn:xmpps:receipts'")


async def fill(server: servers.Server, found: Before) -> None:
    """Messages of alice and bob, and what their archives give before a job."""
    await talk(server)
    for user in ("alice", "bob"):
        bodies, came = await archived(server, user)
        assert sorted(filter(None, bodies)) == sorted(TEXTS)
        insecure, secure = names(came)
        assert (insecure >= len(TEXTS), secure) == (True, 0)  # Prosody archives the receipts, too; ejabberd does not
        found[user] = bodies, insecure


async def compare(server: servers.Server, before: Before) -> None:
    for user, (bodies, count) in before.items():
        now, came = await archived(server, user)
        assert now == bodies
        assert names(came) == (0, count)


def filled(start: Start, run: Run) -> Before:
    found: Before = {}
    with start() as server:
        run(fill(server, found))
    return found


def compared(start: Start, run: Run, before: Before) -> None:
    with start() as server:
        run(compare(server, before))


def assert_in_use(path: Path, process: str) -> None:
    command = [sys.executable, "-m", "xep419", "archive", "reencrypt", "--in-place", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"xep419: {path}: process ")
    assert f"({process}" in done.stderr
    assert done.stderr.endswith("stop it first, or take --while-in-use\n")


def assert_exported(server: servers.Server, command: list[str]) -> None:
    """What ejabberd exports (of archives nothing, but offline messages) is re-encrypted whole."""
    export, target = server.directory / "export", server.directory / "encrypted"
    export.mkdir()
    servers.give(server.directory, "ejabberd")
    servers.call([*command, "export_piefxis", str(export)], "ejabberd", server.directory)
    report = archive("reencrypt", export, "-o", target)
    assert (report["skipped"], report["left_alone"], report["units"] > 0) == (0, {}, True)
    assert archive("verify", export, "-o", target)["stanzas"] == report["stanzas"]


@pytest.fixture
def prosody(request: pytest.FixtureRequest, certificate: Path) -> Iterator[tuple[Path, Start]]:
    """A Prosody's data directory, and what starts the server on it."""
    with contextlib.ExitStack() as running:
        try:
            found = running.enter_context(servers.prosody_stopped(certificate, archive=request.param))
        except servers.NotInstalledError as error:
            if os.environ.get("CI"):
                pytest.fail(str(error))
            pytest.skip(str(error))
        yield found


@pytest.mark.parametrize("prosody", ["internal"], indirect=True)
def test_a_whole_prosody_in_place(prosody: tuple[Path, Start], run: Run) -> None:
    data, start = prosody
    before = filled(start, run)
    backup = data.with_name("backup")
    shutil.copytree(data, backup)
    kept = owners(data)
    scanned = archive("scan", data)
    assert receipts(scanned) == stored(before)
    report = archive("reencrypt", "--in-place", data)
    assert (report["names"], report["stanzas"]) == (scanned["names"], scanned["stanzas"])
    assert (report["skipped"], report["resumed"]) == (0, 0)
    assert owners(data) == kept
    assert archive("verify", backup, "-o", data)["stanzas"] == report["stanzas"]
    done = times(data)
    again = archive("reencrypt", "--in-place", data)
    assert (again["resumed"], again["bytes_worked_on"]) == (again["units"], 0)
    assert times(data) == done
    compared(start, run, before)


@pytest.mark.parametrize("prosody", ["sql"], indirect=True)
@pytest.mark.parametrize("in_place", [True, False])
def test_prosody_s_sqlite_database(prosody: tuple[Path, Start], run: Run, in_place: bool) -> None:
    data, start = prosody
    before = filled(start, run)
    path, backup = data / "archive.sqlite", data / "backup.sqlite"
    shutil.copy(path, backup)
    if in_place:
        kept = owners(data)
        report = archive("reencrypt", "--in-place", path)
        kept_journal = data / "archive.sqlite.xep419-journal"
        assert {place: one for place, one in owners(data).items() if place != kept_journal} == kept
    else:
        made = data / "made.sqlite"
        report = archive("reencrypt", path, "-o", made)
        assert path.read_bytes() == backup.read_bytes()
        assert made.stat().st_mode & 0o077 & ~path.stat().st_mode == 0
        made.replace(path)
        servers.give(data, "prosody")
    assert (receipts(report), report["skipped"]) == (stored(before), 0)
    assert archive("verify", backup, "-o", path)["stanzas"] == report["stanzas"]
    compared(start, run, before)


@pytest.mark.parametrize("prosody", ["sql"], indirect=True)
def test_a_running_prosody_keeps_its_sqlite_database_and_a_copy_can_be_made(
    prosody: tuple[Path, Start], run: Run
) -> None:
    data, start = prosody
    path = data / "archive.sqlite"
    with start() as server:
        run(fill(server, {}))
        assert_in_use(path, "lua")
        copied = archive("reencrypt", path, "-o", data / "copy.sqlite")
    assert (copied["skipped"], receipts(copied) > 0) == (0, True)
    assert archive("verify", path, "-o", data / "copy.sqlite")["stanzas"] == copied["stanzas"]


def test_ejabberd_starts_on_its_reencrypted_sqlite_database(
    started: Callable[[str], servers.Server], certificate: Path, run: Run
) -> None:
    started("ejabberd")  # where it is not installed, it is told so
    with servers.installed_ejabberd(certificate) as (server, command):

        @contextlib.contextmanager
        def start() -> Iterator[servers.Server]:
            with servers.running_ejabberd(server, command):
                for user in ("alice", "bob"):
                    with contextlib.suppress(RuntimeError):  # the second time they are there
                        register = [*command, "register", user, server.domain, servers.PASSWORD]
                        servers.call(register, "ejabberd", server.directory)
                yield server

        path, backup = server.directory / "ejabberd.sqlite", server.directory / "backup.sqlite"
        before: Before = {}
        with start() as running:
            run(fill(running, before))
            assert_in_use(path, "beam.smp")
            assert_exported(server, command)
        shutil.copy(path, backup)
        kept = owners(path)
        report = archive("reencrypt", "--in-place", path)
        assert (receipts(report), report["skipped"]) == (stored(before), 0)
        assert owners(path) == kept
        assert archive("verify", backup, "-o", path)["stanzas"] == report["stanzas"]
        compared(start, run, before)


@pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not beside these tests")
@pytest.mark.parametrize(
    ("prosody", "section"), [("internal", "Prosody, internal storage"), ("sql", "Prosody, SQL")], indirect=["prosody"]
)
def test_the_commands_of_the_documentation(prosody: tuple[Path, Start], run: Run, tmp_path: Path, section: str) -> None:
    """As they stand there, but for where things are, and for starting and stopping the server."""
    data, start = prosody
    before = filled(start, run)
    (tmp_path / "xep419").write_text(f'#!/bin/sh\nexec {sys.executable} -m xep419 "$@"\n')
    (tmp_path / "xep419").chmod(0o755)
    commands = re.findall(
        r"^# (.*)$", PAGE.read_text(encoding="utf-8").split(f"### {section}\n")[1].split("```")[1], re.M
    )
    assert (commands[0], commands[-1]) == ("prosodyctl stop", "prosodyctl start")
    for command in commands[1:-1]:
        command = command.replace("/var/lib/prosody/prosody.sqlite", f"{data}/archive.sqlite")
        command = command.replace("/var/lib/prosody", str(data)).replace("/var/backups", str(tmp_path))
        environment = os.environ | {"PATH": f"{tmp_path}:{servers.PATH}", "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            ["sh", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), command
    compared(start, run, before)


def test_the_days_of_prosody_s_xmlarchive(shared: Path, tmp_path: Path) -> None:
    source, target = shared / "archives" / "prosody-xmlarchive", tmp_path / "out"
    report = archive("reencrypt", source, "-o", target)
    assert (report["skipped"], report["stanzas"] > 0) == (0, True)
    assert any(entry["place"].endswith("pep_urn%3axmpp%3aavatar%3adata") for entry in report["elsewhere"])
    assert archive("verify", source, "-o", target)["stanzas"] == report["stanzas"]
    assert not any(not entry["secure"] for entry in archive("scan", target)["names"])


def test_exports_of_servers(shared: Path, tmp_path: Path) -> None:
    """XEP-0227's own names, those of the container, stay as an importing server knows them."""
    source, target = shared / "archives" / "xep0227", tmp_path / "out"
    report = archive("reencrypt", source, "-o", target)
    assert (report["skipped"], report["stanzas"] > 0) == (0, True)
    assert archive("verify", source, "-o", target)["stanzas"] == report["stanzas"]
    for path in source.iterdir():
        ours, theirs = (ElementTree.parse(root / path.name).getroot() for root in (target, source))
        assert [child.tag for child in ours] == [child.tag for child in theirs]
        assert len(list(ours.iter())) == len(list(theirs.iter()))
