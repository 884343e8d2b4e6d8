"""``rot13_inplace``: a buffer rotated where it stands; beside StringZilla, which can do that too."""

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
    measure("in place", f"xep419 {isa}, {rounds} x", lambda: operations.in_place(size, rounds))


@pytest.mark.parametrize("peer", peers.IN_PLACE, ids=str)
@pytest.mark.parametrize("size", inputs.SIZES)
def test_peer(measure: Callable[..., None], peer: peers.Peer, size: int) -> None:
    measure("in place", peer, lambda: peer.prepare(inputs.octets(size)))
