"""ROT-13, once and doubly: what goes in, what comes out, and what is refused with which words.

Two oracles: the standard library's text codec ``rot13`` for ``str``, and ``bytes.translate`` by a table made from
that codec for bytes. Single kernels are the work of ``test_kernels.py``; that ``double_rot13`` pays for two rotations
shows in the benchmarks and not in its output.
"""

from __future__ import annotations

import array
import codecs
import ctypes
import mmap
import random
import re
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from xep419 import double_rot13, double_rot13_into, rot13, rot13_inplace, rot13_into

EVERY_BYTE = bytes(range(256))
ROTATION = codecs.encode(EVERY_BYTE.decode("latin-1"), "rot13").encode("latin-1")

#: lengths around every vector's width, and around the one from which the GIL is released
LENGTHS = [0, 1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 1000, 32767, 32768, 32769]


def rotated(data: bytes) -> bytes:
    return data.translate(ROTATION)


def noise(n: int) -> bytes:
    """The same ``n`` bytes in every run."""
    return random.Random(n).randbytes(n)


def expect_refusal(
    error: type[Exception], message: str, call: Callable[..., object], *args: Any, **kwargs: Any
) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$") as info:
        call(*args, **kwargs)
    assert type(info.value) is error


# -- what is rotated --------------------------------------------------------------------------------------


