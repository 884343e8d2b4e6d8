"""A day of Prosody's xmlarchive: the index points at the same stanzas after they grew, or nothing changed."""

from __future__ import annotations

import io
import re
import tracemalloc
from pathlib import Path

import pytest
from format_runs import ROTATIONS, Discarded, Repeated, Trickle, assert_flips_are_caught, prove, recode
from hypothesis import given, settings
from hypothesis import strategies as st

import xep419
from xep419.archive.formats import Proved, recognise
from xep419.archive.formats.prosody_xmlarchive import ProsodyXMLArchive
from xep419.archive.recoding import Recoding
from xep419.archive.tally import Tally
from xep419.errors import CorruptArchiveError, LimitExceededError, RestorationError

pytestmark = pytest.mark.any_isa

FORMAT = ProsodyXMLArchive()

STANZA = "<message xml:lang='en'><body>http://x é</body><request xmlns='urn:xmpp:receipts'/></message>\n".encode()


def entry(offset: object, length: object) -> bytes:
    return (
        b'item({\n\t["with"] = "urn:xmpp:x";\n\t["offset"] = %b;\n\t["when"] = "2026-11-22T17:09:37Z";\n'
        b'\t["length"] = %b;\n\t["id"] = "2026-11-22-718fe120b347b511";\n});\n'
    ) % (str(offset).encode(), str(length).encode())


def pair(stanzas: list[bytes], gaps: list[bytes]) -> list[bytes]:
    """The index and the XML of stanzas with a gap before each; a last gap ends the file."""
    index, xml = b"", b""
    for gap, stanza in zip(gaps, stanzas, strict=False):
        index += entry(len(xml) + len(gap), len(stanza))
        xml += gap + stanza
    return [index, xml + b"".join(gaps[len(stanzas) :])]


def slices(files: list[bytes]) -> list[bytes]:
    """What a reader of the index finds, by no code of the package's."""
    found = re.findall(rb'\["offset"\] = (\d+);.*?\["length"\] = (\d+);', files[0], re.DOTALL)
    return [files[1][int(offset) : int(offset) + int(length)] for offset, length in found]


def test_stanzas_grow_and_the_index_follows() -> None:
    sources = pair([STANZA] * 3, [b"", b"", b" \n", b"<left over"])
    grown = STANZA.replace(b"'urn:xmpp:", b"'urn:xmpps:")
    targets, tally = recode(FORMAT, sources)
    assert targets == pair([grown] * 3, [b"", b"", b" \n", b"<left over"])
    assert tally == Tally(stanzas=3, insecure=tally.insecure)
    assert tally.insecure == {"urn:xmpp:receipts": 3}
    assert prove(FORMAT, sources, targets) == Proved(stanzas=3, letters=3)


STANZAS = st.lists(
    st.one_of(
        st.sampled_from([STANZA, STANZA.rstrip(), b"<a xmlns='http://x'/>", b"<broken xmlns='http://x'>", b"", b"x"]),
        st.builds(lambda number: b"<a xmlns='http://x'>%b</a>" % (b"x" * number), st.integers(0, 300)),
    ),
    max_size=12,
)


@given(
    STANZAS, st.lists(st.binary(max_size=20), min_size=13, max_size=13), st.sampled_from(ROTATIONS), st.integers(1, 90)
)
@settings(max_examples=300, deadline=None)
def test_every_slice_is_the_recoded_stanza(
    stanzas: list[bytes], gaps: list[bytes], rounds: tuple[int, int], most: int
) -> None:
    recoding = Recoding(rounds_from=rounds[0], rounds_to=rounds[1])
    stored = [xep419.rot13(stanza, rounds=rounds[0]) for stanza in stanzas]
    sources = pair(stored, gaps)
    targets, tally = recode(FORMAT, sources, recoding, most=most)
    whole = [stanza.startswith(b"<") and not stanza.startswith(b"<broken") for stanza in stanzas]
    wanted = [
        xep419.rot13(xep419.upgrade(stanza), rounds=rounds[1]) if is_whole else kept
        for stanza, kept, is_whole in zip(stanzas, stored, whole, strict=True)
    ]
    assert slices(targets) == wanted
    assert targets == pair(wanted, gaps)
    assert (tally.stanzas, tally.skipped) == (sum(whole), len(whole) - sum(whole))
    assert prove(FORMAT, sources, targets, recoding, most=most) == Proved(tally.stanzas, tally.letters)


