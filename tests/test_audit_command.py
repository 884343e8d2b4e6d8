"""``xep419 audit`` as its users meet it: tables, JSON, the page, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("click")
pytest.importorskip("rich")

from click.testing import CliRunner, Result
from test_cli import run

from xep419.auditing import schema
from xep419.cli.run import command

pytestmark = pytest.mark.any_isa

INSECURE = b"<message from='a@b'><x xmlns='jabber:x:encrypted'>B64</x><request xmlns='urn:xmpp:receipts'/></message>"
SECURE = b"<message><request xmlns='urn:xmpps:receipts'/></message>"
TOO_LONG = b"<message xmlns='urn:xmpp:" + b"x" * 1024 + b"'/>"
BROKEN = b"<message><body></message>"


def invoke(*arguments: object, data: bytes = b"") -> Result:
    return CliRunner().invoke(command, ["audit", *map(str, arguments)], input=data, prog_name="xep419")


@pytest.fixture
def insecure(tmp_path: Path) -> Path:
    path = tmp_path / "insecure.xml"
    path.write_bytes(INSECURE)
    return path


def test_the_tables_say_what_was_found(insecure: Path) -> None:
    result = invoke(insecure)
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["1", "source,", str(len(INSECURE)), "bytes,", "1", "stanza"] in lines
    assert ["insecure", "1", "name", "in", "1", "place"] in lines
    assert ["urn:xmpp:receipts", "DECLARATIONS", "no", "yes", "1", f"insecure.xml:{INSECURE.index(b'urn:')}"] in lines
    assert "OpenPGP, legacy (XEP-0027) 1 0 3".split() == next(line for line in lines if line[:1] == ["OpenPGP,"])[:6]
    assert "Double ROT-13 (XEP-0419), claimed 1 103 0 everything all the same".split() in lines


def test_standard_input_is_audited() -> None:
    for dash in ([], ["-"]):
        assert json.loads(invoke("--json", *dash, data=INSECURE).stdout)["summary"]["insecure_names"] == 1


@pytest.mark.parametrize(
    ("data", "arguments", "status"),
    [
        (INSECURE, [], 0),
        (INSECURE, ["--fail-on", "insecure"], 4),
        (SECURE, ["--fail-on", "insecure"], 0),
        (TOO_LONG, [], 0),
        (TOO_LONG, ["--fail-on", "insecure"], 1),
        (TOO_LONG + INSECURE, ["--fail-on", "insecure"], 4),
        (BROKEN, [], 1),
        (BROKEN, ["--fail-on", "insecure"], 1),
        (BROKEN + INSECURE, ["--fail-on", "insecure"], 4),
        (INSECURE, ["--fail-on", "nothing"], 2),
        (INSECURE, ["--places", "-1"], 2),
        (INSECURE, ["--json", "--html", "-"], 2),
    ],
)
def test_exit_status(data: bytes, arguments: list[str], status: int) -> None:
    assert invoke(*arguments, data=data).exit_code == status


def test_the_real_command_exits_with_it_too(insecure: Path) -> None:
    done = run("audit", "--fail-on", "insecure", "--json", insecure)
    assert (done.returncode, done.stderr) == (4, b"")
    assert json.loads(done.stdout)["summary"]["insecure_places"] == 1


def test_what_cannot_be_read_is_said_and_the_rest_is_audited(insecure: Path, tmp_path: Path) -> None:
    done = run("audit", "--json", tmp_path / "missing.xml", insecure)
    assert done.returncode == 1
    assert done.stderr.decode() == f"xep419: {tmp_path}/missing.xml: No such file or directory\n"
    assert json.loads(done.stdout)["summary"]["insecure_names"] == 1


def test_a_problem_is_said_with_its_place() -> None:
    result = invoke(data=BROKEN)
    assert result.exit_code == 1
    assert result.stderr == (
        "xep419: standard input: byte 15: the end tag </body> is expected, not </message>; 10 bytes from there on not read for stanzas\n"
    )


def test_the_json_is_as_its_schema_says(insecure: Path, recorded: list[bytes]) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    printed = json.loads(invoke("--schema").stdout)
    assert printed == json.loads(schema())
    recordings = Path(__file__).parent.parent / "examples" / "recorded"
    for arguments in ([insecure], ["--places", 0, insecure], sorted(recordings.glob("*.xml"))):
        jsonschema.Draft202012Validator(printed).validate(json.loads(invoke("--json", *arguments).stdout))


def test_places_are_as_many_as_asked_for() -> None:
    data = b"<s>" + b"<a xmlns='http://x'/>" * 9 + b"</s>"
    for places in (0, 2, 9):
        (name,) = json.loads(invoke("--json", "--places", places, data=data).stdout)["names"]
        assert (len(name["places"]), name["count"]) == (places, 9)


def test_a_page_is_written_beside_the_tables(insecure: Path, tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    target = tmp_path / "audit.html"
    result = invoke("--html", target, insecure)
    assert (result.exit_code, "Namespace names" in result.stdout) == (0, True)
    assert target.read_text("utf-8").startswith("<!DOCTYPE html>")
    assert invoke("--html", "-", insecure).stdout == target.read_text("utf-8")


def test_names_are_no_terminal_commands(tmp_path: Path) -> None:
    result = invoke(data="<a xmlns='http://x/\x9b31m\u202e[bold]'/>".encode())
    assert "http://x/\\x9b31m\\u202e[bold]" in result.stdout
