"""Independent oracles for the namespace functions: the scope table, by its words, over what an XML parser sees.

They share no code with the package: expat and lxml parse, this module applies the table to the parsed form, and the
parse of the package's output must be the mapped parse of its input. The byte oracles then say that nothing but single
letters came or went. This module judges; it must not import ``xep419`` and holds no tests.
"""

from __future__ import annotations

import importlib.util
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.parsers import expat

from lxml import etree

XML_NAMESPACE = "http://www.w3.org/XML/1998/namespace"
CAPS = ("http://jabber.org/protocol/caps", "https://jabber.org/protocol/caps")
WHITE_SPACE = " \t\r\n"

_SCHEME = re.compile(r"(http|urn:xmpp)(s?):", re.ASCII | re.IGNORECASE)


class NotNamespaceWellFormedError(Exception):
    """The parser refuses the document, so the oracle has nothing to say about it."""


class UndecidedError(Exception):
    """The parser does not tell what the table needs to know here (lxml: whether a value's text is CDATA)."""


# -- parsed documents ---------------------------------------------------------------------------------------

Name = tuple[str, str]  # namespace ("" for none) and local name


@dataclass(frozen=True)
class Start:
    name: Name
    prefix: str
    declarations: tuple[tuple[str, str], ...]  # prefix ("" for the default) and namespace
    attributes: tuple[tuple[Name, str], ...]
    order: tuple[str, ...] = ()  # qualified names of declarations and attributes as they stand, where known


@dataclass(frozen=True)
class End:
    pass


@dataclass(frozen=True)
class Text:
    text: str
    cdata: bool | None = False  # None: there may be CDATA in it


@dataclass(frozen=True)
class Other:
    """A comment, a PI, the XML declaration or a part of the DTD."""

    kind: str
    content: tuple[object, ...]


Event = Start | End | Text | Other


@dataclass(frozen=True)
class Found:
    """A name that the scope table finds: the member of Scope, the name, and whether it is secure."""

    kind: str
    name: str
    secure: bool


# -- (a) expat ----------------------------------------------------------------------------------------------

_SEPARATOR = "\x1f"  # not a character of XML, so of no name


def _expat_raw(data: bytes) -> list[Event]:
    """Events without namespace processing: every attribute, declarations too, in order."""
    events: list[Event] = []
    parser = expat.ParserCreate()
    parser.ordered_attributes = True
    parser.specified_attributes = True
    parser.buffer_text = True
    in_cdata = False

    def start(name: str, flat: list[str]) -> None:
        pairs = tuple(zip(flat[::2], flat[1::2], strict=True))
        events.append(Start(("", name), "", (), tuple((("", key), value) for key, value in pairs)))

    def text(data: str) -> None:
        events.append(Text(data, in_cdata))

    def cdata(begins: bool) -> Callable[[], None]:
        def handler() -> None:
            nonlocal in_cdata
            in_cdata = begins
            if begins:
                events.append(Text("", True))  # an empty section is a section too

        return handler

    def other(kind: str) -> Callable[..., None]:
        return lambda *content: events.append(Other(kind, content))

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda name: events.append(End())
    parser.CharacterDataHandler = text
    parser.StartCdataSectionHandler = cdata(True)
    parser.EndCdataSectionHandler = cdata(False)
    for kind in (
        "Comment", "ProcessingInstruction", "XmlDecl", "StartDoctypeDecl", "EndDoctypeDecl", "EntityDecl",
        "AttlistDecl", "ElementDecl", "NotationDecl",
    ):  # fmt: skip
        setattr(parser, f"{kind}Handler", other(kind))
    parser.Parse(data, True)
    return events


def _expat_resolved(data: bytes) -> list[tuple[str, list[str]]]:
    """Start tags with namespace processing: ``namespace␟local␟prefix``, attributes alike, no declarations."""
    tags: list[tuple[str, list[str]]] = []
    parser = expat.ParserCreate(namespace_separator=_SEPARATOR)
    parser.namespace_prefixes = True
    parser.ordered_attributes = True
    parser.specified_attributes = True
    parser.StartElementHandler = lambda name, flat: tags.append((name, flat))
    parser.Parse(data, True)
    return tags


