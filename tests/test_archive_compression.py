"""Compressed archives: every format and every way to cut or spoil it; the usual tools read what is written."""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import lzma
import random
import shutil
import struct
import subprocess
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from archives import document, rot13
from hypothesis import given
from hypothesis import strategies as st

from xep419 import CorruptArchiveError, RestorationError, UnsupportedArchiveError, XEP419Error, archive
from xep419.archive.compression import Compressor, Decompressed, compression_of, decompressed, gzip_header
from xep419.archive.containers import recognise_file
from xep419.archive.recoding import Recoding
from xep419.archive.tally import Tally

pytestmark = pytest.mark.any_isa

DOUBLE = Recoding()
PLAIN, UPGRADED = document(1, 20), document(1, 20, upgraded=True)


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


def unzstd(data: bytes) -> bytes:
    return zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()


def alone(data: bytes) -> bytes:
    return lzma.compress(data, lzma.FORMAT_ALONE)


PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": alone,
    "zstd": zstd,
}
UNPACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "bzip2": bz2.decompress,
    "xz": lzma.decompress,
    "lzma": lzma.decompress,
    "zstd": unzstd,
}
REPEATED = [name for name in PACK if name != "lzma"]


def recoded(data: bytes, recoding: Recoding = DOUBLE) -> tuple[bytes, Tally]:
    """Through the format that is found in it, and proved."""
    source, target, tally = io.BytesIO(data), io.BytesIO(), Tally()
    form = recognise_file(source, recoding)
    assert form is not None
    source.seek(0)
    form.recode([source], [target], recoding, tally)
    source.seek(0)
    target.seek(0)
    assert form.prove([source], [target], recoding).letters == (tally.letters if recoding.upgrade else 0)
    return target.getvalue(), tally


# -- what comes out -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PACK)
@pytest.mark.parametrize(("rounds_from", "rounds_to"), [(0, 2), (0, 1), (1, 2)])
def test_a_compressed_document_is_recoded_and_compressed_alike(name: str, rounds_from: int, rounds_to: int) -> None:
    source = rot13(PLAIN) if rounds_from % 2 else PLAIN
    result, tally = recoded(PACK[name](source), Recoding(rounds_from, rounds_to))
    assert UNPACK[name](result) == (rot13(UPGRADED) if rounds_to % 2 else UPGRADED)
    assert compression_of(result) is compression_of(PACK[name](b""))
    assert tally.stanzas == 20


@pytest.mark.parametrize("name", REPEATED)
def test_members_streams_and_frames_one_after_the_other_are_one_document(name: str) -> None:
    cut = [0, 1, 7, 7, 3000, len(PLAIN)]
    data = b"".join(PACK[name](PLAIN[start:end]) for start, end in itertools.pairwise(cut))
    assert UNPACK[name](recoded(data)[0]) == UPGRADED


def test_skippable_zstd_frames_are_passed_over() -> None:
    def skippable(data: bytes) -> bytes:
        return b"\x53\x2a\x4d\x18" + struct.pack("<L", len(data)) + data

    data = skippable(b"before") + zstd(PLAIN[:100]) + skippable(b"") + zstd(PLAIN[100:]) + skippable(b"x" * 70_000)
    assert unzstd(recoded(data)[0]) == UPGRADED


@pytest.mark.parametrize("name", ["gzip", "xz"])
def test_zeros_that_fill_up_a_block_may_follow(name: str) -> None:
    assert UNPACK[name](recoded(PACK[name](PLAIN) + bytes(100_000))[0]) == UPGRADED
    assert UNPACK[name](recoded(PACK[name](PLAIN[:9]) + bytes(20_000) + PACK[name](PLAIN[9:]))[0]) == UPGRADED


def test_gzip_keeps_the_name_the_comment_and_the_time() -> None:
    header = b"\x1f\x8b\x08\x1e\x01\x02\x03\x04\x02\x03" + b"\x03\0abc" + b"m\xe9.xml\0" + b"why\0"
    header += struct.pack("<H", zlib.crc32(header) & 0xFFFF)
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = header + stream.compress(PLAIN) + stream.flush() + struct.pack("<2L", zlib.crc32(PLAIN), len(PLAIN))
    assert gzip.decompress(data) == PLAIN
    result, _tally = recoded(data)
    assert result.startswith(b"\x1f\x8b\x08\x18\x01\x02\x03\x04\0\x03m\xe9.xml\0why\0")
    assert gzip.decompress(result) == UPGRADED
    assert recoded(data)[0] == result


def test_a_gzip_header_that_is_longer_than_what_is_read_of_it_loses_its_name() -> None:
    assert (
        gzip_header(b"\x1f\x8b\x08\x08\x01\x02\x03\x04\x02\x03" + b"n" * 99) == b"\x1f\x8b\x08\0\x01\x02\x03\x04\0\x03"
    )


