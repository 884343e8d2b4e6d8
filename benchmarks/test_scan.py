"""``scan``: every name as an object; beside searches, which find declarations and know no context."""

from __future__ import annotations

from collections.abc import Callable

import inputs
import operations
import peers
import pytest
from conftest import every_isa

#: 256 MiB would be two million objects, and a measurement of their allocator
DOCUMENTS = [(density, size) for density, size in inputs.DOCUMENTS if size <= 64 * inputs.MIB]


@every_isa
@pytest.mark.parametrize(("density", "size"), DOCUMENTS)
def test_xep419(measure: Callable[..., None], isa: str, density: str, size: int) -> None:
    measure(f"scan, {density}", f"xep419 {isa}", lambda: operations.scan(size, density))


@pytest.mark.parametrize("peer", peers.SEARCH, ids=str)
@pytest.mark.parametrize("density", ["common", "hostile"])
@pytest.mark.parametrize("size", [4 * inputs.KIB, inputs.MIB])
def test_peer(measure: Callable[..., None], peer: peers.Peer, density: str, size: int) -> None:
    measure(f"scan, {density}", peer, lambda: peer.prepare(inputs.document(size, density)))
