"""Columns of stanzas in Arrow's layout, recoded in one call without an object for any row (XEP-0419).

The buffers may come from any library that has this layout; none is imported here.
"""

from __future__ import annotations

from ._backend import columns as _columns

recode_values = _columns.recode_values

__all__ = ["recode_values"]
