"""The XMPP Registrar's own files (``namespaces.xml``, ``disco-features.xml``, …): read, written, and rewritten so that
their names are secure, every other byte being what it was.

expat tells where text stands; which names change is said by :mod:`xep419.names`, and names in attributes are the
scanner's. Nothing here opens a file, and no external entity is ever fetched.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from typing import NamedTuple, Protocol
from xml.parsers import expat
from xml.sax.saxutils import escape

from ._encoding import check_encoding
from .errors import EncodingError, MalformedXMLError
from .names import Scope, upgrade_name
from .namespaces import upgrade as upgrade_attributes
from .registry import RegistryEntry


class Form(NamedTuple):
    """How the Registrar writes one of its registries: the element of an entry, the ``type`` of the published file."""

    element: str
    type: str


#: by the names that ``registry.tsv`` has for them
REGISTRIES = {
    "namespace": Form("ns", "namespaces"),
    "feature": Form("var", "disco-features"),
    "form_type": Form("form_type", "formtypes"),
    "node": Form("node", "disco-nodes"),
}
_LISTS = {form.element: name for name, form in REGISTRIES.items()}
#: elements whose text is a name: of an entry; of a stream feature (``ns``); of a query type (``proto``)
_NAME_ELEMENTS = frozenset({"name", "ns", "var", "proto"})
_SPACE = " \t\r\n"


class Registration(NamedTuple):
    """One entry of a registrar file: in which registry, and what is registered there."""

    registry: str
    name: str
    specs: tuple[str, ...]
    status: str


# -- parsing --------------------------------------------------------------------------------------------------


class _Handler(Protocol):
    """What is told of a document; offsets are in bytes."""

    def start(self, tag: str) -> None: ...

    def end(self, tag: str) -> None: ...

    def text(self, text: str, offset: int) -> None: ...

    def reference(self, raw: str) -> None: ...


def _parse(data: bytes, handler: _Handler) -> None:
    """Tells ``handler`` of a registrar file, references to entities unexpanded.

    These are declared in ``reg.ent``, which is not read; without a DTD to declare them they are an error.
    """
    if not isinstance(data, bytes):
        raise TypeError(f"a registrar file is bytes, not {type(data).__name__!r}")
    check_encoding(data[:4])
    parser = expat.ParserCreate()
    root: list[str] = []

    def start(tag: str, _attributes: object) -> None:
        if not root:
            _check_root(tag, parser.CurrentByteIndex)
            root.append(tag)
        handler.start(tag)

    def other(raw: str) -> None:
        if raw.startswith("&"):
            handler.reference(raw)

    parser.StartElementHandler = start
    parser.EndElementHandler = handler.end
    parser.CharacterDataHandler = lambda text: handler.text(text, parser.CurrentByteIndex)
    parser.DefaultHandler = other  # also keeps entities of an internal subset from being expanded
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        offset = parser.ErrorByteIndex if data else 0
        reason = expat.ErrorString(error.code)
        if error.code in _ENCODING_ERRORS:
            raise EncodingError(f"an ASCII-compatible encoding is expected: {reason}", offset=offset) from error
        raise MalformedXMLError(f"well-formed XML is expected: {reason}", offset=offset) from error
    except MalformedXMLError:
        raise
    except (LookupError, ValueError) as error:  # of Python's codecs, which are asked about a declared encoding
        raise EncodingError(f"an ASCII-compatible encoding is expected: {error}", offset=0) from error


_ENCODING_ERRORS = {
    expat.errors.codes[message]
    for message in (expat.errors.XML_ERROR_UNKNOWN_ENCODING, expat.errors.XML_ERROR_INCORRECT_ENCODING)
}


def _check_root(tag: str, offset: int) -> None:
    if tag != "registry" and tag not in _LISTS:
        raise MalformedXMLError(
            f"a registrar file is expected, whose root is <registry> or an entry, not <{tag}>", offset=offset
        )


# -- rewriting ------------------------------------------------------------------------------------------------


def upgrade(data: bytes, /) -> bytes:
    """A registrar file with its names in their secure form.

    A name is the whole text of a ``name``, ``ns``, ``var`` or ``proto`` element outside ``meta``, Clark notation in
    ``field/@var``, and a FORM_TYPE value. By scheme, as in a stanza (``docs/scanning.md``). Everything else stays:
    ``doc``, ``desc``, titles, remarks, links, comments, declarations, the DTD. The same object comes back when nothing
    changes.

    :param data: the file, in UTF-8 or another ASCII-compatible encoding.
    :raises MalformedXMLError: when it is not well-formed, or no registrar file.
    :raises EncodingError: when it is in UTF-16, UTF-32, or an encoding that is not known.
    """
    names = _Names(data)
    _parse(data, names)
    if names.insertions:
        edges = [0, *names.insertions, len(data)]
        data = b"s".join(data[start:end] for start, end in itertools.pairwise(edges))
    return upgrade_attributes(data, scope=Scope.FEATURES | Scope.FORM_TYPES | Scope.FIELDS)


class _Names:
    """Collects the offsets at which a name lacks its letter.

    An element with a child is not a name: a child's start tag drops what was held of its parent.
    """

    def __init__(self, data: bytes) -> None:
        self.insertions: list[int] = []
        self._data = data
        self._meta = 0
        self._held: list[tuple[str, int]] | None = None

    def start(self, tag: str) -> None:
        if self._meta or tag == "meta":
            self._meta += 1
        self._held = [] if tag in _NAME_ELEMENTS and not self._meta else None

    def end(self, tag: str) -> None:
        if self._meta:
            self._meta -= 1
        if self._held:
            self._close(self._held)
        self._held = None

    def text(self, text: str, offset: int) -> None:
        if self._held is not None:
            self._held.append((text, offset))

    def reference(self, raw: str) -> None:
        """A name ends, as far as can be told, where an entity begins."""
        if self._held is not None:
            self._close(self._held)
        self._held = None

    def _close(self, pieces: list[tuple[str, int]]) -> None:
        text = "".join(piece for piece, _ in pieces)
        name = text.lstrip(_SPACE)
        secure = upgrade_name(name)
        if secure != name:
            scheme = next(at for at, letter in enumerate(name) if letter != secure[at])
            self.insertions.append(self._after(pieces, len(text) - len(name) + scheme))

    def _after(self, pieces: list[tuple[str, int]], count: int) -> int:
        """The offset after that many characters: white space and a scheme, which are ASCII."""
        for piece, offset in pieces:
            if count <= len(piece):
                if self._data.startswith(b"&", offset):  # a character reference
                    return self._data.index(b";", offset) + 1
                return offset + count
            count -= len(piece)
        raise AssertionError("the pieces hold the name")


# -- reading --------------------------------------------------------------------------------------------------


def read(data: bytes, /) -> list[Registration]:
    """The namespaces, features, form types and nodes of a registrar file, in its order.

    The Registrar's sources are read as well as the files it publishes. Raises what :func:`upgrade` raises.
    """
    reader = _Reader()
    _parse(data, reader)
    return reader.found


class _Reader:
    """Collects entries; the text of their parts counts with all that is in it, as ``doc`` has links."""

    def __init__(self) -> None:
        self.found: list[Registration] = []
        self._entry: dict[str, list[str]] | None = None
        self._part: list[str] = []
        self._depth = 0  # in the entry

    def start(self, tag: str) -> None:
        if self._entry is not None:
            self._depth += 1
            if self._depth == 1:
                self._part = self._entry.setdefault(tag, [])
        elif tag in _LISTS:
            self._entry = {}

    def end(self, tag: str) -> None:
        if self._entry is None:
            return
        if self._depth:
            self._depth -= 1
            return
        parts = {part: "".join(pieces).strip(_SPACE) for part, pieces in self._entry.items()}
        self._entry = None
        if parts.get("name"):
            # The Registrar writes a status only where a namespace is not simply registered.
            status = parts.get("status") or ("registered" if tag == "ns" else "")
            self.found.append(Registration(_LISTS[tag], parts["name"], _specs(parts.get("doc", "")), status))

    def text(self, text: str, offset: int) -> None:
        if self._depth:
            self._part.append(text)

    def reference(self, raw: str) -> None:
        if self._depth:
            self._part.append(raw)


#: the RFCs that the Registrar's entities call by another name (``reg.ent``)
_RFCS = {"xmppcore": "rfc6120", "xmppim": "rfc6121", "xmppe2e": "rfc3923"}
_ENTITIES = {rfc: entity for entity, rfc in _RFCS.items()}
_SPEC = re.compile(r"&(\w+);|(XEP|RFC)[- ](\d{4})")


def _specs(doc: str) -> tuple[str, ...]:
    """The specifications that a ``doc`` names, by entity or in words, in the Registrar's abbreviations."""
    found = [entity or f"{kind.lower()}{number}" for entity, kind, number in _SPEC.findall(doc)]
    return tuple(dict.fromkeys(_ENTITIES.get(spec, spec) for spec in found))


