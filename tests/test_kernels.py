"""The vector operations of ``csrc/ops.h``, one by one, for every instruction set.

Each sweep holds an operation against an oracle of the standard library (``bytes.translate``, ``re``, ``rfind``); the
scalar twins run through the same sweeps, and the last section holds every operation against its twin on any bytes.
What stands around the bytes of a call is chosen to be found if it is read: nothing outside may change an answer.
Buffers at the edge of memory are the work of ``test_guard_pages.py``.
"""

from __future__ import annotations

import codecs
import itertools
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import xep419

if xep419.isa != "python":  # the mark below skips every test there
    from xep419._core.isa import (
        call_candidates,
        call_classify,
        call_last_lt,
        call_loosely,
        call_quote_sides,
        call_rotate,
        call_tag_window,
    )

pytestmark = [pytest.mark.core, pytest.mark.any_python]

#: the widest vector; also the block of the searching operations
WIDEST = 64
#: 1 to four vectors and one
LENGTHS = range(1, 4 * WIDEST + 2)
OFFSETS = range(WIDEST)

EVERY_BYTE = bytes(range(256))
ROTATION = codecs.encode(EVERY_BYTE.decode("latin-1"), "rot13").encode("latin-1")
CANDIDATE = re.compile(rb"""(?=["'][hHuU&{F]|<[!?])""")
PAIRS = [bytes(pair) for pair in (*itertools.product(b"\"'", b"hHuU&{F"), *itertools.product(b"<", b"!?"))]


def noise(n: int, alphabet: bytes = EVERY_BYTE) -> bytes:
    """The same ``n`` bytes of ``alphabet`` in every run."""
    return bytes(random.Random(n).choices(alphabet, k=n))


# -- rotate -----------------------------------------------------------------------------------------------

#: kernels by (rounds, streaming)
KERNELS = [(1, False), (2, False), (1, True), (2, True)]
#: what stands around a target: no letter's rotation and no letter
FILLER = 0xA5


def rotated(data: bytes, rounds: int) -> bytes:
    for _ in range(rounds):
        data = data.translate(ROTATION)
    return data


def expect_rotation(
    isa: str, data: bytes, *, rounds: int, streaming: bool, from_offset: int = 0, to_offset: int = 0
) -> None:
    source = memoryview(b"N" * from_offset + data + b"N" * 8)
    target = bytearray([FILLER]) * (to_offset + len(data) + 80)
    call_rotate(
        isa,
        memoryview(target)[to_offset : to_offset + len(data)],
        source[from_offset : from_offset + len(data)],
        rounds=rounds,
        streaming=streaming,
    )
    after = bytes([FILLER]) * 80
    assert target == after[:to_offset] + rotated(data, rounds) + after, (len(data), from_offset, to_offset)


@pytest.mark.parametrize(("rounds", "streaming"), KERNELS)
def test_rotate_every_byte_in_every_lane(isa: str, rounds: int, streaming: bool) -> None:
    for first in range(256):
        data = (EVERY_BYTE[first:] + EVERY_BYTE[:first]) * 2
        expect_rotation(isa, data, rounds=rounds, streaming=streaming)
        expect_rotation(isa, data[:WIDEST], rounds=rounds, streaming=streaming)
        expect_rotation(isa, data[:5], rounds=rounds, streaming=streaming)


@pytest.mark.parametrize(("rounds", "streaming"), KERNELS)
def test_rotate_every_length_at_every_offset(isa: str, rounds: int, streaming: bool) -> None:
    for n in LENGTHS:
        data = noise(n)
        for offset in OFFSETS:
            expect_rotation(isa, data, rounds=rounds, streaming=streaming, from_offset=offset, to_offset=offset)


@pytest.mark.parametrize(("rounds", "streaming"), KERNELS)
def test_rotate_source_and_target_need_no_common_alignment(isa: str, rounds: int, streaming: bool) -> None:
    data = noise(97)
    for from_offset, to_offset in itertools.product(OFFSETS, OFFSETS):
        expect_rotation(isa, data, rounds=rounds, streaming=streaming, from_offset=from_offset, to_offset=to_offset)