def _split(name: str) -> tuple[str, str, str]:
    """Namespace, local name, prefix."""
    parts = name.split(_SEPARATOR)
    if len(parts) == 1:
        return "", parts[0], ""
    return parts[0], parts[1], parts[2] if len(parts) > 2 else ""


def _resolved(raw: Start, tag: tuple[str, list[str]]) -> Start:
    name, flat = tag
    namespace, local, prefix = _split(name)
    declarations = tuple(
        (key.partition(":")[2], value)
        for (_, key), value in raw.attributes
        if key == "xmlns" or key.startswith("xmlns:")
    )
    attributes = tuple((_split(key)[:2], value) for key, value in zip(flat[::2], flat[1::2], strict=True))
    order = tuple(key for (_, key), _ in raw.attributes)
    return Start((namespace, local), prefix, declarations, attributes, order)


def parse_expat(data: bytes) -> tuple[Event, ...]:
    """The document as expat sees it, with everything it tells: order, CDATA sections, the parts of the DTD."""
    try:
        events, tags = _expat_raw(data), iter(_expat_resolved(data))
    except expat.ExpatError as error:
        raise NotNamespaceWellFormedError(str(error)) from None
    return tuple(_resolved(event, next(tags)) if isinstance(event, Start) else event for event in events)


# -- (b) lxml -----------------------------------------------------------------------------------------------


def _clark(name: str) -> Name:
    namespace, brace, local = name[1:].partition("}")
    return (namespace, local) if brace and name.startswith("{") else ("", name)


def _may_hold_cdata(element: Any) -> bool:
    return _clark(element.tag)[1] == "value" and b"<![CDATA[" in etree.tostring(element, with_tail=False)


def _lxml_text(text: str | None, parent: Any) -> Iterator[Text]:
    if text:
        yield Text(text, None if parent is not None and _may_hold_cdata(parent) else False)


def _lxml_events(node: Any) -> Iterator[Event]:
    if node.tag is etree.Comment:
        yield Other("Comment", (node.text,))
    elif node.tag is etree.ProcessingInstruction:
        yield Other("ProcessingInstruction", (node.target, node.text))
    elif node.tag is etree.Entity:
        raise UndecidedError("an entity reference")
    else:
        in_scope = tuple(sorted((prefix or "", uri) for prefix, uri in node.nsmap.items() if prefix != "xml"))
        attributes = tuple((_clark(key), value) for key, value in node.attrib.items())
        yield Start(_clark(node.tag), node.prefix or "", in_scope, attributes)
        yield from _lxml_text(node.text, node)
        for child in node:
            yield from _lxml_events(child)
        yield End()
    yield from _lxml_text(node.tail, node.getparent())


def parse_lxml(data: bytes) -> tuple[Event, ...]:
    """The document as lxml sees it: the tree with all namespaces in scope, comments and PIs."""
    parser = etree.XMLParser(
        strip_cdata=False, remove_comments=False, remove_pis=False, no_network=True, huge_tree=True
    )
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise NotNamespaceWellFormedError(str(error)) from None
    outside = [*root.itersiblings(preceding=True)][::-1], [*root.itersiblings()]
    events = [event for node in (*outside[0], root, *outside[1]) for event in _lxml_events(node)]
    tree = root.getroottree().docinfo
    return (Other("doctype", (tree.root_name, tree.public_id, tree.system_url, tree.encoding)), *events)


# -- the scope table ----------------------------------------------------------------------------------------


def _registry() -> tuple[frozenset[str], frozenset[str]]:
    """Names for ``node`` attributes, and all registered names, as the table beside the package lists them."""
    package = importlib.util.find_spec("xep419")
    assert package is not None
    assert package.origin is not None
    rows = [
        line.split("\t")
        for line in (Path(package.origin).parent / "registry.tsv").read_text("utf-8").splitlines()
        if not line.startswith("#")
    ]
    nodes = frozenset(row[0] for row in rows if {"namespace", "node", "xep"} & set(row[1].split(",")))
    return nodes, frozenset(row[0] for row in rows)


NODE_NAMES, REGISTERED = _registry()


