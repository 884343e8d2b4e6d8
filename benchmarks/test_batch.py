"""``encrypt_many`` over a list of stanzas; beside a loop of ``encrypt``."""

from __future__ import annotations

from collections.abc import Callable

import inputs
import operations
import pytest
from conftest import every_isa

SIZES = [size for size in inputs.SIZES if 4 * inputs.KIB <= size <= 64 * inputs.MIB]


@every_isa
@pytest.mark.parametrize("call", [operations.batch, operations.loop], ids=["encrypt_many", "loop"])
@pytest.mark.parametrize("size", SIZES)
def test_xep419(measure: Callable[..., None], isa: str, call: Callable[..., operations.Call], size: int) -> None:
    side = f"xep419 {isa}" if call is operations.batch else f"xep419 {isa}, loop"
    measure("batch, common", side, lambda: call(size, "common"))
