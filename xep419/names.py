"""Namespace names: their secure forms, the positions they stand in, and the registered ones.

Pure string rules (XEP-0419, Legacy Namespaces and New-style Namespaces); finding names in XML is the
scanner's work, not this module's.
"""

from __future__ import annotations

import enum
import os
import re
from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple


class Scope(enum.Flag):
    """Where a namespace name stands in XMPP's XML; members combine with ``|``."""

    #: ``xmlns="…"`` and ``xmlns:p="…"`` of any start tag, but ``xmlns:xml``
    DECLARATIONS = 1
    #: ``var`` of ``feature`` (XEP-0030)
    FEATURES = 2
    #: text of a ``value`` that is a child of ``field var='FORM_TYPE'`` (XEP-0068)
    FORM_TYPES = 4
    #: ``var`` of ``field`` in Clark notation, ``{namespace}name``
    FIELDS = 8
    #: ``node`` of any element but entity capabilities' ``c`` (XEP-0115)
    NODES = 16
    #: ``namespace`` of ``encryption`` (XEP-0380), ``for`` of ``fallback`` (XEP-0428), ``reason`` of ``report``
    #: (XEP-0377)
    REFERENCES = 32
    #: every position above
    ALL = 63

    #: members are one object each; Flag's own hash, of the name, is Python and takes ten times as long
    __hash__ = object.__hash__


if TYPE_CHECKING:

    class NamespaceRef(NamedTuple):
        start: int
        end: int
        name: str
        kind: Scope
        secure: bool

else:

    class NamespaceRef(namedtuple("NamespaceRef", "start end name kind secure")):
        """One namespace name found in XML.

        ``start`` and ``end`` are byte offsets of the name in the buffer (of the UTF-8 form, for ``str``
        input); ``name`` has its character references resolved (bytes that are not UTF-8 come as
        surrogate escapes); ``kind`` is a single :class:`Scope` member; ``secure`` says whether the name is
        ``https:`` or ``urn:xmpps:``.
        """

        __slots__ = ()


if TYPE_CHECKING:

    class Place(NamedTuple):
        source: str
        offset: int

else:

    class Place(namedtuple("Place", "source offset")):
        """A byte of a source."""

        __slots__ = ()

        def __str__(self) -> str:
            return f"{self.source}: byte {self.offset}"


_UPGRADES = (("http:", "http"), ("urn:xmpp:", "urn:xmpp"))
_DOWNGRADES = (("https:", "http"), ("urn:xmpps:", "urn:xmpp"))


def _require_str(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"a namespace name is a str, not {type(name).__name__!r}")
    return name


def upgrade_name(name: str, /) -> str:
    """The secure form of a namespace name; any other name comes back as it is.

    ``http:`` becomes ``https:`` and ``urn:xmpp:`` becomes ``urn:xmpps:``; the scheme is compared
    without regard to case (RFC 3986 section 3.1, RFC 8141 section 3.1) and keeps its letters.
    """
    head = _require_str(name)[:9].lower()
    for scheme, kept in _UPGRADES:
        if head.startswith(scheme):
            return name[: len(kept)] + "s" + name[len(kept) :]
    return name


def downgrade_name(name: str, /) -> str:
    """The insecure form of a secure namespace name; any other name comes back as it is."""
    head = _require_str(name)[:10].lower()
    for scheme, kept in _DOWNGRADES:
        if head.startswith(scheme):
            return name[: len(kept)] + name[len(kept) + 1 :]
    return name


def is_secure(name: str, /) -> bool:
    """Whether the name is under a secure scheme: ``https:`` or ``urn:xmpps:``."""
    return _require_str(name)[:10].lower().startswith(("https:", "urn:xmpps:"))


#: columns of ``registry.tsv`` whose names the NODES scope accepts
_NODE_LISTS = frozenset({"namespace", "node", "xep"})


def registry_rows() -> list[list[str]]:
    """The rows of ``registry.tsv``, sorted by name: name, lists, specifications, status; several joined by commas."""
    path = os.path.join(os.path.dirname(__file__), "registry.tsv")
    with open(path, encoding="utf-8") as table:
        return [line.split("\t") for line in table.read().splitlines() if line[0] != "#"]


def _load_registered() -> tuple[frozenset[str], frozenset[str]]:
    rows = registry_rows()
    nodes = (row[0] for row in rows if not _NODE_LISTS.isdisjoint(row[1].split(",")))
    return frozenset(nodes), frozenset(row[0] for row in rows)


#: ``REGISTERED_NODES``: names that a ``node`` attribute may hold (Registrar's namespaces and nodes, XEPs'
#: target namespaces); ``REGISTERED``: these, and the registered disco features and form types.
REGISTERED_NODES, REGISTERED = _load_registered()

#: no prefix longer than this can be registered: bounds the work on a hostile name
LONGEST_REGISTERED = max(map(len, REGISTERED))


def _alone_or_before_hash(name: str, registered: frozenset[str]) -> bool:
    at = len(name)
    if at > LONGEST_REGISTERED:
        at = name.rfind("#", 0, LONGEST_REGISTERED + 1)
    while at >= 0:
        if name[:at] in registered:
            return True
        at = name.rfind("#", 0, at)
    return False


def is_registered_node(name: str, /) -> bool:
    """Whether ``name``, alone or before a ``#``, may be upgraded in a ``node`` attribute."""
    return _alone_or_before_hash(name, REGISTERED_NODES)


def is_known(name: str, /) -> bool:
    """Whether an insecure name is registered: alone, before a ``#``, or with XEP-0060's ``+notify``."""
    return _alone_or_before_hash(name.removesuffix("+notify"), REGISTERED)


# -- references in values (XML 1.0 sections 4.1 and 4.6) ----------------------------------------------------

CHARACTER_REFERENCE = re.compile(rb"&#(?:x([0-9A-Fa-f]+)|([0-9]+));")
_REFERENCE = re.compile(rb"&(?:(lt|gt|amp|quot|apos)|#(?:x[0-9A-Fa-f]+|[0-9]+));")
_PREDEFINED = {b"lt": b"<", b"gt": b">", b"amp": b"&", b"quot": b'"', b"apos": b"'"}


def code_point(reference: re.Match[bytes]) -> int:
    """The code point that a match of ``CHARACTER_REFERENCE`` denotes, or -1 where it denotes none."""
    digits = (reference[1] or reference[2]).lstrip(b"0")
    code = int(digits, 16 if reference[1] else 10) if 0 < len(digits) <= 8 else 0
    return code if 0 < code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF else -1


def _denoted(reference: re.Match[bytes]) -> bytes:
    if reference[1]:
        return _PREDEFINED[reference[1]]
    found = CHARACTER_REFERENCE.match(reference[0])
    code = code_point(found) if found else -1
    return chr(code).encode() if code >= 0 else reference[0]


def resolve_references(value: bytes) -> str:
    """The text that a raw value denotes: character and predefined entity references resolved, others kept.

    Bytes that are not UTF-8 come as surrogate escapes.
    """
    if b"&" in value:
        value = _REFERENCE.sub(_denoted, value)
    return value.decode("utf-8", "surrogateescape")
