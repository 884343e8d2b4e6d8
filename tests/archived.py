"""Stored stanzas for the tests of databases, and what becomes of them, written out by hand."""

from __future__ import annotations

import codecs


def stanza(number: int, s: str = "") -> str:
    """A stanza of two names, insecure ones or with ``s`` secure ones, and text that must stay."""
    return (
        f"<message id='{number}'><body>see http://example.org/ &amp; urn:xmpp:text é ☃ 😀</body>"
        f"<x xmlns='urn:xmpp{s}:sid:0'/><active xmlns=\"http{s}://jabber.org/protocol/chatstates\"/></message>"
    )


def rot13(text: str) -> str:
    return codecs.encode(text, "rot13")
