"""``xep419 speed``: what it measures, what it writes, and when it calls two results different.

No time is asserted. The command runs for a fraction of a second; the comparison is a function of two results, and is
tested on results that were made up.
"""

from __future__ import annotations

import codecs
import contextlib
import gc
import json
import math
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("click")
pytest.importorskip("rich")

from click.testing import CliRunner, Result

import xep419
from xep419.cli import measure as measuring
from xep419.cli.files import FileError
from xep419.cli.measure import LEAST_ROUNDS, OPERATIONS, REFERENCE, Key, Measurement, cipher_input, measure, xml_input
from xep419.cli.results import FLOOR, FORMAT, compare, load
from xep419.cli.run import command
from xep419.cli.speed import _figure, _size

#: the command chooses its instruction sets for itself
pytestmark = pytest.mark.any_isa

ISAS = xep419.available_isas()
TINY = ("--size", "64", "--size", "300", "--seconds", "0.2")


def speed(*arguments: str | Path, data: bytes = b"", columns: int = 80) -> Result:
    return CliRunner(env={"COLUMNS": str(columns)}).invoke(
        command, ["speed", *map(str, arguments)], input=data, prog_name="xep419"
    )


def as_json(*arguments: str | Path) -> dict[str, Any]:
    result = speed(*arguments, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    return as_json("rot13", "scan", *TINY)


@pytest.fixture
def old(tmp_path: Path, result: dict[str, Any]) -> Path:
    path = tmp_path / "old.json"
    path.write_text(json.dumps(result))
    return path


def keys(cells: list[dict[str, Any]]) -> list[tuple[str, str | None, int]]:
    return [(cell["operation"], cell["isa"], cell["bytes"]) for cell in cells]


# -- inputs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 28, 29, 64, 300, 4096, 65536])
def test_inputs_have_the_size_asked_for_and_are_always_the_same(size: int) -> None:
    given = xml_input(size)
    assert len(given["xml"]) == size
    assert b"".join(given["stanzas"]) == b"".join(given["pieces"]) == given["xml"] == xml_input(size)["xml"]
    assert len(cipher_input(size)["data"]) == size
    assert cipher_input(size)["data"] == cipher_input(size)["data"]


def test_what_the_stanzas_become_is_what_they_were_and_a_letter_for_each_name() -> None:
    given = xml_input(65536)
    assert len(given["secure"]) == len(given["xml"]) + given["names"]
    assert given["secure"].replace(b"https:", b"http:").replace(b"urn:xmpps:", b"urn:xmpp:") == given["xml"]
    assert b"http://example.org/" in given["secure"], "text and software URIs stay"


def test_the_density_of_the_stanzas_is_what_it_is_said_to_be() -> None:
    given = xml_input(1 << 20)
    assert round(len(given["xml"]) / given["xml"].count(b"<")) == 35
    assert round(len(given["xml"]) / given["names"]) == 144


#: for each operation, another whose result is wrong
WRONG = {
    "rot13": "data",
    "double_rot13": "rot13(data)",
    "double_rot13_into": "rot13_into(data, room)",
    "rot13_inplace": "rot13_inplace(buffer, rounds=2)",
    "scan": "scan(xml)[1:]",
    "upgrade": "upgrade(xml, scope=Scope.FEATURES)",
    "encrypt": "decrypt(xml)",
    "encrypt_many": "encrypt_many(stanzas[1:])",
    "Encryptor": "encrypt_pieces(pieces[1:])",
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_wrong_result_is_not_measured(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPERATIONS, name, OPERATIONS[name]._replace(statement=WRONG[name]))
    with pytest.raises(RuntimeError, match=rf"^{name} gave a wrong result on {ISAS[-1]} for 300 bytes$"):
        measure([Key(name, ISAS[-1], 300)], 0.05, lambda part: None)


# -- measuring ----------------------------------------------------------------------------------------------


def test_every_operation_is_measured_on_every_instruction_set_beside_the_reference() -> None:
    found = as_json("--size", "64", "--size", "1K", "--seconds", "0.5")
    assert keys(found["cells"]) == [(REFERENCE, None, 64), (REFERENCE, None, 1024)] + [
        (operation, isa, size) for operation in OPERATIONS for isa in ISAS for size in (64, 1024)
    ]
    assert found["skipped"] == []


def test_the_operations_are_forced_onto_their_instruction_set(monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    probe = OPERATIONS["rot13"]
    inputs = lambda size: {**cipher_input(size), "used": used, "isa": lambda: xep419.isa}  # noqa: E731
    monkeypatch.setitem(
        OPERATIONS, "rot13", probe._replace(statement="used.append(isa()) or rot13(data)", inputs=inputs)
    )
    before, collecting = xep419.isa, gc.isenabled()
    measured = measure([Key("rot13", isa, 64) for isa in ISAS], 0.02, lambda part: None)
    assert set(used) == set(ISAS)
    assert {cell.key.isa for cell in measured.cells} == {"", *ISAS}
    assert (xep419.isa, gc.isenabled()) == (before, collecting)


@pytest.mark.core
def test_an_instruction_set_that_does_not_take_effect_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xep419._core.isa.force", lambda name: None)
    other = next(isa for isa in ISAS if isa != xep419.isa)
    with pytest.raises(RuntimeError, match=rf"^instruction set '{other}' was forced, but '{xep419.isa}' is in use$"):
        measure([Key("rot13", other, 64)], 0.05, lambda part: None)


def test_an_error_leaves_the_instruction_set_as_it_was() -> None:
    def fail(part: float) -> None:
        raise KeyboardInterrupt

    before = xep419.isa
    with pytest.raises(KeyboardInterrupt):
        measure([Key("rot13", isa, 64) for isa in ISAS], 0.05, fail)
    assert xep419.isa == before


def test_rounds_visit_the_cells_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    visited: list[Key] = []
    time_slice = measuring._Cell.time_slice
    monkeypatch.setattr(measuring._Cell, "time_slice", lambda cell: (visited.append(cell.key), time_slice(cell)))
    wanted = [Key(name, ISAS[0], size) for name in ("rot13", "scan") for size in (64, 300)]
    measured = measure(wanted, 0.1, lambda part: None)
    cells = {cell.key for cell in measured.cells}
    assert len(cells) == 6
    assert {cell.rounds for cell in measured.cells} == {len(visited) // 6}
    for start in range(0, len(visited), 6):
        assert set(visited[start : start + 6]) == cells
    assert visited[:6] == visited[6:12][::-1]


def test_what_takes_longer_than_its_share_is_left_out_and_said() -> None:
    found = as_json("scan", "--size", "64", "--size", "64M", "--seconds", "0.05")
    assert keys(found["skipped"]) == [("scan", isa, 64 << 20) for isa in ISAS]
    assert {cell["bytes"] for cell in found["cells"]} == {64}
    shown = speed("scan", "--size", "64", "--size", "64M", "--seconds", "0.05").stdout
    assert "Not measured, its share of the time being too short:\n" in shown
    assert f"  scan {ISAS[-1]}: 64 MiB\n" in shown


# -- JSON ---------------------------------------------------------------------------------------------------


def test_json_says_what_ran_where(result: dict[str, Any]) -> None:
    assert list(result) == [
        "format", "version", "build", "python", "processor", "platform", "date", "isa", "seconds", "cells", "skipped"
    ]  # fmt: skip
    assert (result["format"], result["version"], result["isa"]) == (FORMAT, xep419.__version__, xep419.isa)
    assert result["seconds"] == 0.2
    listing = Path("/proc/cpuinfo")
    if listing.exists() and "model name" in listing.read_text():
        assert f": {result['processor']}\n" in listing.read_text()


def test_json_has_every_figure_of_every_cell(result: dict[str, Any]) -> None:
    for cell in result["cells"]:
        assert list(cell) == [
            "operation", "isa", "bytes", "rounds", "calls", "seconds", "mad", "relative", "relative_mad"
        ]  # fmt: skip
        assert cell["rounds"] >= LEAST_ROUNDS
        assert cell["calls"] >= 1
        assert cell["seconds"] > 0
        assert cell["mad"] >= 0
    references = [cell for cell in result["cells"] if cell["operation"] == REFERENCE]
    assert {(cell["relative"], cell["relative_mad"]) for cell in references} == {(1.0, 0.0)}


def test_json_comes_back_as_it_was(old: Path, result: dict[str, Any]) -> None:
    found = load(str(old))
    assert found.machine["version"] == xep419.__version__
    assert [(cell.key.operation, cell.key.isa or None, cell.key.size) for cell in found.cells] == keys(result["cells"])
    assert [cell.relative_mad for cell in found.cells] == [cell["relative_mad"] for cell in result["cells"]]


# -- tables -------------------------------------------------------------------------------------------------


def test_a_row_for_each_operation_and_instruction_set_and_a_column_for_each_size() -> None:
    lines = speed("rot13", "scan", *TINY).stdout.splitlines()
    assert lines[0].startswith(f"xep419 {xep419.__version__}, ")
    assert lines[2].split() == ["Operation", "ISA", "64", "B", "300", "B"]
    rows = [line.split() for line in lines[4 : 4 + 2 * len(ISAS) + 1]]
    assert [row[:2] for row in rows[:-1]] == [[name, isa] for name in ("rot13", "scan") for isa in ISAS]
    assert rows[-1][0] == REFERENCE
    assert {unit for row in rows[:-1] for unit in row[3::2]} <= {"kB/s", "MB/s", "GB/s"}


def test_latency_is_time_per_call() -> None:
    lines = speed("rot13", "--latency", *TINY).stdout.splitlines()
    assert {unit for line in lines[4 : 4 + len(ISAS)] for unit in line.split()[3::2]} <= {"ns", "us"}


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.12, "0.12 u"), (9.994, "9.99 u"), (12.34, "12.3 u"), (999.4, "999 u"), (999.6, "1.00 k"), (1234, "1.23 k"), (5e7, "50000 k")],
)  # fmt: skip
def test_figures_have_three_digits(value: float, shown: str) -> None:
    assert _figure(value, ("u", "k")) == shown


@pytest.mark.parametrize(
    ("size", "shown"), [(1, "1 B"), (1000, "1000 B"), (4096, "4 KiB"), (1536, "1536 B"), (1 << 20, "1 MiB")]
)
def test_sizes(size: int, shown: str) -> None:
    assert _size(size) == shown


# -- comparison ---------------------------------------------------------------------------------------------


SOME = Key("scan", "avx2", 64)


def cell(relative: float, relative_mad: float = 0.0, rounds: int = 15, key: Key = SOME) -> Measurement:
    return Measurement(key, rounds, 100, relative * 1e-6, relative_mad * 1e-6, relative, relative_mad)


def verdict(before: Measurement, after: Measurement) -> str:
    [found] = compare([before], [after])
    return found.verdict


@pytest.mark.parametrize(("after", "ratio", "expected"), [
    (1.0, 2.0, "faster"), (4.0, 0.5, "slower"), (2.0, 1.0, "no difference"),
    (2.0 / 1.09, 1.09, "no difference"), (2.0 / 1.11, 1.11, "faster"),
    (2.0 * 1.09, 1 / 1.09, "no difference"), (2.0 * 1.11, 1 / 1.11, "slower"),
])  # fmt: skip
def test_without_noise_the_floor_decides_alike_both_ways(after: float, ratio: float, expected: str) -> None:
    [found] = compare([cell(2.0)], [cell(after)])
    assert found.ratio == pytest.approx(ratio)
    assert found.noise == FLOOR == 0.10
    assert found.verdict == expected


def test_the_noise_is_three_standard_errors_of_both_medians() -> None:
    [found] = compare([cell(2.0, 0.3, rounds=9)], [cell(4.0, 0.8, rounds=16)])
    deviations = 1.4826 * 0.3 / 2.0, 1.4826 * 0.8 / 4.0
    errors = math.sqrt(math.pi / 2) * deviations[0] / 3, math.sqrt(math.pi / 2) * deviations[1] / 4
    assert found.noise == pytest.approx(3 * math.sqrt(errors[0] ** 2 + errors[1] ** 2))


@pytest.mark.parametrize("noisy", ["before", "after"])
def test_noise_in_either_result_hides_a_difference(noisy: str) -> None:
    mads = {"before": 0.0, "after": 0.0, noisy: 0.4}
    assert verdict(cell(1.0), cell(1.3)) == "slower"
    assert verdict(cell(1.0, mads["before"]), cell(1.3, mads["after"])) == "no difference"
    assert verdict(cell(1.0, mads["before"]), cell(9.0, mads["after"])) == "slower"


def test_a_machine_that_has_become_slower_is_no_difference() -> None:
    before = cell(2.0)
    assert verdict(before, before._replace(seconds=before.seconds * 3)) == "no difference"


def test_only_cells_that_both_have_are_compared_and_never_the_reference() -> None:
    one, two, three = (cell(1.0, key=Key("scan", "avx2", size)) for size in (64, 300, 4096))
    reference = cell(1.0, key=Key(REFERENCE, "", 64))
    assert [found.new.key.size for found in compare([one, two, reference], [three, two, reference])] == [300]


def test_the_command_compares_what_the_old_result_has(old: Path, result: dict[str, Any]) -> None:
    found = as_json("--compare", old, "--seconds", "0.2")
    measured = [key for key in keys(result["cells"]) if key[0] != REFERENCE]
    assert sorted(keys(found["comparison"])) == sorted(measured)
    assert found["old"]["date"] == result["date"]
    assert found["missing_in_old"] == found["missing_now"] == []
    assert all(
        set(entry) == {"operation", "isa", "bytes", "ratio", "noise", "verdict"} for entry in found["comparison"]
    )


@pytest.mark.parametrize(("factor", "expected"), [(1000, "faster"), (0.001, "slower")])
def test_an_old_result_altered_by_far_differs(
    tmp_path: Path, result: dict[str, Any], factor: float, expected: str
) -> None:
    cells = [{**entry, "relative": entry["relative"] * factor, "relative_mad": 0.0} for entry in result["cells"]]
    altered = tmp_path / "altered.json"
    altered.write_text(json.dumps({**result, "cells": cells}))
    shown = speed("--compare", altered, "--seconds", "0.2").stdout
    counts = {"faster": 0, "slower": 0, "no difference": 0, expected: 4 * len(ISAS)}
    assert ", ".join(f"{count} {name}" for name, count in counts.items()) in shown
    row = next(line for line in shown.splitlines() if line.startswith("rot13 "))
    assert row.endswith(expected) or row.rstrip().endswith(expected)
    assert f"The ratios allow for {REFERENCE}, which runs at " in shown


def test_what_only_one_side_has_is_said(tmp_path: Path, result: dict[str, Any]) -> None:
    foreign = [
        {**entry, "isa": "altivec"}
        for entry in result["cells"]
        if entry["operation"] == "scan" and entry["isa"] == ISAS[0]
    ]
    cells = [entry for entry in result["cells"] if entry["bytes"] == 64] + foreign
    path = tmp_path / "old.json"
    path.write_text(json.dumps({**result, "cells": cells}))
    found = as_json("--compare", path, "--seconds", "0.2")
    assert keys(found["missing_now"]) == keys(foreign)
    shown = speed("rot13", "--size", "64", "--size", "300", "--compare", path, "--seconds", "0.2").stdout
    assert f"Missing in the old:\n  rot13 {ISAS[0]}: 300 B\n" in shown
    assert "altivec" not in shown, "it was not asked for"
    shown = speed("--compare", path, "--seconds", "0.2").stdout
    assert "Missing in the new:\n  scan altivec: " in shown


def test_an_old_result_can_come_from_a_pipe(old: Path) -> None:
    assert speed("--compare", "-", "--seconds", "0.2", data=old.read_bytes()).exit_code == 0


def test_an_old_result_cannot_command_the_terminal(tmp_path: Path, result: dict[str, Any]) -> None:
    path = tmp_path / "old.json"
    extra = {**result["cells"][-1], "operation": "\x1b[31m"}
    path.write_text(json.dumps({**result, "python": "\x9b[red]", "cells": [*result["cells"], extra]}))
    shown = speed("--compare", path, "--seconds", "0.2", columns=200).stdout
    assert r"\x1b[31m" in shown
    assert r"\x9b[red]" in shown
    assert "\x1b" not in shown


# -- bad input and wrong usage --------------------------------------------------------------------------------


def altered(change: dict[str, Any]) -> bytes:
    good = {
        "operation": "scan",
        "isa": "avx2",
        "bytes": 64,
        "rounds": 15,
        "calls": 1,
        "seconds": 1,
        "mad": 0,
        "relative": 1,
        "relative_mad": 0,
    }
    return json.dumps({"format": FORMAT, "cells": [{**good, **change}], "skipped": []}).encode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "byte 0: JSON is expected: Expecting value"),
        ('{"é": nothing}'.encode(), "byte 7: JSON is expected: Expecting value"),
        (b'{"a": "\xff"}', "byte 7: JSON in UTF-8 is expected"),
        (b"[" * 100_000, "JSON is expected: "),
        (b"1" * 10_000, "JSON is expected: " if hasattr(sys, "get_int_max_str_digits") else "it is not a result of"),
        (b"[]", "it is not a result of xep419 speed --json ('xep419 speed 1' is expected as its format)"),
        (b"{}", "it is not a result of xep419 speed --json ('xep419 speed 1' is expected as its format)"),
        (b'{"format": "xep419 speed 1"}', "a list is expected as 'cells'"),
        (b'{"format": "xep419 speed 1", "cells": [], "skipped": 1}', "a list is expected as 'skipped'"),
        (b'{"format": "xep419 speed 1", "cells": [1], "skipped": []}', "cell 0: an object is expected"),
        (b'{"format": "xep419 speed 1", "cells": [], "skipped": [1]}', "skipped cell 0: an object is expected"),
        (altered({"operation": 1}), "cell 0: a name is expected as 'operation'"),
        (altered({"isa": None}), "cell 0: a name is expected as 'isa'"),
        (altered({"bytes": 0}), "cell 0: a whole number of at least 1 is expected as 'bytes'"),
        (altered({"bytes": True}), "cell 0: a whole number of at least 1 is expected as 'bytes'"),
        (altered({"rounds": 1.5}), "cell 0: a whole number of at least 1 is expected as 'rounds'"),
        (altered({"rounds": 10**400}), "cell 0: a whole number of at least 1 is expected as 'rounds'"),
        (altered({"calls": "1"}), "cell 0: a whole number of at least 1 is expected as 'calls'"),
        (altered({"seconds": 0}), "cell 0: a number of at least 1e-15 is expected as 'seconds'"),
        (altered({"mad": -1}), "cell 0: a number of at least 0 is expected as 'mad'"),
        (altered({"relative": math.nan}), "cell 0: a number of at least 1e-15 is expected as 'relative'"),
        (altered({"relative": math.inf}), "cell 0: a number of at least 1e-15 is expected as 'relative'"),
        (altered({"relative_mad": None}), "cell 0: a number of at least 0 is expected as 'relative_mad'"),
        (altered({"isa": "altivec"}), "none of its cells can be measured here, or was asked for"),
        (altered({"operation": "rot14"}), "none of its cells can be measured here, or was asked for"),
        (altered({"bytes": 1 << 60}), "none of its cells can be measured here, or was asked for"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_result_is_bad_input(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "old.json"
    path.write_bytes(content)
    result = speed("--compare", path, "--seconds", "0.2")
    assert isinstance(result.exception, FileError), "which the command ends with status 1 for"
    assert str(result.exception).startswith(f"{path}: {reason}")
    assert result.stdout == ""


def test_a_cell_that_stands_twice_is_bad_input(tmp_path: Path, result: dict[str, Any]) -> None:
    path = tmp_path / "old.json"
    path.write_text(json.dumps({**result, "cells": result["cells"] * 2}))
    with pytest.raises(FileError, match=r"a cell stands in it twice$"):
        load(str(path))


def run(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "xep419", "speed", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        **options,
    )


def test_bad_input_ends_the_command_with_1(tmp_path: Path) -> None:
    missing = run("--compare", tmp_path / "missing.json")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert missing.stderr == f"xep419: {tmp_path / 'missing.json'}: No such file or directory\n"
    directory = run("--compare", tmp_path)
    assert (directory.returncode, directory.stdout) == (1, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["rot14"],
        ["--size", "0"], ["--size", "-1"], ["--size", "4KB"], ["--size", "1.5K"], ["--size", ""], ["--size", "65M"], ["--size", "1G"], ["--size", "٣"],
        ["--isa", "altivec"],
        ["--seconds", "0"], ["--seconds", "-1"], ["--seconds", "nan"], ["--seconds", "inf"], ["--seconds", "1e-6"],
        ["--latency", "--json"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    result = speed(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Usage: xep419 speed" in result.stderr


def test_a_pipe_gets_the_whole_table_and_standard_error_nothing() -> None:
    sizes = [part for size in range(1, 13) for part in ("--size", str(size))]
    result = run("rot13", "--seconds", "0.2", *sizes)
    assert (result.returncode, result.stderr) == (0, "")
    heading = next(line for line in result.stdout.splitlines() if line.startswith("Operation"))
    assert heading.split()[2::2] == [str(size) for size in range(1, 13)]


POSIX = pytest.mark.skipif(sys.platform == "win32", reason="needs signals and terminals as POSIX has them")


def started(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    def heed_signals() -> None:  # a job in the background ignores Ctrl-C, and so would its children
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | {"TERM": "xterm"}
    command_line = [sys.executable, "-m", "xep419", "speed", *arguments]
    return subprocess.Popen(command_line, env=environment, preexec_fn=heed_signals, **options)


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """The two ends: the one a person has, the one a process has."""
    import pty

    ends = pty.openpty()
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):
            os.close(end)


@POSIX
def test_interrupted_it_prints_nothing_half_way(terminal: tuple[int, int]) -> None:
    person, process_end = terminal
    with started("--seconds", "60", stdout=subprocess.PIPE, stderr=process_end) as process:
        os.close(process_end)
        shown = b""
        while b"measuring" not in shown:  # the bar: it is under way
            shown += os.read(person, 4096)
        process.send_signal(signal.SIGINT)
        while piece := _read(person):
            shown += piece
        assert process.stdout is not None
        assert (process.stdout.read(), process.wait(30)) == (b"", 130)
    assert b"Traceback" not in shown
    assert shown.endswith(b"\x1b[2K"), "the bar is gone"


@POSIX
@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("old", [False, True], ids=["speeds", "comparison"])
def test_on_a_terminal_the_table_is_no_wider(
    tmp_path: Path, terminal: tuple[int, int], columns: int, old: bool
) -> None:
    import fcntl
    import struct
    import termios

    arguments = [
        "double_rot13_into",
        "--size",
        "64",
        "--size",
        "300",
        "--size",
        "4K",
        "--size",
        "64K",
        "--size",
        "256K",
    ]
    arguments += ["--seconds", "0.3"]
    if old:
        (tmp_path / "old.json").write_text(json.dumps(as_json(*arguments)))
        arguments += ["--compare", str(tmp_path / "old.json")]
    person, process_end = terminal
    fcntl.ioctl(process_end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with started(*arguments, stdout=process_end, stderr=subprocess.PIPE) as process:
        os.close(process_end)
        shown = b""
        while piece := _read(person):
            shown += piece
        assert process.wait(30) == 0
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in shown.decode().splitlines()]
    assert max(map(len, lines)) <= columns
    rows = [line for line in lines if line.startswith("double_rot13_into ")]
    assert len(rows) == len(ISAS) * (5 if old else 1), "in one table"
    assert not any("…" in row for row in rows)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # Linux's way to say that the other end is closed
        return b""


def test_rotation_in_the_check_is_rot13() -> None:
    everything = bytes(range(256))
    expected = codecs.encode(everything.decode("latin-1"), "rot13").encode("latin-1")
    assert everything.translate(measuring._ROTATED) == expected
