"""The XMPP Registrar's namespaces and the XEPs' target namespaces, each with its secure successor.

The facts are ``registry.tsv``, one line for each name, read when they are first asked for. Nothing here finds names in
XML or reads the Registrar's files (:mod:`xep419.registrar`).
"""

from __future__ import annotations

import functools
from itertools import starmap
from typing import NamedTuple

from .errors import UnknownNamespaceError
from .names import downgrade_name, registry_rows, upgrade_name


class RegistryEntry(NamedTuple):
    """One registered name.

    ``name`` is the name as it is registered, ``secure_name`` what XEP-0419 makes of it: the same, unless it begins
    with ``http:`` or ``urn:xmpp:``. ``spec`` is the specification that defines it as the Registrar abbreviates it
    (``xep0384``, ``xmppcore``), empty where none is stated; ``status`` is ``registered`` or ``provisional`` for a
    registered namespace (XEP-0053) and empty for all else. ``specs`` are all specifications, ``spec`` first; ``lists``
    says where the name stands: ``namespace``, ``node``, ``feature`` and ``form_type`` are registries, ``xep`` is
    the schema of a XEP.
    """

    name: str
    secure_name: str
    spec: str
    status: str
    specs: tuple[str, ...]
    lists: tuple[str, ...]


@functools.cache
def entries() -> tuple[RegistryEntry, ...]:
    """Every entry, sorted by name."""
    return tuple(starmap(_entry, registry_rows()))


def _entry(name: str, lists: str, specs: str, status: str) -> RegistryEntry:
    several = tuple(filter(None, specs.split(",")))
    return RegistryEntry(name, upgrade_name(name), "".join(several[:1]), status, several, tuple(lists.split(",")))


@functools.cache
def _by_name() -> dict[str, RegistryEntry]:
    return {entry.name: entry for entry in entries()}


def lookup(name: str, /) -> RegistryEntry:
    """The entry of a name given in either form, insecure or secure.

    The name is compared letter by letter and whole: ``…#suffix`` or ``…+notify`` is found only if it is registered so.

    :raises UnknownNamespaceError: when there is none; it is a ``KeyError``.
    """
    insecure = downgrade_name(name)
    found = _by_name().get(name) or _by_name().get(insecure)
    if found is None:
        raise UnknownNamespaceError(f"a registered name is expected, not {name!r}")
    return found


def search(text: str, /) -> list[RegistryEntry]:
    """The entries whose name (in either form) or specification contains ``text``, sorted by name.

    Without regard to case; ``XEP-0384`` finds what ``xep0384`` finds.
    """
    wanted = text.casefold()
    spec = wanted.replace("xep-", "xep")
    return [
        entry
        for entry in entries()
        if wanted in entry.name.casefold()
        or wanted in entry.secure_name.casefold()
        or any(spec in found for found in entry.specs)
    ]
