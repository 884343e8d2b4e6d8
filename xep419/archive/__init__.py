"""Batch re-encryption of archives: formats and databases on one side, engines on the other.

Needs the extra ``xep419[archive]``. Start reading at ``api`` (what is offered), ``job`` (how a job goes) and
``formats`` (what a format must do).
"""

from __future__ import annotations

import importlib.util

if importlib.util.find_spec("fsspec") is None:  # which is not imported before it is needed, since it takes long
    raise ImportError("xep419.archive needs fsspec: pip install 'xep419[archive]'", name="fsspec")

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
