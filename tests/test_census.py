"""``NamespaceCensus``: counts for any chunking what ``scan`` finds in the whole, alone or within an Encryptor's scan.

``scan`` is the oracle (``test_namespaces.py`` and ``test_differential.py`` hold it against the scope table).
"""

from __future__ import annotations

import array
import itertools
import json
import random
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_incremental import DOCUMENTS, TINY, chunks, cut
from test_stream import damaged

import xep419
from xep419 import EncodingError, Encryptor, LimitExceededError, Scope, scan
from xep419._pure.incremental import NamespaceCensus as Twin
from xep419.names import Place
from xep419.namespaces import NamespaceCensus

Counts = dict[tuple[str, Scope, bool], int]


def expected_of(data: bytes, scope: Scope = Scope.ALL) -> Counts:
    counts: Counts = {}
    for ref in scan(data, scope=scope):
        key = ref.name, ref.kind, ref.secure
        counts[key] = counts.get(key, 0) + 1
    return counts


def counted(pieces: Iterable[bytes], scope: Scope = Scope.ALL) -> NamespaceCensus:
    census = NamespaceCensus(scope=scope)
    for piece in pieces:
        assert census.update(piece) is None
    assert census.finalize() is None
    return census


def expect(census: NamespaceCensus, counts: Counts) -> None:
    """The same, in the same order."""
    assert list(census.counts().items()) == list(counts.items())
    assert census.insecure == sum(count for (_, _, secure), count in counts.items() if not secure)
    assert census.secure == sum(count for (_, _, secure), count in counts.items() if secure)
    assert census.overflow == 0


def splits(data: bytes) -> Iterator[Iterable[bytes]]:
    yield [data]
    for place in range(1, len(data)):
        yield cut(data, [place])
    for size in (1, 2, 3, 5, 7, 16, 63, 64, 65):
        yield chunks(data, size)


@pytest.fixture(params=DOCUMENTS)
def document(request: pytest.FixtureRequest) -> bytes:
    return DOCUMENTS[request.param].encode()


# -- what is counted ----------------------------------------------------------------------------------------


def test_a_census_says_which_names_came_where_and_how_often() -> None:
    census = NamespaceCensus()
    for _ in range(2):
        census.update(b"<iq xmlns='http://a'><feature var='&#104;ttp://a'/><feature var='https://a'/></iq>")
    census.update(b"<x xmlns='&#104;ttp://a'/>")
    assert list(census.counts().items()) == [
        (("http://a", Scope.DECLARATIONS, False), 3),
        (("http://a", Scope.FEATURES, False), 2),
        (("https://a", Scope.FEATURES, True), 2),
    ]
    assert all(type(secure) is bool for _, _, secure in census.counts())
    assert (census.insecure, census.secure, census.overflow) == (5, 2, 0)


def test_any_chunking_counts_what_scan_finds(document: bytes) -> None:
    expected = expected_of(document)
    for pieces in splits(document):
        expect(counted(pieces), expected)


@pytest.mark.parametrize("data", TINY)
def test_every_split_in_three(data: bytes) -> None:
    for places in itertools.combinations(range(len(data) + 1), 2):
        expect(counted(cut(data, places)), expected_of(data))


@pytest.mark.parametrize("scope", [Scope(0), *Scope, Scope.NODES | Scope.FORM_TYPES])
def test_a_scope_is_counted_alone(document: bytes, scope: Scope) -> None:
    for size in (1, 7, 10_000):
        expect(counted(chunks(document, size), scope), expected_of(document, scope))


def test_recorded_sessions(recorded: list[bytes]) -> None:
    for session in recorded:
        expect(counted([session]), expected_of(session))
        expect(counted(chunks(session, 97)), expected_of(session))


def test_the_corpus_cut_at_random(shared: Path) -> None:
    lines = (shared / "corpus" / "xep-examples.jsonl").read_text("utf-8").splitlines()
    whole = "\n".join(json.loads(line)["xml"] for line in lines).encode()
    r = random.Random(419)
    for count in (0, 30, 3000):
        census = counted(cut(whole, sorted(r.choices(range(len(whole)), k=count))))
        expect(census, expected_of(whole))
        assert census.insecure == len(xep419.upgrade(whole)) - len(whole)


