"""The ``xep419`` command as its users meet it: exit codes, pipes, terminals, signals, files that appear whole.

The real command runs in a process of its own wherever those matter; click's runner serves the rest.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import re
import signal
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("click")
pytest.importorskip("rich")

from click.testing import CliRunner, Result

import xep419
from xep419.cli.progress import total_size
from xep419.cli.run import command

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="needs signals, pipes and terminals as POSIX has them")
UNPRIVILEGED = pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="root may write what is read-only"
)
#: the processes choose their instruction set for themselves
pytestmark = pytest.mark.any_isa

COMMANDS = (
    "encrypt",
    "decrypt",
    "rot13",
    "upgrade",
    "downgrade",
    "scan",
    "audit",
    "registry",
    "pins",
    "srv",
    "archive",
    "speed",
    "info",
)
TRANSFORMS = COMMANDS[:5]
#: their examples need more than files: test_srv.py has a nameserver for them, test_cli_archive.py archives
ELSEWHERE = ("srv", "archive")
RUN = (sys.executable, "-m", "xep419")

STANZA = (
    b"<iq type='result' id='http://1'><query xmlns='http://jabber.org/protocol/disco#info'>"
    b"<feature var='urn:xmpp:ping'/><feature var='https://secure.example/already'/></query></iq>\n"
)
UPGRADED = STANZA.replace(b"'http://jabber", b"'https://jabber").replace(b"urn:xmpp:", b"urn:xmpps:")
UTF16 = "<a xmlns='http://jabber.org'/>".encode("utf-16")


def rotated(data: bytes) -> bytes:
    return codecs.encode(data.decode("latin-1"), "rot13").encode("latin-1")


def environment(**changes: str) -> dict[str, str]:
    """The tests' own, with this package importable from any directory and no terminal settings of the tester's."""
    found = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    package = str(Path(xep419.__file__).parents[1])
    found["PYTHONPATH"] = os.pathsep.join(filter(None, (package, found.get("PYTHONPATH"))))
    return {**found, "TERM": "xterm-256color", **changes}


def run(*arguments: str | Path, data: bytes = b"", **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*RUN, *map(str, arguments)], input=data, capture_output=True, timeout=60, env=environment(), **options
    )


def heed_signals() -> None:
    """What a shell runs in the background ignores Ctrl-C, and so would its children: they start afresh."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def started(*arguments: str | Path, **options: Any) -> subprocess.Popen[bytes]:
    settings: dict[str, Any] = {name: subprocess.PIPE for name in ("stdin", "stdout", "stderr")}
    settings["env"] = environment()
    if sys.platform != "win32":
        settings["preexec_fn"] = heed_signals
    return subprocess.Popen([*RUN, *map(str, arguments)], **{**settings, **options})


def invoke(*arguments: str | Path, data: bytes = b"") -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments], input=data, prog_name="xep419")


def eventually(condition: Callable[[], object]) -> None:
    limit = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.01)


def unread(process: subprocess.Popen[bytes]) -> int:
    """How many bytes wait in its standard input: none, once it is under way."""
    import fcntl
    import termios

    assert process.stdin is not None
    waiting = fcntl.ioctl(process.stdin.fileno(), termios.FIONREAD, bytes(struct.calcsize("i")))
    return int(struct.unpack("i", waiting)[0])


@pytest.fixture
def stanza(tmp_path: Path) -> Path:
    path = tmp_path / "stanza.xml"
    path.write_bytes(STANZA)
    return path


