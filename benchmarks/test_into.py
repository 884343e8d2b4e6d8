"""``rot13_into`` and ``double_rot13_into``: into a buffer of the caller's; beside memcpy, which moves as much."""

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
    measure("into", f"xep419 {isa}, {rounds} x", lambda: operations.into(size, rounds))


@pytest.mark.parametrize("peer", peers.INTO, ids=str)
@pytest.mark.parametrize("size", inputs.SIZES)
def test_peer(measure: Callable[..., None], peer: peers.Peer, size: int) -> None:
    measure("into", peer, lambda: peer.prepare(inputs.octets(size)))
