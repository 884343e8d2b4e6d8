"""``match_upgraded``: an upgrade's output beside its input; whatever else was done to it is found.

The oracle for small inputs is a regular expression that says where letters may have been put in; for documents, the
upgrade itself, and copies of its output with one byte changed.
"""

from __future__ import annotations

import itertools
import json
import random
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_incremental import DOCUMENTS, chunks, cut
from test_stream import damaged

import xep419
from xep419 import RestorationError, XEP419Error, upgrade
from xep419._pure.restoration import match_upgraded as twin
from xep419.namespaces import match_upgraded

pytestmark = pytest.mark.any_isa
FUNCTIONS = pytest.mark.parametrize("match", [match_upgraded, twin])
TEXT = "http:urn:xmpp:HTTP:&#112;s;PpSs "


def matched(match: Any, original: Any, upgraded: Any, **options: Any) -> Any:
    try:
        return match(original, upgraded, **options)
    except RestorationError as error:
        return str(error), error.offset


def in_pieces(originals: Iterable[bytes], upgradeds: Iterable[bytes]) -> tuple[int, int, int]:
    """As a caller does it whose two sides come in pieces of their own."""
    left, right = iter(originals), iter(upgradeds)
    original = upgraded = b""
    totals, previous = [0, 0, 0], -1
    more = True
    while more:
        refill_left, refill_right = next(left, None), next(right, None)
        more = refill_left is not None or refill_right is not None
        original, upgraded = original + (refill_left or b""), upgraded + (refill_right or b"")
        found = match_upgraded(original, upgraded, previous=previous, final=not more)
        totals = [total + part for total, part in zip(totals, found, strict=True)]
        previous = upgraded[found[1] - 1] if found[1] else previous
        original, upgraded = original[found[0] :], upgraded[found[1] :]
    return totals[0], totals[1], totals[2]


# -- upgrades -----------------------------------------------------------------------------------------------


@FUNCTIONS
@pytest.mark.parametrize("name", DOCUMENTS)
def test_an_upgrade_is_matched_to_its_end(name: str, match: Any) -> None:
    original = DOCUMENTS[name].encode()
    upgraded = upgrade(original)
    expected = len(original), len(upgraded), len(upgraded) - len(original)
    assert match(original, upgraded, final=True) == match(original, upgraded) == expected
    assert match(upgraded, upgraded, final=True) == (len(upgraded), len(upgraded), 0)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_both_sides_may_come_in_pieces(name: str) -> None:
    original = DOCUMENTS[name].encode()
    upgraded = upgrade(original)
    expected = len(original), len(upgraded), len(upgraded) - len(original)
    for one, other in itertools.product((1, 2, 7, 64, 10_000), repeat=2):
        assert in_pieces(chunks(original, one), chunks(upgraded, other)) == expected


def test_recorded_sessions(recorded: list[bytes]) -> None:
    for session in recorded:
        upgraded = upgrade(session)
        letters = len(upgraded) - len(session)
        assert letters > 0
        assert match_upgraded(session, upgraded, final=True) == (len(session), len(upgraded), letters)


def test_the_corpus(shared: Path) -> None:
    lines = (shared / "corpus" / "xep-examples.jsonl").read_text("utf-8").splitlines()
    whole = "\n".join(json.loads(line)["xml"] for line in lines).encode()
    upgraded = upgrade(whole)
    expected = len(whole), len(upgraded), len(upgraded) - len(whole)
    assert match_upgraded(whole, upgraded, final=True) == expected
    r = random.Random(419)
    for _ in range(3):
        sides = [cut(side, sorted(r.choices(range(len(side)), k=300))) for side in (whole, upgraded)]
        assert in_pieces(*sides) == expected
    for place in r.choices(range(len(upgraded)), k=300):
        changed = bytearray(upgraded)
        changed[place] ^= r.randrange(1, 256)
        with pytest.raises(RestorationError):
            match_upgraded(whole, changed, final=True)


@given(damaged)
@settings(max_examples=200, deadline=None)
def test_the_upgrade_of_any_bytes_is_matched(data: bytes) -> None:
    try:
        upgraded = upgrade(data)
    except XEP419Error:
        return
    expected = len(data), len(upgraded), len(upgraded) - len(data)
    assert match_upgraded(data, upgraded, final=True) == expected


# -- what is found ------------------------------------------------------------------------------------------

documents = st.one_of(
    st.sampled_from([document.encode() for document in DOCUMENTS.values()]),
    damaged,
    st.text(TEXT, max_size=60).map(str.encode),
)


@given(documents, st.data())
@example(b"<a xmlns='http::::'/>", None)
@settings(max_examples=40, deadline=None)
def test_one_byte_changed_anywhere_is_found(original: bytes, data: Any) -> None:
    """At any place, for every byte that could be taken for an inserted letter or for what surrounds one, and another."""
    try:
        upgraded = upgrade(original)
    except XEP419Error:
        return
    other = data.draw(st.integers(0, 255)) if data else 0
    for place, byte in itertools.product(range(len(upgraded)), {*b"sSpP:;&h", other}):
        if byte != upgraded[place]:
            changed = upgraded[:place] + bytes([byte]) + upgraded[place + 1 :]
            with pytest.raises(RestorationError) as raised:
                match_upgraded(original, changed, final=True)
            assert raised.value.offset is not None
            assert raised.value.offset <= len(original)
            assert matched(twin, original, changed, final=True) == (str(raised.value), raised.value.offset)