# -- what the commands do -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "given", "expected"),
    [
        (["upgrade"], STANZA, UPGRADED),
        (["upgrade", "--scope", "features"], STANZA, STANZA.replace(b"urn:xmpp:", b"urn:xmpps:")),
        (["upgrade", "--scope", "NODES", "--scope", "Fields"], STANZA, STANZA),
        (["upgrade", "--scope", "DECLARATIONS", "--scope", "FEATURES"], STANZA, UPGRADED),
        (["downgrade"], UPGRADED, STANZA),
        (["downgrade", "--all"], UPGRADED, STANZA.replace(b"https://secure", b"http://secure")),
        (["downgrade", "--scope", "declarations"], UPGRADED, UPGRADED.replace(b"https://jabber", b"http://jabber")),
        (["encrypt"], STANZA, UPGRADED),
        (["encrypt", "--rounds", "1"], STANZA, rotated(UPGRADED)),
        (["encrypt", "--rounds", "0"], STANZA, UPGRADED),
        (["encrypt", "--no-upgrade"], STANZA, STANZA),
        (["encrypt", "--no-upgrade", "--rounds", "3"], STANZA, rotated(STANZA)),
        (["decrypt"], UPGRADED, UPGRADED),
        (["decrypt", "--downgrade"], UPGRADED, STANZA),
        (["decrypt", "--downgrade", "--rounds", "1"], rotated(UPGRADED), STANZA),
        (["rot13"], bytes(range(256)), rotated(bytes(range(256)))),
        (["rot13", "--rounds", "2"], STANZA, STANZA),
        (["rot13", "--rounds", str(10**30 + 1)], STANZA, rotated(STANZA)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_standard_input_to_standard_output(arguments: list[str], given: bytes, expected: bytes) -> None:
    for dash in ([], ["-"]):
        result = invoke(*arguments, *dash, data=given)
        assert (result.exit_code, result.stdout_bytes) == (0, expected)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_empty_input_gives_empty_output(name: str, tmp_path: Path) -> None:
    target = tmp_path / "out.xml"
    result = invoke(name, "-o", target)
    assert (result.exit_code, target.read_bytes()) == (0, b"")


def test_a_document_longer_than_a_chunk(tmp_path: Path) -> None:
    source, target = tmp_path / "in.xml", tmp_path / "out.xml"
    padding = b"<body>" + b"http://stays.example " * 60_000 + b"</body>"
    source.write_bytes(padding + STANZA + padding + STANZA)
    assert invoke("upgrade", source, "-o", target).exit_code == 0
    assert target.read_bytes() == padding + UPGRADED + padding + UPGRADED


def test_the_xep_round_trip_in_a_pipe(stanza: Path) -> None:
    encrypted = run("encrypt", "--rounds", "1", stanza).stdout
    assert encrypted == rotated(UPGRADED)
    assert run("decrypt", "--downgrade", "--rounds", "1", data=encrypted).stdout == STANZA


@POSIX
def test_output_comes_as_soon_as_input_does() -> None:
    with started("rot13") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for word in (b"Uryyb", b"Jbeyq"):
            process.stdin.write(word)
            process.stdin.flush()
            assert os.read(process.stdout.fileno(), 100) == rotated(word)
        process.stdin.close()
        assert process.wait(30) == 0


# -- several files --------------------------------------------------------------------------------------------


def test_files_are_documents_of_their_own_one_after_the_other(tmp_path: Path) -> None:
    unfinished, whole = tmp_path / "unfinished.xml", tmp_path / "whole.xml"
    unfinished.write_bytes(b"<!-- never closed ")
    whole.write_bytes(STANZA)
    result = invoke("upgrade", unfinished, "-", whole, data=STANZA)
    assert result.stdout_bytes == b"<!-- never closed " + UPGRADED + UPGRADED


def test_on_standard_output_nothing_follows_a_failure(tmp_path: Path, stanza: Path) -> None:
    wide = tmp_path / "wide.xml"
    wide.write_bytes(UTF16)
    result = run("upgrade", stanza, wide, stanza)
    assert (result.returncode, result.stdout) == (1, UPGRADED)
    assert result.stderr.startswith(b"xep419: %b: byte 0: " % os.fsencode(wide))
    assert result.stderr.count(b"\n") == 1


@pytest.mark.parametrize("exists", [False, True], ids=["new directory", "existing directory"])
def test_a_file_each_in_a_directory(tmp_path: Path, stanza: Path, exists: bool) -> None:
    other = tmp_path / "other.xml"
    other.write_bytes(b"<a xmlns='urn:xmpp:ping'/>")
    target = tmp_path / "upgraded"
    if exists:
        target.mkdir()
    result = invoke("upgrade", stanza, other, "-o", f"{target}" if exists else f"{target}/")
    assert (result.exit_code, result.stdout_bytes) == (0, b"")
    assert {path.name: path.read_bytes() for path in target.iterdir()} == {
        "stanza.xml": UPGRADED,
        "other.xml": b"<a xmlns='urn:xmpps:ping'/>",
    }


def test_in_a_directory_the_other_files_are_done_in_spite_of_a_failure(tmp_path: Path, stanza: Path) -> None:
    target = tmp_path / "out"
    result = run("upgrade", tmp_path / "missing.xml", stanza, "-o", f"{target}/")
    assert result.returncode == 1
    assert result.stderr.decode().splitlines() == [f"xep419: {tmp_path / 'missing.xml'}: No such file or directory"]
    assert [path.name for path in target.iterdir()] == ["stanza.xml"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["a.xml", "b.xml", "-o", "one.xml"], "Several files need a directory: -o one.xml/"),
        (["x/a.xml", "y/a.xml", "-o", "out/"], "x/a.xml and y/a.xml would both be written to out/a.xml."),
        (["a.xml", "a.xml", "-o", "out/"], "a.xml and a.xml would both be written to out/a.xml."),
        (["a", "a", "-o", "out/"], "a and a would both be written to out/a."),
        (["-o", "out/"], "Standard input has no name to give its output in a directory: use -o FILE."),
        (["-", "-"], "Standard input can be read only once."),
        (["a.xml", "-o", ""], "The name after -o is empty."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_meant_is_a_usage_error(tmp_path: Path, arguments: list[str], reason: str) -> None:
    result = run("upgrade", *arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.decode().splitlines()[-1] == f"Error: {reason}"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["encrypt", "--nonsense"],
        ["rot13", "--rounds", "-1"],
        ["rot13", "--rounds", "many"],
        ["upgrade", "--scope", "BODY"],
        ["rot13", "--scope", "NODES"],
        ["info", "file.xml"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    result = run(*arguments)
    assert (result.returncode, result.stdout) == (2, b"")
    assert b"Usage: xep419" in result.stderr


# -- bad input ------------------------------------------------------------------------------------------------


def test_an_error_names_file_offset_and_reason(tmp_path: Path) -> None:
    endless = tmp_path / "endless.xml"
    endless.write_bytes(b"<stream>" + b"<message id='" + b"x" * (2 << 20))
    result = run("upgrade", endless, "-o", tmp_path / "out.xml")
    assert result.returncode == 1
    assert re.fullmatch(
        rf"xep419: {re.escape(str(endless))}: byte 8: a tag or name of at most 1048576 bytes is expected,"
        r" but \d+ bytes came without its end\n",
        result.stderr.decode(),
    )
    assert [path.name for path in tmp_path.iterdir()] == ["endless.xml"]


@pytest.mark.parametrize("name", ["upgrade", "downgrade", "encrypt", "scan"])
def test_standard_input_has_a_name_in_errors(name: str) -> None:
    result = run(name, data=UTF16)
    assert result.returncode == 1
    assert result.stderr.startswith(b"xep419: standard input: byte 0: ")
    assert result.stderr.count(b"\n") == 1


@pytest.mark.parametrize("name", ["rot13", "upgrade", "scan"])
def test_files_that_cannot_be_read(name: str, tmp_path: Path) -> None:
    missing = run(name, tmp_path / "missing.xml")
    assert (missing.returncode, missing.stdout) == (1, b"")
    assert missing.stderr.decode() == f"xep419: {tmp_path / 'missing.xml'}: No such file or directory\n"
    directory = run(name, tmp_path)
    assert (directory.returncode, directory.stdout) == (1, b"")
    assert directory.stderr.decode().startswith(f"xep419: {tmp_path}: ")


@POSIX
def test_a_name_cannot_command_the_terminal(tmp_path: Path) -> None:
    result = run("rot13", tmp_path / "\x1b[2Jred.xml")
    assert b"\x1b" not in result.stderr
    assert rb"\x1b[2Jred.xml: No such file" in result.stderr


@POSIX
@pytest.mark.parametrize("name", ["rot13", "scan"])
def test_closed_standard_input(name: str) -> None:
    result = subprocess.run(["sh", "-c", 'exec "$@" <&-', "sh", *RUN, name], capture_output=True, env=environment())
    assert (result.returncode, result.stderr) == (1, b"xep419: standard input: it is closed\n")


# -- outputs appear whole or not at all -----------------------------------------------------------------------


def test_a_file_can_be_replaced_by_its_own_output(tmp_path: Path, stanza: Path) -> None:
    assert run("upgrade", stanza, "-o", stanza).returncode == 0
    assert stanza.read_bytes() == UPGRADED
    assert list(tmp_path.iterdir()) == [stanza]


def test_a_dash_is_standard_output(stanza: Path, tmp_path: Path) -> None:
    assert run("upgrade", stanza, "-o", "-", cwd=tmp_path).stdout == UPGRADED
    assert list(tmp_path.iterdir()) == [stanza]


def test_a_failure_leaves_the_target_as_it_was(tmp_path: Path) -> None:
    source, target = tmp_path / "wide.xml", tmp_path / "out.xml"
    source.write_bytes(UTF16)
    target.write_bytes(b"precious")
    assert run("upgrade", source, "-o", target).returncode == 1
    assert target.read_bytes() == b"precious"
    assert len(list(tmp_path.iterdir())) == 2


@POSIX
def test_a_full_disk_leaves_the_target_as_it_was(tmp_path: Path) -> None:
    import resource

    source, target = tmp_path / "big", tmp_path / "out"
    source.write_bytes(b"a" * 3_000_000)
    target.write_bytes(b"precious")
    result = run(
        "rot13", source, "-o", target, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, 2 << 20))
    )
    assert (result.returncode, result.stderr.decode()) == (1, f"xep419: {target}: File too large\n")
    assert target.read_bytes() == b"precious"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_target_in_no_directory(tmp_path: Path, stanza: Path) -> None:
    target = tmp_path / "nowhere" / "out.xml"
    result = run("rot13", stanza, "-o", target)
    assert (result.returncode, result.stderr.decode()) == (1, f"xep419: {target}: No such file or directory\n")


@POSIX
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o755])
def test_the_permission_bits_of_a_target_are_kept(stanza: Path, tmp_path: Path, mode: int) -> None:
    target = tmp_path / "out.xml"
    target.touch()
    target.chmod(mode)
    assert run("upgrade", stanza, "-o", target).returncode == 0
    assert (stat.S_IMODE(target.stat().st_mode), target.read_bytes()) == (mode, UPGRADED)


@POSIX
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_a_new_file_has_the_bits_the_umask_leaves(stanza: Path, tmp_path: Path, umask: int, mode: int) -> None:
    target = tmp_path / "out.xml"
    assert run("upgrade", stanza, "-o", target, preexec_fn=lambda: os.umask(umask)).returncode == 0
    assert stat.S_IMODE(target.stat().st_mode) == mode


@POSIX
@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root can give a file away")
def test_the_owner_of_a_target_is_kept(stanza: Path) -> None:
    os.chown(stanza, 12345, 54321)
    assert run("upgrade", stanza, "-o", stanza).returncode == 0
    found = stanza.stat()
    assert (found.st_uid, found.st_gid, stanza.read_bytes()) == (12345, 54321, UPGRADED)


@UNPRIVILEGED
def test_a_read_only_target_stays(stanza: Path) -> None:
    stanza.chmod(0o444)
    result = run("upgrade", stanza, "-o", stanza)
    assert (result.returncode, result.stderr.decode()) == (1, f"xep419: {stanza}: Permission denied\n")
    assert stanza.read_bytes() == STANZA


@POSIX
@pytest.mark.parametrize("exists", [True, False], ids=["file", "nothing"])
def test_a_symbolic_link_is_followed(stanza: Path, tmp_path: Path, exists: bool) -> None:
    (tmp_path / "data").mkdir()
    real, link = tmp_path / "data" / "real.xml", tmp_path / "link.xml"
    if exists:
        real.write_bytes(b"old")
    link.symlink_to(Path("data") / "real.xml")
    assert run("upgrade", stanza, "-o", link).returncode == 0
    assert link.is_symlink()
    assert real.read_bytes() == UPGRADED
    assert list(real.parent.iterdir()) == [real]


@POSIX
def test_a_link_to_itself_is_an_error(stanza: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("link")
    result = run("upgrade", stanza, "-o", link)
    assert result.returncode == 1
    assert result.stderr.decode().startswith(f"xep419: {link}: ")
    assert link.is_symlink()


@POSIX
def test_a_named_pipe_is_written_to_and_stays_one(stanza: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # a writer that never comes must not hold the test up
    with started("upgrade", stanza, "-o", pipe) as process, os.fdopen(reader, "rb") as piped:
        assert process.wait(30) == 0
        assert piped.read() == UPGRADED
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@POSIX
def test_the_null_device_stays_one(stanza: Path) -> None:
    assert run("upgrade", stanza, "-o", "/dev/null").returncode == 0
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@POSIX
@pytest.mark.parametrize("arguments", [["stanza.xml"], ["-"]], ids=["file", "standard input"])
def test_a_file_appended_to_itself_is_refused(stanza: Path, arguments: list[str]) -> None:
    with stanza.open("rb") as standard_input, stanza.open("ab") as output:
        result = subprocess.run(
            [*RUN, "rot13", *arguments],
            stdin=standard_input,
            stdout=output,
            stderr=subprocess.PIPE,
            cwd=stanza.parent,
            timeout=60,
            env=environment(),
        )
    assert result.returncode == 1
    assert b": the input file is also standard output: use -o to replace it\n" in result.stderr
    assert stanza.read_bytes() == STANZA


@POSIX
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["rot13"], ["scan"], ["scan", "--json"], ["scan", "--places"], ["info"]])
def test_full_standard_output(arguments: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        result = subprocess.run(
            [*RUN, *arguments], input=STANZA, stdout=full, stderr=subprocess.PIPE, env=environment()
        )
    assert (result.returncode, result.stderr) == (1, b"xep419: standard output: No space left on device\n")


@POSIX
def test_closed_standard_output() -> None:
    result = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *RUN, "rot13"], input=STANZA, capture_output=True, env=environment()
    )
    assert (result.returncode, result.stderr) == (1, b"xep419: standard output: it is closed\n")


