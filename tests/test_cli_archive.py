"""``xep419 archive`` as its users meet it: tables, JSON, exit statuses, progress, what a killed job leaves."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("click")
pytest.importorskip("rich")
pytest.importorskip("fsspec")

from archives import document, rot13, stanza, tree
from click.testing import CliRunner, Result
from test_cli import POSIX, UTF16, environment, eventually, run, shown_on, started, terminal

from xep419.cli.files import FileError
from xep419.cli.run import command

pytestmark = pytest.mark.any_isa

COMMANDS = ("reencrypt", "scan", "status", "verify")


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, ["archive", *map(str, arguments)], prog_name="xep419")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "backup"
    root.mkdir()
    (root / "a.xml").write_bytes(document(1, 30))
    (root / "b.xml").write_bytes(document(2, 30))
    (root / "log.txt").write_bytes(b"2026-11-22 alice: hello\n")
    return root


def broken(source: Path) -> Path:
    path = source / "broken.xml"
    path.write_bytes(b"<a><b></a>")
    return path


# -- reencrypt ------------------------------------------------------------------------------------------------


def test_a_report_for_a_person(source: Path, tmp_path: Path) -> None:
    result = invoke("reencrypt", source, "-o", tmp_path / "out")
    assert result.exit_code == 0
    assert (tmp_path / "out" / "a.xml").read_bytes() == document(1, 30, upgraded=True)
    for line in (
        r"units +3\n",
        r"stanzas +60\n",
        r"names upgraded +\d+\n",
        r"skipped +0\n",
        r"nothing in it is known to be a stanza +1\n",
        r"left alone +1\n",
        r"throughput +[\d.]+ .?B/s\n",
        r"cp of the same bytes +[\d.]+ .?B/s\n",
        r"http://example.org/root +https://example.org/root +2\n",
        r"urn:xmpps:ping +is secure +\d+\n",
        rf"journal: {re.escape(str(tmp_path))}/out.xep419-journal\n",
    ):
        assert re.search(line, result.stdout), line


def test_a_report_for_a_machine(source: Path, tmp_path: Path) -> None:
    skipped = broken(source)
    result = invoke("reencrypt", source, "-o", tmp_path / "out", "--json", "--report", tmp_path / "report.json")
    assert result.exit_code == 3
    report = json.loads(result.stdout)
    assert report == json.loads((tmp_path / "report.json").read_text())
    assert report["format"] == "xep419 archive report 1"
    assert (report["operation"], report["units"], report["stanzas"], report["exit_status"]) == ("reencrypt", 4, 60, 3)
    assert report["skips"] == [{"place": str(skipped), "reason": "the end tag </b> is expected, not </a>", "offset": 6}]
    names = {entry["name"]: entry for entry in report["names"]}
    assert names["http://example.org/root"] == {
        "name": "http://example.org/root",
        "secure_name": "https://example.org/root",
        "count": 2,
        "secure": False,
    }
    assert names["urn:xmpps:ping"]["secure"] is True
    assert report["copying"] is None


def test_skipped_units_are_listed_with_place_and_reason(source: Path, tmp_path: Path) -> None:
    skipped = broken(source)
    result = invoke("reencrypt", source, "-o", tmp_path / "out")
    assert result.exit_code == 3
    assert re.search(rf"{re.escape(str(skipped))} +6 +the end tag </b> is expected, not </a>", result.stdout)


def test_archives_once_rotated_become_doubly_rotated(tmp_path: Path) -> None:
    (tmp_path / "usenet.xml").write_bytes(rot13(document(1, 5)))
    result = invoke("reencrypt", "--in-place", tmp_path / "usenet.xml", "--rounds-from", "1")
    assert result.exit_code == 0
    assert (tmp_path / "usenet.xml").read_bytes() == document(1, 5, upgraded=True)
    again = invoke("reencrypt", "--in-place", tmp_path / "usenet.xml", "--rounds-from", "1")
    assert re.search(r"units +1, 1 of them done before", again.stdout)
    assert (tmp_path / "usenet.xml").read_bytes() == document(1, 5, upgraded=True)


def test_a_dry_run_writes_nothing(source: Path, tmp_path: Path) -> None:
    before = tree(tmp_path)
    result = invoke("reencrypt", "--dry-run", source)
    assert result.exit_code == 0
    assert "insecure names" in result.stdout
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Say either where the result goes (-o TARGET) or --in-place."),
        (["--in-place", "-o", "out"], "Say either where the result goes (-o TARGET) or --in-place."),
        (["-o", "out", "--scheduler", "tcp://localhost:1"], "--scheduler is for --engine dask."),
        (["-o", "backup/in"], "are one within the other: choose another target"),
        (["-o", "out", "--jobs", "0"], "0 is not in the range x>=1."),
        (["-o", "out", "--format", "gopher"], "expected a format out of xml, jsonl, "),
    ],
)
def test_wrong_usage(source: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str) -> None:
    monkeypatch.chdir(source.parent)
    result = invoke("reencrypt", "backup", *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["reencrypt", "nothing", "-o", "out"], "nothing: there is no such file or directory"),
        (["scan", "nothing"], "nothing: there is no such file or directory"),
        (["status", "nothing"], "there is no journal: no job was begun on this target"),
    ],
)
def test_what_cannot_be_done(source: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str) -> None:
    monkeypatch.chdir(source.parent)
    result = invoke(*arguments)
    assert result.exit_code == 1
    assert message in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["scan", "backup/log.txt"], "xep419: backup/log.txt: nothing in it is known to be a stanza\n"),
        (["reencrypt", "nothing", "-o", "out"], "xep419: nothing: there is no such file or directory\n"),
        (["verify", "backup", "-o", "out"], "xep419: out: there is no such file or directory\n"),
    ],
)
def test_what_is_wrong_is_told_as_by_other_commands(
    source: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(source.parent)
    result = invoke(*arguments)
    assert (result.exit_code, result.stderr, result.stdout) == (1, message, "")


def test_a_report_that_cannot_be_written_ends_the_command_before_the_job(source: Path, tmp_path: Path) -> None:
    result = invoke("reencrypt", source, "-o", tmp_path / "out", "--report", tmp_path / "missing" / "report.json")
    assert isinstance(result.exception, FileError)
    assert str(result.exception) == f"{tmp_path}/missing/report.json: No such file or directory"
    assert os.listdir(tmp_path) == ["backup"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_report_for_which_there_is_no_room_is_printed_nevertheless(source: Path, tmp_path: Path) -> None:
    done = run("archive", "reencrypt", source, "-o", tmp_path / "out", "--json", "--report", "/dev/full")
    assert (done.returncode, done.stderr) == (1, b"xep419: /dev/full: No space left on device\n")
    assert json.loads(done.stdout)["stanzas"] == 60


def test_a_job_that_fails_leaves_no_report(source: Path, tmp_path: Path) -> None:
    assert invoke("scan", source / "log.txt", "--report", tmp_path / "report.json").exit_code == 1
    assert os.listdir(tmp_path) == ["backup"]


@pytest.mark.parametrize(
    ("missing", "arguments", "extra"),
    [
        ("fsspec", ["scan", "backup"], "archive"),
        ("pyarrow", ["scan", "table.parquet"], "archive"),
        ("sqlalchemy", ["scan", "archive.sqlite"], "archive"),
        ("psycopg", ["scan", "postgresql://a@127.0.0.1:1/b"], "postgresql"),
        ("pymysql", ["scan", "mysql://a@127.0.0.1:1/b"], "mysql"),
        ("s3fs", ["scan", "s3://a/b"], "s3"),
        ("distributed", ["reencrypt", "backup", "-o", "out", "--engine", "dask"], "dask"),
    ],
)
def test_what_is_not_installed_is_told_with_the_extra_that_brings_it(
    source: Path, tmp_path: Path, missing: str, arguments: list[str], extra: str
) -> None:
    if missing in ("psycopg", "pymysql"):
        pytest.importorskip("sqlalchemy")
    (tmp_path / "table.parquet").write_bytes(b"PAR1" + bytes(8) + b"PAR1")
    (tmp_path / "archive.sqlite").write_bytes(b"SQLite format 3\0")
    program = f"import sys; sys.modules[{missing!r}] = None\nfrom xep419.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", program, "archive", *arguments],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert re.fullmatch(rf"xep419: .+: pip install 'xep419\[{extra}\]'\n", done.stderr)


# -- scan, verify, status -------------------------------------------------------------------------------------


def test_scan_counts_and_changes_nothing(source: Path) -> None:
    before = tree(source.parent)
    result = invoke("scan", source, "--json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert (report["operation"], report["stanzas"]) == ("scan", 60)
    assert tree(source.parent) == before
    shown = invoke("scan", source).stdout
    assert re.search(r"insecure names +\d+", shown)
    assert "written" not in shown


def test_scan_reports_what_cannot_be_read(source: Path) -> None:
    (source / "wide.xml").write_bytes(UTF16)
    assert invoke("scan", source).exit_code == 3


def test_verify_accepts_a_good_target_and_finds_a_bad_one(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    invoke("reencrypt", source, "-o", target)
    assert invoke("verify", source, "-o", target).exit_code == 0
    data = (target / "a.xml").read_bytes()
    (target / "a.xml").write_bytes(data.replace(b"message", b"massage", 1))
    result = invoke("verify", source, "-o", target)
    assert result.exit_code == 3
    assert f"{target}/a.xml does not restore it" in result.stdout


def test_status_of_a_job_that_is_done(source: Path, tmp_path: Path) -> None:
    invoke("reencrypt", source, "-o", tmp_path / "out")
    assert re.search(r"state +done\n", invoke("status", tmp_path / "out").stdout)
    told = json.loads(invoke("status", "--json", tmp_path / "out").stdout)
    assert (told["state"], told["units"], told["tally"]["stanzas"]) == ("done", 3, 60)


# -- processes ------------------------------------------------------------------------------------------------


@POSIX
def test_a_job_that_is_interrupted_says_so_leaves_nothing_and_is_gone_on_with(tmp_path: Path) -> None:
    source, target = tmp_path / "backup", tmp_path / "out"
    source.mkdir()
    for number in range(1500):
        (source / f"{number:04}.xml").write_bytes(document(number, 40))
    process = started("archive", "reencrypt", source, "-o", target, "--jobs", "1")
    eventually(lambda: target.exists() and len(list(target.glob("*.xml"))) > 20)
    process.send_signal(signal.SIGINT)
    _stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (130, b"")
    assert not [path for path in target.iterdir() if path.suffix == ".tmp"]
    assert 20 < len(list(target.glob("*.xml"))) < 1500
    assert json.loads(run("archive", "status", "--json", target).stdout)["state"] == "interrupted"
    done = run("archive", "reencrypt", source, "-o", target)
    assert done.returncode == 0
    assert b"of them done before" in done.stdout
    assert len(list(target.glob("*.xml"))) == 1500


@POSIX
def test_a_long_job_shows_its_progress_on_a_terminal() -> None:
    """As its observer is told of it, slowly."""
    program = """
