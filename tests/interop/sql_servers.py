"""PostgreSQL and MariaDB on loopback: in a scratch directory, on a free port, under their own users; can be killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .servers import NotInstalledError, call, end_group, free_ports, program, wait_for

PASSWORD = "secret"  # of a throw-away database
POSTGRESQL_PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
EJABBERD_SCHEMAS = Path("/usr/share/ejabberd/sql")


@dataclass
class SQLServer:
    """``command`` serves until it is killed or ended; what is in ``directory`` stays."""

    name: str
    user: str
    url: str
    port: int
    #: a database that there always is
    first: str
    directory: Path
    command: list[str]
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        log = self.directory / "out"
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.directory,
                user=self.user,
                group=self.user,
                extra_groups=[],
                start_new_session=True,
            )
        wait_for(self.port, self.process, self.directory)
        end = time.monotonic() + 40
        while True:  # it listens before it has recovered
            try:
                self.run(self.first, "SELECT 1")
                return
            except Exception:
                if time.monotonic() > end:
                    raise
            time.sleep(0.02)

    def kill(self) -> None:
        """As a power cut would: the server and its children, at once."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        end = time.monotonic() + 10
        with contextlib.suppress(ProcessLookupError):
            while time.monotonic() < end:  # PostgreSQL does not start while a child of the last one has its memory
                os.killpg(self.process.pid, 0)
                time.sleep(0.01)

    def end(self) -> None:
        if self.process is not None:
            end_group(self.process)

    def connect(self, database: str) -> Any:
        """A connection of the driver's own, which commits by itself."""
        where: dict[str, Any] = {"host": "127.0.0.1", "port": self.port, "user": "me", "password": PASSWORD}
        if self.name == "postgresql":
            import psycopg

            return psycopg.connect(dbname=database, autocommit=True, **where)
        import pymysql

        return pymysql.connect(database=database, autocommit=True, charset="utf8mb4", **where)

    def run(self, database: str, sql: str, rows: list[tuple[object, ...]] | None = None) -> list[Any]:
        """One statement, once or for each of the rows; what it selects, each value of one column."""
        with (
            contextlib.closing(self.connect(database)) as connection,
            contextlib.closing(connection.cursor()) as cursor,
        ):
            if rows is None:
                cursor.execute(sql)
                return [row[0] for row in cursor.fetchall()] if cursor.description else []
            cursor.executemany(sql, rows)
            return []

    def load(self, database: str, script: Path) -> None:
        where = ["-h", "127.0.0.1", "-U" if self.name == "postgresql" else "-u", "me"]
        if self.name == "postgresql":
            command = ["psql", "-q", "-p", str(self.port), *where, "-v", "ON_ERROR_STOP=1", database]
        else:
            command = ["mariadb", "--no-defaults", "-P", str(self.port), *where, database]
        passwords = {"PGPASSWORD": PASSWORD, "MYSQL_PWD": PASSWORD}
        with script.open("rb") as statements:
            subprocess.run(command, stdin=statements, env=os.environ | passwords, check=True, capture_output=True)


@contextlib.contextmanager
def _scratch(user: str) -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="xep419-sql-"))
    try:
        shutil.chown(directory, user, user)
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def postgresql() -> Iterator[SQLServer]:
    if not POSTGRESQL_PROGRAMS:
        raise NotInstalledError("postgresql is not installed")
    program("psql")  # and only root may go on
    (port,) = free_ports(1)
    with _scratch("postgres") as directory:
        (directory / "password").write_text(PASSWORD)
        initdb, postgres = (str(POSTGRESQL_PROGRAMS[-1] / name) for name in ("initdb", "postgres"))
        options = ["-U", "me", "-A", "scram-sha-256", "--pwfile", str(directory / "password"), "-E", "UTF8"]
        call([initdb, "-D", str(directory / "data"), "--no-sync", "--locale=C", *options], "postgres", directory)
        command = [postgres, "-D", str(directory / "data"), "-p", str(port), "-h", "127.0.0.1", "-k", str(directory)]
        command += ["-c", "fsync=off"]  # a killed process loses nothing that the kernel has
        url = f"postgresql://me:{PASSWORD}@127.0.0.1:{port}"
        server = SQLServer("postgresql", "postgres", url, port, "postgres", directory, command)
        try:
            server.start()
            yield server
        finally:
            server.end()


@contextlib.contextmanager
def mariadb() -> Iterator[SQLServer]:
    install, serve = program("mariadb-install-db"), program("mariadbd")
    (port,) = free_ports(1)
    with _scratch("mysql") as directory:
        options = ["--no-defaults", f"--datadir={directory / 'data'}"]
        (directory / "init").write_text(
            f"CREATE USER IF NOT EXISTS me@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';"
            "\nGRANT ALL ON *.* TO me@'127.0.0.1';\nCREATE DATABASE IF NOT EXISTS me;\n"
        )
        (directory / "data").mkdir()
        shutil.chown(directory / "data", "mysql", "mysql")
        call([install, *options, "--user=mysql", "--skip-test-db"], "mysql", directory)
        command = [serve, *options, f"--port={port}", "--bind-address=127.0.0.1", f"--socket={directory / 'socket'}"]
        command += [f"--init-file={directory / 'init'}", "--skip-name-resolve", "--innodb-buffer-pool-size=32M"]
        command += ["--innodb-flush-method=nosync", "--skip-sync-frm"]  # as above
        server = SQLServer(
            "mariadb", "mysql", f"mariadb://me:{PASSWORD}@127.0.0.1:{port}", port, "me", directory, command
        )
        try:
            server.start()
            yield server
        finally:
            server.end()