def _title(spec: str) -> str:
    spec = _RFCS.get(spec, spec)
    return re.sub(r"^(xep|rfc)(?=\d)", lambda kind: "XEP-" if kind[0] == "xep" else "RFC ", spec)


# -- writing --------------------------------------------------------------------------------------------------


def write(entries: Iterable[RegistryEntry], registry: str) -> bytes:
    """Those of the entries that stand in a registry, as the Registrar publishes it; UTF-8.

    ``desc`` is empty: descriptions are not in the data.

    :param registry: ``namespace``, ``feature``, ``form_type`` or ``node``.
    """
    form = REGISTRIES[registry]
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f'<registry type="{form.type}">']
    for entry in entries:
        if registry in entry.lists:
            lines += [f"  <{form.element}>", *_parts(entry, registry), f"  </{form.element}>"]
    return "\n".join([*lines, "</registry>", ""]).encode()


def _parts(entry: RegistryEntry, registry: str) -> list[str]:
    """The parts of an entry in the order of the Registrar's DTDs."""
    parts = [f"    <name>{escape(entry.name)}</name>"]
    if registry != "namespace":
        parts.append("    <desc/>")
    parts.append(f"    <doc>{escape(', '.join(map(_title, entry.specs)))}</doc>")
    if registry == "namespace" and entry.status != "registered":
        parts.append(f"    <status>{escape(entry.status)}</status>")
    return parts
