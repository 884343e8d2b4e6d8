"""Batch re-encryption of archives: formats and databases on one side, engines on the other.

Needs the extra ``xep419[archive]``. Start reading at ``api`` (what is offered), ``job`` (how a job goes) and
``formats`` (what a format must do).
"""

from __future__ import annotations

try:
    import fsspec  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"xep419.archive needs fsspec ({error}): pip install 'xep419[archive]'", name=error.name
    ) from error

from .api import companions, reencrypt, scan, size, stanzas, status, verify
from .formats import ArchivedStanza
from .journal import Status
from .report import Report
from .tally import Skip, Tally

__all__ = [
    "ArchivedStanza",
    "Report",
    "Skip",
    "Status",
    "Tally",
    "companions",
    "reencrypt",
    "scan",
    "size",
    "stanzas",
    "status",
    "verify",
]
