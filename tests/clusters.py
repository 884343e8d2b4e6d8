"""A Dask scheduler and its workers on loopback, as processes of their own, ended by process id."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import psutil  # distributed brings it

from xep419.archive.storage import TEMPORARY

TESTS = Path(__file__).parent
Found = TypeVar("Found")


class Cluster:
    """One scheduler, and workers that come and go. Their output is kept in ``directory``."""

    def __init__(self, directory: Path, **configuration: str) -> None:
        self._directory = directory
        self._environment = os.environ | configuration | {"PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
        self._processes: list[subprocess.Popen[bytes]] = []
        contact = directory / "scheduler.json"
        self.scheduler = self._start("scheduler", "--port", "0", "--host", "127.0.0.1", "--scheduler-file", contact)
        self.address = wait_for(lambda: _address(contact), 60)

    def worker(self, *options: str, **environment: str) -> subprocess.Popen[bytes]:
        """One more, of one thread; without a nanny, which would start another in its place."""
        number = len(self._processes)
        scratch = self._directory / f"scratch-{number}"
        arguments = (self.address, "--nthreads", "1", "--local-directory", scratch, "--name", str(number), *options)
        return self._start("worker", *arguments, **environment)

    def _start(self, kind: str, *arguments: str | Path, **environment: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", "--no-dashboard", *map(str, arguments)]
        with (self._directory / f"{kind}-{len(self._processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, env=self._environment | environment, cwd=self._directory
            )
        self._processes.append(process)
        return process

    def logs(self) -> str:
        return "\n".join(f"{path.name}:\n{path.read_text()}" for path in sorted(self._directory.glob("*.log")))

    def close(self) -> None:
        below = [child for process in self._processes for child in _children(process)]
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
        for child in below:  # of nannies
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()


@contextlib.contextmanager
def cluster(directory: Path, workers: int = 2, **configuration: str) -> Iterator[Cluster]:
    """``configuration`` are variables of the environment (``DASK_DISTRIBUTED__…``)."""
    started = Cluster(directory, **configuration)
    try:
        for _number in range(workers):
            started.worker("--no-nanny")
        wait_for(lambda: started.logs().count("Registered to") >= workers, 60)
        yield started
    finally:
        started.close()


def _children(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(process.pid).children(recursive=True)
    return []


def _address(contact: Path) -> str | None:
    try:
        return str(json.loads(contact.read_text())["address"])
    except (OSError, ValueError):
        return None


def wait_for(look: Callable[[], Found | None], seconds: float = 30) -> Found:
    """What ``look`` gives, once it gives something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.002)
    raise TimeoutError(f"nothing came within {seconds} seconds")


def writes(process: subprocess.Popen[bytes], suffix: str = "") -> str | None:
    """The temporary that a process has open, on Linux."""
    directory = f"/proc/{process.pid}/fd"
    with contextlib.suppress(OSError):
        for descriptor in os.listdir(directory):
            with contextlib.suppress(OSError):
                path = os.readlink(f"{directory}/{descriptor}")
                if os.path.basename(path).startswith(TEMPORARY) and path.endswith(suffix):
                    return path
    return None
