"""Namespace names in XML: found, made secure, made insecure again (XEP-0419, Legacy and New-style Namespaces)."""

from __future__ import annotations

from ._backend import incremental as _incremental
from ._backend import namespaces as _namespaces
from ._backend import restoration as _restoration
from .names import NamespaceRef, Scope, downgrade_name, is_secure, upgrade_name

scan = _namespaces.scan
upgrade = _namespaces.upgrade
downgrade = _namespaces.downgrade
encrypt = _namespaces.encrypt
decrypt = _namespaces.decrypt
encrypt_many = _namespaces.encrypt_many
NamespaceCensus = _incremental.NamespaceCensus
match_upgraded = _restoration.match_upgraded

__all__ = [
    "NamespaceCensus",
    "NamespaceRef",
    "Scope",
    "decrypt",
    "downgrade",
    "downgrade_name",
    "encrypt",
    "encrypt_many",
    "is_secure",
    "match_upgraded",
    "scan",
    "upgrade",
    "upgrade_name",
]
