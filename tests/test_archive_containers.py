"""Tar and zip: members are recoded, all else is byte for byte as it was; tarfile, zipfile and the usual tools agree."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import random
import shutil
import struct
import subprocess
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from archives import document, rot13
from growth import assert_linear
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xep419 import CorruptArchiveError, RestorationError, UnsupportedArchiveError, archive
from xep419.archive import Skip, formats
from xep419.archive.containers import recognise_file
from xep419.archive.formats import ArchivedStanza, Format, Proved
from xep419.archive.formats.xml import XMLDocument
from xep419.archive.members import NO_STANZA, SEPARATED
from xep419.archive.recoding import Recoding
from xep419.archive.tally import Tally

pytestmark = pytest.mark.any_isa

DOUBLE = Recoding()
PLAIN, UPGRADED = document(1, 20), document(1, 20, upgraded=True)
BROKEN = Skip("broken.xml", "the end tag </a> is expected, but the document ended", 3)


def recoded(data: bytes, recoding: Recoding = DOUBLE) -> tuple[bytes, Tally]:
    """Through the format that is found in it, and proved."""
    source, target, tally = io.BytesIO(data), io.BytesIO(), Tally()
    form = recognise_file(source, recoding)
    assert form is not None
    form.recode([source], [target], recoding, tally)
    source.seek(0)
    target.seek(0)
    proved = form.prove([source], [target], recoding)
    assert proved.letters == (tally.letters if recoding.upgrade else 0)
    assert proved.stanzas in (None, tally.stanzas)
    return target.getvalue(), tally


def tar(members: dict[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as opened:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode, info.uid, info.uname = len(data), 1_700_000_000, 0o640, 5222, "prosody"
            opened.addfile(info, io.BytesIO(data))
    return file.getvalue()


def untar(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as opened:
        return {info.name: opened.extractfile(info).read() for info in opened if info.isfile()}  # type: ignore[union-attr]


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as opened:
        for name, data in members.items():
            opened.writestr(zipfile.ZipInfo(name, (2026, 1, 2, 3, 4, 6)), data, method)
    return file.getvalue()


def unzip(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        assert opened.testzip() is None
        return {name: opened.read(name) for name in opened.namelist()}


PACK: dict[str, Any] = {"tar": tar, "zip": zipped}
UNPACK: dict[str, Any] = {"tar": untar, "zip": unzip}
MIXED = {
    "a.xml": PLAIN,
    "deep/note.txt": b"no stanza: http://example.org/",
    "broken.xml": b"<a>",
    "empty": b"",
    "b.xml.gz": gzip.compress(PLAIN),
    "../../escape.xml": PLAIN,
    "/etc/passwd": PLAIN,
    "é☃😀.xml": PLAIN,
    "page.html": b"<html><body/></html>",
}


def unpacked(members: dict[str, bytes]) -> dict[str, bytes]:
    return {name: gzip.decompress(data) if name.endswith(".gz") else data for name, data in members.items()}


WANTED = {name: UPGRADED if data == PLAIN else data for name, data in unpacked(MIXED).items()}


# -- both -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PACK)
def test_members_are_recoded_and_the_others_stay(kind: str) -> None:
    result, tally = recoded(PACK[kind](MIXED))
    assert unpacked(UNPACK[kind](result)) == WANTED
    assert list(UNPACK[kind](result)) == list(MIXED)
    assert tally.stanzas == 100
    assert tally.skips == [BROKEN]
    assert tally.left_alone == {
        NO_STANZA: 1,
        "this is an HTML page, such as a client's chat log: it holds text taken out of stanzas, no stanza": 1,
    }


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize(("rounds_from", "rounds_to"), [(0, 1), (1, 2), (1, 1)])
def test_members_are_rotated_but_what_packs_them_is_not(kind: str, rounds_from: int, rounds_to: int) -> None:
    members = {"a.xml": rot13(PLAIN) if rounds_from else PLAIN, "broken.xml": rot13(b"<a>") if rounds_from else b"<a>"}
    result, tally = recoded(PACK[kind](members), Recoding(rounds_from, rounds_to))
    wanted = {"a.xml": rot13(UPGRADED) if rounds_to % 2 else UPGRADED, "broken.xml": members["broken.xml"]}
    assert UNPACK[kind](result) == wanted
    assert tally.skipped == 1


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("outer", PACK)
def test_one_in_the_other_in_a_compressed_file(kind: str, outer: str) -> None:
    data = gzip.compress(PACK[outer]({"in": PACK[kind](MIXED), "a.xml": PLAIN}))
    result, tally = recoded(data)
    found = UNPACK[outer](gzip.decompress(result))
    assert found["a.xml"] == UPGRADED
    inner = UNPACK[kind](found["in"])
    assert inner["a.xml"] == UPGRADED
    assert gzip.decompress(inner["b.xml.gz"]) == UPGRADED
    assert tally.skips == [BROKEN._replace(place="in: broken.xml")]


@pytest.mark.parametrize("kind", PACK)
def test_too_many_layers_are_left_alone_where_they_are(kind: str) -> None:
    deep = PLAIN
    for _ in range(4):
        deep = gzip.compress(deep)
    result, tally = recoded(PACK[kind]({"deep": deep, "a.xml": PLAIN}))
    assert UNPACK[kind](result) == {"deep": deep, "a.xml": UPGRADED}
    assert tally.left_alone == {"it is compressed or packed more than 4 times": 1}


@pytest.mark.parametrize("kind", PACK)
def test_a_job_tells_the_place_of_a_broken_member(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_bytes(PACK[kind](MIXED))
    report = archive.reencrypt(path, in_place=True)
    assert report.exit_status == 3
    assert str(report.tally.skips[0]) == (
        f"{path}: broken.xml: byte 3: the end tag </a> is expected, but the document ended"
    )
    assert unpacked(UNPACK[kind](path.read_bytes())) == WANTED


@pytest.mark.parametrize("kind", PACK)
def test_scan_and_dry_run_count_through_all_layers_and_write_nothing(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}.gz"
    path.write_bytes(gzip.compress(PACK[kind](MIXED)))
    before = path.read_bytes()
    scanned, dry = archive.scan(path), archive.reencrypt(path, dry_run=True)
    assert scanned.tally == dry.tally
    assert (dry.tally.stanzas, dry.tally.skipped, dry.tally.bytes_written) == (100, 1, 0)
    done = archive.reencrypt(path, in_place=True)
    assert (done.tally.insecure, done.tally.bytes_written) == (dry.tally.insecure, path.stat().st_size)
    assert before != path.read_bytes()
    path.with_name("before").write_bytes(before)
    proved = archive.verify(path.with_name("before"), path)
    assert (proved.tally.skipped, proved.tally.letters) == (1, done.tally.letters)


@pytest.mark.parametrize("kind", PACK)
def test_a_cut_file_is_corrupt_wherever_it_is_cut(kind: str) -> None:
    whole = PACK[kind]({"a.xml": b"<a xmlns='urn:xmpp:ping'/>", "b": b"xyz"})
    needed = len(whole.rstrip(b"\0")) if kind == "tar" else len(whole)
    needed = -(-needed // 512) * 512 + 1024 if kind == "tar" else needed
    for length in range(600 if kind == "tar" else 4, needed, 7):
        with pytest.raises(CorruptArchiveError):
            recoded(whole[:length])
    recoded(whole[:needed])


@pytest.mark.any_python
@pytest.mark.outer
@pytest.mark.parametrize("kind", PACK)
def test_a_changed_byte_of_the_result_never_proves(kind: str) -> None:
    data = PACK[kind]({"a.xml": b"<a xmlns='urn:xmpp:ping'/>", "note": b"some note"})
    source, target = io.BytesIO(data), io.BytesIO()
    form = recognise_file(source, Recoding())
    assert form is not None
    form.recode([source], [target], Recoding(), Tally())
    result = target.getvalue()
    unseen = []
    for place in range(len(result)):
        changed = result[:place] + bytes([result[place] ^ 1]) + result[place + 1 :]
        try:
            form.prove([source], [io.BytesIO(changed)], Recoding())
        except (RestorationError, UnsupportedArchiveError):
            continue
        unseen.append(place)
    if kind == "tar":
        # padding of a member that was recoded, and the digits of its size, which say where the next one begins
        assert set(unseen) <= set(range(512 + 27, 1024)) | set(range(124, 156))
    else:
        assert not unseen


@pytest.mark.parametrize("kind", PACK)
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=60)
@given(
    members=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\:"), min_size=1, max_size=120),
        st.one_of(
            st.binary(max_size=2000),
            st.integers(0, 9).map(lambda seed: document(seed, 3)),
            st.integers(0, 9).map(lambda seed: gzip.compress(document(seed, 3), mtime=0)),
        ),
        max_size=6,
    )
)
def test_any_members(kind: str, members: dict[str, bytes]) -> None:
    data = PACK[kind](members)
    if not members and kind == "tar":
        assert recognise_file(io.BytesIO(data), Recoding()) is None
        return
    result, _tally = recoded(data)
    upgraded = {document(seed, 3): document(seed, 3, upgraded=True) for seed in range(10)}
    for (name, came), (wanted_name, data) in zip(UNPACK[kind](result).items(), members.items(), strict=True):
        assert name == wanted_name
        if data.startswith(b"\x1f\x8b\x08") and came != data:  # what only begins like gzip stays
            came, data = gzip.decompress(came), gzip.decompress(data)
        assert came == upgraded.get(data, data)


# -- members that belong together, other formats --------------------------------------------------------------


class Pair(XMLDocument):
    """Two files that only make sense together: an index and XML."""

    name: ClassVar[str] = "pair"

    def recognises(self, head: bytes, recoding: Recoding) -> bool:
        return head.startswith(b"index")

    def companions(self, name: str) -> tuple[str, ...]:
        return (name.removesuffix(".list") + ".xml",)


class Backwards:
    """Reads the end first, and counts a stanza for each line."""

    name: ClassVar[str] = "backwards"
    title: ClassVar[str] = "file that is read from its end"
    random_access: ClassVar[bool] = True

    def recognises(self, head: bytes, recoding: Recoding) -> bool:
        return head.startswith(b"BACK")

    def companions(self, name: str) -> tuple[str, ...]:
        return ()

    def recode(
        self, sources: Sequence[IO[bytes]], targets: Sequence[IO[bytes]], recoding: Recoding, tally: Tally
    ) -> None:
        source = sources[0]
        source.seek(-4, io.SEEK_END)
        if source.read(4) != b"BACK":
            raise CorruptArchiveError("BACK is expected at the end", offset=source.tell() - 4)
        source.seek(0)
        data = source.read()
        tally.stanzas += data.count(b"\n")
        targets[0].write(data.replace(b"http:", b"https:"))
        tally.insecure["http:"] += data.count(b"http:")

    def prove(self, sources: Sequence[IO[bytes]], targets: Sequence[IO[bytes]], recoding: Recoding) -> Proved:
        sources[0].seek(-1, io.SEEK_END)
        sources[0].seek(0)
        before, after = sources[0].read(), targets[0].read()
        if before.replace(b"http:", b"https:") != after:
            raise RestorationError("not the same")
        return Proved(before.count(b"\n"), before.count(b"http:"))

    def stanzas(self, sources: Sequence[IO[bytes]], recoding: Recoding) -> Iterator[ArchivedStanza]:
        for number, line in enumerate(sources[0], 1):
            yield ArchivedStanza(f"line {number}", line)


@pytest.fixture
def more_formats(monkeypatch: pytest.MonkeyPatch) -> None:
    found: tuple[Format, ...] = (Pair(), Backwards(), XMLDocument())
    monkeypatch.setattr(formats, "formats", lambda options=None: found)
    monkeypatch.setattr("xep419.archive.containers.formats", lambda options=None: found)


@pytest.mark.usefixtures("more_formats")
@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("names", [("d/a.list", "d/a.xml"), ("d/a.xml", "d/a.list")])
def test_files_that_belong_together_are_left_alone_together(kind: str, names: tuple[str, str]) -> None:
    pair = {name: b"index" if name.endswith(".list") else PLAIN for name in names}
    result, tally = recoded(PACK[kind]({**pair, "d/b.xml": PLAIN, "a.xml": PLAIN}))
    assert UNPACK[kind](result) == {**pair, "d/b.xml": UPGRADED, "a.xml": UPGRADED}
    assert tally.left_alone == {SEPARATED: 2}


@pytest.mark.usefixtures("more_formats")
def test_one_of_them_compressed_is_refused() -> None:
    with pytest.raises(UnsupportedArchiveError) as caught:
        recognise_file(io.BytesIO(gzip.compress(b"index")), Recoding())
    assert caught.value.message == SEPARATED


@pytest.mark.usefixtures("more_formats")
@pytest.mark.parametrize("kind", PACK)
def test_a_format_that_reads_at_random_and_counts(kind: str) -> None:
    data = b"BACK\n<http:\nBACK"
    for whole, unpack in [
        (gzip.compress(data), gzip.decompress),
        (PACK[kind]({"a": data}), lambda result: UNPACK[kind](result)["a"]),
        (gzip.compress(PACK[kind]({"a": data})), lambda result: UNPACK[kind](gzip.decompress(result))["a"]),
    ]:
        result, tally = recoded(whole)
        assert unpack(result) == data.replace(b"http:", b"https:")
        assert tally.stanzas == 2
    result, tally = recoded(PACK[kind]({"a": data[:-1], "b": data}))
    assert UNPACK[kind](result) == {"a": data[:-1], "b": data.replace(b"http:", b"https:")}
    assert tally.skips == [Skip("a", "BACK is expected at the end", len(data) - 5)]


STANZA, GROWN = (f"<message to='b@x'><x xmlns='urn:xmpp{s}:sid:0'/></message>" for s in ("", "s"))


def parquet(stanza: str) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"id": list(range(5)), "stanza": [stanza] * 5}), file)
    return file.getvalue()


@pytest.mark.parametrize("kind", PACK)
def test_every_format_is_found_in_every_layer(kind: str) -> None:
    lines = "".join(json.dumps({"id": number, "stanza": STANZA}) + "\n" for number in range(5)).encode()
    item = b'item({\n\t["offset"] = 0;\n\t["length"] = %d;\n});\n' % len(STANZA)
    members = {
        "d/a.jsonl": lines, "d/a.parquet": parquet(STANZA), "d/day.list": item, "d/day.xml": STANZA.encode(),
    }  # fmt: skip
    result, tally = recoded(gzip.compress(PACK[kind](members)))
    found = UNPACK[kind](gzip.decompress(result))
    assert found["d/a.jsonl"] == lines.replace(STANZA.encode(), GROWN.encode())
    assert pq.read_table(io.BytesIO(found["d/a.parquet"]))["stanza"].to_pylist() == [GROWN] * 5
    assert {name: found[name] for name in ("d/day.list", "d/day.xml")} == {
        "d/day.list": item,
        "d/day.xml": STANZA.encode(),
    }
    assert (tally.stanzas, tally.skips, tally.left_alone) == (10, [], {SEPARATED: 2})
    for data in (gzip.compress(lines), gzip.compress(parquet(STANZA))):
        assert recoded(data)[1].stanzas == 5


@pytest.mark.parametrize("kind", PACK)
def test_stanzas_of_members(kind: str) -> None:
    data = PACK[kind]({"a.xml": b"<a><b/><c/></a>", "note": b"x", "in.gz": gzip.compress(b"<a><d/></a>")})
    for whole in (data, gzip.compress(data)):
        form = recognise_file(io.BytesIO(whole), Recoding())
        assert form is not None
        assert list(form.stanzas([io.BytesIO(whole)], Recoding())) == [
            ("a.xml: element 1", b"<b/>"),
            ("a.xml: element 2", b"<c/>"),
            ("in.gz: element 1", b"<d/>"),
        ]


@pytest.mark.parametrize("kind", PACK)
def test_a_member_left_as_it_was_proves_only_where_it_cannot_be_recoded(kind: str) -> None:
    data = PACK[kind]({"a.xml": b"<a>http</a>"})
    form = recognise_file(io.BytesIO(data), Recoding())
    assert form is not None
    with pytest.raises(RestorationError, match=r"^a\.xml: it is as it was, though it can be re-encrypted$"):
        form.prove([io.BytesIO(data)], [io.BytesIO(data)], Recoding(rounds_to=1))
    broken = PACK[kind]({"a.xml": b"<a>http</b>"})
    assert form.prove([io.BytesIO(broken)], [io.BytesIO(broken)], Recoding(rounds_to=1)).letters == 0


# -- tar ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tar_headers_are_copied(form: int) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as opened:
        for kind, name, leads_to in [
            (tarfile.DIRTYPE, "d", ""), (tarfile.SYMTYPE, "s", "a.xml"), (tarfile.LNKTYPE, "h", "a.xml"),
            (tarfile.FIFOTYPE, "f", ""), (tarfile.CHRTYPE, "c", ""), (tarfile.REGTYPE, "d/" * 49 + "a.xml", ""),
        ]:  # fmt: skip
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.mode, info.mtime, info.uname = kind, leads_to, 0o4751, 1_700_000_000, "é"
            info.size = len(PLAIN) if kind == tarfile.REGTYPE else 0
            if form == tarfile.PAX_FORMAT:
                info.mtime, info.pax_headers = 1_700_000_000.25, {"SCHILY.xattr.user.why": "http://example.org/"}  # type: ignore[assignment]
            opened.addfile(info, io.BytesIO(PLAIN) if info.size else None)
    source = file.getvalue()
    result, tally = recoded(source)
    assert tally.stanzas == 20
    with tarfile.open(fileobj=io.BytesIO(source)) as before, tarfile.open(fileobj=io.BytesIO(result)) as after:
        for one, other in itertools.zip_longest(before, after):
            same = {"offset", "offset_data", "chksum", "tarfile", "size"}
            assert [getattr(one, key) for key in one.__slots__ if key not in same and hasattr(one, key)] == [
                getattr(other, key) for key in other.__slots__ if key not in same and hasattr(other, key)
            ]
        assert after.extractfile("d/" * 49 + "a.xml").read() == UPGRADED  # type: ignore[union-attr]


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tar_long_names(form: int) -> None:
    names = ["x" * 99 + ".xml", "x" * 300 + ".xml", "d/" * 200 + "a.xml"]
    result, _tally = recoded(tar(dict.fromkeys(names, PLAIN), form))
    assert untar(result) == dict.fromkeys(names, UPGRADED)


def test_a_tar_with_nothing_to_recode_comes_out_byte_for_byte() -> None:
    data = tar({"a": b"x" * 700, "b": b"y"}, tarfile.GNU_FORMAT)
    assert recoded(data)[0] == data


def test_a_size_record_of_a_tar_member_is_changed() -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as opened:
        info = tarfile.TarInfo("a.xml")
        info.size = 99
        info.pax_headers = {"size": "99", "comment": "kept"}
        data = b"<a xmlns='urn:xmpp:ping'>" + b"x" * 70 + b"</a>"
        assert len(data) == 99
        opened.addfile(info, io.BytesIO(data))
    result, _tally = recoded(file.getvalue())
    with tarfile.open(fileobj=io.BytesIO(result)) as opened:
        (info,) = opened.getmembers()
        assert (info.size, info.pax_headers) == (100, {"size": "100", "comment": "kept"})


@pytest.mark.parametrize(("size", "field"), [
    (0o77777777777, b"77777777777\0"), (0o77777777777 + 1, b"\x80\0\0\0\0\0\0\2\0\0\0\0"),
])  # fmt: skip
def test_sizes_past_eight_gibibytes(size: int, field: bytes) -> None:
    from xep419.archive.tar_members import Reader

    (member,) = Reader(io.BytesIO(tar({"a": b""}))).members()
    resized = member.resized(size)
    assert resized.header[124:136] == field
    assert tarfile.TarInfo.frombuf(resized.header, "utf-8", "strict").size == size


@pytest.mark.skipif(shutil.which("tar") is None, reason="tar is not installed")
@pytest.mark.parametrize("form", ["gnu", "posix", "ustar", "v7", "oldgnu"])
def test_the_tar_tool_reads_and_wrote_it(tmp_path: Path, form: str) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a.xml").write_bytes(PLAIN)
    (tree / "link").symlink_to("a.xml")
    (tree / "hard.xml").hardlink_to(tree / "a.xml")
    with (tree / "holes.xml").open("wb") as sparse:
        for place in range(0, 40 << 16, 2 << 16):  # more holes than a header has room for
            sparse.seek(place)
            sparse.write(b"<a xmlns='urn:xmpp:ping'/>")
        sparse.truncate(90 << 16)
    path = tmp_path / "a.tar"
    is_sparse = form not in ("ustar", "v7")
    subprocess.run(["tar", "-C", tree, f"--format={form}", *["--sparse"] * is_sparse, "-cf", path, "."], check=True)
    listed = subprocess.run(["tar", "-tvf", path], check=True, capture_output=True).stdout
    report = archive.reencrypt(path, in_place=True)
    assert report.exit_status == (3 if form in ("ustar", "v7") else 0)  # there, the holes are zeros
    assert report.tally.left_alone == ({"a sparse file in a tar archive": 1} if is_sparse else {})
    old, new = (b" %d " % len(data) for data in (PLAIN, UPGRADED))
    assert subprocess.run(["tar", "-tvf", path], check=True, capture_output=True).stdout == listed.replace(old, new)
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(["tar", "-C", out, "-xf", path], check=True)
    assert (out / "hard.xml").read_bytes() == UPGRADED
    assert (out / "holes.xml").read_bytes() == (tree / "holes.xml").read_bytes()


def test_what_follows_the_end_of_a_tar_is_copied_and_told() -> None:
    data = tar({"a.xml": PLAIN}) + tar({"b.xml": PLAIN})
    result, tally = recoded(data)
    assert result.endswith(tar({"b.xml": PLAIN}))
    assert tally.left_alone == {"data after the end of a tar archive": 1}


def header(kind: bytes, size: int, name: str = "a") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


ENDING = bytes(1024)
RECORD = "a record of a tar extension header is broken"
HOSTILE_TARS = {
    "long extension": (header(b"L", 1 << 40), "headers of more than 1048576 bytes for one member", 0),
    "many extensions": (header(b"K", 0) * 3000, "headers of more than 1048576 bytes for one member", 0),
    "end of extensions": (header(b"x", 0) + ENDING, "a tar header is expected after its extension", 0),
    "record too long": (header(b"x", 9) + b"99 a=bcd\n".ljust(512, b"\0") + header(b"0", 0), RECORD, 0),
    "record of nothing": (header(b"x", 9) + b"0 a=bcde\n".ljust(512, b"\0") + header(b"0", 0), RECORD, 0),
    "record too short": (header(b"x", 9) + b"3 a=bcde\n".ljust(512, b"\0") + header(b"0", 0), RECORD, 0),
    "size": (header(b"x", 12) + b"12 size=-99\n".ljust(512, b"\0") + header(b"0", 0), "a size is expected, not b'-99'", 0),
    "garbage": (header(b"0", 3) + bytes(512) + b"x" * 512, "a tar header is expected: invalid header", 1024),
    "data": (header(b"0", 1 << 50), "more of the tar archive is expected, but the file ended", 512),
    "one block": (header(b"0", 0) + bytes(512), "two blocks of zeros are expected at the end of a tar archive, but the file ended", None),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE_TARS)
def test_hostile_tars(name: str) -> None:
    data, message, offset = HOSTILE_TARS[name]
    with pytest.raises(CorruptArchiveError) as caught:
        recoded(data)
    assert caught.value.message == message
    assert name == "data" or caught.value.offset == offset


def test_a_global_header_that_gives_names_is_refused() -> None:
    data = header(b"g", 11) + b"11 path=ab\n".ljust(512, b"\0") + tar({"a.xml": PLAIN})
    with pytest.raises(UnsupportedArchiveError, match=r"^a global header of the tar archive gives sizes or names$"):
        recoded(data)


# -- zip ------------------------------------------------------------------------------------------------------


def test_zip_metadata_are_copied() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as opened:
        opened.comment = b"of all"
        for number, method in enumerate([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]):
            info = zipfile.ZipInfo(f"{number}.xml", (1999, 12, 31, 23, 59, 58))
            info.comment, info.create_system, info.external_attr = b"of one", 3, 0o100640 << 16
            info.extra = struct.pack("<2HBL", 0x5455, 5, 1, 946_684_799)
            opened.writestr(info, PLAIN, method)
        opened.writestr("d/", b"")
    source = file.getvalue()
    result, _tally = recoded(source)
    assert unzip(result) == {"0.xml": UPGRADED, "1.xml": UPGRADED, "d/": b""}
    changing = {"CRC", "compress_size", "file_size", "header_offset", "_end_offset", "orig_filename", "_raw_time"}
    with zipfile.ZipFile(io.BytesIO(source)) as before, zipfile.ZipFile(io.BytesIO(result)) as after:
        assert after.comment == b"of all"
        for one, other in zip(before.infolist(), after.infolist(), strict=True):
            for key in set(one.__slots__) - changing:
                assert getattr(one, key, None) == getattr(other, key, None), key


def test_a_zip_with_nothing_to_recode_comes_out_byte_for_byte() -> None:
    data = zipped({"a": b"x" * 700, "b": b"y"})
    assert recoded(data)[0] == data
    assert recoded(zipped({}))[0] == zipped({})


def test_a_zip_that_was_written_to_a_pipe() -> None:
    """It has sizes after the data instead of before them."""

    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = b""

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            self.data += bytes(data)
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as opened:  # type: ignore[call-overload]
        for name, data in MIXED.items():
            with opened.open(name, "w", force_zip64=name == "a.xml") as member:
                member.write(data)
    result, _tally = recoded(pipe.data)
    assert unpacked(unzip(result)) == WANTED


def test_the_order_of_a_zip_directory_is_kept() -> None:
    data = zipped({"a.xml": PLAIN, "b.xml": PLAIN})
    end = data.rindex(b"PK\5\6")
    start = data.index(b"PK\1\2")
    second = data.index(b"PK\1\2", start + 1)
    swapped = data[:start] + data[second:end] + data[start:second] + data[end:]
    result, _tally = recoded(swapped)
    assert unzip(result) == {"b.xml": UPGRADED, "a.xml": UPGRADED}
    assert list(unzip(result)) == ["b.xml", "a.xml"]
    assert result.index(b"a.xml") < result.index(b"b.xml")


def test_encrypted_members_and_unknown_methods_are_left_alone() -> None:
    for flags, method, reason in [
        (1, 8, "an encrypted member of a zip archive"),
        (0, 12, "a member of a zip archive that is packed by method 12, which is not known here"),
    ]:
        data = bytearray(zipped({"a.xml": PLAIN}))
        start = data.index(b"PK\1\2")
        struct.pack_into("<2H", data, start + 8, flags, method)
        struct.pack_into("<2H", data, 6, flags, method)
        result, tally = recoded(bytes(data))
        assert result == data
        assert tally.left_alone == {reason: 1}


def test_zip64_fields() -> None:
    """As for a large file, though it is small."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as opened, opened.open("a.xml", "w", force_zip64=True) as member:
        member.write(PLAIN)
    data = bytearray(file.getvalue())
    start = data.index(b"PK\1\2")
    wide = struct.pack("<2H3Q", 1, 24, len(PLAIN), len(PLAIN), 0)
    struct.pack_into("<2L", data, start + 20, 0xFFFFFFFF, 0xFFFFFFFF)
    struct.pack_into("<H", data, start + 30, len(wide))
    struct.pack_into("<L", data, start + 42, 0xFFFFFFFF)
    entry = bytes(data[start : start + 46 + 5]) + wide
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, len(entry), start)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, start + len(entry), 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    source = bytes(data[:start]) + entry + end64 + locator + end
    assert unzip(source) == {"a.xml": PLAIN}
    result, _tally = recoded(source)
    assert unzip(result) == {"a.xml": UPGRADED}
    assert b"PK\6\6" in result


