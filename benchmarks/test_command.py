"""The command as a whole process, start and end included; beside tr, sed and perl."""

from __future__ import annotations

from collections.abc import Callable

import inputs
import peers
import pytest

SIZES = [inputs.MIB, 16 * inputs.MIB]


@pytest.mark.parametrize("peer", peers.ROTATE_PROCESS, ids=str)
@pytest.mark.parametrize("size", SIZES)
def test_rotation(measure: Callable[..., None], peer: peers.Peer, size: int) -> None:
    measure("process, rotation", peer, lambda: peer.prepare(inputs.octets(size)))


@pytest.mark.parametrize("peer", peers.UPGRADE_PROCESS, ids=str)
@pytest.mark.parametrize("density", ["common", "hostile"])
@pytest.mark.parametrize("size", SIZES)
def test_upgrade(measure: Callable[..., None], peer: peers.Peer, density: str, size: int) -> None:
    measure(f"process, upgrade, {density}", peer, lambda: peer.prepare(inputs.document(size, density)))
