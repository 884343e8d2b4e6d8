"""``xep419.files``: local files come out as what is done with pieces does; the system's refusals name the descriptor."""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from growth import assert_linear
from hypothesis import given, settings
from hypothesis import strategies as st
from test_checking import checked
from test_incremental import DOCUMENTS
from test_restoration import matched
from test_stream import REFUSED, REFUSED_FIRST, STREAMS, UNRESTRICTED, damaged, documents, told

from xep419 import Encryptor, LimitExceededError, RestorationError, XEP419Error, rot13, upgrade
from xep419._pure import checking, incremental, restoration
from xep419.files import check_file, match_files, recode_file
from xep419.namespaces import NamespaceCensus, match_upgraded
from xep419.stream import DocumentChecker

pytestmark = [
    pytest.mark.any_isa,
    pytest.mark.skipif(sys.platform == "win32", reason="no file can be read at a given place"),
]
#: as much as a block of the core's and more
BLOCK = 1 << 18
PADDING = b"<padding xmlns='u' a='0123456789 0123456789 0123456789 0123456789'/>"
RECODERS = pytest.mark.parametrize(
    ("make", "make_census", "recode"),
    [
        (Encryptor, NamespaceCensus, recode_file),
        (incremental.Encryptor, incremental.NamespaceCensus, incremental.recode_file),
    ],
    ids=["taken", "twin"],
)
CHECKERS = pytest.mark.parametrize(
    ("make", "check"),
    [(DocumentChecker, check_file), (checking.DocumentChecker, checking.check_file)],
    ids=["taken", "twin"],
)
MATCHERS = pytest.mark.parametrize("match", [match_files, restoration.match_files], ids=["taken", "twin"])


class Files:
    """Two files, open."""

    def __init__(self, directory: Path) -> None:
        self.paths = directory / "source", directory / "target"
        self.source, self.target = (os.open(path, os.O_RDWR | os.O_CREAT) for path in self.paths)

    def write(self, source: bytes, target: bytes = b"") -> None:
        for descriptor, data in ((self.source, source), (self.target, target)):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, data, 0)

    def read(self) -> bytes:
        return self.paths[1].read_bytes()

    def close(self) -> None:
        os.close(self.source)
        os.close(self.target)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    made = Files(tmp_path_factory.mktemp("files"))
    yield made
    made.close()


def recoded(
    files: Files, encryptor: Any, recode: Any, data: bytes, step: int, *, begun: int = len(PADDING), rounds: int = 0
) -> bytes:
    """A document recoded step by step, but for its beginning."""
    files.write(rot13(data, rounds=rounds))
    head = encryptor.update(data[:begun])
    os.pwrite(files.target, head, 0)
    start, place = begun, len(head)
    while True:
        read, written = recode(
            encryptor, files.source, files.target, start=start, end=start + step, place=place, rounds=rounds
        )
        start, place = start + read, place + written
        assert os.fstat(files.target).st_size == place
        if read < step:
            break
    assert start == len(data)
    os.pwrite(files.target, encryptor.finalize(), place)
    return files.read()


def in_pieces(encryptor: Any, data: bytes, step: int, begun: int = len(PADDING)) -> bytes:
    starts = range(begun, len(data), step)
    return b"".join(
        [
            encryptor.update(data[:begun]),
            *(encryptor.update(data[at : at + step]) for at in starts),
            encryptor.finalize(),
        ]
    )


# -- recoded ------------------------------------------------------------------------------------------------


@RECODERS
@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("step", [1, 2, 3, 7, 64, 1 << 30])
def test_a_file_comes_out_as_pieces_do(
    files: Files, make: Any, make_census: Any, recode: Any, name: str, step: int
) -> None:
    data = PADDING + DOCUMENTS[name].encode()
    for rounds in (1, 2):
        census, other = make_census(), NamespaceCensus()
        found = recoded(files, make(rounds=rounds, census=census), recode, data, step)
        assert (
            found
            == in_pieces(Encryptor(rounds=rounds, census=other), data, step)
            == rot13(upgrade(data), rounds=rounds)
        )
        assert census.counts() == other.counts()


