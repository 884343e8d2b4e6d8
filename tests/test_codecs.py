"""The ciphers as codecs, bytes to bytes: registered on request only, stateless, incremental and as streams.

What the standard library says its own bytes-to-bytes codecs cannot do (``codecs.iterencode``, ``writelines``) is not
asked of these. The oracle is ``bytes.translate`` by a table made from the standard library's text codec ``rot13``.
"""

from __future__ import annotations

import array
import codecs
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import xep419

EVERY_BYTE = bytes(range(256))
ROTATION = codecs.encode(EVERY_BYTE.decode("latin-1"), "rot13").encode("latin-1")
NAMES = ["rot13_bytes", "double_rot13"]
NO_STR = "is a bytes-to-bytes codec: it takes a bytes-like object, not 'str'"


@pytest.fixture(autouse=True, scope="module")
def _registered() -> None:
    xep419.register_codecs()


def expected(name: str, data: bytes) -> bytes:
    return data.translate(ROTATION) if name == "rot13_bytes" else data


def run(program: str) -> str:
    path = os.pathsep.join([str(Path(xep419.__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


# -- registration -----------------------------------------------------------------------------------------


@pytest.mark.any_isa
def test_importing_the_package_registers_nothing() -> None:
    program = """
import codecs, sys, xep419
for name in ("rot13_bytes", "double_rot13"):
    try:
        codecs.lookup(name)
    except LookupError as error:
        print(error)
print("xep419._codecs" in sys.modules)
"""
    assert run(program) == "unknown encoding: rot13_bytes\nunknown encoding: double_rot13\nFalse\n"


@pytest.mark.any_isa
def test_registering_again_changes_nothing() -> None:
    program = """
import codecs, xep419
register, calls = codecs.register, []
codecs.register = lambda search: (calls.append(search), register(search))
assert xep419.register_codecs() is None
first = codecs.lookup("rot13_bytes")
assert xep419.register_codecs() is None
print(len(calls), codecs.lookup("rot13_bytes") is first)
"""
    assert run(program) == "1 True\n"


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("rot13_bytes", "rot13_bytes"),
        ("rot13-bytes", "rot13_bytes"),
        ("ROT13-Bytes", "rot13_bytes"),
        ("double_rot13", "double_rot13"),
        ("double-rot13", "double_rot13"),
        ("Double ROT13", "double_rot13"),
    ],
)
def test_names_may_be_spelled_as_python_spells_encodings(spelling: str, name: str) -> None:
    info = codecs.lookup(spelling)
    assert info.name == name
    assert codecs.encode(b"Hey, Lucas!", spelling) == expected(name, b"Hey, Lucas!")


def test_other_names_stay_unknown_and_rot13_stays_the_text_codec() -> None:
    for name in ("rot13_byte", "rot26", "double_rot", "doublerot13", "xep419"):
        with pytest.raises(LookupError, match=f"^unknown encoding: {name}$"):
            codecs.lookup(name)
    assert codecs.lookup("rot13").encode("Hey") == ("Url", 3)


# -- stateless --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_encode_and_decode_any_buffer(name: str) -> None:
    info = codecs.lookup(name)
    for data in (b"", b"Hey", EVERY_BYTE, bytearray(EVERY_BYTE), memoryview(EVERY_BYTE), array.array("B", EVERY_BYTE)):
        result = expected(name, bytes(data))
        for transformed in (codecs.encode(data, name), codecs.decode(data, name)):
            assert type(transformed) is bytes
            assert transformed == result
        assert info.encode(data) == info.decode(data) == (result, len(data))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("errors", ["strict", "ignore", "replace", "backslashreplace"])
def test_no_byte_is_an_error_so_error_handlers_change_nothing(name: str, errors: str) -> None:
    info = codecs.lookup(name)
    assert info.encode(EVERY_BYTE, errors) == info.decode(EVERY_BYTE, errors) == (expected(name, EVERY_BYTE), 256)


@pytest.mark.parametrize("name", NAMES)
def test_str_is_refused(name: str) -> None:
    info = codecs.lookup(name)
    for call in (
        info.encode,
        info.decode,
        info.incrementalencoder().encode,
        info.incrementaldecoder().decode,
        info.streamwriter(io.BytesIO()).write,
        lambda text: info.streamwriter(io.BytesIO()).writelines([text]),
    ):
        with pytest.raises(TypeError, match=f"^{re.escape(f'{name} {NO_STR}')}$"):
            call("Hey")
    for function in (codecs.encode, codecs.decode):  # Python wraps or annotates the error
        with pytest.raises(TypeError, match=re.escape(f"{name} {NO_STR}")):
            function("Hey", name)


@pytest.mark.parametrize("name", NAMES)
def test_other_types_are_refused(name: str) -> None:
    for wrong in (5, None, [1]):
        with pytest.raises(TypeError, match=f"must be a bytes-like object.*, not '{type(wrong).__name__}'"):
            codecs.lookup(name).encode(wrong)


@pytest.mark.parametrize("name", NAMES)
def test_they_are_no_text_encodings(name: str) -> None:
    """``str.encode`` and ``bytes.decode`` are for text; ``codecs.encode`` and ``codecs.decode`` take any codec."""
    calls: list[tuple[str, Any]] = [
        ("decode", lambda: b"Hey".decode(name)),
        ("decode", lambda: str(b"Hey", name)),
        ("encode", lambda: "Hey".encode(name)),
        ("encode", lambda: bytes("Hey", name)),
    ]
    for verb, call in calls:
        message = f"'{name}' is not a text encoding; use codecs.{verb}() to handle arbitrary codecs"
        with pytest.raises(LookupError, match=f"^{re.escape(message)}$"):
            call()
    with pytest.raises(LookupError, match=f"^'{name}' is not a text encoding"):
        io.TextIOWrapper(io.BytesIO(), encoding=name)


# -- incremental ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@given(pieces=st.lists(st.binary(max_size=100), max_size=8))
def test_pieces_give_what_the_whole_gives(name: str, pieces: list[bytes]) -> None:
    info = codecs.lookup(name)
    whole = expected(name, b"".join(pieces))
    encoder, decoder = info.incrementalencoder(), info.incrementaldecoder()
    assert b"".join([*map(encoder.encode, pieces), encoder.encode(b"", True)]) == whole
    assert b"".join([*map(decoder.decode, pieces), decoder.decode(b"", True)]) == whole
    assert b"".join(codecs.iterdecode(pieces, name)) == whole


@pytest.mark.parametrize("name", NAMES)
def test_incremental_objects_hold_nothing_back(name: str) -> None:
    encoder, decoder = codecs.getincrementalencoder(name)(), codecs.getincrementaldecoder(name)("replace")
    assert encoder.encode(b"Hey") == decoder.decode(b"Hey") == expected(name, b"Hey")
    assert encoder.getstate() == 0
    assert decoder.getstate() == (b"", 0)
    encoder.setstate(0)
    decoder.setstate((b"", 0))
    encoder.reset()
    decoder.reset()
    assert encoder.encode(b"", final=True) == decoder.decode(b"", final=True) == b""


# -- streams ----------------------------------------------------------------------------------------------

LINES = [b"<a>\n", b"Hey, Lucas!\r\n", b"\n", b"\xff no newline"]


@pytest.mark.parametrize("name", NAMES)
def test_a_writer_writes_the_rotation(name: str) -> None:
    stream = io.BytesIO()
    writer = codecs.getwriter(name)(stream)
    for line in LINES:
        writer.write(line)
    writer.write(memoryview(b"end"))
    assert stream.getvalue() == expected(name, b"".join(LINES) + b"end")


@pytest.mark.parametrize("name", NAMES)
def test_a_reader_reads_the_rotation(name: str) -> None:
    whole = b"".join(LINES)

    def reader() -> codecs.StreamReader:
        return codecs.getreader(name)(io.BytesIO(expected(name, whole)))

    assert reader().read() == whole
    assert list(reader()) == LINES
    assert reader().readlines() == LINES
    for size in (1, 3, 100):
        stream, read = reader(), []
        while piece := stream.read(size):
            read.append(piece)
        assert b"".join(read) == whole
    stream = reader()
    assert (stream.readline(), stream.read(chars=3)) == (b"<a>\n", b"Hey")
    stream.seek(0)
    assert stream.read() == whole


@pytest.mark.parametrize("name", NAMES)
def test_a_file_may_be_written_and_read_by_its_codec(name: str, tmp_path: Path) -> None:
    info = codecs.lookup(name)
    path = tmp_path / "stanza"
    with codecs.StreamReaderWriter(path.open("w+b"), info.streamreader, info.streamwriter) as file:
        file.write(b"Hey, Lucas!\n")
        file.seek(0)
        assert file.read() == b"Hey, Lucas!\n"
    assert path.read_bytes() == expected(name, b"Hey, Lucas!\n")


def test_a_file_may_be_recoded() -> None:
    recoder = codecs.EncodedFile(io.BytesIO(b"Url"), "double_rot13", "rot13_bytes")
    assert recoder.read() == b"Hey"
