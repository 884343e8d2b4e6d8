"""The cipher beside what a user would pick instead: memcpy, bytes.translate, StringZilla."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

import xep419

stringzilla = pytest.importorskip("stringzilla")

ROTATION = bytes.maketrans(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", b"NOPQRSTUVWXYZABCDEFGHIJKLMnopqrstuvwxyzabcdefghijklm"
)
SMALL = [64, 300, 4096]
CACHED = [4096, 1 << 16, 1 << 20, 1 << 22]
HUGE = 1 << 28

Guard = Callable[..., None]


def text(size: int) -> bytes:
    return random.Random(size).randbytes(min(size, 1 << 20)) * max(1, size >> 20)


def few_rounds(size: int) -> int:
    return 5 if size >= 1 << 26 else 15


@pytest.mark.parametrize("size", [64, 300, 4096, 1 << 16, 1 << 20])
@pytest.mark.parametrize("peer", ["xep419", "bytes.translate", "stringzilla"])
def test_double_rot13(benchmark, size: int, peer: str) -> None:  # type: ignore[no-untyped-def]
    """A new ``bytes`` of each size; the peers look up one table once."""
    data = text(size)
    benchmark.group = f"double_rot13, new bytes, {size} B"
    benchmark.extra_info.update(isa=xep419.isa, bytes=size)
    work: dict[str, Callable[[], bytes]] = {
        "xep419": lambda: xep419.double_rot13(data),
        "bytes.translate": lambda: data.translate(ROTATION),
        "stringzilla": lambda: stringzilla.translate(data, ROTATION),
    }
    expected = data if peer == "xep419" else data.translate(ROTATION)
    assert bytes(work[peer]()) == expected
    benchmark(work[peer])


@pytest.mark.parametrize("size", CACHED)
@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_rot13_into(benchmark, size: int, rounds: int) -> None:  # type: ignore[no-untyped-def]
    """Into a buffer; no rounds is memcpy through the same call."""
    data, target = text(size), bytearray(size)
    benchmark.group = f"rot13_into, {size} B"
    benchmark.extra_info.update(isa=xep419.isa, bytes=size)
    xep419.rot13_into(data, target, rounds=rounds)
    assert target == (data.translate(ROTATION) if rounds == 1 else data)
    benchmark(xep419.rot13_into, data, target, rounds=rounds)


def given(size: int) -> dict[str, Any]:
    target = bytearray(size)
    names: dict[str, Any] = {name: getattr(xep419, name) for name in xep419.__all__ if name != "isa"}
    return names | {
        "data": text(size),
        "target": target,
        "view": memoryview(target),
        "table": ROTATION,
        "translate": stringzilla.translate,
    }


def test_latency_against_translate(guard: Guard) -> None:
    names = given(64)
    assert xep419.double_rot13(names["data"]) == names["data"]
    guard("double_rot13-64B/bytes.translate", "double_rot13(data)", "data.translate(table)", names)


@pytest.mark.parametrize("size", [300, 4096])
def test_latency_against_stringzilla(guard: Guard, size: int) -> None:
    names = given(size)
    assert xep419.double_rot13(names["data"]) == names["data"]
    guard(f"double_rot13-new/stringzilla {size} B", "double_rot13(data)", "translate(data, table)", names)


@pytest.mark.parametrize("size", CACHED)
def test_into_against_memcpy(guard: Guard, size: int) -> None:
    names = given(size)
    xep419.double_rot13_into(names["data"], names["target"])
    assert names["target"] == names["data"]
    guard(f"double_rot13_into-cached/memcpy {size} B", "double_rot13_into(data, target)", "view[:] = data", names)


def test_into_against_memcpy_past_the_caches(guard: Guard) -> None:
    names = given(HUGE)
    xep419.double_rot13_into(names["data"], names["target"])
    assert names["target"] == names["data"]
    guard("double_rot13_into-256MiB/memcpy", "double_rot13_into(data, target)", "view[:] = data", names, rounds=5)


def test_new_bytes_past_the_caches(guard: Guard) -> None:
    names = given(HUGE)
    assert xep419.double_rot13(names["data"]) == names["data"]
    guard("double_rot13-256MiB/bytes(bytearray)", "double_rot13(data)", "bytes(target)", names, rounds=5)


@pytest.mark.parametrize("size", [*CACHED, 1 << 26])
@pytest.mark.parametrize("rounds", [1, 2])
def test_in_place_against_stringzilla(guard: Guard, size: int, rounds: int) -> None:
    names = given(size) | {"rounds": rounds, "other": bytearray(text(size))}
    guard(
        f"rot13_inplace/stringzilla {rounds} rounds {size} B",
        "rot13_inplace(target, rounds=rounds)",
        "translate(other, table, inplace=True)",
        names,
        rounds=few_rounds(size),
    )


@pytest.mark.parametrize("size", [*CACHED, 1 << 26])
@pytest.mark.parametrize("rounds", [1, 2])
def test_new_bytes_against_stringzilla(guard: Guard, size: int, rounds: int) -> None:
    names = given(size)
    data = names["data"]
    assert xep419.rot13(data) == stringzilla.translate(data, ROTATION) == data.translate(ROTATION)
    ours = "double_rot13(data)" if rounds == 2 else "rot13(data)"
    guard(
        f"rot13-new/stringzilla {rounds} rounds {size} B",
        ours,
        "translate(data, table)",
        names,
        rounds=few_rounds(size),
    )