@pytest.mark.parametrize("offset", [0xFFFFFFFE, 0xFFFFFFFF, 1 << 33])
def test_members_past_four_gibibytes(offset: int) -> None:
    from xep419.archive.zip_members import Directory

    directory = Directory(io.BytesIO(zipped({"a.xml": PLAIN})))
    record = directory.member(0).record(offset)
    whole = record + directory.ending(0, len(record))
    with zipfile.ZipFile(io.BytesIO(whole)) as opened:
        assert opened.infolist()[0].header_offset == offset


@pytest.mark.any_python
@pytest.mark.outer
def test_more_members_than_a_count_of_two_bytes() -> None:
    members = {f"{number}": b"" for number in range(0xFFFF)} | {"a.xml": PLAIN}
    result, _tally = recoded(zipped(members, zipfile.ZIP_STORED))
    with zipfile.ZipFile(io.BytesIO(result)) as opened:
        assert len(opened.namelist()) == 0x10000
        assert opened.read("a.xml") == UPGRADED


@pytest.mark.parametrize("tool", ["unzip", "zip"])
def test_the_zip_tools_read_and_wrote_it(tmp_path: Path, tool: str) -> None:
    if shutil.which(tool) is None or shutil.which("zip") is None:
        pytest.skip(f"{tool} is not installed")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.xml").write_bytes(PLAIN)
    subprocess.run(["zip", "-qr", "a.zip", "d"], cwd=tmp_path, check=True)
    path = tmp_path / "a.zip"
    assert archive.reencrypt(path, in_place=True).exit_status == 0
    subprocess.run([tool, *(["-tq"] if tool == "unzip" else ["-Tq"]), path], check=True, capture_output=True)
    assert unzip(path.read_bytes())["d/a.xml"] == UPGRADED


