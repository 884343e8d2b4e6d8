"""``upgrade`` and ``downgrade`` for trees: ElementTree's and lxml's elements, by the same scope table.

For libraries that hand over elements where bytes cannot be had. The rules on names are :mod:`xep419.names`'; only
where they stand in a tree is known here. Nothing is serialised or parsed, no tree that is given is ever changed, and
neither library is imported for the other's sake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from xml.etree import ElementTree

from .errors import MalformedXMLError
from .names import (
    Scope,
    downgrade_name,
    is_known,
    is_registered_node,
    is_secure,
    upgrade_name,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    #: an ``xml.etree.ElementTree.Element`` or an ``lxml.etree._Element``
    Element = TypeVar("Element")

Rename = Callable[[str], str]

_CAPS = frozenset({"http://jabber.org/protocol/caps", "https://jabber.org/protocol/caps"})
_XML = "http://www.w3.org/XML/1998/namespace"
_SPACE = " \t\r\n"
#: attributes that hold a name by its scheme, by the element's local name and the attribute's name
_BY_SCHEME = {
    ("feature", "var"): Scope.FEATURES,
    ("encryption", "namespace"): Scope.REFERENCES,
    ("fallback", "for"): Scope.REFERENCES,
    ("report", "reason"): Scope.REFERENCES,
}


def upgrade_element(element: Element, /, *, scope: Scope = Scope.ALL) -> Element:
    """The tree with its namespace names secure: what :func:`xep419.upgrade` makes of its serialised form.

    :param element: an ``xml.etree.ElementTree.Element`` or an lxml element, with its descendants; its tail comes along,
        its ancestors do not. lxml elements keep their prefixes and declarations.
    :param scope: as for ``upgrade``; ``DECLARATIONS`` stands for the namespaces of tags and attributes, and for
        the declarations that lxml keeps.
    :returns: the same element when nothing changes, else a new tree; ``element`` is left as it is either way.
    :raises MalformedXMLError: two attributes of one element would become the same one.
    :raises TypeError: not an element.
    """
    return _renamed(element, upgrade_name, scope)


def downgrade_element(element: Element, /, *, scope: Scope = Scope.ALL, known_only: bool = True) -> Element:
    """The tree with its namespace names insecure again: what :func:`xep419.downgrade` makes of its serialised form.

    :param known_only: as for ``downgrade``: only names whose insecure form is registered.

    The rest is as for :func:`upgrade_element`.
    """
    return _renamed(element, _downgrade_known if known_only else downgrade_name, scope)


def scan_element(element: Any, /, *, scope: Scope = Scope.ALL) -> list[str]:
    """The namespace names in the tree that ``scope`` covers, secure or not, in document order.

    ElementTree keeps no declarations: there a namespace comes once for every tag and attribute that is in it.
    """
    found: list[str] = []

    def note(name: str) -> str:
        if is_secure(name) or upgrade_name(name) != name:
            found.append(name)
        return name

    for _ in _changes(_require_element(element), note, _require_scope(scope)):
        pass
    return found


def _downgrade_known(name: str) -> str:
    insecure = downgrade_name(name)
    return insecure if is_known(insecure) else name


def _require_scope(scope: object) -> Scope:
    if not isinstance(scope, Scope):
        raise TypeError(f"scope must be a xep419.Scope, not {type(scope).__name__!r}")
    return scope


def _require_element(element: Any) -> Any:
    if not isinstance(getattr(element, "tag", None), str):
        raise TypeError(f"element must be an ElementTree or lxml element, not {type(element).__name__!r}")
    return element


# -- the scope table on a tree ----------------------------------------------------------------------------

_Attributes = list[tuple[str, str]]


class _Changed:
    """What one node becomes; ``depth`` counts from the root's 0."""

    __slots__ = ("attributes", "changed", "declared", "depth", "node", "tag", "tail", "text")

    def __init__(self, node: Any, depth: int) -> None:
        self.node = node
        self.depth = depth
        self.changed = False
        self.tag: Any = node.tag
        self.text: str | None = node.text
        self.tail: str | None = node.tail
        self.attributes: _Attributes = []
        #: lxml's own declarations of this element
        self.declared: dict[str | None, str] = {}


def _changes(root: Any, rename: Rename, scope: Scope) -> Iterator[_Changed]:
    """Every node of the tree in document order, as it will be."""
    declared = rename if Scope.DECLARATIONS in scope else _kept
    declarations = _lxml_declarations(root) if _is_lxml(root) else None
    # a node, its depth, whether its parent is a FORM_TYPE field, whether a FORM_TYPE value's name is its tail
    stack: list[tuple[Any, int, bool, bool]] = [(root, 0, False, False)]
    while stack:
        node, depth, in_form, is_before_name = stack.pop()
        made = _Changed(node, depth)
        if is_before_name:
            made.tail = _form_type(node.tail, rename)
            made.changed = made.tail != node.tail
        if not isinstance(node.tag, str):  # a comment, an instruction, an entity
            yield made
            continue
        namespace, local = _split(node.tag)
        if declarations is not None:
            own = next(declarations)
            made.declared = {prefix: declared(name) for prefix, name in own.items()}
            made.changed = made.changed or made.declared != own
        if namespace and namespace != _XML:
            made.tag = _join(declared(namespace), local)
        form = _attributes(made, namespace, local, rename, scope, declared)
        made.changed = made.changed or made.tag != node.tag
        children = list(node)
        before = -1
        if in_form and local == "value" and Scope.FORM_TYPES in scope:
            before = _form_value(made, children, rename)
        yield made
        stack.extend((children[i], depth + 1, form, i == before) for i in reversed(range(len(children))))


