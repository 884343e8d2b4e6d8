"""Prosody and ejabberd on loopback: in a scratch directory, on free ports, under their own users, ended by process id."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
USERS = ("alice", "bob", "carol")
PASSWORD = "secret"  # of throw-away accounts


class NotInstalledError(Exception):
    pass


@dataclass(frozen=True)
class Server:
    name: str
    domain: str
    c2s: int
    tls: int
    ca: Path
    directory: Path

    @property
    def muc(self) -> str:
        return "muc." + self.domain


class Links(NamedTuple):
    """Ports, by their kind."""

    c2s: int
    c2s_tls: int
    s2s: int
    s2s_tls: int


def program(name: str) -> str:
    found = shutil.which(name, path=PATH)
    if found is None:
        raise NotInstalledError(f"{name} is not installed")
    if os.geteuid():
        raise NotInstalledError(f"{name} is run as its own user, which only root can")
    return found


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as open_sockets:
        sockets = [open_sockets.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [found.getsockname()[1] for found in sockets]


@contextlib.contextmanager
def scratch(user: str, certificate: Path) -> Iterator[Path]:
    """A directory that the server's user may enter, where pytest's own is root's."""
    directory = Path(tempfile.mkdtemp(prefix="xep419-interop-"))
    try:
        for name in ("certs", "data", "log"):
            (directory / name).mkdir()
        for suffix in ("crt", "key", "pem"):
            shutil.copy(certificate, directory / "certs" / f"xmpp.test.{suffix}")
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def fill(directory: Path, template: str, user: str, **values: object) -> Path:
    text = (HERE / f"{template}.in").read_text(encoding="utf-8")
    for name, value in {"DIR": directory, **values}.items():
        text = text.replace(f"@{name}@", str(value))
    made = directory / template
    made.write_text(text, encoding="utf-8")
    give(directory, user)
    return made


def give(directory: Path, user: str) -> None:
    """Makes the directory and all in it the user's own."""
    for path in (directory, *directory.rglob("*")):
        shutil.chown(path, user, pwd.getpwnam(user).pw_gid)


@contextlib.contextmanager
def running(command: list[str], user: str, directory: Path, ports: tuple[int, ...]) -> Iterator[None]:
    """The command, as the user and in a process group of its own, from when it listens until it is told to end."""
    log = (directory / "out").open("wb")
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        cwd=directory,
        user=user,
        group=pwd.getpwnam(user).pw_gid,
        extra_groups=[],
        env={"PATH": PATH, "HOME": str(directory), "LANG": "C.UTF-8"},
        start_new_session=True,
    )
    try:
        for port in ports:
            wait_for(port, process, directory)
        yield
    finally:
        end_group(process)
        log.close()


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Ends the process and those it started, which may outlive it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            process.poll()
            os.killpg(process.pid, 0)
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_for(port: int, process: subprocess.Popen[bytes], directory: Path) -> None:
    end = time.monotonic() + 40
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"the server does not listen on {port}:\n{(directory / 'out').read_text(errors='replace')}")


def call(command: list[str], user: str, directory: Path) -> None:
    environment = {"PATH": PATH, "HOME": str(directory), "LANG": "C.UTF-8"}
    group = pwd.getpwnam(user).pw_gid
    done = subprocess.run(
        command, cwd=directory, user=user, group=group, extra_groups=[], env=environment,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stdout}{done.stderr}")


@contextlib.contextmanager
def prosody_stopped(
    certificate: Path, archive: str = "sql"
) -> Iterator[tuple[Path, Callable[[], AbstractContextManager[Server]]]]:
    """A Prosody's data directory, and what starts the server on it, as often as it is called.

    :param archive: the storage of its archives, ``"sql"`` (SQLite) or ``"internal"``.
    """
    serve, control = program("prosody"), program("prosodyctl")
    with scratch("prosody", certificate) as directory:
        c2s, tls = free_ports(2)
        config = fill(directory, "prosody.cfg.lua", "prosody", C2S=c2s, TLS=tls, ARCHIVE=archive)
        for user in USERS:
            call([control, "--config", str(config), "register", user, "xmpp.test", PASSWORD], "prosody", directory)

        @contextlib.contextmanager
        def start() -> Iterator[Server]:
            with running([serve, "--config", str(config), "-F"], "prosody", directory, (c2s, tls)):
                yield Server("prosody", "xmpp.test", c2s, tls, certificate, directory)

        yield directory / "data", start


@contextlib.contextmanager
def prosody(certificate: Path) -> Iterator[Server]:
    with prosody_stopped(certificate) as (_data, start), start() as server:
        yield server


@contextlib.contextmanager
def prosody_links(certificate: Path) -> Iterator[Links]:
    """A Prosody with every kind of port that SRV records speak of."""
    serve = program("prosody")
    with scratch("prosody", certificate) as directory:
        ports = Links(*free_ports(4))
        names = {name.upper(): port for name, port in ports._asdict().items()}
        config = fill(directory, "prosody-links.cfg.lua", "prosody", **names)
        with running([serve, "--config", str(config), "-F"], "prosody", directory, ports):
            yield ports


@contextlib.contextmanager
def ejabberd(certificate: Path) -> Iterator[Server]:
    with installed_ejabberd(certificate) as (server, command), running_ejabberd(server, command):
        for user in USERS:
            call([*command, "register", user, "ejab.test", PASSWORD], "ejabberd", server.directory)
        yield server


def running_ejabberd(server: Server, command: list[str]) -> contextlib.AbstractContextManager[None]:
    return running([*command, "foreground"], "ejabberd", server.directory, (server.c2s, server.tls))


@contextlib.contextmanager
def installed_ejabberd(certificate: Path) -> Iterator[tuple[Server, list[str]]]:
    """An ejabberd that is to be run, once or more, and the command that controls it."""
    control = program("ejabberdctl")
    schema = Path("/usr/share/ejabberd/sql/lite.sql")
    with scratch("ejabberd", certificate) as directory:
        c2s, tls, distribution = free_ports(3)
        with schema.open("rb") as statements:
            subprocess.run([program("sqlite3"), directory / "ejabberd.sqlite"], stdin=statements, check=True)
        fill(directory, "ejabberdctl.cfg", "ejabberd", C2S=c2s, DIST=distribution)
        config = fill(directory, "ejabberd.yml", "ejabberd", C2S=c2s, TLS=tls)
        command = [control, "--config-dir", str(directory), "--config", str(config)]
        command += ["--ctl-config", str(directory / "ejabberdctl.cfg"), "--logs", str(directory / "log")]
        command += ["--spool", str(directory / "data")]
        yield Server("ejabberd", "ejab.test", c2s, tls, certificate, directory), command