@pytest.mark.parametrize("first", ["mimetype", "[Content_Types].xml", "_rels/.rels", "META-INF/MANIFEST.MF"])
def test_documents_and_programs_are_not_archives_of_stanzas(first: str) -> None:
    data = zipped({first: b"<a/>", "content.xml": PLAIN})
    with pytest.raises(UnsupportedArchiveError, match=r"^it is an office document, a book or a program"):
        recoded(data)
    result, tally = recoded(tar({"a.odt": data, "a.xml": PLAIN}))
    assert untar(result) == {"a.odt": data, "a.xml": UPGRADED}
    assert tally.left_alone.total() == 1  # type: ignore[attr-defined,unused-ignore]


def spoiled(place: int, form: str, value: int, after: bytes = b"PK\1\2") -> bytes:
    """A field of the directory's first entry, or of its end, changed."""
    data = bytearray(zipped({"a.xml": PLAIN, "b.xml": PLAIN}))
    struct.pack_into(form, data, data.index(after) + place, value)
    return bytes(data)


PACKED = len(zlib.compress(PLAIN)) - 6
HOSTILE_ZIPS = {
    "overlap": (spoiled(20, "<L", 99_999), "the data of a.xml run into what follows it"),
    "same place": (spoiled(46 + 5 + 42, "<L", 0), "the data of a.xml run into what follows it"),
    "no first": (spoiled(42, "<L", 1), "a zip archive is expected to begin with its first member"),
    "count": (spoiled(10, "<H", 3, b"PK\5\6"), "3 entries of a zip archive are expected, not 2"),
    "place of the directory": (spoiled(16, "<L", 3, b"PK\5\6"), "a zip archive's directory is not where its end says"),
    "cut entry": (spoiled(46 + 5 + 28, "<H", 999), "an entry of a zip archive's directory is cut"),
    "no entry": (spoiled(0, "<L", 0), "an entry of a zip archive's directory is expected"),
    "other name": (spoiled(46, "<B", 99), "c.xml has another name before its data"),
    "no header": (spoiled(46 + 5 + 42, "<L", 5), "the data of a.xml run into what follows it"),
}


