"""The examples in the README and the docs run, and print what they say they print."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if page.exists()]
#: a block that has one of these in it is left out where what it needs is not installed
OPTIONAL = {"slixmpp": "slixmpp", "xep419.srv": "dns"}
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

pytestmark = [
    pytest.mark.any_isa,
    pytest.mark.skipif(not PAGES, reason="the documentation is not beside these tests"),
]


def blocks(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_run_in_order_and_print_the_text_block_after_them(page: Path) -> None:
    names: dict[str, object] = {}
    found = blocks(page)
    for (language, code), (after, expected) in itertools.pairwise([*found, ("", "")]):
        if language != "python" or any(name in code and find_spec(needed) is None for name, needed in OPTIONAL.items()):
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, str(page), "exec"), names)
        if after == "text":
            assert printed.getvalue() == expected


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
@pytest.mark.any_python
@pytest.mark.outer
def test_commands_in_shell_blocks_succeed(page: Path, tmp_path: Path) -> None:
    pytest.importorskip("click")
    pytest.importorskip("rich")
    shell = shutil.which("sh")
    if shell is None:
        pytest.skip("no POSIX shell")
    for name in ("README.md", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "xep419").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m xep419 "$@"\n')
    (commands / "xep419").chmod(0o755)
    environment = os.environ | {"PATH": f"{commands}:{os.environ['PATH']}", "PYTHONPATH": os.pathsep.join(sys.path)}
    for language, code in blocks(page):
        if language != "sh":
            continue
        for line in code.splitlines():
            if line.startswith("xep419 "):
                done = subprocess.run(
                    [shell, "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
                )
                assert done.returncode == 0, f"{line}\n{done.stderr}"


def test_the_readme_says_on_its_first_screen_what_this_is_not() -> None:
    screen = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:24]
    assert any("hides nothing from anyone" in line for line in screen)