# -- signals and broken pipes ---------------------------------------------------------------------------------


@POSIX
@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_leaves_nothing_half_written(tmp_path: Path, name: str, status: int) -> None:
    target = tmp_path / "out.xml"
    target.write_bytes(b"precious")
    with started("upgrade", "-o", target) as process:
        assert process.stdin is not None
        process.stdin.write(STANZA * 1000)
        process.stdin.flush()
        eventually(lambda: any(path.stat().st_size for path in tmp_path.glob(".xep419-*.tmp")))
        process.send_signal(getattr(signal, name))
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, output, errors) == (status, b"", b"")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"out.xml": b"precious"}


@POSIX
@pytest.mark.parametrize("arguments", [["rot13"], ["scan"], ["scan", "--json"]], ids=" ".join)
def test_ctrl_c_is_quiet(arguments: list[str]) -> None:
    with started(*arguments) as process:
        assert process.stdin is not None
        process.stdin.write(b"a")
        process.stdin.flush()
        if arguments == ["rot13"]:
            assert process.stdout is not None
            assert os.read(process.stdout.fileno(), 1) == b"n"
        else:
            eventually(lambda: unread(process) == 0)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, output, errors) == (130, b"", b"")


@POSIX
def test_an_ignored_signal_stays_ignored() -> None:
    with started("rot13", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for letter, answer in ((b"a", b"n"), (b"b", b"o")):
            process.stdin.write(letter)
            process.stdin.flush()
            assert os.read(process.stdout.fileno(), 1) == answer
            process.send_signal(signal.SIGHUP)
        process.stdin.close()
        assert process.wait(30) == 0


@POSIX
@pytest.mark.parametrize(
    "arguments", [["rot13"], ["upgrade"], ["scan", "--json"], ["scan", "--places"], ["scan"]], ids=" ".join
)
@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.any_python
def test_a_reader_that_goes_away(
    tmp_path: Path, arguments: list[str], unbuffered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    source = tmp_path / "big.xml"
    source.write_bytes(b"".join(b"<a xmlns='http://example.org/%d'/>\n" % number for number in range(3_000)))
    with started(*arguments, source) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert len(os.read(process.stdout.fileno(), 10)) == 10
        process.stdout.close()
        errors = process.stderr.read()
        assert (process.wait(30), errors) == (141, b"")


@POSIX
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["scan", "--help"], ["info"], ["info", "--json"]])
def test_a_reader_that_never_came(arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        result = subprocess.run([*RUN, *arguments], stdout=writer, stderr=subprocess.PIPE, env=environment())
    finally:
        os.close(writer)
    assert (result.returncode, result.stderr) == (141, b"")


@POSIX
def test_head_in_a_shell(tmp_path: Path) -> None:
    source = tmp_path / "big"
    source.write_bytes(b"a" * 10_000_000)
    line = f"{sys.executable} -m xep419 rot13 {source} | head -c 10"
    result = subprocess.run(["sh", "-c", line], capture_output=True, timeout=60, env=environment())
    assert (result.returncode, result.stdout, result.stderr) == (0, b"n" * 10, b"")


# -- memory ---------------------------------------------------------------------------------------------------


def peak_memory(*arguments: str | Path) -> int:
    """Bytes of memory the command needed at most."""
    with started(*arguments, stdin=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@pytest.mark.any_python
@POSIX
@pytest.mark.parametrize("name", TRANSFORMS)
def test_memory_does_not_grow_with_the_file(tmp_path: Path, name: str) -> None:
    sizes = {"small": 4 << 20, "large": 100 << 20}
    for file, size in sizes.items():
        with open(tmp_path / file, "wb") as out:
            out.write(STANZA)
            for _ in range(size >> 20):
                out.write(b"http://text " * ((1 << 20) // 12))
    small, large = (peak_memory(name, tmp_path / file, "-o", tmp_path / "out") for file in sizes)
    assert large - small < 20 << 20


# -- progress -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    import pty

    ours, theirs = pty.openpty()
    try:
        yield ours, theirs
    finally:
        os.close(ours)
        with contextlib.suppress(OSError):
            os.close(theirs)


def shown_on(ours: int) -> bytes:
    """All that was written to the terminal, whose other side is closed by now."""
    found = b""
    while True:
        try:
            piece = os.read(ours, 1 << 16)
        except OSError:  # how Linux says that the other side is closed
            return found
        if not piece:
            return found
        found += piece


def slow_work(seconds: float, *, env: dict[str, str], stderr: int, end: bool = True) -> subprocess.Popen[bytes]:
    process = started("rot13", stdout=subprocess.DEVNULL, stderr=stderr, env=env)
    assert process.stdin is not None
    process.stdin.write(b"a" * (1 << 16))
    process.stdin.flush()
    eventually(lambda: unread(process) == 0)
    time.sleep(seconds)
    if end:
        process.stdin.close()
        assert process.wait(30) == 0
    return process


@POSIX
def test_long_work_shows_a_bar_on_a_terminal() -> None:
    with terminal() as (ours, theirs):
        slow_work(2, env=environment(), stderr=theirs)
        os.close(theirs)
        shown = shown_on(ours)
    assert b"standard input" in shown
    assert b"65.5" in shown
    assert b"kB" in shown
    assert b"\x1b[?25l" in shown
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l"), "the cursor is back"
    assert re.search(rb"\x1b\[[0-9;]*3[0-9]", shown), "in colour"


@POSIX
def test_the_total_is_known_when_every_size_is(stanza: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert total_size([str(stanza), str(tmp_path / "missing.xml"), str(stanza)]) == 2 * len(STANZA)
    assert total_size([str(stanza), str(pipe)]) is None


@POSIX
def test_no_color_is_respected() -> None:
    with terminal() as (ours, theirs):
        slow_work(2, env=environment(NO_COLOR="1"), stderr=theirs)
        os.close(theirs)
        shown = shown_on(ours)
    assert b"standard input" in shown
    assert not re.search(rb"\x1b\[[0-9;]*3[0-9]", shown)


@POSIX
def test_ctrl_c_gives_the_cursor_back() -> None:
    with terminal() as (ours, theirs):
        process = slow_work(2, env=environment(), stderr=theirs, end=False)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stdin is not None
        process.stdin.close()
        os.close(theirs)
        shown = shown_on(ours)
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l")
    assert b"Traceback" not in shown


@POSIX
def test_short_work_shows_nothing(stanza: Path) -> None:
    with terminal() as (ours, theirs):
        result = subprocess.run([*RUN, "rot13", stanza], stdout=subprocess.DEVNULL, stderr=theirs, env=environment())
        os.close(theirs)
        assert (result.returncode, shown_on(ours)) == (0, b"")


@POSIX
def test_long_work_is_quiet_in_a_pipe() -> None:
    with slow_work(1, env=environment(FORCE_COLOR="1"), stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert process.stderr.read() == b""


@POSIX
def test_no_bar_runs_into_output_on_the_same_terminal() -> None:
    with terminal() as (ours, theirs):
        process = started("rot13", stdout=theirs, stderr=theirs)
        assert process.stdin is not None
        process.stdin.write(b"Uryyb")
        process.stdin.flush()
        eventually(lambda: unread(process) == 0)
        time.sleep(1.5)
        process.stdin.close()
        assert process.wait(30) == 0
        os.close(theirs)
        assert shown_on(ours) == b"Hello"


# -- scan -----------------------------------------------------------------------------------------------------


def test_scan_json(stanza: Path) -> None:
    result = invoke("scan", "--json", stanza, "-", data=b"<a xmlns='urn:xmpps:ping'/>")
    found = json.loads(result.stdout)
    assert result.exit_code == 0
    assert [(entry["file"], entry["size"]) for entry in found] == [(str(stanza), len(STANZA)), ("-", 27)]
    assert [list(ref) for ref in found[0]["refs"]] == [["start", "end", "name", "kind", "secure"]] * 3
    assert [(ref["name"], ref["kind"], ref["secure"]) for ref in found[0]["refs"]] == [
        ("http://jabber.org/protocol/disco#info", "DECLARATIONS", False),
        ("urn:xmpp:ping", "FEATURES", False),
        ("https://secure.example/already", "FEATURES", True),
    ]
    for ref in found[0]["refs"]:
        assert STANZA[ref["start"] : ref["end"]].decode() == ref["name"]
    assert found[1]["refs"] == [
        {"start": 10, "end": 24, "name": "urn:xmpps:ping", "kind": "DECLARATIONS", "secure": True}
    ]


def test_scan_json_is_a_list_whatever_came(tmp_path: Path) -> None:
    empty = tmp_path / "empty.xml"
    empty.touch()
    assert json.loads(invoke("scan", "--json", empty).stdout) == [{"file": str(empty), "size": 0, "refs": []}]
    failed = run("scan", "--json", tmp_path / "missing.xml")
    assert (failed.returncode, json.loads(failed.stdout)) == (1, [])


def test_scan_json_tells_of_the_files_that_could_be_read(tmp_path: Path, stanza: Path) -> None:
    result = run("scan", "--json", stanza, tmp_path / "missing.xml", stanza)
    assert (result.returncode, [entry["file"] for entry in json.loads(result.stdout)]) == (1, [str(stanza)] * 2)
    assert result.stderr.decode() == f"xep419: {tmp_path / 'missing.xml'}: No such file or directory\n"


def test_scan_json_keeps_names_that_are_not_utf_8() -> None:
    result = run("scan", "--json", data=b"<a xmlns='http://\xff&#x1b;'/>")
    assert json.loads(result.stdout)[0]["refs"][0]["name"] == "http://\udcff\x1b"


def test_scan_places(tmp_path: Path) -> None:
    source = tmp_path / "two.xml"
    source.write_bytes(b"<a\nxmlns='urn:xmpp:ping'>\n\n<b xmlns='https://x'/><feature var='http://y'/></a>")
    result = run("scan", "--places", source)
    assert result.stdout.decode().splitlines() == [
        f"{source}:2: byte 10: insecure DECLARATIONS urn:xmpp:ping",
        f"{source}:4: byte 37: secure DECLARATIONS https://x",
        f"{source}:4: byte 63: insecure FEATURES http://y",
    ]


def test_scan_insecure_only(stanza: Path) -> None:
    names = [ref["name"] for ref in json.loads(invoke("scan", "--insecure-only", "--json", stanza).stdout)[0]["refs"]]
    assert names == ["http://jabber.org/protocol/disco#info", "urn:xmpp:ping"]


def test_scan_scope(stanza: Path) -> None:
    found = json.loads(invoke("scan", "--scope", "declarations", "--json", stanza).stdout)
    assert {ref["kind"] for ref in found[0]["refs"]} == {"DECLARATIONS"}


def test_scan_table(tmp_path: Path) -> None:
    source = tmp_path / "many.xml"
    source.write_bytes(STANZA + b"<a xmlns='urn:xmpp:time'/>" * 12)
    lines = run("scan", source).stdout.decode().splitlines()
    assert lines[0].rstrip() == str(source)
    assert re.split(r"\s{2,}", lines[1].strip()) == [
        "Namespace name", "Kind", "Secure", "Count", "First byte", "Secure form"
    ]  # fmt: skip
    first_time = len(STANZA) + len("<a xmlns='")
    assert [line.split() for line in lines[3:]] == [
        ["urn:xmpp:time", "DECLARATIONS", "no", "12", str(first_time), "urn:xmpps:time"],
        [
            "http://jabber.org/protocol/disco#info",
            "DECLARATIONS",
            "no",
            "1",
            str(STANZA.index(b"http://jabber")),
            "https://jabber.org/protocol/disco#info",
        ],
        ["urn:xmpp:ping", "FEATURES", "no", "1", str(STANZA.index(b"urn:")), "urn:xmpps:ping"],
        ["https://secure.example/already", "FEATURES", "yes", "1", str(STANZA.index(b"https://secure"))],
        ["15", "places,", "14", "insecure"],
    ]


def test_scan_table_of_nothing(tmp_path: Path) -> None:
    source = tmp_path / "plain.xml"
    source.write_bytes(b"<message/>")
    assert run("scan", source).stdout.decode().splitlines() == [f"{source}: no namespace names"]


@pytest.mark.parametrize("option", [[], ["--places"]], ids=["table", "places"])
def test_names_cannot_command_the_terminal(option: list[str]) -> None:
    result = run("scan", *option, data=b"<a xmlns='http://[red]\xff\xc2\x9b&#x1b;[31m:smile:'/>")
    assert result.returncode == 0
    assert r"http://[red]\udcff\x9b\x1b[31m:smile:" in result.stdout.decode()
    assert b"\x1b" not in result.stdout


def test_names_in_any_script_on_an_ascii_terminal() -> None:
    result = subprocess.run(
        [*RUN, "scan", "--places"],
        input="<a xmlns='http://пример'/>".encode(),
        capture_output=True,
        env=environment(PYTHONIOENCODING="ascii"),
    )
    assert (result.returncode, result.stderr) == (0, b"")
    assert rb"http://\u043f" in result.stdout


@POSIX
def test_scan_reads_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with started("scan", "--json", pipe) as process:
        pipe.write_bytes(STANZA)
        output, _ = process.communicate(timeout=30)
    assert len(json.loads(output)[0]["refs"]) == 3


# -- info, help, and what is missing --------------------------------------------------------------------------


def test_info_json() -> None:
    facts = json.loads(invoke("info", "--json").stdout)
    assert list(facts) == ["version", "isa", "available_isas", "build", "python", "platform"]
    assert facts["version"] == xep419.__version__
    assert facts["isa"] == xep419.isa
    assert facts["available_isas"] == list(xep419.available_isas())


def test_info() -> None:
    result = invoke("info")
    assert result.exit_code == 0
    assert re.search(rf"^xep419 +{re.escape(xep419.__version__)}$", result.stdout, re.M)
    assert re.search(rf"^instruction set +{re.escape(xep419.isa)} ", result.stdout, re.M)


def test_version() -> None:
    assert run("--version").stdout.decode() == f"xep419 {xep419.__version__}\n"


def test_help_lists_the_commands_and_exit_statuses() -> None:
    shown = run("--help").stdout.decode()
    assert re.findall(r"^  (\w+) {2,}[A-Z]", shown.split("Commands:")[1].split("Examples:")[0], re.M) == list(COMMANDS)
    assert "..." not in shown.split("Commands:")[1], "each summary fits"
    assert re.findall(r"^    (\d+) ", shown, re.M) == ["0", "1", "2", "130", "141"]


def examples(*name: str) -> list[str]:
    shown = invoke(*name, "--help").stdout
    return re.findall(r"^    (xep419 .*)$", shown.split("Examples:")[1], re.M)


@pytest.mark.any_python
@POSIX
@pytest.mark.parametrize(
    "line",
    [line for name in ((), *((name,) for name in COMMANDS if name not in ELSEWHERE)) for line in examples(*name)],
    ids=str,
)
def test_every_example_in_the_help_works(tmp_path: Path, line: str) -> None:
    for file in ("stanza.xml", "archive.xml"):
        (tmp_path / file).write_bytes(STANZA)
    for file in ("upgraded.xml", "encrypted.xml"):
        (tmp_path / file).write_bytes(UPGRADED)
    if "--compare" in line:
        (tmp_path / "old.json").write_bytes(run("speed", "scan", "--size", "64", "--seconds", "0.2", "--json").stdout)
    state = {"XDG_STATE_HOME": str(tmp_path / "state")}
    if " pins " in line:
        add = [*RUN, "pins", "add", "bob@example.org", "urn:xmpps:receipts"]
        subprocess.run(add, check=True, capture_output=True, env=environment(**state))
        (tmp_path / "pins.json").write_text('{"format": "xep419 pins 1", "pins": []}')
    command_line = line.replace("xep419 ", f"{sys.executable} -m xep419 ").replace("| xep419", "| " + " ".join(RUN))
    result = subprocess.run(["sh", "-c", command_line], cwd=tmp_path, capture_output=True, env=environment(**state))
    assert (result.returncode, result.stderr) == (0, b"")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_examples(name: str) -> None:
    assert len(examples(name)) >= 2


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_the_extra_the_command_says_what_to_install(missing: str) -> None:
    program = f"import sys; sys.modules[{missing!r}] = None; from xep419.__main__ import main; sys.exit(main())"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, env=environment())
    assert (result.returncode, result.stdout) == (1, b"")
    assert result.stderr.startswith(b"xep419: the xep419 command needs click and rich (")
    assert result.stderr.endswith(b"): pip install 'xep419[cli]'\n")


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_the_extra_the_import_says_what_to_install(missing: str) -> None:
    program = f"import sys; sys.modules[{missing!r}] = None; import xep419, xep419.cli"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, env=environment())
    assert result.returncode == 1
    assert b"ImportError: the xep419 command needs click and rich" in result.stderr.splitlines()[-1]
    assert result.stderr.splitlines()[-1].endswith(b"pip install 'xep419[cli]'")


def test_a_subcommand_is_not_slowed_down_by_what_others_need() -> None:
    program = "import sys, xep419.cli as cli; cli.main(['info']); print(*sys.modules, file=sys.stderr)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, env=environment(), text=True)
    imported = set(result.stderr.split())
    assert "xep419.cli.info" in imported
    assert not {"xep419.cli.archive", "xep419.cli.audit", "xep419.auditing", "xep419.policy"} & imported


def test_the_package_does_not_import_the_command() -> None:
    program = "import sys, xep419; print({'click', 'rich', 'xep419.cli'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, env=environment())
    assert result.stdout.strip() == b"set()"