@pytest.mark.parametrize("name", HOSTILE_ZIPS)
def test_hostile_zips(name: str) -> None:
    data, message = HOSTILE_ZIPS[name]
    with pytest.raises(CorruptArchiveError) as caught:
        recoded(data)
    assert caught.value.message == message


@pytest.mark.parametrize(("place", "value", "reason"), [
    (24, len(PLAIN) - 1, f"{len(PLAIN) - 1} bytes are expected of it, not {len(PLAIN)} or more"),
    (24, 1 << 31, f"{1 << 31} bytes are expected of it, not {len(PLAIN)} or more"),
    (16, 1, f"the checksum 0x00000001 is expected, not 0x{zlib.crc32(PLAIN):08x}"),
])  # fmt: skip
def test_a_zip_member_that_is_not_what_its_entry_says_is_skipped(place: int, value: int, reason: str) -> None:
    data = spoiled(place, "<L", value)
    result, tally = recoded(data)
    assert tally.skips == [Skip("a.xml", reason)]
    with zipfile.ZipFile(io.BytesIO(result)) as opened:
        assert opened.read("b.xml") == UPGRADED
    local = slice(0, data.index(b"PK\3\4", 1))
    assert result[local] == data[local]


def test_a_zip_directory_that_claims_too_much_is_not_read() -> None:
    data = bytearray(zipped({"a.xml": PLAIN}))
    struct.pack_into("<L", data, data.index(b"PK\5\6") + 12, 0xFFFFFFF0)
    with pytest.raises(UnsupportedArchiveError, match=r"^the directory of the zip archive is larger than 32 MiB$"):
        recoded(bytes(data))


