"""What a call costs before it does anything: 64 bytes by each type of argument."""

from __future__ import annotations

import array
from collections.abc import Callable

import inputs
import operations
import pytest
from conftest import every_isa
from measure import expecting

import xep419

DATA = inputs.document(64, "common").data
UPGRADED = inputs.document(64, "common").upgraded
FORMS: dict[str, Callable[[bytes], object]] = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "array": lambda data: array.array("B", data),
    "str": bytes.decode,
}
FUNCTIONS: dict[str, tuple[Callable[..., object], bytes]] = {
    "rot13": (xep419.rot13, operations.rotated(DATA, 1)),
    "double_rot13": (xep419.double_rot13, DATA),
    "upgrade": (xep419.upgrade, UPGRADED),
    "encrypt": (xep419.encrypt, UPGRADED),
}


@every_isa
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_xep419(measure: Callable[..., None], isa: str, form: str, function: str) -> None:
    called, expected = FUNCTIONS[function]
    result = expected.decode() if form == "str" else expected
    argument = FORMS[form](DATA)
    measure(f"latency, {function}", f"{isa}, {form}", lambda: expecting(lambda: result, called, argument, size=64))
