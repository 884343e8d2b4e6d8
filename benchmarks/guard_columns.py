"""``recode_values`` beside ``encrypt_many``, which makes an object for each stanza, over the same stanzas."""

from __future__ import annotations

from collections.abc import Callable

import inputs
import operations
import pytest
from conftest import every_vector_isa

import xep419
from xep419.columns import recode_values

pytestmark = every_vector_isa


@pytest.mark.parametrize("check", [False, True])
def test_columns_against_encrypt_many(guard: Callable[..., None], check: bool) -> None:
    document = inputs.document(16 * inputs.MIB, "common")
    assert not operations.columns(document.size, "common", check).judge()
    guard(
        f"columns-{'checked' if check else 'unchecked'}/encrypt_many",
        "recode_values(data, offsets, large=True, check=check)",
        "encrypt_many(stanzas)",
        {
            "recode_values": recode_values,
            "encrypt_many": xep419.encrypt_many,
            "data": document.data,
            "offsets": operations.offsets_of(document.stanzas),
            "stanzas": document.stanzas,
            "check": check,
        },
        9,
    )
