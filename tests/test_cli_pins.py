"""``xep419 pins`` as its users meet it: what it shows, what it changes, how it ends."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("click")
pytest.importorskip("rich")

import xep419
from xep419.policy import Pin, PinStore

pytestmark = pytest.mark.any_isa

PING, DISCO = "urn:xmpps:ping", "https://jabber.org/protocol/disco#info"
DAY = 86_400.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pins.sqlite"


def run(*arguments: object, data: str = "", **environment: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "xep419", "pins", *map(str, arguments)],
        input=data,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(xep419.__file__).parents[1]), **environment},
    )
    return done.returncode, done.stdout, done.stderr


def stored(path: Path) -> list[tuple[str, str]]:
    with PinStore(path, create=False) as store:
        return [pin[:2] for pin in store]


def fill(path: Path, *pins: Pin) -> None:
    with PinStore(path) as store:
        store.add(pins)


def test_pins_are_added_shown_and_removed(path: Path) -> None:
    assert run("add", "Example.org", PING, DISCO, "--include-subdomains", "--max-age", "30", "--store", path) == (
        0, "added 2, already there 0\n", "",
    )  # fmt: skip
    assert run("add", "bob@example.org/phone", PING, "--store", path)[0] == 0
    with PinStore(path) as store:
        assert [(pin.peer, pin.name, pin.max_age, pin.include_subdomains) for pin in store] == [
            ("bob@example.org", PING, 180 * DAY, False),
            ("example.org", DISCO, 30 * DAY, True),
            ("example.org", PING, 30 * DAY, True),
        ]
    status, shown, _ = run("list", "--store", path)
    lines = shown.splitlines()
    assert (status, lines[0].split()) == (0, "Peer Secure name Subdomains First seen Last seen Expires".split())
    assert [line.split()[:3] for line in lines[2:5]] == [
        ["bob@example.org", PING, "no"],
        ["example.org", DISCO, "yes"],
        ["example.org", PING, "yes"],
    ]
    assert lines[5:] == [f"3 pins in {path}"]
    assert run("remove", "EXAMPLE.org", "urn:xmpp:ping", "--store", path) == (0, "removed 1\n", "")
    assert stored(path) == [("bob@example.org", PING), ("example.org", DISCO)]
    assert run("remove", "bob@example.org", "--store", path) == (0, "removed 1\n", "")
    assert stored(path) == [("example.org", DISCO)]
    gone = f"xep419: {path}: there is no such pin of bob@example.org\n"
    assert run("remove", "bob@example.org", "--store", path) == (1, "", gone)
    assert run("remove", "example.org", DISCO, PING, "--store", path) == (
        1, "removed 1\n", f"xep419: {path}: there is no such pin of example.org: {PING}\n",
    )  # fmt: skip


def test_a_peer_named_twice_is_shown_once(path: Path) -> None:
    fill(path, Pin("bob@example.org", PING, 5, 10, DAY))
    shown = run("list", "bob@example.org", "Bob@example.org/phone", "--json", "--expired", "--store", path)[1]
    assert len(json.loads(shown)) == 1


def test_no_store_is_made_for_what_is_not_stored(path: Path) -> None:
    # An empty store would pass for one that met nobody, where a missing one is an error.
    assert run("add", "@", PING, "--store", path)[0] == 2
    assert run("import", "--store", path, data="[")[0] == 1
    assert not path.exists()


def test_an_empty_name_is_not_the_default_store(tmp_path: Path) -> None:
    status, shown, told = run("add", "b", PING, "--store", "", XDG_STATE_HOME=str(tmp_path))
    assert (status, shown, list(tmp_path.iterdir())) == (2, "", [])
    assert told.endswith("Error: The name after --store is empty.\n")


def test_json_has_every_field_and_only_what_holds_unless_told(path: Path) -> None:
    fill(path, Pin("old@example.org", PING, 5, 10, DAY), Pin("b", PING, 5, 4e9, DAY))
    status, shown, _ = run("list", "--json", "--store", path)
    (pin,) = json.loads(shown)
    assert (status, pin["peer"], pin["first_seen"], pin["expires"]) == (0, "b", 5, pin["last_seen"] + DAY)
    status, shown, _ = run("list", "--json", "--expired", "--store", path)
    assert [pin["peer"] for pin in json.loads(shown)] == ["b", "old@example.org"]
    assert json.loads(shown)[1] == {
        "peer": "old@example.org", "name": PING, "first_seen": 5.0, "last_seen": 10.0, "max_age": DAY,
        "include_subdomains": False, "expires": DAY + 10,
    }  # fmt: skip
    assert json.loads(run("list", "--json", "nobody@example.org", "--store", path)[1]) == []
    assert run("list", "nobody@example.org", "--store", path) == (0, f"0 pins in {path}\n", "")
    assert "1970-01-02 00:00" in run("list", "old@example.org", "--expired", "--store", path)[1]


def test_export_and_import(path: Path, tmp_path: Path) -> None:
    pins = [Pin("bob@example.org", PING, 5, 10, DAY), Pin("example.org", DISCO, 5, 10, DAY, True)]
    fill(path, *pins)
    output, other = tmp_path / "pins.json", tmp_path / "new" / "directory" / "pins.sqlite"
    assert run("export", "-o", output, "--store", path) == (0, "", "")
    assert run("export", "--store", path)[1] == output.read_text()
    assert run("import", output, "--store", other) == (0, "added 2, already there 0\n", "")
    assert other.parent.stat().st_mode & 0o777 == 0o700
    with PinStore(other) as store:
        assert list(store) == pins
    assert run("import", "--store", other, data=output.read_text()) == (0, "added 0, already there 2\n", "")


def test_what_is_no_export_changes_nothing(path: Path, tmp_path: Path) -> None:
    fill(path, Pin("b", PING, 5, 10, DAY))
    bad = tmp_path / "bad.json"
    bad.write_text('{"format": ')
    assert run("import", bad, "--store", path) == (
        1, "", f"xep419: {bad}: byte 11: expected exported pins, got no JSON: Expecting value\n",
    )  # fmt: skip
    status, _, told = run("import", "--store", path, data='{"format": "xep419 pins 1", "pins": [1]}')
    assert (status, told.startswith("xep419: standard input: pin 0: expected an object of peer, ")) == (1, True)
    assert run("import", tmp_path / "none", "--store", path)[0] == 1
    assert stored(path) == [("b", PING)]


def test_a_store_that_is_full_is_told(path: Path) -> None:
    fill(path, *(Pin("b", f"urn:xmpps:{number}", 5, 4e9, DAY) for number in range(256)))
    status, shown, told = run("add", "b", PING, "--store", path)
    assert (status, shown) == (1, "added 0, already there 0\n")
    assert told.endswith("xep419: no room for 1 pins\n")


@pytest.mark.parametrize("command", [("list",), ("remove", "b"), ("export",)], ids=lambda command: command[0])
def test_a_store_that_is_not_there_or_damaged_is_told(path: Path, command: tuple[str, ...]) -> None:
    assert run(*command, "--store", path) == (1, "", f"xep419: {path}: it is not there\n")
    path.write_bytes(b"")
    status, shown, told = run(*command, "--store", path)
    assert (status, shown) == (1, "")
    assert told.startswith(f"xep419: {path}: it is damaged (the file is empty). Nothing in it is trusted.")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("add", "@", PING), "expected a JID (RFC 7622), got '@'"),
        (("add", "example.org", "urn:xmpp:ping"), "a pin's name begins with 'https:' or 'urn:xmpps:'"),
        (("add", "bob@example.org", PING, "--include-subdomains"), "only a domain's pin includes subdomains"),
        (("add", "example.org", PING, "--max-age", "0"), "Invalid value for '--max-age'"),
        (("add", "example.org", PING, "--max-age", "nan"), "a pin's max_age is a number of seconds"),
        (("add", "example.org"), "Missing argument 'NAME...'"),
        (("list", "@"), "expected a JID (RFC 7622), got '@'"),
        (("remove", "@"), "expected a JID (RFC 7622), got '@'"),
        ((), "Commands:"),
    ],
)
def test_wrong_usage(path: Path, arguments: tuple[str, ...], told: str) -> None:
    if arguments and arguments[0] == "remove":
        fill(path)
    status, shown, error = run(*arguments, *(["--store", path] if arguments else []), TERM="dumb")
    assert (status, shown if not arguments else "") == (2, "")
    assert told in " ".join(error.split())


@pytest.mark.parametrize(
    ("environment", "where"),
    [
        ({"XDG_STATE_HOME": "{}/state"}, "state/xep419"),
        ({"XDG_STATE_HOME": ""}, ".local/state/xep419"),
        ({"XDG_STATE_HOME": "relative"}, ".local/state/xep419"),  # to be ignored, says the specification
    ],
)
def test_the_default_store_is_where_programs_have_their_state(
    tmp_path: Path, environment: dict[str, str], where: str
) -> None:
    changed = {name: value.format(tmp_path) for name, value in environment.items()}
    assert run("add", "example.org", PING, HOME=str(tmp_path), **changed)[0] == 0
    assert stored(tmp_path / where / "pins.sqlite") == [("example.org", PING)]
    assert run("list", HOME=str(tmp_path), **changed)[1].endswith(f"1 pin in {tmp_path / where / 'pins.sqlite'}\n")


def test_what_a_terminal_might_obey_is_escaped(path: Path) -> None:
    status, _, told = run("remove", "a\x1b[31m", "--store", path)
    assert (status, "\x1b" in told) == (1, False)
    fill(path)
    status, _, told = run("remove", "a\x1b[31m@b", "--store", path)
    assert (status, "\x1b" in told) == (2, False)


@pytest.mark.any_python
@pytest.mark.parametrize("command", ["list", "add", "remove", "export", "import"])
def test_every_example_in_the_help_works(tmp_path: Path, command: str) -> None:
    shown = run(command, "--help")[1]
    examples = re.findall(r"^    (xep419 pins .*)$", shown.partition("Examples:")[2], re.M)
    assert len(examples) >= 2
    for number, example in enumerate(examples):
        state = {"XDG_STATE_HOME": str(tmp_path / str(number))}
        assert run("add", "bob@example.org", "urn:xmpps:receipts", **state)[0] == 0
        (tmp_path / "pins.json").write_text('{"format": "xep419 pins 1", "pins": []}')
        line = example.replace("xep419 ", f"{sys.executable} -m xep419 ")
        environment = {**os.environ, "PYTHONPATH": str(Path(xep419.__file__).parents[1]), **state}
        done = subprocess.run(["sh", "-c", line], cwd=tmp_path, env=environment, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b""), example
