"""Fuzzes every entry point for a while: ``python tests/fuzz/run.py --seconds 60``.

The package is built aside, in ``build/fuzz``, by Clang with coverage instrumentation, AddressSanitizer and
UndefinedBehaviorSanitizer; atheris drives it. What is missing is told, and the rest still runs: without Clang the
installed modules, guided by the coverage of the pure twin; without atheris unguided changes of the seeds. ``--strict``
makes that an error. Debian has Clang in ``clang libclang-rt-14-dev``; atheris comes from PyPI.

Exits with 1 when there are findings, and says how to see each again.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from seeds import seeds

HERE = Path(__file__).resolve().parent
TREE = HERE.parents[1]
WORK = TREE / "build" / "fuzz"
BUILD_TOOLS = ("setuptools>=77", "Cython>=3.1")
TARGETS = (
    "rotate", "scan", "upgrade", "restore", "downgrade", "encrypt", "encrypt_many", "encryptor", "decryptor", "census", "stream", "check", "stanza",
    "twins",
)  # fmt: skip

_COVERAGE = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)")
_FINDING = re.compile(r"runtime error:|ERROR: AddressSanitizer|Uncaught Python exception|Traceback|ERROR: libFuzzer")
SHOWN = 24  # lines of a finding's log
_EXECUTED = re.compile(r"stat::number_of_executed_units: *(\d+)")


class Missing(Exception):
    """What the instrumented build needs and is not here."""


# -- the instrumented build -------------------------------------------------------------------------------


def copy_sources(to: Path) -> None:
    """The sources with their times, so that only what changed is built again."""
    unwanted = shutil.ignore_patterns("*.so", "*.pyd", "__pycache__")
    for name in ("csrc", "xep419"):
        shutil.copytree(TREE / name, to / name, dirs_exist_ok=True, ignore=unwanted)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        if (TREE / name).exists():
            shutil.copy2(TREE / name, to / name)


def build_environment() -> dict[str, str]:
    environment = {**os.environ, "CC": "clang", "LDSHARED": "clang -shared", "XEP419_FUZZ": "1", "XEP419_SANITIZE": "1"}
    environment["CFLAGS"] = "-fno-wrapv " + os.environ.get("CFLAGS", "")  # signed overflow is seen without it
    environment.pop("XEP419_WERROR", None)
    if importlib.util.find_spec("Cython") is None or importlib.util.find_spec("setuptools") is None:
        tools = WORK / "tools"
        if not tools.is_dir():
            pip = (sys.executable, "-m", "pip", "install", "--quiet", "--target", str(tools), *BUILD_TOOLS)
            subprocess.run(pip, check=True)
        environment["PYTHONPATH"] = str(tools)
    return environment


def build() -> Path:
    if shutil.which("clang") is None:
        raise Missing("clang")
    copy = WORK / "tree"
    copy_sources(copy)
    command = (sys.executable, "setup.py", "--quiet", "build_ext", "--inplace")
    done = subprocess.run(
        command, cwd=copy, env=build_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        raise Missing(f"a compiler that makes the instrumented build:\n{done.stdout[-2000:]}")
    return copy


def sanitized(copy: Path) -> dict[str, str]:
    """The environment in which the instrumented modules can be loaded: atheris brings the runtime library."""
    atheris = importlib.import_module("atheris")
    runtime = Path(atheris.path()) / "asan_with_fuzzer.so"
    if not runtime.exists():
        raise Missing(f"{runtime.name} of atheris")
    environment = {
        **plain(),
        "LD_PRELOAD": str(runtime),
        "PYTHONPATH": str(copy),
        "PYTHONMALLOC": "malloc",  # each object is a block of its own, with guards around it
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:quarantine_size_mb=32",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    }
    where = "import xep419._core.isa as core; print(core.__file__)"
    done = subprocess.run((sys.executable, "-c", where), env=environment, cwd=WORK, capture_output=True, text=True)
    if not done.stdout.startswith(str(copy)):
        raise Missing(f"a runtime library that fits the compiler:\n{done.stdout}{done.stderr[-2000:]}")
    return environment


def plain() -> dict[str, str]:
    return {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(TREE)}


def prepare(strict: bool) -> dict[str, str]:
    """The environment of the targets, and a word on what they run on."""
    try:
        if importlib.util.find_spec("atheris") is None:
            raise Missing("atheris (pip install atheris)")
        environment = sanitized(build())
        print("guided by the coverage of the compiled core, under sanitizers")
    except Missing as missing:
        how = "guided by the coverage of the pure twin" if importlib.util.find_spec("atheris") else "unguided"
        print(f"{how}, on the installed modules: there is no {missing}", file=sys.stderr)
        if strict:
            raise SystemExit(2) from None
        environment = plain()
    return environment


# -- the targets ------------------------------------------------------------------------------------------


@dataclass
class Run:
    target: str
    executed: int = 0
    coverage: int = 0
    features: int = 0
    corpus: int = 0
    log: str = ""
    findings: list[Path] = field(default_factory=list)


def write_seeds(target: str) -> Path:
    corpus = WORK / "corpus" / target
    corpus.mkdir(parents=True, exist_ok=True)
    for data in seeds(target):
        (corpus / f"seed-{zlib.crc32(data):08x}").write_bytes(data)
    return corpus


def fuzz(target: str, seconds: int, seed: int, environment: dict[str, str]) -> Run:
    findings = WORK / "findings"
    findings.mkdir(parents=True, exist_ok=True)
    before = set(findings.iterdir())
    command = [
        sys.executable, str(HERE / "one.py"), target, "--corpus", str(write_seeds(target)), "--findings", str(findings),
        "--seconds", str(seconds), "--seed", str(1 + (seed + zlib.crc32(target.encode())) % 2**31),
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, env=environment, cwd=WORK, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=2 * seconds + 300,
        )  # fmt: skip
        output, status = done.stdout, done.returncode
    except subprocess.TimeoutExpired as expired:
        output, status = (expired.stdout or b"") + b"\nit did not end in time\n", -1
    run = Run(target, log=output.decode(errors="replace"))
    (WORK / f"{target}.log").write_text(run.log)
    for shown in _COVERAGE.finditer(run.log):
        run.coverage, run.features, run.corpus = map(int, shown.groups())
    run.executed = int((_EXECUTED.findall(run.log) or [0])[-1])
    if status:
        run.findings = sorted(set(findings.iterdir()) - before) or [WORK / f"{target}.log"]
    return run


def report(run: Run) -> None:
    lines = run.log.splitlines()
    told = next((i for i, line in enumerate(lines) if _FINDING.search(line)), max(0, len(lines) - SHOWN))
    for finding in run.findings:
        print(f"\n{run.target}: FINDING {finding}")
        print(*(line[:200] for line in lines[told : told + SHOWN]), sep="\n")
        again = (sys.executable, str(HERE / "run.py"), "--target", run.target, "--reproduce", str(finding))
        print("see it again:", *again, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="in all, shared out among the targets")
    parser.add_argument("--target", action="append", choices=TARGETS, help="only this one; may be repeated")
    parser.add_argument("--seed", type=int, default=419)
    parser.add_argument("--strict", action="store_true", help="fail when there is no instrumented build")
    parser.add_argument("--reproduce", type=Path, help="run this one input of one target")
    options = parser.parse_args()
    chosen = options.target or list(TARGETS)
    WORK.mkdir(parents=True, exist_ok=True)
    environment = prepare(options.strict)
    if options.reproduce:
        if len(chosen) != 1:
            parser.error("--reproduce needs one --target")
        command = (sys.executable, HERE / "one.py", chosen[0], "--reproduce", options.reproduce.resolve())
        raise SystemExit(subprocess.run(command, env=environment, cwd=WORK).returncode)
    print(f"{'target':<14}{'executions':>12}{'coverage':>10}{'features':>10}{'corpus':>8}", flush=True)
    found = []
    for target in chosen:
        run = fuzz(target, max(1, options.seconds // len(chosen)), options.seed, environment)
        print(f"{target:<14}{run.executed:>12}{run.coverage:>10}{run.features:>10}{run.corpus:>8}", flush=True)
        report(run)
        found += run.findings
    if found:
        print(f"\n{len(found)} findings:", *found, sep="\n")
        raise SystemExit(1)


if __name__ == "__main__":
    main()
