"""The tests on every CPython from 3.10 on that this machine has: nox, or nox -s tests -- -k cipher."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True
OLDEST, NEWEST = 10, 20
DIST = Path("build", "sdist").absolute()


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


def chosen() -> list[str]:
    """In CI the oldest and the newest beside the one that make test has run with."""
    found = interpreters()
    if not os.environ.get("CI"):
        return found
    others = [python for python in found if not answers(python, sys.version_info.minor)]
    return sorted({*others[:1], *others[-1:]})


@nox.session(python=False)
def sdist(session: nox.Session) -> None:
    """What the tests install: the package as it is published."""
    shutil.rmtree(DIST, ignore_errors=True)
    session.run(sys.executable, "-m", "build", "--sdist", "--outdir", str(DIST), silent=True)


@nox.session(python=chosen())
def tests(session: nox.Session) -> None:
    """The tests on the fastest instruction set, and the heart of them in pure Python.

    Against the package built from the sdist, outside this tree, where the package would be found in place of the
    installed one. Left out are the tests that no interpreter changes (tests/conftest.py, any_python), and in CI, on the
    second interpreter, those that start processes (outer): make test and the first one have them.
    """
    (package,) = DIST.glob("*.tar.gz")
    session.install("--upgrade", "pip")  # an old one tries versions for a quarter of an hour
    session.install(f"{package}[all]")
    session.install(*nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), "test"))
    outside = Path(session.virtualenv.location, "outside")
    shutil.rmtree(outside, ignore_errors=True)
    for name in ("tests", "examples"):
        shutil.copytree(name, outside / name)
    shutil.copy("pyproject.toml", outside)
    pytest = ("python", "-m", "pytest", "-q", "-p", "no:cacheprovider")
    is_second = bool(os.environ.get("CI")) and session.python != chosen()[0]
    arguments = session.posargs or ["-m", "not any_python and not outer" if is_second else "not any_python"]
    heart = ("tests/test_cipher.py", "tests/test_namespaces.py", "tests/test_incremental.py")
    with session.chdir(outside):
        session.run(*pytest, "--fastest-only", *arguments)
        session.run(*pytest, *heart, env={"XEP419_ISA": "python"})
