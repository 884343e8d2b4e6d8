"""``StanzaStream``: an XMPP stream cut into stanzas, chunk by chunk (RFC 6120); documents checked without cutting."""

from __future__ import annotations

from ._backend import checking as _checking
from ._backend import framing as _framing

StanzaStream = _framing.StanzaStream
DocumentChecker = _checking.DocumentChecker
check_stanza = _checking.check_stanza

__all__ = ["DocumentChecker", "StanzaStream", "check_stanza"]
