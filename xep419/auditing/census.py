"""Counts what an audit finds, in memory that hostile input cannot make grow: names and their places, schemes, facts."""

from __future__ import annotations

from collections import Counter
from itertools import chain

from ..names import Scope
from ..namespaces import NamespaceCensus
from .documents import MOST_HELD
from .e2ee import FACTS, Encrypted, Fact, Scheme
from .places import Locator, Place
from .report import FactLearned, NameFound, SchemeFound

#: different names, by kind, that are kept apart, as a NamespaceCensus does; places of others are counted together
MOST_NAMES = 65_536
#: different values of a fact that are told apart
MOST_DISTINCT = 4096
#: values of a fact that are kept, and letters of each
EXAMPLES = 3
LONGEST_EXAMPLE = 120


_Key = tuple[str, Scope, bool]


class _Entry:
    __slots__ = ("count", "places")

    def __init__(self, count: int, places: list[Place]) -> None:
        self.count = count
        self.places = places


class NameCensus:
    """Namespace names by kind, with exact counts and the first places of each, over any number of documents.

    :param places: how many places are kept for each.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._entries: dict[_Key, _Entry] = {}
        self.uncounted = 0
        self.new()  # refuses places that cannot be

    def new(self) -> NamespaceCensus:
        """What to feed the next document to."""
        return NamespaceCensus(places=self._places, max_markup=MOST_HELD)

    def add(self, counted: NamespaceCensus, locator: Locator) -> None:
        """Adds what was found in a document, of which ``locator`` knows the places."""
        self.uncounted += counted.overflow
        offsets = counted.places().values()
        places = list(locator.all(chain.from_iterable(offsets)))  # at once: there may be many documents
        end = 0
        for (key, count), own in zip(counted.counts().items(), offsets, strict=True):
            start, end = end, end + len(own)
            entry = self._entries.get(key)
            if entry is not None:
                entry.count += count
                entry.places += places[start : min(end, start + self._places - len(entry.places))]
            elif len(self._entries) < MOST_NAMES:
                self._entries[key] = _Entry(count, places[start:end])
            else:
                self.uncounted += count

    def found(self) -> tuple[NameFound, ...]:
        """The insecure first, then the most frequent."""
        names = [
            NameFound(name, kind, secure, entry.count, tuple(entry.places))
            for (name, kind, secure), entry in self._entries.items()
        ]
        return tuple(sorted(names, key=lambda found: (found.secure, -found.occurrences, found.name)))


#: they tell that a stanza is not encrypted, or not how
_NOT_ENCRYPTING = frozenset({Scheme.SCE, Scheme.EME})


class _FactCensus:
    def __init__(self) -> None:
        self.stanzas = 0
        self.values: set[int] = set()
        self.examples: list[str] = []

    def add(self, values: list[str]) -> None:
        self.stanzas += 1
        for value in values:
            if len(self.values) == MOST_DISTINCT:
                return
            seen = len(self.values)
            self.values.add(hash(value))
            if len(self.values) > seen and len(self.examples) < EXAMPLES:
                self.examples.append(value if len(value) <= LONGEST_EXAMPLE else value[: LONGEST_EXAMPLE - 1] + "…")


class _Tally:
    """What one scheme does, or all together."""

    def __init__(self) -> None:
        self.namespaces: Counter[str] = Counter()
        self.stanzas = self.announcements = self.covered = self.clear = 0
        self.facts: dict[str, _FactCensus] = {}
        self.places: list[Place] = []

    def add(self, size: int, covered: int, facts: dict[str, list[str]], place: Place, places: int) -> None:
        self.stanzas += 1
        self.covered += covered
        self.clear += size - covered
        for fact, values in facts.items():
            self.facts.setdefault(fact, _FactCensus()).add(values)
        if len(self.places) < places:
            self.places.append(place)

    def found(self, name: str) -> SchemeFound:
        return SchemeFound(
            name,
            dict(self.namespaces.most_common()),
            self.stanzas,
            self.announcements,
            self.covered,
            self.clear,
            tuple(
                FactLearned(fact, census.stanzas, len(census.values), tuple(census.examples))
                for fact, census in sorted(self.facts.items(), key=lambda item: FACTS.index(item[0]))
            ),
            tuple(self.places),
        )


class SchemeCensus:
    """Encrypted stanzas by scheme, and every one of them once."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._schemes: dict[Scheme, _Tally] = {}
        self._all = _Tally()

    def add(self, stanza: Encrypted, place: Place) -> None:
        for scheme in stanza.announced:
            self._schemes.setdefault(scheme, _Tally()).announcements += 1
        self._all.announcements += bool(stanza.announced)
        facts = _by_fact(stanza.facts)
        for scheme, namespace in stanza.schemes.items():
            tally = self._schemes.setdefault(scheme, _Tally())
            tally.namespaces[namespace] += 1
            tally.add(stanza.size, stanza.covered.get(scheme, 0), facts, place, self._places)
        encrypting = {scheme: name for scheme, name in stanza.schemes.items() if scheme not in _NOT_ENCRYPTING}
        if encrypting:
            self._all.namespaces.update(encrypting.values())
            self._all.add(stanza.size, sum(stanza.covered.values()), facts, place, self._places)

    def found(self) -> tuple[SchemeFound, ...]:
        return tuple(self._schemes[scheme].found(scheme.value) for scheme in Scheme if scheme in self._schemes)

    def all(self) -> SchemeFound:
        return self._all.found("all schemes")


def _by_fact(facts: frozenset[Fact]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for fact, value in sorted(facts):
        found.setdefault(fact, []).append(value)
    return found
