"""``StanzaStream``, fed in pieces of 4 KiB; beside expat with the handlers that framing needs."""

from __future__ import annotations

from collections.abc import Callable

import inputs
import operations
import peers
import pytest
from conftest import every_isa

SIZES = [(density, size) for density, size in inputs.DOCUMENTS if density in ("never", "common")]


@every_isa
@pytest.mark.parametrize(("density", "size"), SIZES)
def test_xep419(measure: Callable[..., None], isa: str, density: str, size: int) -> None:
    measure(f"framing, {density}", f"xep419 {isa}", lambda: operations.framing(size, density))


@pytest.mark.parametrize("peer", peers.FRAME, ids=str)
@pytest.mark.parametrize(("density", "size"), [pair for pair in SIZES if pair[1] <= inputs.MIB])
def test_peer(measure: Callable[..., None], peer: peers.Peer, density: str, size: int) -> None:
    measure(f"framing, {density}", peer, lambda: peer.prepare(inputs.document(size, density)))