def _lxml_declarations(root: Any) -> Iterator[dict[str | None, str]]:
    """For every element, in document order, the declarations on it; for the root all in scope.

    Not from ``nsmap``, which collects its ancestors' for each element anew.
    """
    from lxml import etree

    own: dict[str | None, str] = {prefix: name for prefix, name in root.nsmap.items() if prefix != "xml"}
    for event, found in etree.iterwalk(root, events=("start", "start-ns")):
        if event == "start":
            yield own
            own = {}
            continue
        assert isinstance(found, tuple)
        prefix, name = found
        if prefix != "xml":
            own[prefix or None] = name


def _attributes(made: _Changed, namespace: str, local: str, rename: Rename, scope: Scope, declared: Rename) -> bool:
    """Judges the attributes of an element; says whether they make it a FORM_TYPE field."""
    form = False
    for key, value in made.node.attrib.items():
        name, became = key, value
        if key[:1] == "{":
            outside, own = _split(key)
            if outside != _XML:
                name = _join(declared(outside), own)
        elif key == "node":
            if Scope.NODES in scope and not (local == "c" and namespace in _CAPS) and _is_node(value):
                became = rename(value)
        elif local == "field" and key == "var":
            form = value == "FORM_TYPE"
            if Scope.FIELDS in scope and value[:1] == "{" and "}" in value:
                clark, brace, rest = value[1:].partition("}")
                became = "{" + rename(clark) + brace + rest
        elif _BY_SCHEME.get((local, key), Scope(0)) & scope:
            became = rename(value)
        made.changed = made.changed or name != key or became != value
        made.attributes.append((name, became))
    if made.changed and len(dict(made.attributes)) < len(made.attributes):
        raise MalformedXMLError(f"expected different attributes, got one twice in {made.tag!r}: {made.attributes}")
    return form


def _is_node(value: str) -> bool:
    insecure = downgrade_name(value)
    return insecure[:9].lower() == "urn:xmpp:" or is_registered_node(insecure)


def _form_value(made: _Changed, children: list[Any], rename: Rename) -> int:
    """Judges a FORM_TYPE value: its name stands in the first text that is not white space, before any element.

    Gives the index of the child before that text, or -1.
    """
    if made.text and made.text.strip(_SPACE):
        made.text = _form_type(made.text, rename)
        made.changed = made.changed or made.text != made.node.text
        return -1
    for i, child in enumerate(children):
        if getattr(child.tag, "__name__", "") not in ("Comment", "ProcessingInstruction"):
            return -1
        if child.tail and child.tail.strip(_SPACE):
            return i
    return -1


def _form_type(text: str, rename: Rename) -> str:
    name = text.strip(_SPACE)
    before = text.index(name)
    return text[:before] + rename(name) + text[before + len(name) :]


def _kept(name: str) -> str:
    return name


def _split(tag: str) -> tuple[str, str]:
    namespace, brace, local = tag.rpartition("}")
    return namespace[1:] if brace else "", local


def _join(namespace: str, local: str) -> str:
    return f"{{{namespace}}}{local}"


# -- the new tree -----------------------------------------------------------------------------------------


def _renamed(element: Element, rename: Rename, scope: Scope) -> Element:
    changes = list(_changes(_require_element(element), rename, _require_scope(scope)))
    if not any(made.changed for made in changes):
        return element
    path: list[Any] = []
    for made in changes:
        del path[made.depth :]
        parent = path[-1] if path else None
        built = _built(made, parent)
        built.tail = made.tail
        path.append(built)
    root: Element = path[0]
    return root


def _built(made: _Changed, parent: Any) -> Any:
    """The node without its children and tail, as the last child of ``parent``."""
    attributes = dict(made.attributes)
    if not _is_lxml(made.node):
        built: Any = ElementTree.Element(made.tag, attributes)
        if parent is not None:
            parent.append(built)
    else:
        from lxml import etree

        if not isinstance(made.tag, str):
            built = copy(made.node)
            parent.append(built)
            return built
        if parent is None:
            built = etree.Element(made.tag, attributes, nsmap=made.declared)
        else:
            built = etree.SubElement(parent, made.tag, attributes, nsmap=made.declared)
    built.text = made.text
    return built


def _is_lxml(node: Any) -> bool:
    return hasattr(node, "nsmap")


__all__ = ["downgrade_element", "scan_element", "upgrade_element"]
