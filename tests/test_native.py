"""The vector operations of ``csrc/`` in a C program of their own, instruction set by instruction set.

``native/kernels.c`` checks them against plain C, between pages that cannot be touched. What this machine cannot run,
it emulates: NEON by qemu, AVX-512 by SIMDe. A missing tool skips its tests; with ``CI=true`` it fails them. On Debian
they come with ``gcc clang gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user libsimde-dev``.
"""

from __future__ import annotations

import functools
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import xep419

NATIVE = Path(__file__).parent / "native"
SOURCE = NATIVE / "kernels.c"
HEADERS = NATIVE.parent.parent / "csrc"
STRICT = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-g")
SANITIZED = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
#: intrinsics in portable C; only there do vectors wider than the machine's stand in calls
EMULATED = (
    f"-I{NATIVE / 'simde'}", '-DKERNELS_HEADER="isa_avx512.h"', "-DKERNELS_OPS=xep419_ops_avx512", "-Wno-psabi",
)  # fmt: skip

ON_X86 = platform.machine().lower() in ("x86_64", "amd64")
ON_ARM = platform.machine().lower() in ("aarch64", "arm64")
NOT_AVAILABLE = 77

pytestmark = [
    pytest.mark.any_isa,
    pytest.mark.any_python,
    pytest.mark.skipif(sys.platform == "win32", reason="needs mmap and mprotect"),
    pytest.mark.skipif(not HEADERS.is_dir(), reason="needs the source tree"),
]

x86_only = pytest.mark.skipif(not ON_X86, reason="needs an x86-64 machine")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux, whose programs qemu-user runs")
#: the emulator itself is tried once everywhere
without_avx512 = pytest.mark.skipif("avx512" in xep419.available_isas(), reason="this machine runs AVX-512 itself")