def test_a_broken_stanza_is_reported_and_stays() -> None:
    sources = pair([STANZA, STANZA[:-5], STANZA], [b""] * 3)
    targets, tally = recode(FORMAT, sources)
    assert slices(targets)[1] == STANZA[:-5]
    assert tally.stanzas == 2
    ((place, reason, offset),) = tally.skips
    assert (place, offset) == ("item 2", len(STANZA))
    assert reason.startswith("not a well-formed stanza: ")
    assert prove(FORMAT, sources, targets) == Proved(2, 2)


def test_the_lengths_may_come_before_the_offsets() -> None:
    index, xml = pair([STANZA] * 2, [b""] * 2)
    index = re.sub(rb'(\["offset"\] = \d+;)(.*?)(\["length"\] = \d+;)', rb"\3\2\1", index, flags=re.DOTALL)
    targets, _ = recode(FORMAT, [index, xml])
    assert b'["length"] = %d;' % (len(STANZA) + 1) in targets[0]
    assert b'["offset"] = %d;' % (len(STANZA) + 1) in targets[0]
    assert prove(FORMAT, [index, xml], targets) == Proved(2, 2)


FIRST = entry(0, len(STANZA))
NUMBER = FIRST.index(b"0;")
CORRUPT = [
    ("overlapping", FIRST + entry(len(STANZA) - 1, 5), STANZA * 2,
     f"item 2 of the index: expected an offset of {len(STANZA)} or more, past the stanza before, got {len(STANZA) - 1}", len(FIRST) + NUMBER),
    ("backwards", FIRST + entry(0, 5), STANZA * 2,
     f"item 2 of the index: expected an offset of {len(STANZA)} or more, past the stanza before, got 0", len(FIRST) + NUMBER),
    ("past the end", FIRST + entry(len(STANZA), 5), STANZA + b"abc",
     f"item 2 of the index: expected a stanza of 5 bytes at byte {len(STANZA)}, but the XML ends at byte {len(STANZA) + 3}", len(FIRST)),
    ("far past the end", FIRST + entry(10**17, 5), STANZA,
     f"item 2 of the index: expected a stanza of 5 bytes at byte {10**17}, but the XML ends at byte {len(STANZA)}", len(FIRST)),
    ("negative", FIRST + entry(-5, 5), STANZA, "item 2 of the index: expected a whole number under 'offset'", len(FIRST)),
    ("no number", FIRST + entry("0.5", 5), STANZA, "item 2 of the index: expected a whole number under 'offset'", len(FIRST)),
    ("a number without end", FIRST + entry("9" * 5000, 5), STANZA, "item 2 of the index: expected a whole number under 'offset'", len(FIRST)),
    ("a string", FIRST + entry('"0"', 5), STANZA, "item 2 of the index: expected a whole number under 'offset'", len(FIRST)),
    ("no length", FIRST + entry(0, 5).replace(b"length", b"size"), STANZA, "item 2 of the index: expected a whole number under 'length'", len(FIRST)),
    ("cut off", FIRST + FIRST[:-10], STANZA, "item 2 of the index: expected a field or the end of a table, got b'[\"id\"] = \"2026-11-22'", len(FIRST) + FIRST.index(b'["id"]')),
]  # fmt: skip


