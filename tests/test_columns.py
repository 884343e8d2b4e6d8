"""``recode_values``: each row of a column as the single calls would make it, whatever the rows, offsets and bitmap are.

The oracle goes from row to row with the package's other public functions; the values that those make are judged by their
own tests.
"""

from __future__ import annotations

import itertools
import random
import struct
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xep419
from xep419 import XEP419Error, rot13, scan, upgrade
from xep419._pure.columns import recode_values as pure_recode_values
from xep419.columns import recode_values
from xep419.stream import check_stanza

STANZAS = [
    b"<message><body>Hey, Lucas!</body><active xmlns='http://jabber.org/protocol/chatstates'/></message>",
    b"<iq><query xmlns='http://jabber.org/protocol/disco#info'><feature var='urn:xmpp:ping'/></query></iq>",
    b" <r xmlns='urn:xmpp:sm:3'/>\n",
    b"<a xmlns='https://example.org/'/>",
    b"<presence/>",
    "<body>Gr\u00fc\u00dfe http://example.org/</body>".encode(),
    b"<x xmlns='&#104;ttp://example.org/'>" + b"<y/>" * 300 + b"</x>",
]
OTHERS = [
    b"",
    b"   ",
    b"Hey",
    b"<a>",
    b"<a xmlns='http:",
    b"</a>",
    b"<a/><b xmlns='http://b/'/>",
    b"<a xmlns='urn:xmpp:a'></b>",
    b"<!-- ",
    b"<a>\xff</a>",
    "<a xmlns='urn:xmpp:a'/>".encode("utf-16"),
]


def column(rows: Sequence[bytes | None], large: bool = False, before: bytes = b"") -> dict[str, Any]:
    """Arguments for ``recode_values``; ``before`` stands in front of the first value."""
    ends = [len(before)]
    for row in rows:
        ends.append(ends[-1] + len(row or b""))
    bits = sum((row is not None) << at for at, row in enumerate(rows))
    return {
        "values": before + b"".join(row or b"" for row in rows),
        "offsets": struct.pack(f"={len(ends)}{'q' if large else 'i'}", *ends),
        "large": large,
        "valid": bits.to_bytes(len(rows) // 8 + 1, "little"),
    }


def recode(arguments: dict[str, Any], function: Any = recode_values, **options: Any) -> tuple[Any, ...]:
    rest = {name: value for name, value in arguments.items() if name not in ("values", "offsets")}
    return tuple(function(arguments["values"], arguments["offsets"], **{**rest, **options}))


def rows_of(result: tuple[Any, ...], large: bool) -> list[bytes]:
    values, offsets, _left, _names = result
    ends = struct.unpack(f"={len(offsets) // (8 if large else 4)}{'q' if large else 'i'}", offsets)
    assert ends[0] == 0
    assert ends[-1] == len(values)
    return [values[start:end] for start, end in itertools.pairwise(ends)]


def expected(
    rows: Sequence[bytes | None], rounds_from: int, rounds_to: int, is_upgrading: bool, check: bool
) -> tuple[list[bytes], list[int], Counter[Any]]:
    made: list[bytes] = []
    left: list[int] = []
    names: Counter[Any] = Counter()
    for at, row in enumerate(rows):
        if row is None:
            made.append(b"")
            continue
        plain = rot13(row, rounds=rounds_from)
        try:
            if check:
                check_stanza(plain)
            upgraded = upgrade(plain)
        except XEP419Error:
            made.append(row)
            left.append(at)
            continue
        names.update((ref.name, ref.kind, ref.secure) for ref in scan(plain))
        made.append(rot13(upgraded if is_upgrading else plain, rounds=rounds_to))
    return made, left, names


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("is_upgrading", [False, True])
@pytest.mark.parametrize(("rounds_from", "rounds_to"), [(0, 2), (0, 1), (0, 0), (1, 2), (1, 1), (3, 0), (2, 2)])
def test_every_row_is_a_document_of_its_own(
    rounds_from: int, rounds_to: int, is_upgrading: bool, check: bool, large: bool
) -> None:
    source = random.Random(1)
    rows: list[bytes | None] = [*STANZAS, *OTHERS, None] * 9
    source.shuffle(rows)
    stored = [None if row is None else rot13(row, rounds=rounds_from) for row in rows]
    result = recode(
        column(stored, large, b"<a xmlns='http:"),
        rounds_from=rounds_from,
        rounds_to=rounds_to,
        upgrade=is_upgrading,
        check=check,
        census=True,
    )
    made, left, names = expected(stored, rounds_from, rounds_to, is_upgrading, check)
    assert rows_of(result, large) == made
    assert result[2:] == (left, names)


@pytest.mark.core
def test_a_large_column_is_recoded_without_the_gil_alike() -> None:
    rows = STANZAS * 1000
    result = recode(column(rows))
    assert rows_of(result, False) == [xep419.encrypt(row) for row in rows]
    assert result[2:] == ([], {})


def test_no_bitmap_means_that_no_row_is_null() -> None:
    arguments = column(STANZAS)
    assert recode(arguments | {"valid": None}) == recode(arguments)


def test_bytes_behind_a_null_are_dropped() -> None:
    arguments = column([b"<a/>", b"<b/>"]) | {"valid": b"\x02"}
    assert recode(arguments) == (b"<b/>", struct.pack("=3i", 0, 0, 4), [], {})


@pytest.mark.parametrize("large", [False, True])
def test_an_empty_column(large: bool) -> None:
    arguments = column([], large)
    assert recode(arguments, census=True) == (b"", arguments["offsets"], [], {})


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
def test_any_buffer_is_taken(wrap: Any) -> None:
    arguments = column(STANZAS)
    assert recode({**arguments, "values": wrap(arguments["values"]), "offsets": wrap(arguments["offsets"])}) == recode(
        arguments
    )


def test_names_without_a_place_in_the_census_are_counted_under_the_empty_name() -> None:
    name = "http://" + "x" * 1024
    result = recode(column([f"<a xmlns='{name}' xmlns:b='{xep419.upgrade_name(name)}'/>".encode()] * 2), census=True)
    assert result[3] == {("", xep419.Scope.ALL, False): 2, ("", xep419.Scope.ALL, True): 2}


# -- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offsets", "row"),
    [((-1, 4), 0), ((0, 5), 0), ((0, 3, 2), 1), ((0, 4, 1 << 30), 1), ((0, -1), 0), ((-(1 << 31),), 0)],
)
def test_offsets_must_rise_within_the_values(offsets: tuple[int, ...], row: int) -> None:
    with pytest.raises(ValueError) as raised:
        recode_values(b"<a/>", struct.pack(f"={len(offsets)}i", *offsets))
    assert str(raised.value) == f"the offsets of row {row} do not rise within the 4 bytes of the values"