def missing(what: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is missing, and CI must have it", pytrace=False)
    pytest.skip(f"{what} is missing")


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        missing(name)
    return str(found)


def need(what: str, compiler: str, *flags: str, program: str = "int main(void) { return 0; }") -> None:
    """``what`` is there when the compiler, which must be there too, makes a program of ``program``."""
    command = (tool(compiler), "-x", "c", "-", *flags, "-o", os.devnull)
    if subprocess.run(command, input=program.encode(), capture_output=True).returncode:
        missing(what)


def need_simde(compiler: str) -> None:
    need("SIMDe", compiler, "-E", program="#include <simde/x86/avx512.h>")


Build = Callable[..., Path]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """The program, made once with each compiler and set of flags."""

    @functools.cache
    def make(compiler: str, *flags: str) -> Path:
        return build(compiler, tmp_path_factory.mktemp("native") / "kernels", *flags)

    return make


def build(compiler: str, target: Path, *flags: str, headers: Path = HEADERS) -> Path:
    command = (tool(compiler), *STRICT, f"-I{headers}", *flags, str(SOURCE), "-o", str(target))
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return target


def check(name: str, *command: str | Path) -> None:
    result = subprocess.run([*map(str, command), name], capture_output=True, text=True)
    if result.returncode == NOT_AVAILABLE:
        pytest.skip(f"this machine cannot run {name}")
    assert (result.returncode, result.stderr) == (0, "")
    found = re.fullmatch(rf"{name}: (\d+) checks, no difference\n", result.stdout)
    assert found, result.stdout
    assert int(found[1]) > 1_000_000


@x86_only
@pytest.mark.parametrize("name", ["sse2", "avx2", "avx512"])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_operations_on_this_x86_machine(compiler: str, name: str, built: Build) -> None:
    check(name, built(compiler, "-O3"))


@pytest.mark.skipif(not ON_ARM, reason="needs an AArch64 machine")
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_operations_on_this_arm_machine(compiler: str, tmp_path: Path) -> None:
    check("neon", build(compiler, tmp_path / "kernels", "-O3"))


@pytest.mark.slow
@linux_only
@pytest.mark.parametrize("compiler", ["gcc", pytest.param("clang", marks=without_avx512)])
def test_avx512_operations_without_avx512(compiler: str, tmp_path: Path) -> None:
    need_simde(compiler)
    check("avx512", build(compiler, tmp_path / "kernels", "-O3", *EMULATED))


@pytest.mark.slow
@linux_only
@pytest.mark.parametrize("compiler", ["aarch64-linux-gnu-gcc", "clang"])
def test_neon_operations_in_an_emulator(compiler: str, tmp_path: Path) -> None:
    emulator = tool("qemu-aarch64")
    tool("aarch64-linux-gnu-gcc")  # clang takes its linker
    cross = ("-static", *(["--target=aarch64-linux-gnu"] if compiler == "clang" else []))
    need("a C library for AArch64", compiler, *cross)
    check("neon", emulator, build(compiler, tmp_path / "kernels", *cross, "-O3"))


@x86_only
@linux_only
@pytest.mark.parametrize("name", ["sse2", "avx2", "avx512"])
def test_operations_under_sanitizers(name: str, built: Build) -> None:
    need("the sanitizers' library", "gcc", *SANITIZED)
    check(name, built("gcc", *SANITIZED))


@pytest.mark.slow
@linux_only
@without_avx512
def test_emulated_avx512_operations_under_sanitizers(tmp_path: Path) -> None:
    need_simde("gcc")
    need("the sanitizers' library", "gcc", *SANITIZED)
    check("avx512", build("gcc", tmp_path / "kernels", *SANITIZED, *EMULATED))


@pytest.mark.parametrize("level", ["-O0", "-O2", "-Os"])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_no_warning_at_other_levels(compiler: str, level: str, tmp_path: Path) -> None:
    build(compiler, tmp_path / "kernels.o", level, "-c")


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_every_header_stands_alone(compiler: str, tmp_path: Path) -> None:
    for header in ("ops.h", "tables.h", "dispatch.h"):
        program = f'#include "{header}"\n#include "{header}"\nint main(void) {{ return 0; }}\n'
        (tmp_path / "alone.c").write_text(program)
        unused = ("-Wno-unused-function", "-Wno-unused-const-variable")
        command = (tool(compiler), *STRICT, *unused, f"-I{HEADERS}", "-fsyntax-only", "alone.c")
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr


#: breakages of kernels.h: what stands there, what is put in its place, and the operation that then is wrong
BREAKAGES = {
    "a byte read past the end": ("i + XEP419_BLOCK < n;", "i + XEP419_BLOCK <= n;", "candidates"),
    "a window read past the end": ("if (n - at < XEP419_BLOCK) {", "if (n - at < XEP419_BLOCK - 1) {", "tag_window"),
    "a block read before the start": ("while (end >= XEP419_BLOCK", "while (end >= XEP419_BLOCK - 1", "last_lt"),
    "a vector written past the end": ("i + VW < n; i", "i < n; i", "rotate_once"),
    "a tail not stored": ("V_STORE(dst + n - VW, last);", "V_STORE(dst + i, last);", "rotate_once"),
    "a tail loaded after it was rotated": (
        "for (; i + VW < n; i += VW) {", "last = V_LOAD(src + n - VW); TURN(last); for (; i + VW < n; i += VW) {",
        "rotate_once",
    ),
    "a list without room": ("room - count < XEP419_BLOCK", "room - count < 4", "candidates"),
    "a candidate between two blocks": ("V_LOAD(p + i + 1)", "V_LOAD(p + i + !i)", "candidates"),
    "a streaming store that is not aligned": ("(-(uintptr_t)dst & (VW - 1))", "(uintptr_t)0", "rotate_once_streaming"),
    "bytes after the last streaming loop": ("PLAIN(dst + i, src + i, n - i);", "", "rotate_once_streaming"),
    "a position before the floor": ("if (from < floor)", "if (0)", "last_lt"),
    "bits past the end": (" >> past;", ";", "tag_window"),
    "bits before the start": ("gt << before;", "gt;", "quote_sides"),
    "a side read past the end": ("n - at - 1 < XEP419_BLOCK ?", "n - at - 1 < XEP419_BLOCK - 1 ?", "quote_sides"),
    "a loose end that is too loose": ("i < n; i += XEP419_SLACK", "i < n + VW; i += XEP419_SLACK", "copy_loosely"),
    "a loose rotation too short": ("k < i + XEP419_BLOCK; k", "k < i + VW; k", "rotate_twice_loosely"),
    "a page read past the end": ("i * XEP419_BLOCK, left);", "i * XEP419_BLOCK, left + 1);", "classify"),
    "bits past the end of a page": ("((uint64_t)1 << left) - 1", "~(uint64_t)0", "classify"),
    "a row not ended": ("past < n / XEP419_BLOCK + 2", "past < n / XEP419_BLOCK + 1", "classify"),
    "suspects of a tail": ("suspects |= masks[XEP419_SUSPECT * XEP419_ROW + i];", "", "classify"),
}  # fmt: skip


@x86_only
@pytest.mark.skipif("avx2" not in xep419.available_isas(), reason="this machine cannot run avx2")
@pytest.mark.parametrize("breakage", BREAKAGES)
def test_the_program_notices(breakage: str, tmp_path: Path) -> None:
    before, after, operation = BREAKAGES[breakage]
    headers = tmp_path / "csrc"
    shutil.copytree(HEADERS, headers)
    kernels = headers / "kernels.h"
    text = kernels.read_text()
    assert before in text
    kernels.write_text(text.replace(before, after))
    alone = ('-DKERNELS_HEADER="isa_avx2.h"', "-DKERNELS_OPS=xep419_ops_avx2")
    program = build("gcc", tmp_path / "kernels", "-O1", "-w", *alone, headers=headers)
    result = subprocess.run([program, "avx2"], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (1, "")
    assert f"avx2 {operation}: " in result.stderr