def test_only_ascii_letters_move() -> None:
    assert rot13(EVERY_BYTE) == rotated(EVERY_BYTE)
    assert rot13(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ") == b"NOPQRSTUVWXYZABCDEFGHIJKLM"
    assert rot13(b"abcdefghijklmnopqrstuvwxyz") == b"nopqrstuvwxyzabcdefghijklm"
    assert rot13(b"@[`{/:\x00\x7f\x80\xc1\xe1\xff") == b"@[`{/:\x00\x7f\x80\xc1\xe1\xff"


def test_the_example_of_the_specification() -> None:
    assert rot13("Hey, Lucas!") == "Url, Yhpnf!"
    assert double_rot13("Hey, Lucas!") == "Hey, Lucas!"


def test_every_length() -> None:
    data = noise(2000)
    for n in (*range(600), *LENGTHS):
        part = (data * 17)[:n]
        assert rot13(part) == rotated(part)
        assert double_rot13(part) == part


def test_nuls_are_bytes_like_others() -> None:
    for data in (b"\0", b"\0a\0", b"a\0" * 100, b"\0" * 1000):
        assert rot13(data) == rotated(data)
        assert double_rot13(data) == data
    assert rot13("a\0b") == "n\0o"


def test_double_rot13_is_two_rotations() -> None:
    data = noise(1000)
    assert double_rot13(data) == rot13(rot13(data)) == rot13(data, rounds=2) == data


# -- types ------------------------------------------------------------------------------------------------


class BytesSubclass(bytes):
    pass


class BytearraySubclass(bytearray):
    pass


class StrSubclass(str):
    __slots__ = ()


def anonymous_mmap(data: bytes) -> mmap.mmap:
    mapped = mmap.mmap(-1, max(len(data), 1))
    mapped.write(data)
    return mapped


#: buffers that hold the bytes given, by name; those of the second table are writable
READABLE: dict[str, Callable[[bytes], Any]] = {
    "bytes": bytes,
    "bytes subclass": BytesSubclass,
    "read-only memoryview": memoryview,
    "read-only ndarray": lambda data: np.frombuffer(data, np.uint8),
    "ndarray of bytes": lambda data: np.frombuffer(data, "S1"),
}
WRITABLE: dict[str, Callable[[bytes], Any]] = {
    "bytearray": bytearray,
    "bytearray subclass": BytearraySubclass,
    "memoryview": lambda data: memoryview(bytearray(data)),
    "memoryview of characters": lambda data: memoryview(bytearray(data)).cast("c"),
    "memoryview of two dimensions": lambda data: memoryview(bytearray(data)).cast("B", [2, len(data) // 2]),
    "memoryview of a slice": lambda data: memoryview(bytearray(b"#" + data + b"#"))[1:-1],
    "mmap": anonymous_mmap,
    "array of unsigned bytes": lambda data: array.array("B", data),
    "array of signed bytes": lambda data: array.array("b", data),
    "ctypes array": lambda data: (ctypes.c_char * len(data)).from_buffer_copy(data),
    "ndarray": lambda data: np.frombuffer(data, np.uint8).copy(),
    "ndarray of signed bytes": lambda data: np.frombuffer(data, np.int8).copy(),
    "ndarray of two dimensions": lambda data: np.frombuffer(data, np.uint8).copy().reshape(2, -1),
    "Fortran ndarray of one row": lambda data: np.asfortranarray(np.frombuffer(data, np.uint8).reshape(1, -1)),
    "column of an ndarray of one column": lambda data: np.frombuffer(data, np.uint8).copy().reshape(-1, 1)[:, 0],
}
BUFFERS = READABLE | WRITABLE


@pytest.mark.parametrize("kind", BUFFERS)
def test_any_buffer_of_bytes_gives_bytes(kind: str) -> None:
    for data in (EVERY_BYTE, b"Hi", noise(40_000)):
        buffer = BUFFERS[kind](data)
        for result, expected in (
            (rot13(buffer), rotated(data)),
            (rot13(buffer, rounds=0), data),
            (rot13(buffer, rounds=2), data),
            (double_rot13(buffer), data),
        ):
            assert type(result) is bytes
            assert result == expected
        assert bytes(buffer) == data  # the input stays


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("Hello, World!\0\x7f", id="ASCII"),
        pytest.param("Grüße, ÀÉÿ\x80", id="Latin-1"),
        pytest.param("жабер čaj ﬁ\uffff", id="BMP"),
        pytest.param("a🦖b\U0010ffffc", id="astral"),
        pytest.param("a\ud800b\udfffc\udcff", id="lone surrogates"),
        pytest.param("\udc41🦖ab", id="lone and astral"),
        pytest.param("ａ Ａ ⓐ 𝐚", id="letters that are not ASCII"),
        pytest.param("xyz" * 50_000, id="long ASCII"),
        pytest.param("xÿz" * 50_000, id="long Latin-1"),
    ],
)
def test_str_gives_str(text: str) -> None:
    for given_text in (text, StrSubclass(text)):
        for result, expected in (
            (rot13(given_text), codecs.encode(text, "rot13")),
            (rot13(given_text, rounds=0), text),
            (double_rot13(given_text), text),
        ):
            assert type(result) is str
            assert result == expected


@pytest.mark.parametrize("empty", [b"", bytearray(), memoryview(b""), array.array("B"), np.zeros(0, np.uint8)])
def test_nothing_gives_nothing(empty: Any) -> None:
    assert rot13(empty) == double_rot13(empty) == rot13(empty, rounds=0) == b""
    assert rot13_into(empty, bytearray()) == double_rot13_into(empty, bytearray(b"x")) == 0


def test_empty_buffers_may_have_any_strides() -> None:
    assert rot13(memoryview(b"abcd")[2:2:2]) == b""
    assert rot13(np.zeros((0, 4), np.uint8)[:, ::2]) == b""


def test_zero_dimensions_are_one_byte() -> None:
    assert rot13(np.array(ord("A"), np.uint8)) == b"N"
    assert rot13(memoryview(b"A").cast("B", [])) == b"N"


def test_double_rot13_gives_a_new_object() -> None:
    for data in (b"Hello", "Hello", "Grüße", b"h" * 100_000):
        assert double_rot13(data) == data
        assert double_rot13(data) is not data


# -- rounds -----------------------------------------------------------------------------------------------


class Index:
    """A number by its ``__index__`` alone."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value


@pytest.mark.parametrize("kind", [int, Index])
def test_rounds_fold_by_parity(kind: Callable[[int], Any]) -> None:
    data, once = EVERY_BYTE, rotated(EVERY_BYTE)
    for rounds in (0, 1, 2, 3, 4, 5, 255, 256, 2**31, 2**31 + 1, 2**32 + 1, 2**64, 2**64 + 1, 10**100, 10**100 + 1):
        expected = once if rounds % 2 else data
        assert rot13(data, rounds=kind(rounds)) == expected
        target = bytearray(256)
        assert rot13_into(data, target, rounds=kind(rounds)) == 256
        assert target == expected
        target[:] = data
        rot13_inplace(target, rounds=kind(rounds))
        assert target == expected


def test_a_bool_is_a_number_of_rounds() -> None:
    assert rot13("abc", rounds=True) == "nop"
    assert rot13("abc", rounds=False) == "abc"
    assert rot13("abc", rounds=np.int64(3)) == "nop"


WITH_ROUNDS = [
    pytest.param(lambda rounds: rot13(b"abc", rounds=rounds), id="rot13"),
    pytest.param(lambda rounds: rot13_into(b"abc", bytearray(3), rounds=rounds), id="rot13_into"),
    pytest.param(lambda rounds: rot13_inplace(bytearray(b"abc"), rounds=rounds), id="rot13_inplace"),
]


@pytest.mark.parametrize("call", WITH_ROUNDS)
def test_negative_rounds_are_refused(call: Callable[[Any], object]) -> None:
    for rounds in (-1, -2, -(10**30)):
        expect_refusal(ValueError, f"rounds must be 0 or more, not {rounds}", call, rounds)
        expect_refusal(ValueError, f"rounds must be 0 or more, not {rounds}", call, Index(rounds))


@pytest.mark.parametrize("call", WITH_ROUNDS)
@pytest.mark.parametrize("rounds", [1.0, "1", b"1", None, 2j, [1]])
def test_rounds_that_are_no_integer_are_refused(call: Callable[[Any], object], rounds: Any) -> None:
    message = f"'{type(rounds).__name__}' object cannot be interpreted as an integer"
    expect_refusal(TypeError, message, call, rounds)


@pytest.mark.parametrize("call", WITH_ROUNDS)
def test_an_error_in_index_comes_through(call: Callable[[Any], object]) -> None:
    class Broken:
        def __index__(self) -> int:
            raise ZeroDivisionError("broken")

    expect_refusal(ZeroDivisionError, "broken", call, Broken())


def test_arguments_are_positional_and_rounds_is_a_keyword() -> None:
    calls: list[Callable[[], object]] = [
        lambda: rot13(),  # type: ignore[call-overload]
        lambda: rot13(data=b""),  # type: ignore[call-overload]
        lambda: rot13(b"", 2),  # type: ignore[call-overload]
        lambda: double_rot13(b"", rounds=2),  # type: ignore[call-overload]
        lambda: rot13_into(b"", bytearray(), 2),  # type: ignore[misc]
        lambda: rot13_into(src=b"", dst=bytearray()),  # type: ignore[call-arg]
        lambda: double_rot13_into(b"", bytearray(), rounds=1),  # type: ignore[call-arg]
        lambda: rot13_inplace(bytearray(), 2),  # type: ignore[misc]
    ]
    for call in calls:
        with pytest.raises(TypeError):
            call()


# -- what is refused --------------------------------------------------------------------------------------

#: arguments that no function reads: each with its error and message after the argument's name
NO_BUFFERS = [
    (5, TypeError, "must be a bytes-like object or str, not 'int'"),
    (None, TypeError, "must be a bytes-like object or str, not 'NoneType'"),
    (1.5, TypeError, "must be a bytes-like object or str, not 'float'"),
    ([104, 105], TypeError, "must be a bytes-like object or str, not 'list'"),
    ({"a": 1}, TypeError, "must be a bytes-like object or str, not 'dict'"),
    (range(3), TypeError, "must be a bytes-like object or str, not 'range'"),
    (bytes, TypeError, "must be a bytes-like object or str, not 'type'"),
]
#: buffers that are writable, of the wrong shape
WRONG_BUFFERS = [
    (memoryview(bytearray(8))[::2], BufferError, "must be C-contiguous, not a strided 'memoryview'"),
    (memoryview(bytearray(8))[::-1], BufferError, "must be C-contiguous, not a strided 'memoryview'"),
    (np.zeros(8, np.uint8)[::2], BufferError, "must be C-contiguous, not a strided 'ndarray'"),
    (np.zeros(8, np.uint8)[::-1], BufferError, "must be C-contiguous, not a strided 'ndarray'"),
    (np.zeros((3, 4), np.uint8)[:, :2], BufferError, "must be C-contiguous, not a strided 'ndarray'"),
    (np.zeros((3, 4), np.uint8, order="F"), BufferError, "must be C-contiguous, not a strided 'ndarray'"),
    (np.zeros((3, 4), np.uint8).T, BufferError, "must be C-contiguous, not a strided 'ndarray'"),
    (array.array("H", [1, 2]), ValueError, "must hold 1-byte items, not 2-byte items of format 'H' ('array')"),
    (np.zeros(2), ValueError, "must hold 1-byte items, not 8-byte items of format 'd' ('ndarray')"),
    (np.zeros(0, "<i4"), ValueError, "must hold 1-byte items, not 4-byte items of format 'i' ('ndarray')"),
    (np.array([b"abc"]), ValueError, "must hold 1-byte items, not 3-byte items of format '3s' ('ndarray')"),
    (
        memoryview(bytearray(8)).cast("Q"),
        ValueError,
        "must hold 1-byte items, not 8-byte items of format 'Q' ('memoryview')",
    ),
]
READ_ONLY = [
    (b"abc", "bytes"),
    (memoryview(b"abc"), "memoryview"),
    (memoryview(bytearray(3)).toreadonly(), "memoryview"),
    (np.frombuffer(b"abc", np.uint8), "ndarray"),
]


@pytest.mark.parametrize(("wrong", "error", "message"), NO_BUFFERS + WRONG_BUFFERS)
def test_what_cannot_be_read_is_refused(wrong: Any, error: type[Exception], message: str) -> None:
    expect_refusal(error, f"data {message}", rot13, wrong)
    expect_refusal(error, f"data {message}", rot13, wrong, rounds=0)
    expect_refusal(error, f"data {message}", double_rot13, wrong)
    target = bytearray(b"untouched")
    expect_refusal(error, f"src {message}", rot13_into, wrong, target)
    expect_refusal(error, f"src {message}", double_rot13_into, wrong, target)
    assert target == b"untouched"


@pytest.mark.parametrize("wrong", [wrong for wrong, *_ in NO_BUFFERS] + ["abc", ""])
def test_what_is_no_buffer_cannot_be_written(wrong: Any) -> None:
    message = f"must be a writable bytes-like object, not {type(wrong).__name__!r}"
    expect_refusal(TypeError, f"dst {message}", rot13_into, b"a", wrong)
    expect_refusal(TypeError, f"dst {message}", double_rot13_into, b"", wrong)
    expect_refusal(TypeError, f"buffer {message}", rot13_inplace, wrong)


@pytest.mark.parametrize(("wrong", "error", "message"), WRONG_BUFFERS)
def test_a_buffer_of_the_wrong_shape_cannot_be_written(wrong: Any, error: type[Exception], message: str) -> None:
    expect_refusal(error, f"dst {message}", rot13_into, b"a", wrong)
    expect_refusal(error, f"dst {message}", double_rot13_into, b"", wrong)
    expect_refusal(error, f"buffer {message}", rot13_inplace, wrong)


@pytest.mark.parametrize(("wrong", "kind"), READ_ONLY)
def test_a_read_only_buffer_cannot_be_written(wrong: Any, kind: str) -> None:
    message = f"must be writable, not a read-only '{kind}'"
    expect_refusal(BufferError, f"dst {message}", rot13_into, b"N", wrong)
    expect_refusal(BufferError, f"dst {message}", double_rot13_into, b"N", wrong)
    expect_refusal(BufferError, f"buffer {message}", rot13_inplace, wrong)
    assert bytes(wrong) in (b"abc", b"\0\0\0")


def test_errors_of_the_exporter_come_through() -> None:
    released = memoryview(b"abc")
    released.release()
    expect_refusal(ValueError, "operation forbidden on released memoryview object", rot13, released)
    closed = anonymous_mmap(b"abc")
    closed.close()
    expect_refusal(ValueError, "mmap closed or invalid", rot13, closed)


def test_no_buffer_is_held_after_a_call_or_an_error() -> None:
    """A bytearray can only be resized when nobody holds it."""
    buffer, target = bytearray(b"abc"), bytearray(2)
    rot13(buffer)
    double_rot13_into(buffer, buffer)
    rot13_inplace(buffer)
    for call in (
        lambda: rot13_into(buffer, target),
        lambda: rot13_into(buffer, b"read-only"),
        lambda: rot13_into(buffer, 5),  # type: ignore[arg-type]
        lambda: rot13_into(5, target),  # type: ignore[arg-type]
        lambda: rot13(buffer, rounds=-1),
        lambda: rot13_inplace(buffer, rounds=-1),
        lambda: rot13_into(memoryview(buffer)[::2], target),
        lambda: rot13(memoryview(buffer)[::2]),
    ):
        with pytest.raises((TypeError, ValueError, BufferError)):
            call()
        buffer.append(0)
        target.append(0)
        del buffer[-1], target[-1]


# -- into a buffer ----------------------------------------------------------------------------------------

INTO = [(rot13_into, rotated), (double_rot13_into, bytes)]


@pytest.mark.parametrize(("into", "oracle"), INTO)
def test_into_a_buffer_of_the_same_size_or_larger(
    into: Callable[[Any, Any], int], oracle: Callable[[bytes], bytes]
) -> None:
    for n in LENGTHS:
        data = noise(n)
        for more in (0, 1, 63, 64, 1000):
            target = bytearray(b"\xa5" * (n + more))
            assert into(data, target) == n
            assert target == oracle(data) + b"\xa5" * more


@pytest.mark.parametrize(("into", "oracle"), INTO)
def test_into_a_shorter_buffer_writes_nothing(
    into: Callable[[Any, Any], int], oracle: Callable[[bytes], bytes]
) -> None:
    for n in LENGTHS[1:]:
        for short in {1, n} | ({2} if n > 1 else set()):
            target = bytearray(b"\xa5" * (n - short))
            expect_refusal(ValueError, f"dst must hold at least {n} bytes, not {n - short}", into, noise(n), target)
            assert target == b"\xa5" * (n - short)


@pytest.mark.parametrize("kind", WRITABLE)
def test_into_and_in_place_in_any_writable_buffer(kind: str) -> None:
    for data in (EVERY_BYTE, b"Hi", noise(40_000)):
        target = WRITABLE[kind](bytes(len(data)))
        if kind == "Fortran ndarray of one row":
            target = np.array(target)
        assert rot13_into(data, target) == len(data)
        assert bytes(target) == rotated(data)
        assert rot13_inplace(target) is None
        assert bytes(target) == data
        rot13_inplace(target, rounds=2)
        rot13_inplace(target, rounds=0)
        assert bytes(target) == data
        assert double_rot13_into(rotated(data), target) == len(data)
        assert bytes(target) == rotated(data)


@pytest.mark.parametrize("text", ["Hello", "Grüße", "жабер", "🦖", "\ud800x", ""])
def test_into_from_str_writes_its_utf_8(text: str) -> None:
    encoded = text.encode("utf-8", "surrogatepass")
    target = bytearray(len(encoded) + 1)
    assert rot13_into(text, target) == len(encoded)
    assert target == rotated(encoded) + b"\0"
    assert double_rot13_into(text, target) == len(encoded)
    assert target == encoded + b"\0"
    if text:
        message = f"dst must hold at least {len(encoded)} bytes, not {len(encoded) - 1}"
        expect_refusal(ValueError, message, rot13_into, text, bytearray(len(encoded) - 1))


@pytest.mark.parametrize(("into", "oracle"), INTO)
def test_into_itself(into: Callable[[Any, Any], int], oracle: Callable[[bytes], bytes]) -> None:
    for n in LENGTHS:
        data = noise(n)
        buffer = bytearray(data)
        assert into(buffer, buffer) == n
        assert buffer == oracle(data)
        buffer[:] = data
        assert into(memoryview(buffer), buffer) == n
        assert buffer == oracle(data)


@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_into_an_overlapping_part_of_the_same_buffer(rounds: int) -> None:
    """As ``memmove`` and then a rotation: at every distance from -70 to 70, none of the source is read too late."""
    for n in (1, 2, 15, 16, 17, 32, 33, 64, 65, 128, 129, 300):
        size = n + 140
        before = noise(size)
        for distance in range(-70, 71):
            source, target = 70, 70 + distance
            buffer = bytearray(before)
            view = memoryview(buffer)
            assert rot13_into(view[source : source + n], view[target : target + n], rounds=rounds) == n
            moved = before[source : source + n]
            if rounds == 1:
                moved = rotated(moved)
            assert buffer == before[:target] + moved + before[target + n :], (n, distance)


def test_into_an_overlapping_part_of_a_large_buffer() -> None:
    before = noise(100_000)
    for distance in (-40_000, -64, -1, 1, 63, 4096, 49_999):
        source, target = 45_000, 45_000 + distance
        buffer = bytearray(before)
        view = memoryview(buffer)
        assert double_rot13_into(view[source : source + 5_000], view[target : target + 5_000]) == 5_000
        assert rot13_into(view[source : source + 40_000], view[50_000 - 5_000 + 17 : 90_000]) == 40_000
        once = bytearray(before)
        once[target : target + 5_000] = before[source : source + 5_000]
        once[45_017:85_017] = rotated(bytes(once[source : source + 40_000]))
        assert buffer == once


def test_into_parts_that_touch_but_do_not_overlap() -> None:
    for n in (1, 16, 64, 1000):
        data = noise(2 * n)
        buffer = bytearray(data)
        view = memoryview(buffer)
        rot13_into(view[:n], view[n:])
        assert buffer == data[:n] + rotated(data[:n])
        rot13_into(view[n:], view[:n])
        assert buffer == data[:n] + rotated(data[:n])


# -- in place ---------------------------------------------------------------------------------------------


def test_in_place_every_length() -> None:
    for n in (*range(300), *LENGTHS):
        data = noise(n)
        buffer = bytearray(data)
        rot13_inplace(buffer)
        assert buffer == rotated(data)
        rot13_inplace(buffer)
        assert buffer == data


def test_in_place_touches_only_its_part() -> None:
    data = noise(400)
    for start in range(70):
        buffer = bytearray(data)
        rot13_inplace(memoryview(buffer)[start : start + 200])
        assert buffer == data[:start] + rotated(data[start : start + 200]) + data[start + 200 :]


def test_a_buffer_in_use_by_another_thread_cannot_be_resized() -> None:
    """The thread lets the others run while it works (above 32 KiB), and holds the buffer all that time."""
    buffer = bytearray(b"Hey, Lucas! " * 400_000)
    size = len(buffer)
    rotations = 12

    def work() -> None:
        for _ in range(rotations):
            rot13_inplace(buffer)

    thread = threading.Thread(target=work)
    thread.start()
    tries = 0
    refusals = set()
    while thread.is_alive():
        try:
            buffer.append(0)
        except BufferError as error:
            refusals.add(str(error))
        tries += 1
    thread.join()
    assert refusals <= {"Existing exports of data: object cannot be re-sized"}
    assert size <= len(buffer) <= size + tries
    assert buffer == b"Hey, Lucas! " * 400_000 + bytes(len(buffer) - size)


# -- large ------------------------------------------------------------------------------------------------


def test_64_mebibytes_by_every_large_path() -> None:
    """Above 32 MiB results are stored past the caches, above 4 MiB they stand in huge pages; the answer is the same."""
    tile = noise(1_000_003)
    count = 68
    data = tile * count
    assert len(data) > 1 << 26

    def expect(result: bytes | bytearray | memoryview, expected_tile: bytes) -> None:
        view = memoryview(result)
        assert len(view) == len(data)
        assert all(view[at : at + len(tile)] == expected_tile for at in range(0, len(data), len(tile)))

    expect(rot13(data), rotated(tile))
    expect(double_rot13(data), tile)
    target = bytearray(len(data) + 100)
    for offset in (0, 37):
        part = memoryview(target)[offset : offset + len(data)]
        assert rot13_into(data, part) == len(data)
        expect(part, rotated(tile))
    rot13_inplace(part)
    expect(part, tile)
    assert target[:37] + target[37 + len(data) :] == rotated(tile)[:37] + bytes(63)


# -- any data ---------------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_categories=()), max_size=200)


@given(st.binary(max_size=600), st.integers(0, 10**20))
@example(b"", 0)
@example(EVERY_BYTE, 1)
def test_bytes_agree_with_the_oracle(data: bytes, rounds: int) -> None:
    expected = rotated(data) if rounds % 2 else data
    assert rot13(data, rounds=rounds) == expected
    target = bytearray(len(data))
    assert rot13_into(data, target, rounds=rounds) == len(data)
    assert target == expected
    target[:] = data
    rot13_inplace(target, rounds=rounds)
    assert target == expected


@given(TEXTS)
@example("\ud800")
@example("ⓐ\u0130ß")
def test_text_agrees_with_the_standard_librarys_codec(text: str) -> None:
    assert rot13(text) == codecs.encode(text, "rot13")
    assert double_rot13(text) == text


@given(st.one_of(st.binary(max_size=600), TEXTS))
def test_rotation_is_an_involution_that_keeps_the_length(data: Any) -> None:
    once = rot13(data)
    assert len(once) == len(data)
    assert type(once) is type(data)
    assert rot13(once) == data == double_rot13(data)


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=100), st.integers(0, 100_000), st.integers(0, 100))
def test_a_rotation_of_parts_is_the_rotation_of_the_whole(unit: bytes, n: int, cut_percent: int) -> None:
    data = (unit * (n // len(unit) + 1))[:n]
    cut = n * cut_percent // 100
    assert rot13(data) == rot13(data[:cut]) + rot13(data[cut:])
