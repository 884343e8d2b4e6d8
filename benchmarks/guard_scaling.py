"""What must not grow or be lost with scale: cost per byte, the saving of a batch, the second core."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import inputs
import operations
import pytest
from conftest import ATTEMPTS, GUARDED, VECTOR_ISAS, Guarded, every_vector_isa
from inputs import GIB, KIB
from measure import Call, cores, free_memory, size_name, thread_scaling

SMALL, LARGE = 4 * KIB, GIB
STANZAS = 100_000

#: linearity and the GIL are of the algorithms, which all instruction sets share: the fastest is asked
fastest = pytest.mark.parametrize("isa", VECTOR_ISAS[-1:], indirect=True)


def call_of(operation: str, size: int) -> Call:
    """``scan`` makes an object for each name, and is asked of a document with few."""
    if operation in operations.CIPHER:
        return operations.CIPHER[operation](size)
    return operations.NAMESPACES[operation](size, "rare" if operation == "scan" else "common")


@fastest
@pytest.mark.parametrize("operation", [*operations.CIPHER, *operations.NAMESPACES])
def test_cost_per_byte_is_flat(guard: Callable[..., None], operation: str) -> None:
    """4 KiB, in the caches, against 1 GiB, out of them: quadratic work would lose by a factor of 262144."""
    needed = 4 * LARGE
    if free_memory() < needed:
        pytest.skip(f"{operation} at {size_name(LARGE)} needs {size_name(needed)} of memory")
    small, large = call_of(operation, SMALL), call_of(operation, LARGE)
    assert not small.judge()
    given = {"small": small.function, "large": large.function, "a": small.args, "b": large.args}
    given |= {"c": small.keywords, "d": large.keywords}
    guard(
        f"flat-{operation.replace(' ', '-')}/4KiB",
        "large(*b, **d)",
        "small(*a, **c)",
        given,
        rounds=3,
        work=LARGE / SMALL,
    )


def many_stanzas() -> list[bytes]:
    stanzas = inputs.document(inputs.MIB, "common").stanzas
    return (stanzas * (1 + STANZAS // len(stanzas)))[:STANZAS]


@every_vector_isa
def test_batch_against_loop(guard: Callable[..., None]) -> None:
    stanzas = many_stanzas()
    given = {"encrypt_many": operations.xep419.encrypt_many, "encrypt": operations.xep419.encrypt, "stanzas": stanzas}
    assert given["encrypt_many"](stanzas) == [given["encrypt"](stanza) for stanza in stanzas]
    guard(
        "encrypt_many-100000/loop", "encrypt_many(stanzas)", "[encrypt(stanza) for stanza in stanzas]", given, rounds=7
    )


def digest() -> Call:
    """Work that is known to leave the second core to others: what it reaches is what the machine has to give."""
    data = inputs.octets(64 * KIB)
    return Call(lambda buffer: hashlib.sha256(buffer), (data,), len(data), lambda: "")


THREADED: dict[str, Callable[[], Call]] = {
    "rot13_into": lambda: operations.into(64 * KIB, rounds=1),
    "upgrade": lambda: operations.upgrade(64 * KIB, "common"),
    "encrypt": lambda: operations.encrypt(64 * KIB, "common"),
}


@fastest
@pytest.mark.parametrize("operation", THREADED)
def test_two_threads(isa: str, floor: Callable[[str], float], operation: str) -> None:
    """Two threads over buffers of 64 KiB, as many times the work of one."""
    name = f"two-threads-64KiB/{operation}"
    least = floor(name)
    if cores() < 2:
        pytest.skip(f"{name} needs two cores, and this machine has one")
    best, missed = 0.0, 0
    for _ in range(2 * ATTEMPTS):
        best = max(best, thread_scaling(THREADED[operation]))
        if best >= least or missed == ATTEMPTS:
            break
        missed += thread_scaling(digest) >= 1.8  # the second core was there to be had
    GUARDED.append(Guarded(name, isa, 0.0, 0.0, best, least))
    if best < least and missed < ATTEMPTS:
        pytest.skip(f"{name}: {best:.2f}, but the machine seldom had a second core free (SHA-256 in two threads)")
    assert best >= least, f"{name}, {isa}: two threads do {best:.2f} times the work of one, under {least}"