def allowed(original: str) -> re.Pattern[str]:
    """Every form in which letters were put in where an upgrade may put one, and nothing else was changed."""
    written = re.sub(
        r"(?<=[pP;])(?=[:&])|(.)", lambda at: re.escape(at[1]) if at[1] else "s?", original, flags=re.DOTALL
    )
    return re.compile(written, re.DOTALL)


@given(st.text("ps:;&P", max_size=8), st.text("ps:;&P", max_size=12))
@settings(max_examples=1000, deadline=None)
def test_small_inputs_are_matched_as_a_regular_expression_matches(original: str, upgraded: str) -> None:
    for candidate in (
        upgraded,
        original.replace(":", "s:"),
        original.replace(":", "s:", 1),
        original.replace("p:", "ps:"),
    ):
        fits = allowed(original).fullmatch(candidate) is not None
        found = matched(match_upgraded, original, candidate, final=True)
        expected = len(original), len(candidate), len(candidate) - len(original)
        assert found == expected if fits else found[0].startswith("expected ")
        assert found == matched(twin, original, candidate, final=True)


@FUNCTIONS
@pytest.mark.parametrize(
    ("original", "upgraded", "message", "offset"),
    [
        ("http:", "httpx:", "expected byte 0x3a at this place of the restored input, got 0x78", 4),
        ("http:", "httpS:", "expected byte 0x3a at this place of the restored input, got 0x53", 4),
        ("http:", "httpss:", "expected byte 0x3a at this place of the restored input, got 0x73", 4),
        ("http/", "https/", "expected byte 0x2f at this place of the restored input, got 0x73", 4),
        ("htt:", "htts:", "expected byte 0x3a at this place of the restored input, got 0x73", 3),
        (":", "s:", "expected byte 0x3a at this place of the restored input, got 0x73", 0),
        ("http:a", "https:b", "expected byte 0x61 at this place of the restored input, got 0x62", 5),
        ("http:a", "https:", "expected byte 0x61 at this place of the restored input, got the end", 5),
        ("http:", "https", "expected byte 0x3a at this place of the restored input, got the end", 4),
        ("http", "https", "expected the end of the restored input, got 0x73", 4),
        ("", "\0", "expected the end of the restored input, got 0x00", 0),
        (
            "x" * 100 + "\xe9",
            "x" * 100 + "\xe8",
            "expected byte 0xa9 at this place of the restored input, got 0xa8",
            101,
        ),
        (
            "x" * 10_000 + "a",
            "x" * 10_000 + "b",
            "expected byte 0x61 at this place of the restored input, got 0x62",
            10_000,
        ),
    ],
)
def test_the_error_says_which_byte_is_wrong(
    original: str, upgraded: str, message: str, offset: int, match: Any
) -> None:
    with pytest.raises(RestorationError) as raised:
        match(original, upgraded, final=True)
    assert str(raised.value) == f"{message} (at byte {offset})"
    assert raised.value.offset == offset
    assert issubclass(RestorationError, (XEP419Error, ValueError))


@FUNCTIONS
def test_every_length_and_place_of_a_difference(match: Any) -> None:
    """Words, steps of words and the rest behind them."""
    for size in range(100):
        data = bytes(range(128, 128 + size))
        assert match(data, data, final=True) == (size, size, 0)
        for place in range(size):
            changed = data[:place] + b"\0" + data[place + 1 :]
            assert matched(match, data, changed)[1] == place
            name = data[:place] + b"p:" + data[place:]
            assert match(name, name.replace(b":", b"s:"), final=True) == (size + 2, size + 3, 1)


# -- where one side ends ------------------------------------------------------------------------------------


@FUNCTIONS
@pytest.mark.parametrize(
    ("original", "upgraded", "found"),
    [
        (b"", b"", (0, 0, 0)),
        (b"abc", b"", (0, 0, 0)),
        (b"", b"abc", (0, 0, 0)),
        (b"abc", b"ab", (2, 2, 0)),
        (b"http", b"https:", (4, 4, 0)),
        (b"http", b"https", (4, 4, 0)),
        (b"http:", b"https", (4, 5, 1)),
        (b"http:", b"http", (4, 4, 0)),
    ],
)
def test_what_cannot_be_decided_yet_is_left(original: bytes, upgraded: bytes, found: Any, match: Any) -> None:
    assert match(original, upgraded) == found


@FUNCTIONS
def test_the_byte_before_is_told_by_the_caller(match: Any) -> None:
    for byte in range(256):
        if byte in b"pP;":
            assert match(b":a", b"s:a", previous=byte, final=True) == (2, 3, 1)
        else:
            assert isinstance(matched(match, b":a", b"s:a", previous=byte)[0], str)
    assert isinstance(matched(match, b":a", b"s:a", previous=-1)[0], str)
    for wrong in (-2, 256):
        with pytest.raises(ValueError, match=f"^previous must be a byte's value or -1, not {wrong}$"):
            match(b"", b"", previous=wrong)


@FUNCTIONS
def test_arguments(match: Any) -> None:
    assert match(bytearray(b"p:"), memoryview(b"ps:")) == match("p:", b"ps:") == (2, 3, 1)
    assert match("\u00e9p:", "\u00e9ps:") == (4, 5, 1)
    for original, upgraded, name in ((1, b"", "original"), (b"", 1, "upgraded")):
        with pytest.raises(TypeError, match=f"^{name} must be a bytes-like object or str, not 'int'$"):
            match(original, upgraded)


def test_it_shares_no_code_with_what_it_checks() -> None:
    source = Path(xep419.__file__).parent
    for path in (source / "_core" / "restoration.pyx", source / "_pure" / "restoration.py"):
        if path.exists():
            assert not re.search(r"import[^\n]*(scan|splice|namespaces)", path.read_text())