@pytest.mark.parametrize("rounds", [1, 2])
def test_rotate_streaming_begins_at_any_alignment_of_the_target(isa: str, rounds: int) -> None:
    """Its loop runs from the first aligned vector if four follow: from 256 bytes at most 63 past the start."""
    for n in (255, 256, 257, 318, 319, 320, 321, 383, 384, 511, 512, 513, 575, 576, 640, 1000):
        data = noise(n)
        for to_offset in OFFSETS:
            for from_offset in (0, 1, 17, to_offset):
                expect_rotation(isa, data, rounds=rounds, streaming=True, from_offset=from_offset, to_offset=to_offset)


@pytest.mark.parametrize("rounds", [1, 2])
def test_rotate_in_place(isa: str, rounds: int) -> None:
    for n in (*LENGTHS, 511, 512, 513, 1000):
        data = noise(n)
        buffer = bytearray(data)
        call_rotate(isa, buffer, buffer, rounds=rounds, streaming=False)
        assert buffer == rotated(data, rounds), n
        for offset in (1, 15, 31, 63):
            buffer = bytearray([FILLER]) * (n + 64)
            part = memoryview(buffer)[offset : offset + n]
            part[:] = data
            call_rotate(isa, part, part, rounds=rounds, streaming=False)
            around = bytes([FILLER]) * 64
            assert buffer == around[:offset] + rotated(data, rounds) + around[offset:], (n, offset)


def test_rotate_once_twice_is_the_input(isa: str) -> None:
    data = noise(1000)
    once, twice = bytearray(1000), bytearray(1000)
    call_rotate(isa, once, data, rounds=1, streaming=False)
    call_rotate(isa, twice, once, rounds=1, streaming=True)
    assert once != data
    assert twice == data


# -- candidates -------------------------------------------------------------------------------------------

#: enough for every candidate of a call
AMPLE = 4096


def candidates(data: bytes) -> list[int]:
    return [found.start() for found in CANDIDATE.finditer(data)]


def expect_all_candidates(isa: str, data: bytes | memoryview) -> None:
    assert call_candidates(isa, data, AMPLE) == (candidates(bytes(data)), len(data) - 1)


def test_candidates_are_the_table_of_csrc(isa: str) -> None:
    """All 65536 pairs, alone (where a tail is searched) and among others (where vectors are)."""
    found = {pair for pair in map(bytes, itertools.product(range(256), repeat=2)) if call_candidates(isa, pair, 64)[0]}
    assert found == set(PAIRS)
    for first in range(256):
        pairs = bytes(itertools.chain.from_iterable((first, second) for second in range(256)))
        for before in (b"", b" "):
            expect_all_candidates(isa, before + pairs)


def test_candidates_at_every_position_of_every_length(isa: str) -> None:
    pairs = itertools.cycle(PAIRS)
    for n in LENGTHS:
        for position, pair in zip(range(n - 1), pairs, strict=False):
            data = bytearray(b"h") * n
            data[position : position + 2] = pair
            assert call_candidates(isa, data, AMPLE) == ([position], n - 1), (n, position, pair)


def test_candidates_at_every_offset_of_the_buffer(isa: str) -> None:
    """What stands before and behind are candidates themselves, and with the bytes at the edges they make more."""
    for n in (1, 2, 15, 16, 17, 33, 64, 65, 66, 128, 129, 130, 257):
        inside = noise(n, b"\"'<hHuU&{F!?x")
        for offset in OFFSETS:
            buffer = b'"' * offset + inside + b'h"h' * 30
            expect_all_candidates(isa, memoryview(buffer)[offset : offset + n])


def test_candidates_end_one_byte_before_the_end(isa: str) -> None:
    """A candidate is two bytes: the last byte alone is none, whatever stands behind it."""
    for n in LENGTHS:
        buffer = b"x" * (n - 1) + b'"h'
        assert call_candidates(isa, memoryview(buffer)[:n], AMPLE) == ([], n - 1)
        assert call_candidates(isa, buffer, AMPLE) == ([n - 1], n)


def test_candidates_that_are_dense(isa: str) -> None:
    for pair in PAIRS:
        for n in LENGTHS:
            expect_all_candidates(isa, (pair * n)[:n])
            expect_all_candidates(isa, (b"." + pair * n)[:n])