@RECODERS
@given(documents, st.integers(1, 300), st.integers(0, 3), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_any_bytes_come_out_as_pieces_do(
    files: Files, make: Any, make_census: Any, recode: Any, document: bytes, step: int, before: int, rounds: int
) -> None:
    data = PADDING + document
    found = recoded(files, make(rounds=rounds), recode, data, step, rounds=before)
    assert found == rot13(upgrade(data), rounds=rounds)


@RECODERS
@pytest.mark.parametrize("name", DOCUMENTS)
def test_names_over_the_end_of_a_block(files: Files, make: Any, make_census: Any, recode: Any, name: str) -> None:
    document = DOCUMENTS[name].encode()
    for place in range(BLOCK - len(document) - 1, BLOCK + 2, max(1, len(document) // 12)):
        data = PADDING * 2 + b"x" * (place - 2 * len(PADDING)) + document + b"y" * BLOCK + document
        assert recoded(files, make(), recode, data, 1 << 30) == upgrade(data)


@RECODERS
@pytest.mark.parametrize("step", [10, 1 << 30])
def test_a_tag_without_an_end_is_refused_where_it_begins(
    files: Files, make: Any, make_census: Any, recode: Any, step: int
) -> None:
    data = PADDING + b"text" * 100_000 + b"<a b='" + b"c" * 5000
    encryptor = make(max_markup=1000)
    with pytest.raises(LimitExceededError) as info:
        recoded(files, encryptor, recode, data, step)
    assert info.value.offset == data.index(b"<a")
    assert upgrade(data).startswith(files.read())
    with pytest.raises(LimitExceededError):
        encryptor.update(b"")


@RECODERS
def test_what_cannot_recode_a_file(files: Files, make: Any, make_census: Any, recode: Any) -> None:
    places = {"start": 0, "end": 10, "place": 0}
    for encryptor in (make(), make(upgrade=False)):
        with pytest.raises(ValueError, match="begun its document"):
            recode(encryptor, files.source, files.target, **places)
    with pytest.raises(TypeError, match="must be an Encryptor, not 'NoneType'"):
        recode(None, files.source, files.target, **places)
    encryptor = make()
    encryptor.update(PADDING)
    encryptor.finalize()
    with pytest.raises(ValueError, match="was finalized"):
        recode(encryptor, files.source, files.target, **places)
    encryptor = make()
    encryptor.update(PADDING)
    with pytest.raises(ValueError, match="rounds must be 0 or more"):
        recode(encryptor, files.source, files.target, **places, rounds=-1)
    assert recode(encryptor, files.source, files.target, start=10, end=10, place=0) == (0, 0)
    assert recode(encryptor, files.source, files.target, start=10, end=0, place=0) == (0, 0)


def begun(make: Any) -> Any:
    encryptor = make()
    encryptor.update(PADDING)
    return encryptor


@pytest.fixture
def no_file() -> Iterator[int]:
    """The descriptor of a pipe, which cannot be read or written at a place."""
    reading, writing = os.pipe()
    yield reading
    os.close(reading)
    os.close(writing)


@RECODERS
def test_the_systems_refusal_names_the_descriptor(
    files: Files, no_file: int, make: Any, make_census: Any, recode: Any
) -> None:
    files.write(PADDING * 10)
    sides: list[tuple[int, int, int]] = [(no_file, files.target, no_file), (files.source, no_file, no_file)]
    for source, target, named in sides:
        encryptor = begun(make)
        with pytest.raises(OSError) as info:
            recode(encryptor, source, target, start=0, end=1000, place=0)
        assert (info.value.errno, info.value.filename) == (errno.ESPIPE, named)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@RECODERS
def test_no_room_is_an_error(files: Files, make: Any, make_census: Any, recode: Any) -> None:
    files.write(PADDING * 10)
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(OSError) as info:
            recode(begun(make), files.source, full, start=0, end=1000, place=0)
    finally:
        os.close(full)
    assert (info.value.errno, info.value.filename) == (errno.ENOSPC, full)


@pytest.mark.core
def test_threads_recode_side_by_side_and_none_enters_anothers(tmp_path: Path) -> None:
    data = PADDING + DOCUMENTS["names"].encode() * 10_000
    failures: list[BaseException] = []
    shared = begun(Encryptor)

    def work(number: int) -> None:
        try:
            directory = tmp_path / str(number)
            directory.mkdir()
            own = Files(directory)
            assert recoded(own, Encryptor(), recode_file, data, 1 << 20) == upgrade(data)
            for _ in range(20):
                try:
                    recode_file(shared, own.source, own.target, start=100, end=1 << 30, place=0)
                except RuntimeError as error:
                    assert "in use by another thread" in str(error)
            own.close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


HOSTILE: dict[str, Callable[[int], bytes]] = {
    "a tag without an end": lambda n: PADDING + b"<a b='" + b"c" * n,
    "text that begins with a name": lambda n: PADDING + b"<field var='FORM_TYPE'><value>http:" + b"c" * n,
    "open elements": lambda n: PADDING + b"<a>" * (n // 3),
    "names": lambda n: (
        b"<a xmlns='urn:xmpp:x' b='" + PADDING[:64].replace(b"'", b"").replace(b"<", b"") + b"'/>" * (n // 5)
    ),
}


@pytest.mark.parametrize("pattern", HOSTILE)
@pytest.mark.parametrize("function", ["recode", "check", "match"])
def test_the_time_is_linear_in_the_file_in_small_steps(tmp_path: Path, function: str, pattern: str) -> None:
    step = 512
    opened: list[Files] = []

    def work_of(size: int) -> Callable[[], object]:
        data = HOSTILE[pattern](size)
        directory = tmp_path / str(len(opened))
        directory.mkdir()
        own = Files(directory)
        opened.append(own)
        own.write(data, upgrade(data))

        def work() -> None:
            encryptor, checker = begun(lambda: Encryptor(max_markup=1 << 30)), DocumentChecker(max_markup=1 << 30)
            for start in range(0, len(data), step):
                places = {"start": start, "end": start + step}
                if function == "recode":
                    recode_file(encryptor, own.source, own.target, **places, place=len(data))
                elif function == "check":
                    try:
                        check_file(checker, own.source, **places)
                    except XEP419Error:
                        return
            if function == "match":
                match_in_steps(own, match_files, step)

        return work

    try:
        assert_linear(work_of)
    finally:
        for own in opened:
            own.close()


# -- checked ------------------------------------------------------------------------------------------------


class FromFile:
    """A checker that is fed from a file, ``step`` bytes at a time."""

    def __init__(self, files: Files, checker: Any, check: Callable[..., int], data: bytes, step: int) -> None:
        files.write(data)
        self._files, self._checker, self._check = files, checker, check
        self.steps = [(at, min(at + step, len(data))) for at in range(0, len(data) or 1, step)]

    def feed(self, step: Any) -> None:
        if isinstance(step, bytes):
            return self._checker.feed(step)  # type: ignore[no-any-return]
        start, end = step
        assert self._check(self._checker, self._files.source, start=start, end=end) == end - start
        return None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._checker, name)


def compare(files: Files, make: Any, check: Any, data: bytes, steps: tuple[int, ...], **options: Any) -> None:
    expected = checked(DocumentChecker(**options), [data])
    for step in steps:
        checker = FromFile(files, make(**options), check, data, step)
        assert checked(checker, checker.steps) == expected


@CHECKERS
@pytest.mark.parametrize("name", [*STREAMS, *UNRESTRICTED])
def test_a_stream_in_a_file_is_checked_as_in_pieces(files: Files, make: Any, check: Any, name: str) -> None:
    data, _stanzas = (STREAMS | UNRESTRICTED)[name]
    compare(files, make, check, data, (1, 3, 64, 1 << 30), stream=True)


@CHECKERS
@pytest.mark.parametrize("case", [*REFUSED, *REFUSED_FIRST], ids=str)
def test_what_is_refused_in_pieces_is_in_a_file(files: Files, make: Any, check: Any, case: Any) -> None:
    data = next(part for part in case if isinstance(part, bytes)) if isinstance(case, tuple) else case
    for stream in (False, True):
        compare(files, make, check, data, (1, 5, 1 << 30), stream=stream)


@CHECKERS
@given(damaged, st.integers(1, 100), st.booleans())
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_checked_as_in_pieces(
    files: Files, make: Any, check: Any, document: bytes, step: int, stream: bool
) -> None:
    compare(files, make, check, document, (step,), stream=stream)


@CHECKERS
def test_markup_over_the_end_of_a_block_is_checked(files: Files, make: Any, check: Any) -> None:
    for shift in (0, 1, 5, 9, 20):
        for fault in (b"</b>", b"&bad;", b"\x01", b""):
            data = b"<a>" + b"x" * (BLOCK - 3 - shift) + b"<b c='d&amp;'>\xe2\x82\xac</b><!-- c -->" + fault + b"</a>"
            compare(files, make, check, data, (1 << 30,), max_markup=50)


@CHECKERS
def test_rotations_come_first(files: Files, make: Any, check: Any) -> None:
    data = PADDING
    files.write(rot13(data))
    checker = make()
    assert check(checker, files.source, start=0, end=1 << 30, rounds=1) == len(data)
    checker.finalize()
    assert checker.stanzas == 0
    assert checker.boundary == len(data)


@CHECKERS
def test_what_cannot_check_a_file(files: Files, no_file: int, make: Any, check: Any) -> None:
    with pytest.raises(TypeError, match="must be a DocumentChecker, not 'int'"):
        check(1, files.source, start=0, end=1)
    with pytest.raises(ValueError, match="rounds must be 0 or more"):
        check(make(), files.source, start=0, end=1, rounds=-1)
    with pytest.raises(OSError) as info:
        check(make(), no_file, start=0, end=1)
    assert (info.value.errno, info.value.filename) == (errno.ESPIPE, no_file)
    checker = make()
    checker.feed(b"<a/>")
    checker.finalize()
    with pytest.raises(ValueError, match="was finalized"):
        check(checker, files.source, start=0, end=1)


# -- matched ------------------------------------------------------------------------------------------------


def match_in_steps(files: Files, match: Any, most: int, rounds: int = 0, other: int = 0) -> tuple[int, int, int]:
    start = place = letters = 0
    previous, is_done = -1, False
    while not is_done:
        taken, passed, inserted, previous, is_done = match(
            files.source,
            files.target,
            start=start,
            end=1 << 40,
            place=place,
            place_end=1 << 40,
            most=most,
            rounds=rounds,
            upgraded_rounds=other,
            previous=previous,
        )
        assert is_done or taken >= most
        start, place, letters = start + taken, place + passed, letters + inserted
    return start, place, letters


@MATCHERS
@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("repeated", [1, 200])
def test_a_file_matches_what_was_made_of_it(files: Files, match: Any, name: str, repeated: int) -> None:
    data = DOCUMENTS[name].encode() * repeated
    upgraded = upgrade(data)
    expected = match_upgraded(data, upgraded, final=True)
    for most in (1, 1000, 1 << 30):
        if most * 2000 > len(data):
            files.write(data, upgraded)
            assert match_in_steps(files, match, most) == expected
    files.write(rot13(data), rot13(upgraded))
    assert match_in_steps(files, match, 1 << 30, 1, 1) == expected
    files.write(data, rot13(upgraded))
    assert match_in_steps(files, match, 1 << 30, 0, 3) == expected


@MATCHERS
@given(st.text("hsp:;&<>", max_size=40), st.text("hsp:;&<>", max_size=40), st.integers(1, 10))
@settings(max_examples=100, deadline=None)
def test_any_bytes_match_as_in_memory(files: Files, match: Any, original: str, upgraded: str, most: int) -> None:
    expected = matched(match_upgraded, original, upgraded, final=True)
    files.write(original.encode(), upgraded.encode())
    try:
        found: Any = match_in_steps(files, match, most)
    except RestorationError as error:
        found = str(error), error.offset
    assert found == expected


@MATCHERS
def test_a_difference_is_found_wherever_it_is(files: Files, match: Any) -> None:
    data = (PADDING + DOCUMENTS["names"].encode()) * 2000
    upgraded = upgrade(data)
    assert len(data) > 3 * BLOCK
    for place in (0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, len(upgraded) - 1):
        other = bytearray(upgraded)
        other[place] ^= 1
        files.write(data, other)
        with pytest.raises(RestorationError) as info:
            match_in_steps(files, match, 1 << 20)
        with pytest.raises(RestorationError) as expected:
            match_upgraded(data, other, final=True)
        assert told(info.value) == told(expected.value)
    for left, right in ((data[:-1], upgraded), (data, upgraded[:-1]), (data + b"s", upgraded), (data, upgraded + b"s")):
        files.write(left, right)
        with pytest.raises(RestorationError) as info:
            match_in_steps(files, match, 1 << 20)
        with pytest.raises(RestorationError) as expected:
            match_upgraded(left, right, final=True)
        assert told(info.value) == told(expected.value)


@MATCHERS
def test_parts_of_files_are_matched(files: Files, match: Any) -> None:
    files.write(b"abc http:x def", b"123456 https:x 789")
    answer = match(files.source, files.target, start=4, end=10, place=7, place_end=14, most=100)
    assert answer == (6, 7, 1, ord("x"), True)
    assert match(files.source, files.target, start=4, end=10, place=7, place_end=14, most=3)[2:] == (1, ord("x"), False)
    with pytest.raises(RestorationError) as info:
        match(files.source, files.target, start=4, end=10, place=7, place_end=15, most=100)
    assert info.value.offset == 10


@MATCHERS
def test_what_cannot_be_matched(files: Files, no_file: int, match: Any) -> None:
    places = {"start": 0, "end": 10, "place": 0, "place_end": 10, "most": 10}
    files.write(b"0123456789", b"0123456789")
    for source, target in ((no_file, files.target), (files.source, no_file)):
        with pytest.raises(OSError) as info:
            match(source, target, **places)
        assert (info.value.errno, info.value.filename) == (errno.ESPIPE, no_file)
    for options in ({"previous": 256}, {"rounds": -1}, {"upgraded_rounds": -1}):
        with pytest.raises(ValueError, match="must be"):
            match(files.source, files.target, **places, **options)
