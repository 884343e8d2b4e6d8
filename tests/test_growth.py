"""The judge of growth itself: it tells linear from quadratic work on a machine that makes either slower at random."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import growth
import pytest
from growth import assert_linear

pytestmark = [pytest.mark.any_isa, pytest.mark.any_python, pytest.mark.outer]


def quadratic(size: int) -> Callable[[], object]:
    """By a mistake that is easily made."""

    def work() -> None:
        seen: list[int] = []
        for number in range(size):
            if number not in seen:
                seen.append(number)

    return work


def test_quadratic_work_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "MEASURABLE", growth.MEASURABLE / 10)  # it would take too long
    message = re.compile(r"^\d+ times the time at 16 times the size, \d+$", re.M)
    with pytest.raises(AssertionError, match=message):
        assert_linear(quadratic, 64)


@pytest.mark.parametrize("linear", [lambda size: lambda: b"x" * size, lambda size: lambda: sorted(range(size, 0, -1))])
def test_linear_work_passes(linear: growth.Work) -> None:
    assert_linear(linear)


def noisy(seconds: Callable[[int], float], slowness: float, seed: int) -> growth.Work:
    """Work of so many seconds, or up to ``slowness`` times as many."""
    chance = random.Random(seed)
    return lambda size: lambda: seconds(size) * chance.uniform(1, slowness)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work takes the time that it says."""
    monkeypatch.setattr(growth, "time_of", lambda work: work())


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("slowness", [1, 2.6])
@pytest.mark.parametrize("unit", [1e-12, 1e-9, 1e-6])
def test_a_busy_machine_changes_no_judgement(unit: float, slowness: float) -> None:
    for seed in range(200):
        assert_linear(noisy(lambda size: unit * size, slowness, seed))
        with pytest.raises(AssertionError, match="times the time"):
            assert_linear(noisy(lambda size: unit * size**2, slowness, seed), 1 << 18)


@pytest.mark.usefixtures("told")
def test_a_slow_moment_now_and_then_changes_no_judgement() -> None:
    chance = random.Random(419)
    for _ in range(200):
        assert_linear(lambda size: lambda: 1e-8 * size * (20 if chance.random() < 0.25 else 1))


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("step", [2, 4, 8])
def test_a_step_in_speed_changes_no_judgement(step: float) -> None:
    for size in range(13, 23):
        assert_linear(noisy(lambda n, at=1 << size: 1e-8 * n * (step if n > at else 1), 1.3, 419))  # type: ignore[misc]


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("share", [1, 2, 10, 1000])
def test_work_that_is_quadratic_in_part_fails(share: float) -> None:
    size = 1 << 16
    with pytest.raises(AssertionError, match="times the time"):
        assert_linear(lambda n: lambda: 1e-8 * n + share * 1e-8 * n * n / size, size)


@pytest.mark.usefixtures("told")
def test_work_that_cannot_be_measured_passes() -> None:
    assert_linear(lambda size: lambda: 1e-6)
