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
    #: the instruction set in use; read-only
    isa: str


def register_codecs() -> None:
    """Registers the codecs ``rot13_bytes`` and ``double_rot13`` (bytes to bytes) with :mod:`codecs`."""
    from . import _codecs

    _codecs.register()


class _Package(types.ModuleType):
    """Makes ``xep419.isa`` read-only."""

    @property
    def isa(self) -> str:
        return _backend.isa()


sys.modules[__name__].__class__ = _Package

__all__ = [
    "ArchiveError",
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