@given(damaged, st.lists(st.integers(0, 400), max_size=4))
@settings(max_examples=200, deadline=None)
def test_any_bytes_in_any_pieces_give_what_the_twin_gives(data: bytes, places: list[int]) -> None:
    answers = []
    for kind in (NamespaceCensus, Twin):
        census = kind(max_markup=200)
        error = None
        try:
            for piece in cut(data, sorted(min(place, len(data)) for place in places)):
                census.update(piece)
            census.finalize()
        except xep419.XEP419Error as raised:
            error = str(raised)
        answers.append((error, list(census.counts().items()), census.insecure, census.secure, census.overflow))
    if answers[0][0] == answers[1][0]:  # in what is not well-formed, the twin may hold back more
        assert answers[0] == answers[1]
    else:
        assert answers[0][0] is None


# -- in an encryptor's scan ---------------------------------------------------------------------------------


@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_an_encryptor_counts_what_it_upgrades(document: bytes, rounds: int) -> None:
    for size in (1, 3, 64, 10_000):
        census = NamespaceCensus()
        with_census, without = Encryptor(rounds=rounds, census=census), Encryptor(rounds=rounds)
        for piece in chunks(document, size):
            assert with_census.update(piece) == without.update(piece)
        assert with_census.finalize() == without.finalize()
        expect(census, expected_of(document))


def test_the_scope_is_the_encryptors() -> None:
    census = NamespaceCensus(scope=Scope.NODES)
    encryptor = Encryptor(scope=Scope.FEATURES, census=census)
    encryptor.update(b"<a xmlns='http://a'><feature var='http://b'/><x node='urn:xmpp:c'/>")
    assert census.counts() == {("http://b", Scope.FEATURES, False): 1}


def test_a_census_counts_for_one_encryptor_after_another() -> None:
    census = NamespaceCensus()
    for _ in range(3):
        encryptor = Encryptor(census=census)
        encryptor.update(b"<a xmlns='http://a'/><b xmlns='htt")
        encryptor.finalize()
    assert census.counts() == {("http://a", Scope.DECLARATIONS, False): 3}
    with pytest.raises(RuntimeError, match=r"^this NamespaceCensus counts what an Encryptor upgrades: feed that$"):
        census.update(b"")
    census.finalize()
    assert census.insecure == 3


@pytest.mark.any_isa
def test_what_is_no_census() -> None:
    with pytest.raises(TypeError, match=r"^census must be a NamespaceCensus or None, not 'dict'$"):
        Encryptor(census={})  # type: ignore[arg-type]
    census = NamespaceCensus()
    with pytest.raises(ValueError, match=r"^census needs upgrade=True: without it no names are looked for$"):
        Encryptor(upgrade=False, census=census)
    census.update(b"<a xmlns='http:'/>")  # it counts for nobody
    assert census.insecure == 1


# -- limits -------------------------------------------------------------------------------------------------


def test_names_of_more_than_1024_bytes_are_counted_alone() -> None:
    for size, kept in ((1024, True), (1025, False)):
        name = "https://" + "x" * (size - 8)
        census = counted([f"<a xmlns='{name}'/><b xmlns='http:'/>".encode() * 2])
        rest = {("http:", Scope.DECLARATIONS, False): 2}
        assert census.counts() == ({(name, Scope.DECLARATIONS, True): 2} if kept else {}) | rest
        assert (census.insecure, census.secure, census.overflow) == (2, 2, 0 if kept else 2)


def test_names_that_share_all_but_one_byte_are_told_apart() -> None:
    """Of every length from a scheme alone to several of the words that are compared at once, each byte changed."""
    names = []
    for size in (5, 6, 7, 8, 9, 12, 15, 16, 17, 24, 31, 32, 33, 40, 47, 48, 49, 63, 64, 65):
        name = "http:" + "a" * (size - 5)
        names += [name, *(name[:at] + "b" + name[at + 1 :] for at in range(5, size))]
    expected = {(name, Scope.DECLARATIONS, False): 2 for name in names}
    expect(counted(f"<a xmlns='{name}'/>".encode() for name in names * 2), expected)


