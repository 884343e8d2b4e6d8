"""``xep419 registry`` as its users meet it: tables, JSON, CSV, the Registrar's files, exit statuses."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("click")
pytest.importorskip("rich")

from click.testing import CliRunner, Result
from test_cli import POSIX, RUN, environment, run

from xep419.cli.run import command
from xep419.iana import registration_template
from xep419.registrar import read, write
from xep419.registry import entries, lookup, search

pytestmark = pytest.mark.any_isa

COMMANDS = ("export", "list", "lookup", "template", "upgrade")
FILE = b"""\
<!DOCTYPE registry SYSTEM 'ns.dtd' [<!ENTITY % ents SYSTEM 'reg.ent'> %ents;]>
<registry>
  <ns>
    <name>urn:xmpp:ping</name>
    <doc>&xep0199;, http://xmpp.test/</doc>
  </ns>
</registry>
"""
UPGRADED = FILE.replace(b"<name>urn:xmpp:", b"<name>urn:xmpps:")
BROKEN = b"<registry><ns></registry>"


def invoke(*arguments: str | Path, data: bytes = b"") -> Result:
    return CliRunner().invoke(command, ["registry", *map(str, arguments)], input=data, prog_name="xep419")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "namespaces.xml"
    path.write_bytes(FILE)
    return path


# -- list and lookup ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ([], [entry.name for entry in entries()]),
        (["omemo"], ["urn:xmpp:omemo:0"]),
        (["XEP-0384"], ["urn:xmpp:omemo:0"]),
        (["muc", "--list", "node"], ["http://jabber.org/protocol/muc#rooms", "http://jabber.org/protocol/muc#traffic"]),
        (["--status", "provisional"], [entry.name for entry in entries() if entry.status == "provisional"]),
        (["omemo", "--status", "registered"], []),
    ],
    ids=str,
)
def test_list(arguments: list[str], names: list[str]) -> None:
    as_json = invoke("list", *arguments, "--json")
    assert as_json.exit_code == 0
    assert [entry["name"] for entry in json.loads(as_json.stdout)] == names
    table = invoke("list", *arguments)
    assert table.exit_code == 0
    lines = table.stdout.splitlines()
    if not names:
        assert lines == ["no such names"]
        return
    changing = sum(lookup(name).name != lookup(name).secure_name for name in names)
    assert lines[0].split() == ["Name", "Becomes", "Spec", "Status"]
    assert [line.split()[0] for line in lines[2:-2]] == names
    assert lines[-2:] == ["", f"{len(names)} found, {changing} with a secure form"]


def test_a_row_of_the_table() -> None:
    row = invoke("list", "urn:xmpp:ping").stdout.splitlines()[2]
    assert re.split(" {2,}", row.strip()) == [
        "urn:xmpp:ping",
        "urn:xmpps:",
        "xep0199",
        "registered",
    ]


def test_json_has_every_field() -> None:
    expected = {
        "name": "urn:xmpp:ping",
        "secure_name": "urn:xmpps:ping",
        "spec": "xep0199",
        "status": "registered",
        "specs": ["xep0199"],
        "lists": ["namespace", "xep", "feature"],
    }
    for arguments in (["lookup", "urn:xmpps:ping"], ["list", "urn:xmpp:ping"]):
        assert json.loads(invoke(*arguments, "--json").stdout) == [expected]


def test_lookup() -> None:
    result = invoke("lookup", "urn:xmpps:ping", "pubsub/nodes")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "name          urn:xmpp:ping\n"
        "secure name   urn:xmpps:ping\n"
        "specified in  xep0199\n"
        "status        registered\n"
        "lists         namespace, xep, feature\n"
        "\n"
        "name          pubsub/nodes\n"
        "secure name   the same\n"
        "specified in  -\n"
        "status        -\n"
        "lists         node\n"
    )


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_lookup_of_what_is_not_registered(options: list[str]) -> None:
    result = invoke("lookup", "urn:xmpp:\x1bx", "urn:xmpp:ping", "nope", *options)
    assert result.exit_code == 1
    assert result.stderr == "xep419: urn:xmpp:\\x1bx: it is not registered\nxep419: nope: it is not registered\n"
    assert "urn:xmpps:ping" in result.stdout


def test_lookup_of_nothing_is_wrong_usage() -> None:
    assert invoke("lookup").exit_code == 2


# -- export ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", [[], ["--csv"]])
def test_export_as_csv(option: list[str]) -> None:
    result = invoke("export", *option)
    assert result.exit_code == 0
    heading, *rows = csv.reader(io.StringIO(result.stdout_bytes.decode(), newline=""))
    assert heading == ["name", "secure_name", "spec", "status", "specs", "lists"]
    assert [(*row[:4], tuple(row[4].split()), tuple(row[5].split())) for row in rows] == list(entries())


def test_export_as_json(tmp_path: Path) -> None:
    assert invoke("export", "--json", "-o", tmp_path / "out").exit_code == 0
    found = json.loads((tmp_path / "out").read_bytes())
    assert [tuple(tuple(v) if isinstance(v, list) else v for v in entry.values()) for entry in found] == list(entries())


@pytest.mark.parametrize("name", ["namespace", "node", "xep", "feature", "form_type"])
def test_export_of_one_list(name: str) -> None:
    found = json.loads(invoke("export", "--json", "--list", name).stdout)
    assert [entry["name"] for entry in found] == [entry.name for entry in search("") if name in entry.lists]


@pytest.mark.parametrize(("option", "registry"), [([], "namespace"), (["--list", "form_type"], "form_type")])
def test_export_as_the_registrar_has_it(option: list[str], registry: str) -> None:
    result = invoke("export", "--xml", *option)
    assert result.stdout_bytes == write(entries(), registry)
    assert {registration.registry for registration in read(result.stdout_bytes)} == {registry}


def test_the_registrar_has_no_list_of_target_namespaces() -> None:
    result = invoke("export", "--xml", "--list", "xep")
    assert result.exit_code == 2
    assert "Error: The Registrar has no registry of xep: use --csv or --json." in result.stderr


@POSIX
def test_the_registry_after_the_change() -> None:
    line = " ".join([*RUN, "registry export --xml |", *RUN, "registry upgrade"])
    done = subprocess.run(["sh", "-c", line], capture_output=True, env=environment())
    assert (done.returncode, done.stderr) == (0, b"")
    assert [found.name for found in read(done.stdout)] == [
        entry.secure_name for entry in entries() if "namespace" in entry.lists
    ]


# -- upgrade --------------------------------------------------------------------------------------------------


def test_upgrade_to_standard_output(file: Path) -> None:
    assert invoke("upgrade", file).stdout_bytes == UPGRADED
    assert invoke("upgrade", data=FILE).stdout_bytes == UPGRADED
    assert file.read_bytes() == FILE


def test_upgrade_to_a_file_and_a_directory(file: Path, tmp_path: Path) -> None:
    assert invoke("upgrade", file, "-o", tmp_path / "one.xml").exit_code == 0
    assert (tmp_path / "one.xml").read_bytes() == UPGRADED
    assert invoke("upgrade", file, tmp_path / "one.xml", "-o", f"{tmp_path}/all/").exit_code == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "all").iterdir()} == {
        "namespaces.xml": UPGRADED,
        "one.xml": UPGRADED,
    }


def test_upgrade_in_place(file: Path, tmp_path: Path) -> None:
    file.chmod(0o640)
    for _ in range(2):
        result = invoke("upgrade", "--in-place", file)
        assert (result.exit_code, result.stdout_bytes, result.stderr) == (0, b"", "")
        assert file.read_bytes() == UPGRADED
    if os.name == "posix":
        assert file.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["namespaces.xml"]


def test_a_broken_file_stays_and_the_others_are_done(file: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.xml"
    broken.write_bytes(BROKEN)
    result = invoke("upgrade", "--in-place", broken, tmp_path / "missing.xml", file)
    assert result.exit_code == 1
    assert result.stderr == (
        f"xep419: {broken}: byte 16: well-formed XML is expected: mismatched tag\n"
        f"xep419: {tmp_path / 'missing.xml'}: No such file or directory\n"
    )
    assert (broken.read_bytes(), file.read_bytes()) == (BROKEN, UPGRADED)
    assert sorted(os.listdir(tmp_path)) == ["broken.xml", "namespaces.xml"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (BROKEN, "byte 16: well-formed XML is expected: mismatched tag"),
        (b"<a/>", "byte 0: a registrar file is expected, whose root is <registry> or an entry, not <a>"),
        (FILE.decode().encode("utf-16"), "byte 0: XML in UTF-8 or another ASCII-compatible encoding is needed"),
    ],
)
def test_upgrade_of_bad_input(data: bytes, message: str) -> None:
    done = run("registry", "upgrade", data=data)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode().startswith(f"xep419: standard input: {message}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--in-place"], "Standard input cannot be replaced: name a FILE with --in-place."),
        (["--in-place", "-"], "Standard input cannot be replaced: name a FILE with --in-place."),
        (["--in-place", "-o", "out", "in"], "Use either -o or --in-place."),
        (["--in-place", "-o", "-", "in"], "Use either -o or --in-place."),
        (["a", "b", "-o", "out"], "Several files need a directory: -o out/"),
    ],
)
def test_upgrade_wrongly_used(arguments: list[str], message: str) -> None:
    result = invoke("upgrade", *arguments)
    assert result.exit_code == 2
    assert f"Error: {message}\n" in result.stderr


# -- template -------------------------------------------------------------------------------------------------


def test_template(tmp_path: Path) -> None:
    result = invoke("template", "--date", "2019-04-01")
    assert result.exit_code == 0
    assert "\nDate:  2019-04-01\n" in result.stdout
    assert invoke("template", "-o", tmp_path / "out").exit_code == 0
    today = re.search(r"^Date:  (.*)$", registration_template(), re.M)
    assert today
    assert (tmp_path / "out").read_text() == result.stdout.replace("2019-04-01", today[1])


def test_a_date_that_is_none() -> None:
    assert invoke("template", "--date", "the first of April").exit_code == 2


# -- help -----------------------------------------------------------------------------------------------------


def examples(name: str) -> list[str]:
    return re.findall(r"^    (xep419 .*)$", invoke(name, "--help").stdout.split("Examples:")[1], re.M)


def test_help_lists_the_commands() -> None:
    listed = invoke("--help").stdout.split("Commands:")[1].split("Examples:")[0]
    assert re.findall(r"^  (\w+) {2,}[A-Z]", listed, re.M) == list(COMMANDS)
    assert "..." not in listed, "each summary fits"


@POSIX
@pytest.mark.parametrize("line", [line for name in COMMANDS for line in examples(name)], ids=str)
@pytest.mark.any_python
def test_every_example_in_the_help_works(tmp_path: Path, line: str) -> None:
    for name in ("namespaces.xml", "disco-features.xml"):
        (tmp_path / name).write_bytes(FILE)
    command_line = line.replace("xep419 ", f"{sys.executable} -m xep419 ")
    done = subprocess.run(["sh", "-c", command_line], cwd=tmp_path, capture_output=True, env=environment())
    assert (done.returncode, done.stderr) == (0, b"")


def test_every_command_has_examples() -> None:
    assert all(len(examples(name)) >= 2 for name in COMMANDS)