import time
from xep419.cli.archive_progress import ArchiveProgress
with ArchiveProgress(shown=True, measure=lambda: 4_000_000) as progress:
    progress.found(3, 3_000_000)
    progress.working("backup/a.xml")
    for _ in range(4):
        progress.advance(250_000)
        time.sleep(0.4)
    progress.done(2)
    time.sleep(0.6)
"""
    with terminal() as (ours, theirs):
        done = subprocess.run(
            [sys.executable, "-c", program], stderr=theirs, env=environment(COLUMNS="120"), check=True
        )
        os.close(theirs)
        shown = shown_on(ours)
    assert done.returncode == 0
    for part in (b"backup/a.xml", b"1.0/4.0 MB", b"2 units", b"B/s"):
        assert part in shown, part


def test_no_progress_is_shown_in_a_pipe(source: Path, tmp_path: Path) -> None:
    assert run("archive", "reencrypt", source, "-o", tmp_path / "out").stderr == b""


# -- help -----------------------------------------------------------------------------------------------------


def examples(*name: str) -> list[str]:
    shown = CliRunner().invoke(command, [*name, "--help"], prog_name="xep419").stdout
    return re.findall(r"^ +(xep419 .*)$", shown.partition("Examples:")[2], re.M)


def test_help_names_the_subcommands_and_their_exit_statuses() -> None:
    shown = invoke("--help").stdout
    assert sorted(re.findall(r"^  (\w+) {2,}[A-Z]", shown.split("Commands:")[1], re.M)) == list(COMMANDS)
    assert re.findall(r"^ {2,}(\d)  ", invoke("reencrypt", "--help").stdout, re.M) == ["0", "1", "2", "3"]


@pytest.mark.parametrize("name", ["reencrypt", "scan", "verify"])
def test_help_names_the_formats(name: str) -> None:
    pytest.importorskip("sqlalchemy")
    from xep419.archive.api import FORMATS
    from xep419.archive.databases import SCHEMAS
    from xep419.archive.formats import formats

    assert sorted(FORMATS) == sorted([*(one.name for one in formats()), *(one.name for one in SCHEMAS)])
    shown = " ".join(invoke(name, "--help").stdout.split()).replace("prosody- ", "prosody-")
    told = shown.partition("--format NAME The format: ")[2].partition(". Each one's content")[0]
    assert sorted(re.findall("[a-z0-9-]+", told)) == sorted([*FORMATS, "or", "or", "of", "a", "database"])


@pytest.mark.any_python
@POSIX
@pytest.mark.parametrize("line", examples("archive") + [e for name in COMMANDS for e in examples("archive", name)])
def test_every_example_in_the_help_works(tmp_path: Path, line: str) -> None:
    """Where it names a server or a cloud it must at least be understood."""
    line = line.replace("/var/lib/prosody", "backup/")
    make_archives(tmp_path)
    if " verify " in line:
        assert shell(line.replace(" verify ", " reencrypt "), tmp_path).returncode == 0
    if " status " in line:
        for before in ("backup/ -o encrypted/", "--in-place prosody.sqlite"):
            assert shell(f"xep419 archive reencrypt {before}", tmp_path).returncode == 0
    done = shell(line, tmp_path)
    elsewhere = "postgresql" in line or "s3:" in line
    assert done.returncode == (1 if elsewhere else 0), done.stderr
    assert b"Usage" not in done.stderr


def make_archives(directory: Path) -> None:
    """What the examples speak of."""
    (directory / "backup").mkdir()
    (directory / "backup" / "a.xml").write_bytes(document(1, 3))
    stanzas = [stanza(random.Random(number)) for number in range(5)]
    lines = "".join(json.dumps({"stanza": codecs.encode(one, "rot13")}) + "\n" for one in stanzas)
    (directory / "usenet.jsonl").write_text(lines)
    (directory / "usenet.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    with contextlib.closing(sqlite3.connect(directory / "prosody.sqlite")) as database, database:
        database.execute(
            "CREATE TABLE prosodyarchive (sort_id INTEGER PRIMARY KEY AUTOINCREMENT, host TEXT NOT NULL,"
            ' user TEXT NOT NULL, store TEXT NOT NULL, key TEXT NOT NULL, "when" INTEGER NOT NULL,'
            ' "with" TEXT NOT NULL, type TEXT NOT NULL, value TEXT NOT NULL)'
        )
        rows = [("x.example", "a", "archive", str(number), 0, "b", "xml", one) for number, one in enumerate(stanzas)]
        database.executemany(
            'INSERT INTO prosodyarchive (host, user, store, key, "when", "with", type, value)'
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )


def shell(line: str, directory: Path) -> subprocess.CompletedProcess[bytes]:
    ours = environment(PATH=f"{directory}{os.pathsep}{os.environ['PATH']}", AWS_ENDPOINT_URL="http://127.0.0.1:9")
    ours["XDG_STATE_HOME"] = str(directory / "state")
    (directory / "xep419").write_text(f'#!/bin/sh\nexec {sys.executable} -m xep419 "$@"\n')
    (directory / "xep419").chmod(0o755)
    return subprocess.run(["sh", "-c", line], cwd=directory, capture_output=True, timeout=60, env=ours, check=False)