@pytest.mark.any_isa
def test_65536_names_are_told_apart_and_more_are_counted_alone() -> None:
    names = [f"http:{i}" for i in range(65_536 + 1000)]
    document = "".join(f"<a xmlns='{name}'/>" for name in names).encode()
    census = counted(chunks(document, 100_000))
    counts = census.counts()
    assert list(counts.items()) == [((name, Scope.DECLARATIONS, False), 1) for name in names[:65_536]]
    assert (census.insecure, census.overflow) == (len(names), 1000)
    census = NamespaceCensus()
    encryptor = Encryptor(census=census)
    for _ in range(2):
        encryptor.update(document)
    assert (census.insecure, census.overflow) == (2 * len(names), 2000)
    assert set(census.counts().values()) == {2}


MEMORY = """
import resource
from xep419.namespaces import NamespaceCensus
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
census = NamespaceCensus()
def names(first, last):
    for start in range(first, last, 5000):
        census.update(b"".join([b"<a xmlns='http:%d'/>" % i for i in range(start, start + 5000)]))
names(0, 70_000)
before = peak()
names(70_000, 400_000)
print(peak() - before, census.overflow)
"""


@pytest.mark.core
@pytest.mark.any_isa
def test_memory_is_bounded() -> None:
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    grown, overflow = map(int, done.stdout.split())
    assert overflow == 400_000 - 65_536
    assert grown < 1024


@pytest.mark.parametrize("size", [1, 10, 1000])
def test_a_tag_longer_than_max_markup_is_an_error_and_what_came_before_is_counted(size: int) -> None:
    census = NamespaceCensus(max_markup=50)
    pieces = chunks(b"<a xmlns='http://a'/><b c='" + b"d" * 100, size)
    with pytest.raises(LimitExceededError, match=r"^a tag or name of at most 50 bytes is expected, but \d+ ") as raised:
        list(map(census.update, pieces))
    assert raised.value.offset == 21
    for use in (lambda: census.update(b""), census.finalize):
        with pytest.raises(LimitExceededError, match=str(raised.value)[:40]):
            use()
    if size < 1000:  # else both came at once
        assert census.counts() == {("http://a", Scope.DECLARATIONS, False): 1}


# -- the object ---------------------------------------------------------------------------------------------


def test_it_takes_no_more_after_its_end() -> None:
    census = counted([b"<a xmlns='http://a'/>"])
    for use in (lambda: census.update(b""), census.finalize):
        with pytest.raises(
            ValueError, match=r"^this NamespaceCensus was finalized: make a new one for the next document$"
        ):
            use()
    assert census.counts() == {("http://a", Scope.DECLARATIONS, False): 1}