@pytest.mark.core
@pytest.mark.skipif(sys.version_info < (3, 12), reason="no class can offer a buffer in Python (PEP 688)")
@pytest.mark.parametrize("rounds", [0, 1])
def test_values_that_are_other_bytes_each_time_are_refused(rounds: int) -> None:
    class Fading:
        def __init__(self) -> None:
            self.buffers = [b"<a/>" * 1000, b"<a/>" * 999]

        def __buffer__(self, flags: int) -> memoryview:
            return memoryview(self.buffers.pop(0))

    with pytest.raises(BufferError, match=r"^values must give one buffer, not one of 4000 and one of 3996 bytes$"):
        recode_values(Fading(), struct.pack("=2i", 0, 4000), rounds_from=rounds)  # type: ignore[arg-type]


@pytest.mark.parametrize("offsets", [b"", b"\0" * 7, b"\0" * 12])
def test_offsets_must_be_whole_integers(offsets: bytes) -> None:
    with pytest.raises(ValueError) as raised:
        recode_values(b"", offsets, large=True)
    assert str(raised.value) == f"offsets must be one or more integers of 8 bytes, not {len(offsets)} bytes"


def test_the_bitmap_must_reach_to_the_last_row() -> None:
    with pytest.raises(ValueError) as raised:
        recode_values(b"", bytes(4 * 10), valid=b"\0")
    assert str(raised.value) == "valid must have a bit for each of 9 rows, not 1 bytes"


@pytest.mark.parametrize("rows", [[b"<a xmlns='http://a/'/>"], [b"<presence/>", b"Hey, Lucas!"]])
def test_values_beyond_the_limit_are_refused(rows: list[bytes]) -> None:
    size = sum(map(len, map(upgrade, rows)))
    assert rows_of(recode(column(rows), limit=size), False) == [upgrade(row) for row in rows]
    with pytest.raises(OverflowError) as raised:
        recode(column(rows), limit=size - 1)
    assert str(raised.value) == f"the recoded values would have more than {size - 1} bytes"


def test_a_buffer_that_changes_meanwhile_is_no_danger() -> None:
    arguments = column(STANZAS * 500)
    values, offsets = bytearray(arguments["values"]), bytearray(arguments["offsets"])
    stop = threading.Event()

    def change() -> None:
        source = random.Random(2)
        while not stop.is_set():
            at = source.randrange(len(values) - 8)
            values[at : at + 8] = source.choice((b"='http:'", b"<a b='> ", b"xmlns='h"))
            offsets[source.randrange(len(offsets))] = source.randrange(256)
            offsets[:] = arguments["offsets"]

    changer = threading.Thread(target=change)
    changer.start()
    try:
        for _ in range(20):
            try:
                made, ends, _left, _names = recode_values(values, offsets, census=True)
            except (ValueError, OverflowError):
                continue
            assert len(ends) == len(offsets)
            assert len(made) >= len(values)
    finally:
        stop.set()
        changer.join()


# -- any bytes ----------------------------------------------------------------------------------------------

PIECES = [*STANZAS, *OTHERS, b"<", b">", b"'", b" xmlns='", b"http:", b"urn:xmpp:a", b"'/>", b"\0", b"\xff\xfe"]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.none() | st.lists(st.sampled_from(PIECES), max_size=4).map(b"".join), max_size=12),
    st.integers(0, 3),
    st.integers(0, 3),
    st.booleans(),
    st.booleans(),
)
def test_any_rows_come_out_as_one_by_one_and_as_in_the_twin(
    rows: list[bytes | None], rounds_from: int, rounds_to: int, is_upgrading: bool, check: bool
) -> None:
    options = {
        "rounds_from": rounds_from, "rounds_to": rounds_to, "upgrade": is_upgrading, "check": check, "census": True
    }  # fmt: skip
    result = recode(column(rows), **options)
    made, left, names = expected(rows, rounds_from, rounds_to, is_upgrading, check)
    assert rows_of(result, False) == made
    assert result[2:] == (left, names)
    assert recode(column(rows), pure_recode_values, **options) == result
