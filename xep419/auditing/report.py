"""What an audit found, as objects and as the JSON that ``audit.schema.json`` describes. Finds nothing itself."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass
from importlib import resources
from typing import Any, NamedTuple

from ..names import Place, Scope, downgrade_name, is_known, upgrade_name

#: of the JSON; a change that a reader of the old form would stumble over makes it another
FORMAT = 1


class Transport(enum.Enum):
    """What a recording tells about TLS; the value is a sentence's end."""

    CLEAR = "in the clear"
    STARTTLS = "inside TLS from STARTTLS on"
    TLS = "inside TLS from the first byte"
    UNKNOWN = "the source does not tell"


@dataclass(frozen=True)
class SourceAudited:
    """One document, recording or archive.

    :param size: its bytes, as far as they are XML: of an archive, those of its stanzas.
    :param ciphertext: bytes of TLS records, which nothing here can read.
    :param stanzas: first-level elements (RFC 6120 section 4.1: stanzas and what negotiates the stream), or the
        stanzas that an archive stores.
    :param evidence: what the judgement on TLS rests on.
    """

    name: str
    size: int
    ciphertext: int
    stanzas: int
    transport: Transport
    evidence: str


class NameFound(NamedTuple):
    """A namespace name in one kind of position.

    :param places: the first of its ``occurrences``.
    """

    name: str
    kind: Scope
    secure: bool
    occurrences: int
    places: tuple[Place, ...]

    @property
    def known(self) -> bool:
        """Whether its insecure form is registered with the XMPP Registrar."""
        return is_known(downgrade_name(self.name))


@dataclass(frozen=True)
class FactLearned:
    """What a reader of the clear bytes learns.

    :param fact: sender, recipient, element, device… (``xep419.auditing.FACTS``).
    :param stanzas: how many stanzas tell it; ``distinct`` counts its values, up to ``MOST_DISTINCT``.
    :param examples: the first values, long ones cut.
    """

    fact: str
    stanzas: int
    distinct: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class SchemeFound:
    """What one scheme, or all together, covers and leaves in the clear.

    :param namespaces: how many stanzas have it under which namespace (``?OTR`` for OTR).
    :param stanzas: encrypted ones; ``announcements`` only publish keys or devices, or negotiate a session.
    :param covered: bytes of ciphertext in the encrypted stanzas; ``clear`` all their others.
    :param facts: of the encrypted stanzas.
    """

    name: str
    namespaces: dict[str, int]
    stanzas: int
    announcements: int
    covered: int
    clear: int
    facts: tuple[FactLearned, ...]
    places: tuple[Place, ...]


@dataclass(frozen=True)
class Problem:
    """What could not be read: where, why, and how many bytes were not looked at for stanzas.

    Namespace names are counted in those bytes too, unless ``encoding`` or reading itself is at fault.
    """

    place: Place
    message: str
    unread: int


