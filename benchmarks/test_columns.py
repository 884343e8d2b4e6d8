"""``recode_values`` over a column of stanzas, with and without the check that each is well-formed."""

from __future__ import annotations

from collections.abc import Callable

import inputs
import operations
import pytest
from conftest import every_isa

SIZES = [size for size in inputs.SIZES if 4 * inputs.KIB <= size <= 64 * inputs.MIB]


@every_isa
@pytest.mark.parametrize("check", [True, False], ids=["checked", "unchecked"])
@pytest.mark.parametrize("size", SIZES)
def test_xep419(measure: Callable[..., None], isa: str, check: bool, size: int) -> None:
    side = f"xep419 {isa}" if check else f"xep419 {isa}, unchecked"
    measure("columns, common", side, lambda: operations.columns(size, "common", check))