@pytest.mark.parametrize(
    ("index", "xml", "message", "offset"), [row[1:] for row in CORRUPT], ids=[row[0] for row in CORRUPT]
)
def test_an_index_that_cannot_be_followed_leaves_the_pair_as_it_was(
    index: bytes, xml: bytes, message: str, offset: int
) -> None:
    with pytest.raises(CorruptArchiveError) as error:
        recode(FORMAT, [index, xml])
    assert (error.value.message, error.value.offset) == (message, offset)


def test_a_stanza_longer_than_can_be_held_is_refused() -> None:
    with pytest.raises(LimitExceededError) as error:
        recode(FORMAT, [entry(0, 1 << 40), STANZA])
    assert error.value.message == f"item 1 of the index: expected a length of at most {1 << 24}, got {1 << 40}"


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_any_flipped_byte_is_caught(data: st.DataObject) -> None:
    recoding = Recoding(*data.draw(st.sampled_from(ROTATIONS)))
    stored = [xep419.rot13(stanza, rounds=recoding.rounds_from) for stanza in (STANZA, b"<a", STANZA)]
    sources = pair(stored, [b" ", b"\n", b"", b"end"])
    targets, _ = recode(FORMAT, sources, recoding)
    number = data.draw(st.integers(0, 1))
    at = data.draw(st.integers(0, len(targets[number]) - 1))
    assert_flips_are_caught(FORMAT, sources, targets, recoding, number, at, data.draw(st.integers(1, 255)))


def test_the_xml_alone_rewritten_is_caught() -> None:
    sources = pair([STANZA] * 2, [b""] * 2)
    targets, _ = recode(FORMAT, sources)
    with pytest.raises(RestorationError):
        prove(FORMAT, sources, [sources[0], targets[1]])


def test_samples_of_a_real_server(shared: Path) -> None:
    days = sorted(shared.glob("archives/prosody-xmlarchive/*/archive/*%40*.list"))
    assert len(days) == 2
    for path in days:
        assert recognise(path.read_bytes(), Recoding()) is not None
        (companion,) = FORMAT.companions(path.name)
        sources = [path.read_bytes(), path.with_name(companion).read_bytes()]
        targets, tally = recode(FORMAT, sources)
        assert slices(targets) == [xep419.upgrade(stanza) for stanza in slices(sources)]
        assert (tally.stanzas, tally.skips, tally.letters) == (6, [], 9)
        assert prove(FORMAT, sources, targets) == Proved(6, 9)


@pytest.mark.parametrize("head", [FIRST, entry(0, 5).replace(b"\n", b" "), FIRST[:-10], b"  " + FIRST])
def test_an_index_is_recognised_before_any_other_format(head: bytes) -> None:
    found = recognise(head, Recoding())
    assert found is not None
    assert found.name == "prosody-xmlarchive"


def test_the_other_file_of_the_pair() -> None:
    assert FORMAT.companions("alice%402026%2d11%2d22.list") == ("alice%402026%2d11%2d22.xml",)


def test_stanzas_are_given_rotated_back() -> None:
    index, xml = pair([xep419.rot13(STANZA), b"<"], [b"", b"gap"])
    found = list(FORMAT.stanzas([io.BytesIO(index), Trickle(xml, 7)], Recoding(rounds_from=1)))
    assert found == [("item 1", STANZA), ("item 2", b"<")]


@pytest.mark.any_python
@pytest.mark.outer
def test_memory_is_bounded() -> None:
    long = STANZA.replace(b"http://x", b"http://x" * 1000)
    sources = [
        Repeated(b"", lambda number: entry(number * len(long), len(long)), b"", 3000),
        Repeated(b"", lambda number: long, b"\n" * 1_500_000, 3000),
    ]
    targets, tally = [Discarded(), Discarded()], Tally()
    tracemalloc.start()
    try:
        FORMAT.recode(sources, targets, Recoding(), tally)
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert tally.stanzas == 3000
    assert targets[1].written == 3000 * (len(long) + 1) + 1_500_000
    assert peak < 8_000_000
