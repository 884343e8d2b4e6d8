"""The one judge of growth: whether work is linear in the size of its input. No test asserts a time.

Four times the input takes linear work four times as long, and quadratic work sixteen times; but a busy machine makes
one of two measurements some times slower, and then nothing can be told. So only what is clearly linear passes at four
times the size. The rest is judged at sixteen times the size, where the limit is as far from linear work, which takes
sixteen times as long, as from quadratic work, which takes 256 times as long: four times. Where memory gets slower (past
a cache, or where each run is given fresh pages) there is a step, but only one: work that is past it and clearly linear
from four to sixteen times the size passes, too. Quadratic work whose growth reaches the limit is clearly none in either
half: a n + b n², 64 times as long at sixteen times the size, grows 6.4 and then 10 times.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

import xep419

PURE = xep419.isa == "python"
#: bytes of input
SMALLEST = 1 << 13 if PURE else 1 << 16
LARGEST = 1 << 18 if PURE else 1 << 20
#: seconds that can be measured
MEASURABLE = 0.0005
#: growth at four times the size that shows linear work
CLEARLY_LINEAR = 6
#: growth at sixteen times the size that linear work stays below
LIMIT = 64

#: makes work on an input of some size, which is not measured
Work = Callable[[int], Callable[[], object]]


def time_of(work: Callable[[], object]) -> float:
    start = time.thread_time()  # of this thread's own: others may keep the machine busy
    work()
    return time.thread_time() - start


def measurable_size(work_of: Work, smallest: int, largest: int) -> int | None:
    size = smallest
    while min(time_of(work) for work in [work_of(size)] * 3) < MEASURABLE:
        if size == largest:
            return None
        size = min(largest, 2 * size)
    return size


def growth(work_of: Work, size: int, factor: int, enough: float, turns: int) -> float:
    """How many times longer the work takes at ``factor`` times the size.

    Measured by turns, at most so many, until it is below ``enough``; the least times count.
    """
    small, large = work_of(size), work_of(factor * size)
    least_small = least_large = float("inf")
    for _ in range(turns):
        least_small = min(least_small, time_of(small), time_of(small))
        least_large = min(least_large, time_of(large))
        if least_large < enough * least_small:
            break
    return least_large / least_small


def assert_linear(work_of: Work, smallest: int = SMALLEST, largest: int | None = None) -> None:
    """From the smallest size on that can be measured. What cannot be at the largest is not quadratic in it.

    ``largest`` is a multiple of the smallest if it is not given.
    """
    gc.disable()
    try:
        size = measurable_size(work_of, smallest, largest or smallest * (LARGEST // SMALLEST))
        if size is None or growth(work_of, size, 4, CLEARLY_LINEAR, 3) < CLEARLY_LINEAR:
            return
        grown = growth(work_of, size, 16, LIMIT, 8)
        if grown >= LIMIT and growth(work_of, 4 * size, 4, CLEARLY_LINEAR, 8) < CLEARLY_LINEAR:
            return
    finally:
        gc.enable()
    assert grown < LIMIT, f"{grown:.0f} times the time at 16 times the size, {size}"
