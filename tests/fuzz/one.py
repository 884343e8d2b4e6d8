"""One target in this process: ``run.py`` starts it, in the environment that the instrumented build needs.

With atheris the fuzzing is guided by coverage; without it, it is changes of the seeds, at random but the same for the
same ``--seed``. A finding is written to ``--findings`` and ends the process.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import importlib
import importlib.util
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

from mutations import DICTIONARY, mutate

LONGEST = 4096
GUIDED = importlib.util.find_spec("atheris") is not None


def instrumented() -> Any:
    """Lets the fuzzer see the coverage of Python modules: the twin's too, unless the compiled core shows its own."""
    if not GUIDED:
        return contextlib.nullcontext()
    atheris = importlib.import_module("atheris")
    return atheris.instrument_imports(include=["xep419.stanza"] if "LD_PRELOAD" in os.environ else ["xep419"])


with instrumented():
    from case import Case
    from targets import TARGETS

    import xep419


def execute(name: str, data: bytes) -> None:
    """One input, on the instruction set it chooses."""
    case = Case(data)
    if xep419.isa != "python":
        from xep419._core import isa as core

        core.force(case.isa)
    TARGETS[name](case)


def guided(options: argparse.Namespace) -> None:
    atheris = importlib.import_module("atheris")

    def change(data: bytes, most: int, seed: int) -> bytes:
        return atheris.Mutate(data, most) if seed % 2 else mutate(data, most, seed)

    arguments = [
        sys.argv[0],
        str(options.corpus),
        f"-max_total_time={options.seconds}",
        f"-seed={options.seed}",
        f"-dict={DICTIONARY}",
        f"-artifact_prefix={options.findings / options.target}-",
        f"-max_len={LONGEST}",
        "-len_control=10",
        "-timeout=60",
        "-rss_limit_mb=4096",
        "-print_final_stats=1",
        "-verbosity=1",
    ]
    atheris.Setup(arguments, lambda data: execute(options.target, data), custom_mutator=change)
    atheris.Fuzz()


def unguided(options: argparse.Namespace) -> None:
    """Changes of the seeds; the input at hand is kept in a file, so that it survives the process."""
    r = random.Random(options.seed)
    inputs = [path.read_bytes() for path in sorted(options.corpus.iterdir())]
    current = options.findings / f"{options.target}-unguided-{options.seed}"
    end, executed = time.monotonic() + options.seconds, 0
    faulthandler.enable()
    with current.open("wb", buffering=0) as kept:
        while time.monotonic() < end:
            data = inputs[executed] if executed < len(inputs) else mutate(r.choice(inputs), LONGEST, r.getrandbits(32))
            kept.seek(0)
            kept.truncate()
            kept.write(data)
            execute(options.target, data)
            executed += 1
            if executed % 8 == 0 and len(inputs) < 5000:
                inputs.append(data)
    current.unlink()
    print(f"stat::number_of_executed_units: {executed}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--findings", type=Path)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--reproduce", type=Path, help="run this one input instead")
    options = parser.parse_args()
    if options.reproduce:
        execute(options.target, options.reproduce.read_bytes())
        print(f"{options.target}: nothing wrong with {options.reproduce}")
    elif GUIDED:
        guided(options)
    else:
        unguided(options)


if __name__ == "__main__":
    main()
