"""``StanzaStream``: an XMPP stream cut into stanzas, chunk by chunk (RFC 6120)."""

from __future__ import annotations

from ._backend import framing as _framing

StanzaStream = _framing.StanzaStream

__all__ = ["StanzaStream"]