def test_arguments() -> None:
    census = NamespaceCensus()
    pieces = (bytearray(b"<a xml"), memoryview(b"ns='ht"), array.array("B", b"tp:"), "\u00e9'/>")
    for piece in pieces:
        census.update(piece)
    assert census.counts() == {("http:\u00e9", Scope.DECLARATIONS, False): 1}
    with pytest.raises(TypeError, match=r"^data must be a bytes-like object or str, not 'int'$"):
        census.update(1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^scope must be a xep419.Scope, not 'int'$"):
        NamespaceCensus(scope=63)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^max_markup must be 1 or more, not 0$"):
        NamespaceCensus(max_markup=0)
    with pytest.raises(EncodingError):
        NamespaceCensus().update("<a/>".encode("utf-16"))


# -- whole documents ----------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from([document.encode() for document in DOCUMENTS.values()])), st.binary(max_size=40))
def test_whole_documents_are_counted_each_by_itself(documents: list[bytes], begun: bytes) -> None:
    """A document that was begun in pieces is not disturbed by them, nor they by it."""
    begun = b"<a xmlns='http://a" + begun
    census = NamespaceCensus()
    census.update(begun)
    census.count(documents)
    census.finalize()
    expected = NamespaceCensus()
    for document in documents:
        one = NamespaceCensus()
        one.update(document)
        one.finalize()
        assert one.insecure == len(xep419.upgrade(document)) - len(document)
    expected.count([*documents, begun])
    assert (census.insecure, census.secure) == (expected.insecure, expected.secure)
    assert census.counts() == expected.counts()


def test_a_document_in_utf_16_is_refused_and_those_before_it_are_counted() -> None:
    census = NamespaceCensus()
    with pytest.raises(EncodingError):
        census.count([b"<a xmlns='http://a'/>", "<a/>".encode("utf-16"), b"<a xmlns='http://b'/>"])
    census.count(["<a xmlns='http://c'/>"])
    assert [name for name, _kind, _secure in census.counts()] == ["http://a", "http://c"]


# -- places -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [0, 1, 3, 1000])
def test_the_first_places_are_kept_for_any_chunking(document: bytes, kept: int) -> None:
    expected: dict[tuple[str, Scope, bool], list[int]] = {}
    for ref in scan(document):
        expected.setdefault((ref.name, ref.kind, ref.secure), []).append(ref.start)
    for size in (1, 7, 64, 10_000):
        census = NamespaceCensus(places=kept)
        for piece in chunks(document, size):
            census.update(piece)
        census.finalize()
        assert census.places() == {key: places[:kept] for key, places in expected.items()}
        assert list(census.places()) == list(census.counts())
        counts, found = census.found("a source")
        assert list(counts.items()) == list(census.counts().items())
        assert list(found.items()) == [
            (key, tuple(Place("a source", at) for at in places)) for key, places in census.places().items()
        ]
        assert all(type(place) is Place for places in found.values() for place in places)


def test_places_of_many_names_are_kept_apart() -> None:
    tags = [f"<a xmlns='http:{at % 1000}'/>" for at in range(3000)]
    census = NamespaceCensus(places=2)
    census.update("".join(tags).encode())
    starts = list(itertools.accumulate(map(len, tags), initial=len("<a xmlns='")))
    expected = {("http:" + str(at), Scope.DECLARATIONS, False): [starts[at], starts[at + 1000]] for at in range(1000)}
    assert census.places() == expected


def test_places_of_one_name_written_in_two_ways_are_one_list() -> None:
    census = NamespaceCensus(places=3)
    census.update(b"<a xmlns='http:b'/><a xmlns='&#104;ttp:b'/><a xmlns='http:b'/><a xmlns='&#104;ttp:b'/>")
    assert census.places() == {("http:b", Scope.DECLARATIONS, False): [10, 29, 53]}
    assert census.found("s") == (
        {("http:b", Scope.DECLARATIONS, False): 4},
        {("http:b", Scope.DECLARATIONS, False): (Place("s", 10), Place("s", 29), Place("s", 53))},
    )


def test_places_are_those_in_the_encryptors_input() -> None:
    census = NamespaceCensus(places=5)
    encryptor = Encryptor(census=census)
    for piece in (b"<a xmlns='htt", b"p:'/>", b"<a xmlns='http:'/>"):
        encryptor.update(piece)
    assert census.places() == {("http:", Scope.DECLARATIONS, False): [10, 28]}


@pytest.mark.any_isa
@pytest.mark.parametrize("places", [-1, 1001])
def test_as_many_places_as_memory_has_room_for(places: int) -> None:
    for kind in (NamespaceCensus, Twin):
        with pytest.raises(ValueError, match=rf"^places must be 0 to 1000, not {places}$"):
            kind(places=places)


def test_one_name_is_counted_as_it_is_written() -> None:
    census = NamespaceCensus()
    assert census.count_of("http:a", Scope.DECLARATIONS) == 0
    census.update(b"<a xmlns='http:a'/><a xmlns='http:a'/><a xmlns='&#104;ttp:a'/><feature var='https:a'/>")
    assert census.count_of("http:a", Scope.DECLARATIONS) == 2
    assert census.count_of("https:a", Scope.FEATURES) == 1
    assert census.count_of("https:a", Scope.DECLARATIONS) == census.count_of("http:b", Scope.DECLARATIONS) == 0


def test_places_in_whole_documents_go_on_from_one_to_the_next() -> None:
    for kind in (NamespaceCensus, Twin):
        census = kind(places=5)
        census.count([b"<a xmlns='http:'/>", b"<b/>"])
        census.count(["<a xmlns='http:'/>"])
        assert census.places() == {("http:", Scope.DECLARATIONS, False): [10, 32]}
