"""Who a pin is about: JIDs (RFC 7622) brought to one spelling, and who speaks in a stanza.

As far as the standard library goes: IDNA 2003 for domains, compatibility normalization and case folding for local
parts. Where that is coarser than a server's rules two addresses share their pins, which errs on the safe side: another
spelling of an address never escapes them.
"""

from __future__ import annotations

import contextlib
import ipaddress
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from ..errors import MalformedJIDError

#: octets that a part of a JID may have (RFC 7622 sections 3.2 to 3.4)
MAX_PART = 1023
#: octets of a domain name (RFC 1035 section 2.3.4)
MAX_DOMAIN = 253

#: what a local part may not hold (RFC 7622 section 3.3.1)
_FORBIDDEN_IN_LOCAL = frozenset("\"&'/:<>@ ")


def normal_peer(jid: str) -> str:
    """The peer that a JID names: its bare JID, ``local@domain``, or its domain, in one spelling.

    The resource goes: a client chooses a new one whenever it likes, as may who rewrites its stanzas, and a pin that
    went with it would protect nobody.

    :raises MalformedJIDError: not a JID; ``offset`` is None.
    :raises TypeError: not a ``str``.
    """
    if not isinstance(jid, str):
        raise TypeError(f"a peer is the str of a JID, not {type(jid).__name__!r}")
    return _normal(jid) if len(jid) <= MAX_PART else _normal.__wrapped__(jid)  # the cache holds no long ones


@lru_cache(maxsize=4096)
def _normal(jid: str) -> str:
    local, domain, _resource = split(jid)
    if local is None:
        return _normal_domain(domain, jid)
    return f"{_normal_local(local, jid)}@{_normal_domain(domain, jid)}"


def split(jid: str) -> tuple[str | None, str, str | None]:
    """Local part, domain and resource as they are written (RFC 7622 section 3.1); None where there is none."""
    bare, slash, resource = jid.partition("/")
    local, at, domain = bare.rpartition("@")
    return local if at else None, domain, resource if slash else None


def speaker(sender: str) -> str:
    """Who answers for a stanza ``from`` this JID, as a peer.

    ``bob@example.org/phone`` is a client of ``bob@example.org``. What comes from ``bob@example.org``, a room or a node
    was made by the server at that domain (RFC 6120 section 8.1.2.1), from ``example.org`` or
    ``example.org/resource`` likewise.
    """
    return _speaker(sender) if len(sender) <= MAX_PART else _speaker.__wrapped__(sender)


@lru_cache(maxsize=4096)
def _speaker(sender: str) -> str:
    local, domain, resource = split(sender)
    return normal_peer(sender if local is not None and resource else domain)


def domain_of(peer: str) -> str:
    return peer.rpartition("@")[2]


def parents(domain: str) -> Iterator[str]:
    """The domains above this one, the nearest first; an address (RFC 7622 section 3.2) has none."""
    if domain[:1] == "[" or domain.replace(".", "").isdigit():
        return
    _, dot, domain = domain.partition(".")
    while dot:
        yield domain
        _, dot, domain = domain.partition(".")


def _malformed(jid: str, why: str) -> MalformedJIDError:
    shown = jid if len(jid) <= 60 else jid[:60] + "…"
    return MalformedJIDError(f"expected a JID (RFC 7622), got {shown!r}: {why}")


def _normal_local(local: str, jid: str) -> str:
    normal = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", local).casefold())
    if not 0 < len(normal.encode("utf-8", "surrogatepass")) <= MAX_PART:
        raise _malformed(jid, f"its local part is empty or longer than {MAX_PART} octets")
    if not normal.isprintable() or not _FORBIDDEN_IN_LOCAL.isdisjoint(normal):
        raise _malformed(jid, "its local part holds a character that none may")
    return normal


def _normal_domain(domain: str, jid: str) -> str:
    if not 0 < len(domain) <= MAX_PART:  # before IDNA, whose time older Pythons do not bound
        raise _malformed(jid, f"its domain is empty or longer than {MAX_PART} octets")
    if domain[0] == "[":
        return _normal_address(domain, jid)
    normal = domain
    if not domain.isascii():
        try:
            # Nameprep knows the letters of Unicode 3.2, IDNA 2008 has no capitals at all.
            normal = unicodedata.normalize("NFKC", domain).casefold().encode("idna").decode("ascii")
        except UnicodeError as error:
            raise _malformed(jid, f"its domain is not one (IDNA): {error}") from None
    normal = normal.removesuffix(".").lower()
    if "xn--" in normal:
        normal = ".".join(map(_normal_label, normal.split(".")))
    if not 0 < len(normal) <= MAX_DOMAIN or normal[0] == "." or normal[-1] == "." or ".." in normal:
        raise _malformed(jid, f"its domain has an empty label or more than {MAX_DOMAIN} octets")
    if not normal.isprintable() or not _FORBIDDEN_IN_LOCAL.isdisjoint(normal):
        raise _malformed(jid, "its domain holds a character that none may")
    return normal


def _normal_label(label: str) -> str:
    """An A-label as that of its letters is here: IDNA 2008 has some that IDNA 2003 maps to others, such as ``ß``."""
    if not label.startswith("xn--"):
        return label
    try:
        found = label[4:].encode().decode("punycode").casefold().encode("idna").decode("ascii")
    except UnicodeError:  # no letters are spelt so
        return label
    return found if found and "." not in found else label


def _normal_address(domain: str, jid: str) -> str:
    with contextlib.suppress(ValueError):
        if domain.endswith("]"):
            return f"[{ipaddress.IPv6Address(domain[1:-1])}]"
    raise _malformed(jid, "its domain is no IPv6 address")


__all__ = ["domain_of", "normal_peer", "parents", "speaker", "split"]