@pytest.mark.parametrize("level", [1, 6, 9])
def test_bzip2_keeps_the_size_of_its_blocks(level: int) -> None:
    assert recoded(bz2.compress(PLAIN, level))[0][3:4] == b"%d" % level


@pytest.mark.parametrize("check", [lzma.CHECK_NONE, lzma.CHECK_CRC32, lzma.CHECK_CRC64, lzma.CHECK_SHA256])
def test_xz_keeps_its_kind_of_checksum(check: int) -> None:
    assert recoded(lzma.compress(PLAIN, check=check))[0][7] == check


@pytest.mark.parametrize("has_checksum", [True, False])
def test_zstd_keeps_its_checksum(has_checksum: bool) -> None:
    data = zstandard.ZstdCompressor(write_checksum=has_checksum).compress(PLAIN)
    assert zstandard.get_frame_parameters(recoded(data)[0]).has_checksum == has_checksum


@pytest.mark.parametrize(("name", "tool", "suffix"), [
    ("gzip", "gzip", "gz"), ("bzip2", "bzip2", "bz2"), ("xz", "xz", "xz"), ("lzma", "xz", "lzma"), ("zstd", "zstd", "zst"),
])  # fmt: skip
def test_the_usual_tools_read_what_is_written(tmp_path: Path, name: str, tool: str, suffix: str) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    path = tmp_path / f"a.xml.{suffix}"
    path.write_bytes(PACK[name](PLAIN))
    assert archive.reencrypt(path, in_place=True).exit_status == 0
    assert subprocess.run([tool, "-dc", path], check=True, capture_output=True).stdout == UPGRADED


@pytest.mark.parametrize("outer", PACK)
@pytest.mark.parametrize("inner", PACK)
def test_compressed_twice(outer: str, inner: str) -> None:
    assert UNPACK[inner](UNPACK[outer](recoded(PACK[outer](PACK[inner](PLAIN)))[0])) == UPGRADED


def test_layers_are_bounded() -> None:
    data = PLAIN
    for _ in range(4):
        data = gzip.compress(data)
    recoded(data)
    with pytest.raises(UnsupportedArchiveError, match=r"^it is compressed or packed more than 4 times$"):
        recognise_file(io.BytesIO(gzip.compress(data)), Recoding())


@pytest.mark.parametrize("name", PACK)
@pytest.mark.parametrize("data", [b"", b"no stanza: http://example.org/"])
def test_what_holds_no_stanza_is_left_alone(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / "source" / "a"
    path.parent.mkdir()
    path.write_bytes(PACK[name](data))
    before = path.read_bytes()
    report = archive.reencrypt(path.parent, in_place=True)
    assert report.tally.left_alone == {"nothing in it is known to be a stanza": 1}
    assert (report.exit_status, path.read_bytes()) == (0, before)


@pytest.mark.parametrize(("head", "what"), [
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07\x01\0", "a RAR archive"),
    (b"\x04\x22\x4d\x18", "compressed by lz4"),
    (b"LZIP\1", "compressed by lzip"),
    (b"\x1f\x9d\x90", "compressed by compress"),
])  # fmt: skip
def test_what_we_do_not_unpack_is_refused_by_name(head: bytes, what: str) -> None:
    with pytest.raises(UnsupportedArchiveError) as caught:
        recognise_file(io.BytesIO(head + bytes(99)), Recoding())
    assert caught.value.message == f"it is {what}, which is not looked into: unpack it first"


def test_a_named_format_is_looked_for_inside(tmp_path: Path) -> None:
    path = tmp_path / "a.xml.gz"
    path.write_bytes(gzip.compress(PLAIN))
    assert archive.reencrypt(path, in_place=True, format="xml").exit_status == 0
    assert gzip.decompress(path.read_bytes()) == UPGRADED


# -- cut and spoiled ------------------------------------------------------------------------------------------

SMALL = b"<a xmlns='http://example.org/'><b>text text text</b></a>"


@pytest.mark.parametrize("name", PACK)
def test_a_file_cut_anywhere_is_corrupt_and_left_as_it_was(tmp_path: Path, name: str) -> None:
    whole = PACK[name](SMALL)
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    for length in range(1, len(whole)):
        (source / f"{length:03}").write_bytes(whole[:length])
    report = archive.reencrypt(source, target)
    assert {path.name: path.read_bytes() for path in target.iterdir()} == {
        f"{length:03}": whole[:length] for length in range(1, len(whole))
    }
    magic = {"gzip": 3, "bzip2": 10, "xz": 6, "lzma": 13, "zstd": 4}[name]
    assert report.tally.left_alone == {"nothing in it is known to be a stanza": magic - 1}
    assert report.tally.skipped == len(whole) - magic
    for skip in report.tally.skips:
        length = int(Path(skip.place).name)
        assert skip.reason == f"more {name} data is expected, but the file ended"
        assert skip.offset == length


@pytest.mark.parametrize("name", PACK)
def test_a_large_file_cut_anywhere_never_comes_out_in_part(name: str) -> None:
    whole = PACK[name](random.Random(1).randbytes(150_000).hex().encode())
    compression = compression_of(whole)
    assert compression is not None
    for length in range(len(whole) - 1, 20, -4_999):
        with pytest.raises(CorruptArchiveError) as caught:
            decompressed(io.BytesIO(whole[:length]), compression).read()
        assert caught.value.offset == length


@pytest.mark.parametrize("name", PACK)
def test_a_changed_byte_never_passes_unseen(name: str) -> None:
    """It changes a field that says nothing of the data, or it is found."""
    whole = PACK[name](SMALL)
    compression = compression_of(whole)
    assert compression is not None
    for place in range(len(whole)):
        for bit in (1, 0x80):
            changed = whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :]
            try:
                data = decompressed(io.BytesIO(changed), compression).read()
            except (CorruptArchiveError, UnsupportedArchiveError):
                continue
            assert data == SMALL or name == "lzma"  # which has no checksum