# -- growth ---------------------------------------------------------------------------------------------------


@pytest.mark.any_python
@pytest.mark.core  # the twin takes minutes
@pytest.mark.parametrize("kind", PACK)
def test_a_bomb_is_recoded_in_little_memory(kind: str) -> None:
    """An XML document of 64 MiB, packed into 64 KiB, in a tar.gz or a zip."""
    data = b"<a xmlns='urn:xmpp:ping'>" + b" " * (64 << 20) + b"</a>"
    whole = gzip.compress(tar({"a.xml": data})) if kind == "tar" else zipped({"a.xml": data})
    size = len(data)
    del data
    source, target, tally = io.BytesIO(whole), io.BytesIO(), Tally()
    form = recognise_file(source, Recoding())
    assert form is not None
    tracemalloc.start()
    try:
        form.recode([source], [target], Recoding(), tally)
        source.seek(0)
        target.seek(0)
        form.prove([source], [target], Recoding())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert tally.letters == 1
    assert peak < size // 3


@pytest.mark.any_python
@pytest.mark.parametrize("kind", PACK)
def test_time_grows_with_the_number_of_members(kind: str) -> None:
    def work_of(size: int) -> Callable[[], object]:
        data = PACK[kind]({f"{number}.xml": b"<a xmlns='urn:xmpp:ping'/>" for number in range(size)})
        return lambda: recoded(data)

    assert_linear(work_of, 100)


def test_random_bytes_are_never_more_than_corrupt() -> None:
    """In whatever way a tar or zip is spoiled, it ends in our own errors, or in what proves."""
    rng = random.Random(419)
    for kind in PACK:
        whole = PACK[kind]({"a.xml": b"<a xmlns='urn:xmpp:ping'/>", "b.xml.gz": gzip.compress(b"<a/>"), "c": b"x"})
        for _ in range(400):
            data = bytearray(whole)
            for _ in range(rng.randint(1, 4)):
                data[rng.randrange(len(data))] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
            try:
                if recognise_file(io.BytesIO(bytes(data)), Recoding()) is not None:
                    recoded(bytes(data))
            except (CorruptArchiveError, UnsupportedArchiveError):
                continue