@pytest.mark.parametrize("room", [64, 65, 95, 96, 97, 128, 200])
@pytest.mark.parametrize("unit", [b'"h', b"'u..", b"<!" + b"." * 40, b"." * 300 + b'"F' * 60])
def test_candidates_with_little_room_stop_early_and_go_on(isa: str, room: int, unit: bytes) -> None:
    """Exactly the candidates below ``searched`` are given, and a search from there on finds the others."""
    data = (unit * 1000)[:5003]
    everything = candidates(data)
    start, found = 0, []
    while start < len(data) - 1:
        hits, searched = call_candidates(isa, memoryview(data)[start:], room)
        assert hits == [hit - start for hit in everything if start <= hit < start + searched]
        assert len(hits) <= room
        if start + searched < len(data) - 1:
            assert room - len(hits) < 64
            assert searched > 0
        found += [start + hit for hit in hits]
        start += searched
    assert start == len(data) - 1
    assert found == everything


def test_candidates_in_long_input(isa: str) -> None:
    for length in (1 << 15, 70_001):
        data = noise(length, b"<iq type='get' id=\"h\"><query xmlns='http://jabber.org/'/></iq>")
        assert call_candidates(isa, data, length) == (candidates(data), length - 1)


# -- last_lt ----------------------------------------------------------------------------------------------


def last_lt(data: bytes | bytearray, floor: int, end: int) -> int | None:
    found = data.rfind(b"<", floor, end)
    return None if found < 0 else found


