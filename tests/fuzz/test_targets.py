"""The fuzz targets without a fuzzer: the seeds, a fixed number of changes of them, and what fuzzing once found.

An input that was a finding goes to ``tests/fuzz/found/TARGET-anything`` with its fix, and runs here from then on.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from case import Case  # noqa: E402
from mutations import TOKENS, mutate  # noqa: E402
from run import TARGETS as NAMES  # noqa: E402
from seeds import seeds  # noqa: E402
from targets import TARGETS  # noqa: E402

FOUND = sorted(path for path in HERE.glob("found/*") if path.is_file())
CHANGES = 200


def test_the_runner_knows_the_targets() -> None:
    assert sorted(TARGETS) == sorted(NAMES)


def test_the_dictionary_is_read() -> None:
    assert {b"<![CDATA[", b'xmlns="urn:xmpp:', b'"', b"\xef\xbb\xbf"} <= set(TOKENS)


def inputs(target: str) -> Iterator[bytes]:
    first = list(seeds(target))
    yield from first
    r = random.Random(target)
    for _ in range(CHANGES):
        yield mutate(r.choice(first), 2000, r.getrandbits(32))


@pytest.mark.parametrize("target", TARGETS)
def test_seeds_and_changes_of_them(target: str, isa: str) -> None:
    for data in inputs(target):
        TARGETS[target](Case(data))


def test_what_was_found(isa: str) -> None:
    for path in FOUND:
        TARGETS[path.name.split("-")[0]](Case(path.read_bytes()))