def insecure(name: str) -> str:
    """The name without the ``s`` of its scheme."""
    match = _SCHEME.match(name)
    return name[: match.start(2)] + name[match.end(2) :] if match else name


def secure(name: str) -> str:
    match = _SCHEME.match(name)
    return name[: match.start(2)] + "s" + name[match.start(2) :] if match and not match[2] else name


def _alone_or_before_hash(name: str, names: frozenset[str]) -> bool:
    """Whether the name, or what stands before one of its ``#``, is one of ``names``."""
    parts = name.split("#")
    return any("#".join(parts[:count]) in names for count in range(1, len(parts) + 1))


def is_known(name: str) -> bool:
    plain = insecure(name)
    return _alone_or_before_hash(plain[: -len("+notify")] if plain.endswith("+notify") else plain, REGISTERED)


Rewriting = Callable[[str], str]


def upgraded(name: str) -> str:
    return secure(name)


def downgraded(name: str) -> str:
    return insecure(name)


def known_downgraded(name: str) -> str:
    return insecure(name) if is_known(name) else name


def _place(kind: str, value: str) -> tuple[int, int] | None:
    """Where in the value of such a position a name under one of the schemes stands, if one does."""
    start, end = 0, len(value)
    if kind == "FIELDS":
        if not value.startswith("{") or "}" not in value:
            return None
        start, end = 1, value.index("}")
    name = value[start:end]
    if not _SCHEME.match(name):
        return None
    if kind == "NODES":
        plain = insecure(name)
        if plain[:9].lower() != "urn:xmpp:" and not _alone_or_before_hash(plain, NODE_NAMES):
            return None
    return start, end


_REFERENCES = {("encryption", "namespace"), ("fallback", "for"), ("report", "reason")}


def _attribute_kind(element: Name, attribute: Name, value: str) -> str | None:
    """The row of the scope table that an attribute belongs to."""
    local = element[1]
    if attribute[0]:
        return None
    if attribute[1] == "var" and local == "feature":
        return "FEATURES"
    if attribute[1] == "var" and local == "field":
        return "FIELDS" if value != "FORM_TYPE" else None
    if attribute[1] == "node":
        return "NODES" if local != "c" or element[0] not in CAPS else None
    return "REFERENCES" if (local, attribute[1]) in _REFERENCES else None


class _Table:
    """Walks the events once; collects the names and the mapped events."""

    def __init__(self, rewrite: Rewriting, kinds: frozenset[str]) -> None:
        self.rewrite = rewrite
        self.kinds = kinds
        self.found: list[Found] = []
        self.mapped: list[Event] = []
        self._open: list[bool] = []  # for every open element: is it a FORM_TYPE field
        self._awaits_text = False  # in a FORM_TYPE value, before its text

    def _value(self, kind: str | None, value: str) -> str:
        place = _place(kind, value) if kind in self.kinds and kind is not None else None
        if kind is None or place is None:
            return value
        name = value[place[0] : place[1]]
        self.found.append(Found(kind, name, insecure(name) != name))
        return value[: place[0]] + self.rewrite(name) + value[place[1] :]

    def _declared(self, prefix: str, namespace: str) -> str:
        return namespace if prefix == "xml" else self._value("DECLARATIONS", namespace)

    def _bound(self, namespace: str) -> str:
        """The namespace of a resolved name, whose declaration was rewritten somewhere."""
        rewritten = namespace != XML_NAMESPACE and "DECLARATIONS" in self.kinds and _SCHEME.match(namespace)
        return self.rewrite(namespace) if rewritten else namespace

    def _start(self, event: Start) -> Start:
        form = (
            any(attribute == ("", "var") and value == "FORM_TYPE" for attribute, value in event.attributes)
            and event.name[1] == "field"
        )
        self._awaits_text = bool(self._open) and self._open[-1] and event.name[1] == "value"
        self._open.append(form)

        first = len(self.found)
        if event.order:  # names are found in the order in which the attributes stand
            declarations: dict[str, str] = {}
            attributes: dict[Name, str] = {}
            rest = iter(event.attributes)
            for key in event.order:
                if key == "xmlns" or key.startswith("xmlns:"):
                    prefix = key.partition(":")[2]
                    declarations[prefix] = self._declared(prefix, dict(event.declarations)[prefix])
                else:
                    name, value = next(rest)
                    attributes[name] = self._value(_attribute_kind(event.name, name, value), value)
            declared = tuple((prefix, declarations[prefix]) for prefix, _ in event.declarations)
            valued = tuple((name, attributes[name]) for name, _ in event.attributes)
        else:
            declared = tuple((prefix, self._declared(prefix, uri)) for prefix, uri in event.declarations)
            del self.found[first:]  # all in scope, not this element's own
            valued = tuple(
                (name, self._value(_attribute_kind(event.name, name, value), value)) for name, value in event.attributes
            )
        return Start(
            (self._bound(event.name[0]), event.name[1]),
            event.prefix,
            declared,
            tuple(((self._bound(name[0]), name[1]), value) for name, value in valued),
            event.order,
        )

    def _text(self, event: Text) -> Text:
        if event.cdata is None and "FORM_TYPES" in self.kinds:
            raise UndecidedError("CDATA in a FORM_TYPE value")
        name = event.text.lstrip(WHITE_SPACE)
        if not event.cdata and not name:
            return event
        self._awaits_text = False
        if event.cdata:
            return event
        white, stripped = event.text[: len(event.text) - len(name)], name.rstrip(WHITE_SPACE)
        return Text(white + self._value("FORM_TYPES", stripped) + name[len(stripped) :], event.cdata)

    def walk(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, Start):
                self.mapped.append(self._start(event))
            elif isinstance(event, Text) and self._awaits_text:
                self.mapped.append(self._text(event))
            else:
                if isinstance(event, End):
                    self._open.pop()
                    self._awaits_text = False
                self.mapped.append(event)