@dataclass(frozen=True)
class AuditReport:
    """All that an audit found. Names are sorted: insecure first, then the most frequent."""

    sources: tuple[SourceAudited, ...]
    names: tuple[NameFound, ...]
    #: places of names beyond the number of different ones that are kept apart
    uncounted: int
    #: the schemes that occur, in Scheme's order
    schemes: tuple[SchemeFound, ...]
    #: every stanza that a scheme encrypts, once; not those that only hint at it, nor envelopes in the clear
    encrypted: SchemeFound
    problems: tuple[Problem, ...]
    #: problems beyond those that are kept
    more_problems: int = 0
    #: files of directories that hold no stanzas, by their format
    skipped: int = 0

    @property
    def size(self) -> int:
        """Bytes of XML read."""
        return sum(source.size for source in self.sources)

    @property
    def stanzas(self) -> int:
        return sum(source.stanzas for source in self.sources)

    @property
    def insecure(self) -> tuple[NameFound, ...]:
        """Names that an upgrade would change."""
        return tuple(name for name in self.names if not name.secure)

    @property
    def secure(self) -> tuple[NameFound, ...]:
        """Names that are secure already."""
        return tuple(name for name in self.names if name.secure)

    @property
    def unknown(self) -> tuple[NameFound, ...]:
        """Names that the XMPP Registrar does not know, in either form."""
        return tuple(name for name in self.names if not name.known)

    def as_object(self) -> dict[str, Any]:
        """The report as JSON's types, as ``audit.schema.json`` describes them."""
        return {
            "format": FORMAT,
            "summary": self._summary(),
            "sources": [_source_object(source) for source in self.sources],
            "names": [_name_object(found) for found in self.names],
            "encryption": {
                "schemes": [_scheme_object(found) for found in self.schemes],
                "encrypted": _scheme_object(self.encrypted),
                "none": {"stanzas": self.unencrypted[0], "clear": self.unencrypted[1]},
                "double_rot13": {"stanzas": self.stanzas, "claims": self.size, "hides": 0},
            },
            "problems": [
                {**_place_object(problem.place), "message": _text(problem.message), "unread": problem.unread}
                for problem in self.problems
            ],
        }

    @property
    def unencrypted(self) -> tuple[int, int]:
        """Stanzas that nothing encrypts end to end, and the bytes of XML that are no part of an encrypted one."""
        inside = self.encrypted.covered + self.encrypted.clear
        return max(0, self.stanzas - self.encrypted.stanzas), self.size - inside

    def to_json(self) -> str:
        return json.dumps(self.as_object(), indent=2)

    def to_html(self) -> str:
        """One page that needs nothing beside it. Needs Jinja2: the extra ``xep419[audit]``."""
        from .page import render

        return render(self.as_object())

    def _summary(self) -> dict[str, int]:
        return {
            "size": self.size,
            "stanzas": self.stanzas,
            "insecure_names": len({found.name for found in self.insecure}),
            "insecure_places": sum(found.occurrences for found in self.insecure),
            "secure_names": len({found.name for found in self.secure}),
            "secure_places": sum(found.occurrences for found in self.secure),
            "unknown_names": len({found.name for found in self.unknown}),
            "unknown_places": sum(found.occurrences for found in self.unknown),
            "uncounted_places": self.uncounted,
            "problems": len(self.problems) + self.more_problems,
            "skipped_files": self.skipped,
        }


def schema() -> str:
    """The JSON Schema (draft 2020-12) of :meth:`AuditReport.to_json`."""
    return resources.files(__package__).joinpath("audit.schema.json").read_text(encoding="utf-8")


def _text(value: str) -> str:
    """``value`` with escapes for bytes that are not UTF-8, which JSON and HTML cannot hold."""
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _place_object(place: Place) -> dict[str, Any]:
    return {"source": _text(place.source), "offset": place.offset}


def _source_object(source: SourceAudited) -> dict[str, Any]:
    return {
        "name": _text(source.name),
        "size": source.size,
        "ciphertext": source.ciphertext,
        "stanzas": source.stanzas,
        "transport": source.transport.name.lower(),
        "evidence": source.evidence,
    }


def _name_object(found: NameFound) -> dict[str, Any]:
    return {
        "name": _text(found.name),
        "kind": found.kind.name,
        "secure": found.secure,
        "known": found.known,
        "secure_form": _text(upgrade_name(found.name)),
        "count": found.occurrences,
        "places": [_place_object(place) for place in found.places],
    }


def _scheme_object(found: SchemeFound) -> dict[str, Any]:
    return {
        "name": found.name,
        "namespaces": {_text(name): count for name, count in found.namespaces.items()},
        "stanzas": found.stanzas,
        "announcements": found.announcements,
        "covered": found.covered,
        "clear": found.clear,
        "facts": [
            {
                "fact": fact.fact,
                "stanzas": fact.stanzas,
                "distinct": fact.distinct,
                "examples": [_text(example) for example in fact.examples],
            }
            for fact in found.facts
        ],
        "places": [_place_object(place) for place in found.places],
    }
