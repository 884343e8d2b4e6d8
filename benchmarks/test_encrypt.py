"""``encrypt``: upgraded and rotated twice, in one pass."""

from __future__ import annotations

from collections.abc import Callable

import inputs
import operations
import pytest
from conftest import every_isa


@every_isa
@pytest.mark.parametrize(("density", "size"), inputs.DOCUMENTS)
def test_xep419(measure: Callable[..., None], isa: str, density: str, size: int) -> None:
    measure(f"encrypt, {density}", f"xep419 {isa}", lambda: operations.encrypt(size, density))
