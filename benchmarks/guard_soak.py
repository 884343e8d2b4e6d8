"""Ten thousand streams keep what they hold: a leak of one stanza in each would be 300 bytes a stream."""

from __future__ import annotations

import pytest
import soak

STREAMS, ROUNDS = 10_000, 10
IDLE, GROWTH = 2048, 64  # bytes a stream


def test_memory_of_ten_thousand_streams_is_constant() -> None:
    if not soak.STATUS.exists():
        pytest.skip("the memory of a process is read from /proc, which this system lacks")
    feeds, each = soak.opened(soak.ours, STREAMS)
    after = soak.soak(feeds, ROUNDS)
    assert each < IDLE
    assert (after[-1] - after[1]) / STREAMS < GROWTH