@pytest.mark.parametrize("name", PACK)
@pytest.mark.parametrize("garbage", [b"\n", b"\0\0\0x", b"garbage" * 9_999])
def test_garbage_after_the_end_is_corrupt(name: str, garbage: bytes) -> None:
    whole = PACK[name](SMALL)
    zeros = len(garbage) - len(garbage.lstrip(b"\0")) if name in ("gzip", "xz") else 0
    with pytest.raises(CorruptArchiveError) as caught:
        recoded(whole + garbage)
    assert caught.value.message == f"the end of the file, or more {name} data, is expected after the first"
    assert caught.value.offset == len(whole) + zeros


def test_the_place_of_corrupt_data_is_near() -> None:
    whole = bytearray(gzip.compress(random.Random(1).randbytes(300_000)))
    whole[200_000:200_400] = bytes(400)
    with pytest.raises(CorruptArchiveError, match=r"^corrupt gzip data: Error -3 while decompressing data: ") as caught:
        decompressed(io.BytesIO(bytes(whole)), compression_of(bytes(whole))).read()  # type: ignore[arg-type]
    assert caught.value.offset is not None
    assert caught.value.offset >= 200_000 - (1 << 14)


def test_the_place_of_a_fault_inside_is_told_as_such() -> None:
    with pytest.raises(XEP419Error) as caught:
        recoded(gzip.compress(b"<a><b></a>"))
    assert str(caught.value) == "the end tag </b> is expected, not </a> (at byte 6 once decompressed)"


@pytest.mark.parametrize("name", PACK)
def test_a_result_that_is_cut_does_not_prove(name: str) -> None:
    data = PACK[name](PLAIN)
    result, _tally = recoded(data)
    form = recognise_file(io.BytesIO(data), Recoding())
    assert form is not None
    with pytest.raises(RestorationError, match=f"^more {name} data is expected, but the file ended"):
        form.prove([io.BytesIO(data)], [io.BytesIO(result[:-1])], Recoding())


# -- streams --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PACK)
@given(data=st.binary(max_size=3000), sizes=st.lists(st.integers(1, 500), min_size=1))
def test_pieces_of_any_size_give_the_same(name: str, data: bytes, sizes: list[int]) -> None:
    whole = PACK[name](data)
    compression = compression_of(whole)
    assert compression is not None
    packed = io.BytesIO()
    writer = Compressor(packed, compression.encoder(whole))
    place = number = 0
    while place < len(data):
        place += writer.write(data[place : place + sizes[number % len(sizes)]])
        number += 1
    writer.finish()
    assert writer.tell() == len(data)
    assert UNPACK[name](packed.getvalue()) == data
    reader = Decompressed(io.BytesIO(packed.getvalue()), compression)
    read = []
    for number in range(len(data) + 1):
        if not (piece := reader.read(sizes[number % len(sizes)])):
            break
        read.append(piece)
    assert b"".join(read) == data
    assert reader.seek(0) == 0
    assert reader.readall() == data


@pytest.mark.any_python
@pytest.mark.outer
@pytest.mark.parametrize("name", PACK)
def test_a_bomb_is_read_in_little_memory(name: str) -> None:
    """64 MiB of zeros, in a hundredth or a thousandth of that."""
    whole = PACK[name](bytes(1 << 26))
    compression = compression_of(whole)
    assert compression is not None
    reader = decompressed(io.BytesIO(whole), compression)
    tracemalloc.start()
    try:
        size = 0
        while piece := reader.read(1 << 18):
            size += len(piece)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size == 1 << 26
    assert peak < 48 << 20
