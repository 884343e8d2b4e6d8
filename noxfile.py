"""The tests on every CPython from 3.10 on that this machine has: nox, or nox -s tests -- -k cipher."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True
OLDEST, NEWEST = 10, 20


def answers(python: str, minor: int) -> bool:
    """Whether the interpreter runs and is the version it is named for (a pyenv shim may be neither)."""
    code = f"import sys; sys.exit(sys.version_info[:2] != (3, {minor}))"
    return subprocess.run([python, "-c", code], capture_output=True, check=False).returncode == 0


def interpreters() -> list[str]:
    """One interpreter for each minor version: from the path, else from pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    found = []
    for minor in range(OLDEST, NEWEST):
        named = shutil.which(f"python3.{minor}")
        candidates = [named] if named else []
        candidates += sorted(map(str, pyenv.glob(f"3.{minor}.*/bin/python3")))
        found += [python for python in candidates if answers(python, minor)][:1]
    return found


@nox.session(python=interpreters())
def tests(session: nox.Session) -> None:
    """The core suite on the fastest instruction set and in pure Python, against an installed wheel."""
    session.install(".[cli]")
    session.install(*nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), "test"))
    arguments = session.posargs or ["-m", "not slow"]
    session.run("python", "-m", "pytest", "--fastest-only", "-p", "no:cacheprovider", *arguments)
    session.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments, env={"XEP419_ISA": "python"})
