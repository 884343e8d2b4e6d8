"""Audits of stanzas, recorded streams and archives: see :func:`xep419.audit`, which is where to begin.

What names are insecure, what end-to-end encryption leaves in the clear, and whether TLS was around it. It reads and
counts; it changes nothing, decrypts nothing and checks no signature.
"""

from __future__ import annotations

from ..names import Place
from .auditor import MOST_PROBLEMS, Auditor
from .census import MOST_DISTINCT, MOST_NAMES
from .documents import MOST_HELD
from .e2ee import FACTS, Scheme
from .report import (
    AuditReport,
    FactLearned,
    NameFound,
    Problem,
    SchemeFound,
    SourceAudited,
    Transport,
    schema,
)

__all__ = [
    "FACTS",
    "MOST_DISTINCT",
    "MOST_HELD",
    "MOST_NAMES",
    "MOST_PROBLEMS",
    "AuditReport",
    "Auditor",
    "FactLearned",
    "NameFound",
    "Place",
    "Problem",
    "Scheme",
    "SchemeFound",
    "SourceAudited",
    "Transport",
    "schema",
]
