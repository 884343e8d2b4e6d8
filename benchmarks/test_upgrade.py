"""``upgrade``: names made secure in every scope; beside rewriters of declarations, and parsers, which only read."""

from __future__ import annotations

from collections.abc import Callable

import inputs
import operations
import peers
import pytest
from conftest import every_isa


@every_isa
@pytest.mark.parametrize(("density", "size"), inputs.DOCUMENTS)
def test_xep419(measure: Callable[..., None], isa: str, density: str, size: int) -> None:
    measure(f"upgrade, {density}", f"xep419 {isa}", lambda: operations.upgrade(size, density))


@pytest.mark.parametrize("peer", [*peers.UPGRADE, *peers.PARSE], ids=str)
@pytest.mark.parametrize("density", ["common", "hostile"])
@pytest.mark.parametrize("size", [300, 4 * inputs.KIB, inputs.MIB])
def test_peer(measure: Callable[..., None], peer: peers.Peer, density: str, size: int) -> None:
    measure(f"upgrade, {density}", peer, lambda: peer.prepare(inputs.document(size, density)))
