"""``rot13`` and ``double_rot13``: bytes in, new bytes out; beside what looks each byte up in a table."""

from __future__ import annotations

from collections.abc import Callable

import inputs
import operations
import peers
import pytest
from conftest import every_isa


@every_isa
@pytest.mark.parametrize("rounds", [1, 2])
@pytest.mark.parametrize("size", inputs.SIZES)
def test_xep419(measure: Callable[..., None], isa: str, rounds: int, size: int) -> None:
    measure("new bytes", f"xep419 {isa}, {rounds} x", lambda: operations.new_bytes(size, rounds))


@pytest.mark.parametrize("peer", peers.NEW_BYTES, ids=str)
@pytest.mark.parametrize("size", inputs.SIZES)
def test_peer(measure: Callable[..., None], peer: peers.Peer, size: int) -> None:
    measure("new bytes", peer, lambda: peer.prepare(inputs.octets(size)))
