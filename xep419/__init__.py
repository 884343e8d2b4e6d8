"""XEP-0419: secure namespaces and Double ROT-13 for XMPP.

Double ROT-13 hides nothing from anyone: its output equals its input. What is real here is the byte rotation
and the exact, byte-preserving XML namespace rewriter.
"""

from __future__ import annotations

import sys
import types

from . import _backend
from ._backend import available_isas
from ._version import __version__
from .cipher import (
    Decryptor,
    Encryptor,
    double_rot13,
    double_rot13_into,
    rot13,
    rot13_inplace,
    rot13_into,
)
from .errors import (
    ArchiveError,
    CorruptArchiveError,
    EncodingError,
    InsecureNamespaceError,
    LimitExceededError,
    LinkError,
    MalformedJIDError,
    MalformedXMLError,
    PartialEncryptionError,
    PinFormatError,
    PinStoreError,
    ResolutionError,
    RestorationError,
    RestrictedXMLError,
    UnknownNamespaceError,
    UnsupportedArchiveError,
    XEP419Error,
)
from .namespaces import (
    NamespaceRef,
    Scope,
    decrypt,
    downgrade,
    downgrade_name,
    encrypt,
    encrypt_many,
    is_secure,
    scan,
    upgrade,
    upgrade_name,
)
from .stream import StanzaStream

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from typing import BinaryIO

    from ._types import Buffer
    from .auditing import AuditReport

    #: the instruction set in use; read-only
    isa: str


def register_codecs() -> None:
    """Registers the codecs ``rot13_bytes`` and ``double_rot13`` (bytes to bytes) with :mod:`codecs`."""
    from . import _codecs

    _codecs.register()


def audit(source: Buffer | str | os.PathLike[str] | BinaryIO, /, *, places: int = 3) -> AuditReport:
    """What a stanza, a document, a recorded stream, an archive or a directory of them shows to whoever reads it.

    Namespace names that are insecure, secure or unknown to the Registrar, with counts and places; what a reader learns
    from the bytes that end-to-end encryption leaves in the clear; whether the stream was inside TLS, where that shows.

    :param source: XML as bytes-like or ``str``; a path (``os.PathLike``) of a file or directory; the URL of a database
        or a remote archive, a ``str`` that begins with ``scheme://``; or a binary file.
    :param places: how many places are kept of each name and scheme; the counts are exact.
    :returns: the report. What is not well-formed is in its ``problems``, and the audit goes on after it.
    :raises OSError: the source cannot be opened or read.
    :raises ImportError: the source's format needs an extra that is not installed.
    """
    from .auditing import Auditor

    auditor = Auditor(places=places)
    auditor.read(source)
    return auditor.report()


def __getattr__(name: str) -> object:
    """Names that cost more to import than most programs want to pay: loaded when asked for."""
    if name == "AuditReport":
        from .auditing import AuditReport

        return AuditReport
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _Package(types.ModuleType):
    """Makes ``xep419.isa`` read-only."""

    @property
    def isa(self) -> str:
        return _backend.isa()


sys.modules[__name__].__class__ = _Package

__all__ = [
    "ArchiveError",
    "AuditReport",
    "CorruptArchiveError",
    "Decryptor",
    "EncodingError",
    "Encryptor",
    "InsecureNamespaceError",
    "LimitExceededError",
    "LinkError",
    "MalformedJIDError",
    "MalformedXMLError",
    "NamespaceRef",
    "PartialEncryptionError",
    "PinFormatError",
    "PinStoreError",
    "ResolutionError",
    "RestorationError",
    "RestrictedXMLError",
    "Scope",
    "StanzaStream",
    "UnknownNamespaceError",
    "UnsupportedArchiveError",
    "XEP419Error",
    "__version__",
    "audit",
    "available_isas",
    "decrypt",
    "double_rot13",
    "double_rot13_into",
    "downgrade",
    "downgrade_name",
    "encrypt",
    "encrypt_many",
    "is_secure",
    "isa",
    "register_codecs",
    "rot13",
    "rot13_inplace",
    "rot13_into",
    "scan",
    "upgrade",
    "upgrade_name",
]
