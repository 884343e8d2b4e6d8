"""``Encryptor``, fed in pieces of 4 KiB."""

from __future__ import annotations

from collections.abc import Callable

import inputs
import operations
import pytest
from conftest import every_isa


@every_isa
@pytest.mark.parametrize(("density", "size"), inputs.DOCUMENTS)
def test_xep419(measure: Callable[..., None], isa: str, density: str, size: int) -> None:
    measure(f"incremental, {density}", f"xep419 {isa}", lambda: operations.incremental(size, density))