ALL_KINDS = frozenset({"DECLARATIONS", "FEATURES", "FORM_TYPES", "FIELDS", "NODES", "REFERENCES"})


def apply_table(
    events: Sequence[Event], rewrite: Rewriting, kinds: frozenset[str] = ALL_KINDS
) -> tuple[tuple[Event, ...], list[Found]]:
    """The mapped events, and the names that the table finds in the given kinds of position.

    In document order from expat; from lxml without those of declarations.
    """
    table = _Table(rewrite, kinds)
    table.walk(events)
    return tuple(table.mapped), table.found


def assert_mapped(
    before: bytes, after: bytes, rewrite: Rewriting, kinds: frozenset[str] = ALL_KINDS, *, lxml: bool = True
) -> None:
    """The parse of ``after`` is the mapped parse of ``before``, by expat and, where it can tell, by lxml."""
    expected, _ = apply_table(parse_expat(before), rewrite, kinds)
    assert parse_expat(after) == expected
    if lxml:
        try:
            expected, _ = apply_table(parse_lxml(before), rewrite, kinds)
        except (UndecidedError, NotNamespaceWellFormedError):  # lxml wants URIs, expat takes any name
            return
        assert parse_lxml(after) == expected


def assert_found(data: bytes, refs: Iterable[tuple[int, int, str, Any, bool]], *, lxml: bool = True) -> None:
    """The references are the names that the table finds, in document order, and stand where they say."""
    refs = list(refs)
    told = [Found(kind.name, normal(_unescaped(name)), is_secure) for _, _, name, kind, is_secure in refs]
    _, expected = apply_table(parse_expat(data), upgraded)
    assert told == [Found(found.kind, normal(found.name), found.secure) for found in expected]
    assert [normal(text_of(data[start:end], data)) for start, end, *_ in refs] == [name.name for name in told]
    if lxml:
        try:
            _, seen = apply_table(parse_lxml(data), upgraded)
        except (UndecidedError, NotNamespaceWellFormedError):
            return
        assert [name for name in told if name.kind != "DECLARATIONS"] == [
            Found(found.kind, normal(found.name), found.secure) for found in seen
        ]


def _unescaped(name: str) -> str:
    """Bytes that are not UTF-8, which come as surrogate escapes, as letters of ISO-8859-1."""
    return re.sub("[\udc80-\udcff]", lambda escape: chr(ord(escape[0]) - 0xDC00), name)


def normal(name: str) -> str:
    """White space as parsers normalise it (XML 1.0 sections 2.11 and 3.3.3): the table says nothing about it."""
    return re.sub(f"[{WHITE_SPACE}]+", " ", name).strip(" ")


