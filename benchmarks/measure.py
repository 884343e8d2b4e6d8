"""How things are measured: calls, medians in turns, threads, cycles, and what the machine is.

A ``Call`` is what the tables, the guards and the report time: a function, its arguments, and a judgement of its
result, which is made once, outside the timing. Absolute times wander with the machine; a comparison is made in turns
within one process, by median.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import platform
import re
import statistics
import struct
import sys
import threading
import time
import timeit
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xep419

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).parent
SLICE = 0.002  # seconds that one timed slice takes at least


def load_toml(name: str) -> dict[str, Any]:
    return tomllib.loads((HERE / name).read_text())


@dataclass(frozen=True)
class Call:
    """One call over ``size`` bytes of input; ``judge()`` makes it once and says what is wrong with its result."""

    function: Callable[..., object]
    args: tuple[object, ...]
    size: int
    judge: Callable[[], str] = field(repr=False)
    keywords: dict[str, object] = field(default_factory=dict)

    def timer(self, isa: str | None = None) -> timeit.Timer:
        """Of the bare call, on an instruction set if one is named: timeit keeps the garbage collector out."""
        names = {f"a{i}": arg for i, arg in enumerate(self.args)}
        given = {"f": self.function, "force": force, "isa": isa, **names, **self.keywords}
        arguments = ", ".join([*names, *(f"{name}={name}" for name in self.keywords)])
        return timeit.Timer(f"f({arguments})", "force(isa)" if isa else "pass", globals=given)


def expecting(
    expected: Callable[[], object], function: Callable[..., object], *args: object, size: int, wrong: str = "wrong"
) -> Call:
    """A call whose result must equal ``expected()``, which is computed only when it is judged."""
    return Call(function, args, size, lambda: "" if function(*args) == expected() else wrong)


# -- instruction sets ---------------------------------------------------------------------------------------

ISAS = xep419.available_isas()
VECTOR_ISAS = [isa for isa in ISAS if isa not in ("scalar", "python")]


def force(isa: str) -> None:
    """The whole process on one instruction set; asserted."""
    if isa != xep419.isa:
        from xep419._core import isa as core

        core.force(isa)
    assert xep419.isa == isa


@contextlib.contextmanager
def forced(isa: str) -> Iterator[None]:
    before = xep419.isa
    force(isa)
    yield
    force(before)


# -- time ---------------------------------------------------------------------------------------------------


def calls_in(timer: timeit.Timer, seconds: float) -> int:
    once = timer.timeit(1)
    if once < seconds:
        once = min(timer.repeat(3, 1))
    return max(1, int(seconds / max(once, 1e-8)))


def interleaved(timers: Sequence[timeit.Timer], rounds: int) -> list[float]:
    """Median seconds per call of each, measured in turns; every other turn goes the other way round."""
    calls = [calls_in(timer, SLICE) for timer in timers]
    taken: list[list[float]] = [[] for _ in timers]
    for turn in range(rounds):
        for which in range(len(timers))[:: -1 if turn % 2 else 1]:
            taken[which].append(timers[which].timeit(calls[which]) / calls[which])
    return [statistics.median(times) for times in taken]


# -- threads ------------------------------------------------------------------------------------------------


def seconds_in_threads(calls: list[Call], seconds: float = 0.05) -> float:
    """Seconds per call of every thread when each makes its own of the calls, all at once."""
    timers = [call.timer() for call in calls]
    count = calls_in(timers[0], seconds)
    begin, end = threading.Barrier(len(calls) + 1), threading.Barrier(len(calls) + 1)

    def one(timer: timeit.Timer) -> None:
        begin.wait()
        timer.timeit(count)
        end.wait()

    threads = [threading.Thread(target=one, args=(timer,)) for timer in timers]
    for thread in threads:
        thread.start()
    begin.wait()
    started = time.perf_counter()
    end.wait()
    taken = time.perf_counter() - started
    for thread in threads:
        thread.join()
    return taken / count


def thread_scaling(make: Callable[[], Call], rounds: int = 5) -> float:
    """How many times the work of one thread two threads do, each over buffers of its own; medians in turns."""
    calls = [make(), make()]
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for which in (0, 1):
            taken[which].append(seconds_in_threads(calls[: which + 1]))
    return 2 * statistics.median(taken[0]) / statistics.median(taken[1])


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_memory() -> int:
    """Bytes that can be had without swapping; what the machine does not tell is taken for enough."""
    with contextlib.suppress(OSError):
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
        if found:
            return int(found[1]) * 1024
    return 1 << 40


# -- cycles -------------------------------------------------------------------------------------------------

PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}
HARDWARE, CPU_CYCLES = 0, 0  # perf_event_open(2)
EXCLUDE_KERNEL, EXCLUDE_HYPERVISOR = 1 << 5, 1 << 6
ATTRIBUTE_BYTES = 112


class Counter:
    """A counter of this thread by perf_event_open(2), cycles of the core unless told otherwise.

    :raises OSError: the machine has no such counter, or does not let us have it. The time stamp counter would be no
        substitute: it counts at a fixed rate, whatever the core does.
    """

    def __init__(self, kind: int = HARDWARE, event: int = CPU_CYCLES) -> None:
        number = PERF_EVENT_OPEN.get(platform.machine())
        if sys.platform != "linux" or number is None:
            raise OSError("perf_event_open is known here for Linux on x86-64 and AArch64")
        attribute = struct.pack(
            "<IIQQQQQ", kind, ATTRIBUTE_BYTES, event, 0, 0, 0, EXCLUDE_KERNEL | EXCLUDE_HYPERVISOR
        ).ljust(ATTRIBUTE_BYTES, b"\0")
        libc = ctypes.CDLL(None, use_errno=True)
        self._file = libc.syscall(number, ctypes.c_char_p(attribute), 0, -1, -1, ctypes.c_ulong(0))
        if self._file < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def read(self) -> int:
        return int.from_bytes(os.read(self._file, 8), sys.byteorder)

    def close(self) -> None:
        os.close(self._file)


@functools.cache
def cycle_counter() -> Counter | str:
    """The counter, or why there is none."""
    try:
        return Counter()
    except OSError as error:
        return f"perf_event_open has no counter of core cycles here ({error.strerror or error})"


def cycles_per_byte(call: Call) -> float | None:
    """Core cycles per byte of input; None where no hardware counter counts them."""
    counter = cycle_counter()
    if isinstance(counter, str):
        return None
    timer = call.timer()
    calls = calls_in(timer, SLICE)
    before = counter.read()
    timer.timeit(calls)
    return (counter.read() - before) / calls / call.size


# -- the machine --------------------------------------------------------------------------------------------


def processor() -> str:
    """As the processor calls itself."""
    with contextlib.suppress(OSError):
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()


def build() -> str:
    if ISAS == ("python",):
        return "no compiler: pure Python"
    from xep419._core import isa as core

    return core.build()


def machine() -> dict[str, Any]:
    """What a figure depends on, and nothing that says whose machine it is."""
    return {
        "processor": processor(),
        "cores": cores(),
        "isas": list(ISAS),
        "system": f"{platform.system()} {platform.machine()}, {' '.join(platform.libc_ver())}".rstrip(", "),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "build": build(),
        "xep419": xep419.__version__,
    }


# -- numbers for people -------------------------------------------------------------------------------------


def size_name(size: int) -> str:
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit and size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} B"


def rate_name(megabytes: float) -> str:
    """MB/s with three digits that mean something."""
    return f"{megabytes:.3g}" if megabytes < 100 else f"{megabytes:.0f}"