def test_last_lt_with_every_floor_and_every_end(isa: str) -> None:
    """One ``<`` at and beside each edge, where it counts and where it does not."""
    data = bytearray(b"=") * (4 * WIDEST + 1)
    for end in range(len(data) + 1):
        for floor in range(end + 1):
            for position in (floor - 1, floor, floor + 1, (floor + end) // 2, end - 2, end - 1, end):
                if 0 <= position < len(data):
                    data[position] = 0x3C
                    expected = position if floor <= position < end else None
                    assert call_last_lt(isa, data, floor, end) == expected, (floor, end, position)
                    data[position] = 0x3D


def test_last_lt_at_every_position(isa: str) -> None:
    for n in LENGTHS:
        data = bytearray(b"\xbc") * n
        assert call_last_lt(isa, data, 0, n) is None
        for position in range(n):
            data[position] = 0x3C
            assert call_last_lt(isa, data, 0, n) == position  # those before it stay


def test_last_lt_at_every_offset_of_the_buffer(isa: str) -> None:
    for n in (0, 1, 15, 16, 17, 63, 64, 65, 127, 128, 129, 257):
        inside = noise(n, b"=;|\x1c\xbc" * 20 + b"<")
        for offset in OFFSETS:
            data = memoryview(b"<" * offset + inside + b"<" * 70)[offset:]
            for floor in {0, n // 2, n}:
                assert call_last_lt(isa, data, floor, n) == last_lt(inside, floor, n)


def test_last_lt_finds_no_other_byte(isa: str) -> None:
    for first in range(256):
        data = (EVERY_BYTE[first:] + EVERY_BYTE[:first]) * 2
        for floor, end in ((0, 256), (0, 512), (1, 255), (100, 300)):
            assert call_last_lt(isa, data, floor, end) == last_lt(data, floor, end)
    without = EVERY_BYTE.replace(b"<", b"")
    assert call_last_lt(isa, without * 4, 0, 4 * 255) is None


# -- tag_window -------------------------------------------------------------------------------------------


def marks(wanted: bytes) -> bytes:
    """A table to translate bytes to the digits of a mask."""
    return bytes(0x31 if byte in wanted else 0x30 for byte in range(256))


MASK_TABLES = [marks(b"<>'\""), marks(b"'<"), marks(b'"<')]


def tag_window(data: bytes, at: int) -> tuple[int, ...]:
    """The masks as binary numbers, written down digit by digit."""
    window = data[at : at + 64][::-1]
    return tuple(int(window.translate(table), 2) for table in MASK_TABLES)


def test_tag_window_at_every_place_of_every_length(isa: str) -> None:
    """What stands behind the end would set every bit; bits past the end are zero."""
    for n in LENGTHS:
        data = noise(n, b"<>'\"=/ax")
        view = memoryview(data + b"<" * 80)[:n]
        for at in range(n):
            assert call_tag_window(isa, view, at) == tag_window(data, at), (n, at)


def test_tag_window_every_byte_in_every_lane(isa: str) -> None:
    for first in range(256):
        data = (EVERY_BYTE[first:] + EVERY_BYTE[:first]) * 2
        for at in (0, 1, 255, 256, 448, 449, 470, 511):
            assert call_tag_window(isa, data, at) == tag_window(data, at)
        for n in (64, 63, 40):
            assert call_tag_window(isa, data[:n], 0) == tag_window(data[:n], 0)


def test_tag_window_one_mark_at_every_bit(isa: str) -> None:
    for mark, masks in ((b"<", (1, 1, 1)), (b">", (1, 0, 0)), (b"'", (1, 1, 0)), (b'"', (1, 0, 1))):
        for n in (1, 40, 63, 64, 65, 100, 128, 200):
            for bit in range(min(n, 64)):
                for at in {0, n - 1 - bit, (n - 1 - bit) // 2}:
                    data = bytearray(b"=") * n
                    data[at + bit : at + bit + 1] = mark
                    assert call_tag_window(isa, data, at) == tuple(mask << bit for mask in masks)


def test_tag_window_at_every_offset_of_the_buffer(isa: str) -> None:
    for n in (1, 16, 63, 64, 65, 130):
        inside = noise(n, b"<>'\"=")
        for offset in OFFSETS:
            view = memoryview(b"<" * offset + inside + b"<" * 70)[offset : offset + n]
            for at in {0, n // 2, n - 1}:
                assert call_tag_window(isa, view, at) == tag_window(inside, at)


# -- quote_sides ------------------------------------------------------------------------------------------


def told(sides: tuple[int, ...]) -> tuple[int, ...]:
    """Of the masks, what is promised: from the last < on, and to the first end."""
    lt, *others, end = sides
    last = lt.bit_length()
    return (1 << last >> 1, *(mask >> last << last for mask in others), end & -end)


def quote_sides(data: bytes, at: int) -> tuple[int, ...]:
    """The masks as binary numbers; bit 63 is the byte before the quote, bit 0 the byte after it."""
    quote = data[at : at + 1]
    other = b"'" if quote == b'"' else b'"'
    before, after = data[max(at - 64, 0) : at], data[at + 1 : at + 65]
    sides = [before.rjust(64, b"=").translate(marks(mark)) for mark in (b"<", b">", quote, other)]
    sides.append(after.translate(marks(b"<" + quote)))
    return told(tuple(int(side[::-1], 2) for side in sides))


def test_quote_sides_at_every_place_of_every_length(isa: str) -> None:
    """What stands before and behind would set bits; those outside are zero."""
    for n in range(64, 4 * WIDEST + 2):
        data = bytearray(noise(n, b"<>'\"=/ax"))
        for at in range(1, n - 1):
            kept, data[at] = data[at], b"'\""[at % 2]
            view = memoryview(b"<>'\"" * 20 + data + b"<'\"" * 30)[80 : 80 + n]
            assert told(call_quote_sides(isa, view, at)) == quote_sides(bytes(data), at), (n, at)
            data[at] = kept


def test_quote_sides_one_mark_at_every_bit(isa: str) -> None:
    for n in (64, 65, 100, 128, 129, 200):
        for quote in b"'\"":
            for at in {1, 20, 40, n // 2, n - 40, n - 2}:
                for mark in b"<>'\"":
                    for place in range(n):
                        data = bytearray(b"=") * n
                        data[at] = quote
                        data[place] = mark
                        if place != at:
                            assert told(call_quote_sides(isa, data, at)) == quote_sides(bytes(data), at)


def test_quote_sides_every_byte_in_every_lane(isa: str) -> None:
    for first in range(256):
        data = bytearray(EVERY_BYTE[first:] + EVERY_BYTE[:first])
        for at in (1, 32, 100, 191, 254):
            data[at] = b"'\""[first % 2]
            assert told(call_quote_sides(isa, data, at)) == quote_sides(bytes(data), at)


# -- the loose operations ---------------------------------------------------------------------------------

SLACK = 128


@pytest.mark.parametrize("rounds", [0, 2])
def test_loose_operations_end_where_they_may(isa: str, rounds: int) -> None:
    """The bytes asked for are there; up to SLACK more may be, as they would be with more asked for; no others."""
    for n in (*LENGTHS, 1000, 2048):
        source = noise(n + SLACK)
        for offset in (0, 1, 31):
            target = bytearray([FILLER]) * (offset + n + SLACK + WIDEST)
            call_loosely(isa, memoryview(target)[offset : offset + n + SLACK], source, n, rounds=rounds)
            assert target[offset : offset + n] == source[:n]
            assert all(byte in (FILLER, right) for byte, right in zip(target[offset + n :], source[n:], strict=False))
            assert set(target[:offset] + target[offset + n + SLACK :]) <= {FILLER}


# -- classify ---------------------------------------------------------------------------------------------

#: what a bit of each row says of its byte
ROWS = [
    re.compile(rb"[<>&]"),
    re.compile(rb"[<&'\"]"),
    re.compile(rb"[^A-Za-z0-9._:\x80-\xff-]"),
    re.compile(rb"[^ \t\r\n]"),
    re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x80-\xff]"),
]


def classified(data: bytes) -> tuple[list[list[int]], bool]:
    rows = []
    for kind in ROWS:
        bits = 0
        for found in kind.finditer(data):
            bits |= 1 << found.start()
        rows.append([bits >> 64 * word & (1 << 64) - 1 for word in range(len(data) // 64 + 2)])
    return rows, any(rows[-1])


def test_classify_every_byte_in_every_lane(isa: str) -> None:
    for first in range(256):
        data = (EVERY_BYTE[first:] + EVERY_BYTE[:first]) * 2
        for n in (1, 40, 63, 64, 65, 512):
            assert call_classify(isa, data[:n]) == classified(data[:n])


def test_classify_every_length_at_every_offset(isa: str) -> None:
    """What stands behind the end would set bits in every row."""
    for n in (*LENGTHS, 4031, 4032, 4033, 4095, 4096):
        inside = noise(n, b"<>&'\" \n=ax:-_.\x01\xe9")
        for offset in OFFSETS if n < 130 else (0, 1, 31):
            view = memoryview(b"&" * offset + inside + b"\x01&" * 40)[offset : offset + n]
            assert call_classify(isa, view) == classified(inside), n


def test_classify_notices_one_suspect(isa: str) -> None:
    for n in (1, 63, 64, 65, 130, 4096):
        for suspect in (b"\0", b"\x1f", b"\x80", b"\xff"):
            for at in {0, n // 2, n - 1}:
                data = bytearray(b"a") * n
                assert not call_classify(isa, data)[1]
                data[at : at + 1] = suspect
                assert call_classify(isa, data)[1]


# -- any bytes --------------------------------------------------------------------------------------------

MARKUP = st.lists(
    st.sampled_from([*PAIRS, b"<", b">", b'"', b"'", b"h", b"=", b" ", b"x" * 30]), min_size=1, max_size=60
)
ANY_BYTES = st.one_of(st.binary(min_size=1, max_size=400), MARKUP.map(b"".join))


@given(data=ANY_BYTES, room=st.integers(64, 300), edge=st.tuples(st.integers(0, 400), st.integers(0, 400)))
def test_every_operation_answers_as_its_scalar_twin(data: bytes, room: int, edge: tuple[int, int]) -> None:
    isa = xep419.isa
    for rounds, streaming in KERNELS:
        targets = {name: bytearray(len(data)) for name in (isa, "scalar")}
        for name, target in targets.items():
            call_rotate(name, target, data, rounds=rounds, streaming=streaming)
        assert targets[isa] == targets["scalar"]

    (hits, searched), (twin_hits, twin_searched) = (call_candidates(name, data, room) for name in (isa, "scalar"))
    both = min(searched, twin_searched)
    assert [hit for hit in hits if hit < both] == [hit for hit in twin_hits if hit < both]

    floor, end = sorted(place % (len(data) + 1) for place in edge)
    assert call_last_lt(isa, data, floor, end) == call_last_lt("scalar", data, floor, end)
    at = edge[0] % len(data)
    assert call_tag_window(isa, data, at) == call_tag_window("scalar", data, at)
    if len(data) >= 64:
        at = 1 + edge[0] % (len(data) - 2)
        quoted = data[:at] + b"'\""[edge[1] % 2 : edge[1] % 2 + 1] + data[at + 1 :]
        assert told(call_quote_sides(isa, quoted, at)) == call_quote_sides("scalar", quoted, at)
    assert call_classify(isa, data) == call_classify("scalar", data)