def text_of(raw: bytes, document: bytes = b"") -> str:
    """What raw bytes of a value denote, by expat, in the encoding that their document declares."""
    declared = re.match(rb"<\?xml[^>]*encoding\s*=\s*['\"]([^'\"]+)['\"]", document)
    pieces: list[str] = []
    parser = expat.ParserCreate(declared[1].decode() if declared else "utf-8")
    parser.CharacterDataHandler = pieces.append
    parser.Parse(b"<a>" + raw.replace(b"]]>", b"]]&gt;") + b"</a>", True)
    return "".join(pieces)


# -- bytes --------------------------------------------------------------------------------------------------


def _common_prefix(a: bytes, at: int, b: bytes, bt: int, step: int = 256) -> int:
    """How many bytes ``a[at:]`` and ``b[bt:]`` begin with in common."""
    same = 0
    while (piece := a[at + same : at + same + step]) == b[bt + same : bt + same + step] and piece:
        same += len(piece)
    rest = zip(piece, b[bt + same : bt + same + step], strict=False)
    return same + sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], rest))


def insertions(before: bytes, after: bytes) -> list[int]:
    """Places of ``before`` at which ``after`` has one more ``s``; they must differ in nothing else."""
    places: list[int] = []
    i = j = 0
    while i < len(before) or j < len(after):
        same = _common_prefix(before, i, after, j)
        i, j = i + same, j + same
        if i == len(before) and j == len(after):
            break
        assert after[j : j + 1] == b"s", f"byte {i} of the input was changed or lost: {before[i : i + 20]!r}"
        assert not places or places[-1] < i, f"two letters came at byte {i}"
        places.append(i)
        j += 1
    return places


_UNIT = re.compile(rb"&#x[0-9A-Fa-f]+;|&#[0-9]+;|.", re.DOTALL)
_LETTER_S = re.compile(rb"[sS]|&#0*(?:83|115);|&#x0*[57]3;")


def removals(before: bytes, after: bytes) -> int:
    """How many letters ``s`` of ``before``, spelled in any way, ``after`` lacks; they must differ in nothing else."""
    kept, count = iter(_UNIT.findall(after)), 0
    wanted = next(kept, None)
    for unit in _UNIT.findall(before):
        if unit == wanted:
            wanted = next(kept, None)
        else:
            assert _LETTER_S.fullmatch(unit), f"{unit!r} was changed or lost"
            count += 1
    assert wanted is None, f"{wanted!r} came"
    return count


# -- streams ------------------------------------------------------------------------------------------------


class RefusedError(Exception):
    """expat refuses the document."""


_START_TAG = re.compile(rb"""<(?:[^'">]|'[^']*'|"[^"]*")*>""")


def cut_by_expat(document: bytes) -> tuple[bytes | None, list[bytes], bool]:
    """The header of a document, its first-level elements, and whether its root is closed, by expat's byte offsets.

    Namespaces are not looked at.
    """
    parser = expat.ParserCreate()
    depth = start = header_end = 0
    stanzas: list[bytes] = []
    begun = False  # nothing came since a start tag

    def begin(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth, start, header_end, begun
        at = parser.CurrentByteIndex
        if depth == 0:
            found = _START_TAG.match(document, at)
            assert found is not None
            header_end = found.end()
        elif depth == 1:
            start = at
        depth += 1
        begun = True

    def end(name: str) -> None:
        """expat's offset is that of an end tag's ``<``, and where an element is empty, that of its tag's end."""
        nonlocal depth, begun
        at = parser.CurrentByteIndex
        if not (begun and document[at - 2 : at] == b"/>"):
            at = document.index(b">", at) + 1
        depth -= 1
        if depth == 1:
            stanzas.append(document[start:at])
        begun = False

    def text(characters: str) -> None:
        nonlocal begun
        begun = False

    parser.StartElementHandler = begin
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    try:
        parser.Parse(document, False)
    except expat.ExpatError as error:
        raise RefusedError(expat.errors.messages[error.code]) from error
    return document[:header_end] or None, stanzas, bool(header_end) and depth == 0
