"""Counts what an audit finds, in memory that hostile input cannot make grow: names and their places, schemes, facts."""

from __future__ import annotations

from collections import Counter
from itertools import repeat
from operator import itemgetter

from ..names import Place
from ..namespaces import NamespaceCensus
from .documents import MOST_HELD
from .e2ee import FACTS, Encrypted, Fact, Scheme
from .places import Key, Locator
from .report import FactLearned, NameFound, SchemeFound

#: different names, by kind, that are kept apart, as a NamespaceCensus does; places of others are counted together
MOST_NAMES = 65_536
#: different values of a fact that are told apart
MOST_DISTINCT = 4096
#: values of a fact that are kept, and letters of each
EXAMPLES = 3
LONGEST_EXAMPLE = 120


class NameCensus:
    """Namespace names by kind, with exact counts and the first places of each, over any number of documents.

    :param places: how many places are kept for each.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._counts: dict[Key, int] = {}
        self._kept: dict[Key, tuple[Place, ...]] = {}  # in the same order
        self.uncounted = 0
        self.new()  # refuses places that cannot be

    def new(self) -> NamespaceCensus:
        """What to feed the next document to."""
        return NamespaceCensus(places=self._places, max_markup=MOST_HELD)

    def add(self, counted: NamespaceCensus, locator: Locator) -> None:
        """Adds what was found in a document, of which ``locator`` knows the places.

        All at once where no name is known yet: there may be many different ones.
        """
        self.uncounted += counted.overflow
        counts, places = locator.found(counted)
        if len(self._counts) + len(counts) <= MOST_NAMES and self._counts.keys().isdisjoint(counts):
            self._counts.update(counts)
            self._kept.update(places)
        else:
            for (key, count), own in zip(counts.items(), places.values(), strict=True):
                self._add_name(key, count, own)

    def _add_name(self, key: Key, count: int, places: tuple[Place, ...]) -> None:
        if key in self._counts:
            self._counts[key] += count
            before = self._kept[key]
            if len(before) < self._places:
                self._kept[key] = before + places[: self._places - len(before)]
        elif len(self._counts) < MOST_NAMES:
            self._counts[key] = count
            self._kept[key] = places
        else:
            self.uncounted += count

    def found(self) -> tuple[NameFound, ...]:
        """The insecure first, then the most frequent."""
        fields = zip(*zip(*self._counts, strict=True), self._counts.values(), self._kept.values(), strict=True)
        names = list(map(tuple.__new__, repeat(NameFound), fields))  # takes a third of NameFound's own time
        for field, descending in (("name", False), ("occurrences", True), ("secure", False)):
            names.sort(key=itemgetter(NameFound._fields.index(field)), reverse=descending)
        return tuple(names)


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
            census = self.facts.get(fact)
            if census is None:
                census = self.facts[fact] = _FactCensus()
            census.add(values)
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
