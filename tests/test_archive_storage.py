"""Where archives lie: local, in memory, on S3 through a real HTTP API; full, read-only and failing places."""

from __future__ import annotations

import contextlib
import errno
import gzip
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from archives import document, tree

from xep419 import ArchiveError, archive
from xep419.archive import placing, slices, storage
from xep419.archive.journal import Journal
from xep419.archive.storage import (
    TEMPORARY,
    Entry,
    Location,
    Replacement,
    commit,
    discard,
    fingerprint,
    open_source,
    stale,
    temporary_for,
    walk,
)

pytestmark = pytest.mark.any_isa

PLAIN, UPGRADED = document(1, 20), document(1, 20, upgraded=True)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where journals of targets go that are not local."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    """moto's server: the S3 API over HTTP."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Location:
    """A bucket, which the environment says how to reach."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    fsspec.filesystem("s3").clear_instance_cache()
    bucket = f"bucket-{abs(hash(request.node.nodeid))}"
    fsspec.filesystem("s3").mkdir(bucket)
    return Location(f"s3://{bucket}")


@pytest.fixture
def memory() -> Iterator[Location]:
    file_system = fsspec.filesystem("memory")
    file_system.mkdir("/place")
    yield Location("memory://place")
    file_system.rm("/place", recursive=True)


@pytest.fixture(params=["local", "memory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """A directory of every kind."""
    if request.param == "local":
        (tmp_path / "place").mkdir()
        return Location(str(tmp_path / "place"))
    found: Location = request.getfixturevalue(request.param)
    return found


def put(location: Location, data: bytes) -> None:
    if location.is_local:
        os.makedirs(os.path.dirname(location.url), exist_ok=True)
        Path(location.url).write_bytes(data)
    else:
        file_system, path = fsspec.core.url_to_fs(location.url)
        file_system.pipe_file(path, data)


def get(location: Location) -> bytes:
    with open_source(location) as file:
        return file.read()


def everything(root: Location) -> dict[str, bytes]:
    """Every file below, our own temporaries too."""
    if root.is_local:
        return tree(Path(root.url))
    return {relative: get(location) for relative, location, _size in storage._below(root)}


# -- places ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "url", "is_local", "name", "parent", "child"), [
    ("a/b.xml", "a/b.xml", True, "b.xml", "a", "a/b.xml/c"),
    ("/a/b/", "/a/b/", True, "b", "/a", "/a/b/c"),
    ("/", "/", True, "", "/", "/c"),
    ("file:///a/b", "/a/b", True, "b", "/a", "/a/b/c"),
    ("s3://bucket/a/b", "s3://bucket/a/b", False, "b", "s3://bucket/a", "s3://bucket/a/b/c"),
    ("s3://bucket", "s3://bucket", False, "bucket", "s3:", "s3://bucket/c"),
])  # fmt: skip
def test_locations(given: str, url: str, is_local: bool, name: str, parent: str, child: str) -> None:
    location = Location.of(given)
    assert (location.url, location.is_local, location.name) == (url, is_local, name)
    assert (location.parent.url, location.child("c").url) == (parent, child)
    assert location.child("") == location


@pytest.mark.parametrize(("url", "shown"), [
    ("ftp://user:secret@host/a", "ftp://user:***@host/a"),
    ("ftp://user@host/a:b@c", "ftp://user@host/a:b@c"),
    ("filecache::ftp://user:s@host/a", "filecache::ftp://user:***@host/a"),
    ("https://host/a?X-Amz-Signature=secret", "https://host/a?***"),
    ("s3://bucket/a?b#c", "s3://bucket/a?b#c"),
    ("/tmp/a:b@c", "/tmp/a:b@c"),
])  # fmt: skip
def test_secrets_are_not_shown(url: str, shown: str) -> None:
    assert str(Location(url)) == shown
    assert repr(Location(url)) == f"Location({shown!r})"


def test_a_place_is_a_string() -> None:
    with pytest.raises(TypeError, match=r"^a path or URL is a str, not 'bytes'$"):
        Location.of(b"a")  # type: ignore[arg-type]


def test_an_unknown_kind_of_place_is_named() -> None:
    with pytest.raises(ArchiveError, match=r"^nowhere://a: Protocol not known: nowhere$"):
        archive.reencrypt("nowhere://a", in_place=True)


# -- walking --------------------------------------------------------------------------------------------------


def test_a_walk_gives_every_file_once_in_order_and_none_of_our_temporaries(place: Location) -> None:
    names = ["b", "a/2", "a/1", "c/d/e/f", "[x]*?", "a b"]
    for name in [*names, f"{TEMPORARY}0-1.tmp", f"a/{TEMPORARY}0-1.tmp"]:
        put(place.child(name), name.encode())
    found = list(walk(place))
    assert sorted(entry.relative for entry in found) == sorted(names)
    assert [entry.relative for entry in walk(place)] == [entry.relative for entry in found]
    for entry in found:
        assert entry.kind == "file"
        assert entry.size == len(entry.relative)
        assert get(entry.location) == entry.relative.encode()


def test_a_file_is_its_own_walk(place: Location) -> None:
    put(place.child("a"), b"abc")
    assert list(walk(place.child("a"))) == [Entry("", place.child("a"), 3, "file")]


def test_nothing_to_walk(place: Location) -> None:
    with pytest.raises(ArchiveError, match=r"(?i)no such file or directory$") as caught:
        list(walk(place.child("nothing")))
    assert str(caught.value).startswith(f"{place}/nothing: ")


def test_links_sockets_and_pipes_are_told_and_not_opened(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "d").mkdir(parents=True)
    (root / "out").symlink_to("/etc")
    (root / "loop").symlink_to(".")
    os.mkfifo(root / "pipe")
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as bound:
        bound.bind(str(root / "d" / "socket"))
        found = [(entry.relative, entry.kind) for entry in walk(Location(str(root)))]
    assert found == [("d/socket", "other"), ("loop", "link"), ("out", "link"), ("pipe", "other")]


def test_directories_may_be_deeper_than_python_recurses(tmp_path: Path) -> None:
    depth = 1200
    at = os.open(tmp_path, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    with open(os.open("a", os.O_CREAT | os.O_WRONLY, dir_fd=at), "wb") as file:
        file.write(b"x")
    os.close(at)
    try:
        assert [entry.relative for entry in walk(Location(str(tmp_path)))] == ["d/" * depth + "a"]
    finally:
        subprocess.run(["rm", "-r", tmp_path / "d"], check=True)  # which pytest cannot


# -- replacing ------------------------------------------------------------------------------------------------


def test_a_replacement_appears_whole_and_once(place: Location) -> None:
    target = place.child("deep/er/[a]*.xml")
    seen = set()
    for data in (b"first", b"second" * 999):
        replacement = Replacement(target, "0123")
        replacement.file.write(data)
        replacement.complete()
        assert replacement.temporary.parent == target.parent
        assert replacement.temporary.name.startswith(f"{TEMPORARY}0123-")
        assert replacement.temporary not in seen  # each attempt has its own
        seen.add(replacement.temporary)
        before = everything(place)
        assert before.get("deep/er/[a]*.xml") != data
        assert commit(replacement.temporary, target) is True
        assert everything(place) == {"deep/er/[a]*.xml": data}
        assert commit(replacement.temporary, target) is True  # again, after a kill
        assert everything(place) == {"deep/er/[a]*.xml": data}


def test_a_replacement_that_is_discarded_leaves_nothing(place: Location) -> None:
    put(place.child("a"), b"before")
    for size in (0, 10, 20 << 20):
        replacement = Replacement(place.child("a"), "0123")
        replacement.file.write(b"x" * size)
        replacement.discard()
        replacement.discard()
        assert everything(place) == {"a": b"before"}


def test_a_temporary_and_target_that_are_both_gone(place: Location) -> None:
    assert commit(temporary_for(place.child("a"), "0123"), place.child("a")) is False


def test_leftovers_of_one_job_are_found(place: Location) -> None:
    root = place.child("root")
    put(root.child("d/keep"), b"")
    ours = [temporary_for(target, "0123") for target in (root, root.child("a"), root.child("d/b"))]
    others = [temporary_for(root.child("a"), "4567"), root.child("a"), place.child("b")]
    for location in ours + others:
        put(location, b"x")
    found = sorted(stale(root, "0123"))
    assert found == sorted(ours)
    for location in found:
        discard(location)
    assert not list(stale(root, "0123"))
    assert list(stale(root, "4567")) == others[:1]
    assert not list(stale(place.child("nothing/at/all"), "0123"))


def test_a_fingerprint_tells_versions(place: Location) -> None:
    target = place.child("a")
    assert fingerprint(target) is None
    put(target, b"one")
    first = fingerprint(target)
    assert first is not None
    assert first.size == 3
    assert fingerprint(target) == first
    put(target, b"two")
    if target.is_local:
        os.utime(target.url, ns=(1, 1))
    assert fingerprint(target) != first


def test_a_name_of_the_greatest_length_has_a_temporary(tmp_path: Path) -> None:
    target = tmp_path / ("x" * 255)
    target.write_bytes(PLAIN)
    assert archive.reencrypt(target, in_place=True, journal=tmp_path / "journal").exit_status == 0
    assert target.read_bytes() == UPGRADED


@pytest.mark.parametrize(
    ("mode", "mask", "wanted"), [(0o600, 0o022, 0o600), (0o666, 0o022, 0o644), (0o440, 0o022, 0o640)]
)
def test_a_copy_is_not_readable_by_more_than_its_source(tmp_path: Path, mode: int, mask: int, wanted: int) -> None:
    source = tmp_path / "a.xml"
    source.write_bytes(PLAIN)
    source.chmod(mode)
    before = os.umask(mask)
    try:
        archive.reencrypt(source, tmp_path / "b.xml")
    finally:
        os.umask(before)
    assert (tmp_path / "b.xml").stat().st_mode & 0o777 == wanted


# -- jobs -----------------------------------------------------------------------------------------------------


def fill(root: Location) -> dict[str, bytes]:
    """An archive; what must become of it."""
    put(root.child("a.xml"), PLAIN)
    put(root.child("d/b.xml.gz"), gzip.compress(PLAIN, mtime=0))
    put(root.child("d/note"), b"no stanza")
    return {"a.xml": UPGRADED, "d/b.xml.gz": UPGRADED, "d/note": b"no stanza"}


def unpacked(found: dict[str, bytes]) -> dict[str, bytes]:
    return {name: gzip.decompress(data) if name.endswith(".gz") else data for name, data in found.items()}


def test_a_job_from_place_to_place(place: Location) -> None:
    wanted = fill(place.child("source"))
    report = archive.reencrypt(place.child("source").url, place.child("target").url)
    assert (report.exit_status, report.units) == (0, 3)
    assert unpacked(everything(place.child("target"))) == wanted
    again = archive.reencrypt(place.child("source").url, place.child("target").url)
    assert again.resumed == 3
    assert archive.verify(place.child("source").url, place.child("target").url).exit_status == 0
    assert archive.status(place.child("target").url).finished


def test_a_job_in_place(place: Location) -> None:
    wanted = fill(place.child("source"))
    assert archive.reencrypt(place.child("source").url, in_place=True).exit_status == 0
    assert unpacked(everything(place.child("source"))) == wanted
    assert archive.reencrypt(place.child("source").url, in_place=True).resumed == 3
    assert unpacked(everything(place.child("source"))) == wanted


def test_a_job_between_local_and_remote(s3: Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SPLIT", 1000)  # what is written to S3 cannot be written in slices
    wanted = fill(Location(str(tmp_path / "source")))
    archive.reencrypt(tmp_path / "source", s3.child("there").url)
    assert unpacked(everything(s3.child("there"))) == wanted
    archive.reencrypt(s3.child("there").url, tmp_path / "back")
    assert unpacked(tree(tmp_path / "back")) == wanted


@pytest.mark.core  # the twin takes long
def test_a_link_does_not_go_where_there_are_none(
    memory: Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "link").symlink_to("nowhere")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    report = archive.reencrypt(source, memory.url)
    assert report.tally.left_alone == {"a symbolic link, of which the target can hold none": 1}
    assert archive.verify(source, memory.url).exit_status == 0
    assert os.listdir(here) == []
    assert everything(memory) == {}


def test_an_object_of_many_parts(s3: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "REMOTE_BLOCK", 5 << 20)
    body = b"<m xmlns='urn:xmpp:ping'>" + b"x" * 1000 + b"</m>"
    put(s3.child("a.xml"), b"<a>" + body * 13_000 + b"</a>")
    report = archive.reencrypt(s3.child("a.xml").url, s3.child("b.xml").url)
    assert (report.exit_status, report.tally.stanzas) == (0, 13_000)
    assert get(s3.child("b.xml")) == b"<a>" + body.replace(b"xmpp:", b"xmpps:") * 13_000 + b"</a>"


def test_a_broken_object_is_left_as_it_was(place: Location) -> None:
    put(place.child("source/a.xml"), b"<a>")
    report = archive.reencrypt(place.child("source").url, in_place=True)
    assert report.exit_status == 3
    assert report.tally.skips[0].place == f"{place}/source/a.xml"
    assert everything(place.child("source")) == {"a.xml": b"<a>"}


class Stop(BaseException):
    """A kill, as far as a test can be killed."""


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("at", ["before", "between", "after"])
def test_a_job_that_ends_around_a_move_resumes(
    place: Location, monkeypatch: pytest.MonkeyPatch, at: str, odd: bool
) -> None:
    from archives import rot13

    root = place.child("source")
    for number in range(3):
        put(root.child(f"{number}.xml"), rot13(PLAIN) if odd else PLAIN)
    moves = []

    def stopping(temporary: Location, target: Location) -> bool:
        moves.append(target)
        if len(moves) == 2 and at == "before":
            raise Stop
        if len(moves) == 2 and at == "between":  # of a copy and the removal of what it is of
            put(target, get(temporary))
            raise Stop
        result = commit(temporary, target)
        if len(moves) == 2:
            raise Stop
        return result

    with monkeypatch.context() as context:
        context.setattr(placing, "commit", stopping)
        with pytest.raises(Stop):
            archive.reencrypt(root.url, in_place=True, rounds_from=int(odd))
    assert archive.reencrypt(root.url, in_place=True, rounds_from=int(odd)).exit_status == 0
    assert everything(root) == {f"{number}.xml": UPGRADED for number in range(3)}


def test_what_is_left_of_a_job_is_removed_by_the_next(place: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one that was killed before it journalled what it had ready, also where it is not gone on with."""
    for restart in (False, True):
        root = place.child(f"source{restart}")
        put(root.child("d/a.xml"), PLAIN)

        def killed(journal: Journal, records: Any) -> None:
            raise Stop

        with monkeypatch.context() as context:
            context.setattr(Journal, "intend", killed)
            context.setattr(placing, "discard", lambda _temporary: None)  # who is killed removes nothing
            with pytest.raises(Stop):
                archive.reencrypt(root.url, in_place=True)
        put(root.child("d/b.xml"), PLAIN)
        discard(root.child("d/a.xml"))  # nobody will come to its temporary again
        assert len(everything(root)) == 2
        archive.reencrypt(root.url, in_place=True, restart=restart)
        assert everything(root) == {"d/b.xml": UPGRADED}


def test_a_target_that_was_removed_after_a_kill_is_made_anew(place: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    put(place.child("source/a.xml"), PLAIN)
    target = place.child("target")

    def killed(temporary: Location, target: Location) -> bool:
        raise Stop

    with monkeypatch.context() as context:
        context.setattr(placing, "commit", killed)
        with pytest.raises(Stop):
            archive.reencrypt(place.child("source").url, target.url)
    (temporary,) = stale(target, archive_token(target))
    discard(temporary)
    assert archive.reencrypt(place.child("source").url, target.url).resumed == 0
    assert everything(target) == {"a.xml": UPGRADED}


def archive_token(target: Location) -> str:
    from xep419.archive.api import _journal_path

    with Journal(_journal_path(target)) as journal:
        return str(journal.facts()["token"])


def test_a_bucket_that_is_not_there(s3: Location, tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(PLAIN)
    with pytest.raises(ArchiveError, match=r"^s3://no-such-bucket/b\.xml: "):
        archive.reencrypt(tmp_path / "a.xml", "s3://no-such-bucket/b.xml")


def test_a_server_that_is_not_there(s3: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port = listening.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    fsspec.filesystem("s3").clear_instance_cache()
    with pytest.raises(ArchiveError, match=rf"^s3://bucket/a: .*127\.0\.0\.1:{port}"):
        archive.reencrypt("s3://bucket/a", in_place=True)
    fsspec.filesystem("s3").clear_instance_cache()


# -- full, read-only, forbidden, failing ----------------------------------------------------------------------


@contextlib.contextmanager
def mounted(at: Path, options: str) -> Iterator[Path]:
    """A file system of its own."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    at.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", at], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"mount: {done.stderr.decode()}")
    try:
        yield at
    finally:
        subprocess.run(["umount", at], check=True)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    with mounted(tmp_path / "small", "size=1m") as at:
        yield at


FULL = "no space left: what was written of it is removed"


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("jobs", [1, 3])
def test_no_space_left_and_then_some(small: Path, tmp_path: Path, verify: bool, jobs: int) -> None:
    source, target = tmp_path / "source", small / "target"
    source.mkdir()
    for number in range(40):
        (source / f"{number}.xml").write_bytes(document(number, 400))
    (small / "ballast").write_bytes(bytes(300_000))
    journal = tmp_path / "journal"
    with pytest.raises(ArchiveError) as caught:
        archive.reencrypt(source, target, verify=verify, jobs=jobs, journal=journal)
    assert caught.value.message.startswith(f"{target}/")
    assert caught.value.message.endswith(f".xml: {FULL}")
    assert not [path for path in small.rglob("*") if path.name.startswith(TEMPORARY)]
    for path in target.rglob("*.xml"):
        assert path.read_bytes() == document(int(path.stem), 400, upgraded=True)
    (small / "ballast").unlink()
    subprocess.run(["mount", "-o", "remount,size=16m", small], check=True)
    assert archive.reencrypt(source, target, verify=verify, jobs=jobs, journal=journal).exit_status == 0
    assert tree(target) == {f"{number}.xml": document(number, 400, upgraded=True) for number in range(40)}


def test_no_space_left_in_place_and_for_the_journal(small: Path) -> None:
    data = document(1, 2500)
    assert 1 << 19 < len(data) < 1 << 20
    (small / "a.xml").write_bytes(data)
    with pytest.raises(ArchiveError, match=rf"^{small}/a.xml: {FULL}$"):
        archive.reencrypt(small / "a.xml", in_place=True)
    assert (small / "a.xml").read_bytes() == data
    assert not [path for path in small.iterdir() if path.name.startswith(TEMPORARY)]
    (small / "ballast").write_bytes(bytes((1 << 20) - len(data) - 50_000))
    with pytest.raises(ArchiveError, match=r"the job's journal cannot be used"):
        archive.reencrypt(small / "a.xml", in_place=True)
    assert (small / "a.xml").read_bytes() == data


def test_no_space_left_for_slices(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is durable of a large file stays for the next run, which takes it up or, begun anew, removes it."""
    monkeypatch.setattr(slices, "SPLIT", 100_000)
    monkeypatch.setattr(slices, "SLICE", 100_000)
    monkeypatch.setattr(slices, "CHUNK", 10_000)
    (tmp_path / "a.xml").write_bytes(document(1, 6000))
    keywords: dict[str, Any] = {"jobs": 1, "journal": tmp_path / "journal"}
    with pytest.raises(ArchiveError, match=r"(?i)no space left"):
        archive.reencrypt(tmp_path / "a.xml", small / "b.xml", **keywords)
    assert [path.name.startswith(TEMPORARY) for path in small.iterdir()] == [True]
    subprocess.run(["mount", "-o", "remount,size=8m", small], check=True)
    archive.reencrypt(tmp_path / "a.xml", small / "b.xml", **keywords)
    assert tree(small) == {"b.xml": document(1, 6000, upgraded=True)}


def test_no_space_left_for_temporary_files(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where members of tar files are spooled."""
    import tarfile
    import tempfile

    (tmp_path / "a.xml").write_bytes(b"<a>" + b" " * (6 << 20) + b"</a>")
    with tarfile.open(tmp_path / "a.tar", "w") as opened:
        opened.add(tmp_path / "a.xml", "a.xml")
    before = (tmp_path / "a.tar").read_bytes()
    monkeypatch.setattr(tempfile, "tempdir", str(small))
    with pytest.raises(ArchiveError, match=rf"^{small}: no space left"):
        archive.reencrypt(tmp_path / "a.tar", in_place=True)
    assert (tmp_path / "a.tar").read_bytes() == before
    assert sorted(path.name for path in tmp_path.glob("a*")) == ["a.tar", "a.tar.xep419-journal", "a.xml"]


def test_a_read_only_file_system(tmp_path: Path) -> None:
    source = tmp_path / "a.xml"
    source.write_bytes(PLAIN)
    with mounted(tmp_path / "fixed", "size=1m") as fixed:
        (fixed / "b.xml").write_bytes(PLAIN)
        subprocess.run(["mount", "-o", "remount,ro", fixed], check=True)
        journal = tmp_path / "journal"
        with pytest.raises(ArchiveError, match=rf"^{fixed}/d/c.xml: Read-only file system$"):
            archive.reencrypt(source, fixed / "d" / "c.xml", journal=journal)
        for keywords in ({"in_place": True}, {"in_place": True, "journal": tmp_path / "other"}):
            with pytest.raises(ArchiveError, match=r"Read-only file system|Permission denied"):
                archive.reencrypt(fixed / "b.xml", **keywords)  # type: ignore[arg-type]
        assert (fixed / "b.xml").read_bytes() == PLAIN


AS_NOBODY = """
import fcntl, os, sys
from xep419 import archive
from xep419.archive.engines import local
from xep419.archive.formats import formats
formats()
os.setgid(65534), os.setuid(65534)  # only now, since another user may not be able to read the package
try:
    archive.reencrypt(sys.argv[1], sys.argv[2] or None, in_place=not sys.argv[2], journal=sys.argv[3])
except archive.api.ArchiveError as error:
    print(error.message)
"""


@pytest.mark.parametrize("forbidden", ["source", "target", "directory", "below"])
def test_no_permission(tmp_path: Path, forbidden: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may become another user")
    import tempfile

    with tempfile.TemporaryDirectory() as name:  # pytest's own are root's alone
        root = Path(name)
        root.chmod(0o755)
        source, target, journal = root / "source", root / "target", root / "journal"
        for directory in (source, target, journal):
            directory.mkdir()
            directory.chmod(0o777)
        (source / "a.xml").write_bytes(PLAIN)
        (target / "a.xml").write_bytes(b"old")
        denied = {
            "source": source / "a.xml", "target": target / "a.xml", "directory": target, "below": source / "d",
        }[forbidden]  # fmt: skip
        if forbidden == "below":
            denied.mkdir()
        (target / "a.xml").chmod(0o666)
        denied.chmod(0o555 if forbidden == "directory" else 0o444 if forbidden == "target" else 0)
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, source, target, journal / "j"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        named = target / "a.xml" if forbidden == "directory" else denied
        assert done.stdout == f"{named}: Permission denied\n", done.stderr
        assert (target / "a.xml").read_bytes() == b"old"
        assert not [path for path in root.rglob("*") if path.name.startswith(TEMPORARY)]


@pytest.mark.parametrize("number", [errno.EIO, errno.EDQUOT, errno.ESTALE])
@pytest.mark.parametrize("side", ["read", "write", "sync"])
def test_a_failing_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, side: str) -> None:
    """The system call fails as it would; there is no disk here to break."""
    import io

    class Failing(io.FileIO):
        def readinto(self, buffer: Any) -> int:
            if side == "read" and str(self.name).endswith("a.xml"):
                raise OSError(number, os.strerror(number))
            return super().readinto(buffer)

        def write(self, data: Any) -> int:
            if side == "write":
                raise OSError(number, os.strerror(number))
            return super().write(data)

    def fsync(file: int) -> None:
        raise OSError(number, os.strerror(number))

    (tmp_path / "a.xml").write_bytes(document(1, 2000))
    monkeypatch.setattr(storage.io, "FileIO", Failing)
    monkeypatch.setattr(storage, "create", lambda temporary, *_rest, **_more: Failing(temporary, "x+"))
    if side == "sync":
        monkeypatch.setattr(storage.os, "fsync", fsync)
    reason = (
        "the quota is used up: what was written of it is removed" if number == errno.EDQUOT else os.strerror(number)
    )
    named = tmp_path / ("a.xml" if side == "read" else "b.xml")
    with pytest.raises(ArchiveError) as caught:
        archive.reencrypt(tmp_path / "a.xml", tmp_path / "b.xml")
    assert caught.value.message == f"{named}: {reason}"
    assert isinstance(caught.value.__cause__, OSError)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(TEMPORARY)]
    assert not (tmp_path / "b.xml").exists()


def test_a_file_larger_than_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(document(1, 2000))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(ArchiveError, match=rf"^{tmp_path}/b\.xml: File too large$"):
            archive.reencrypt(tmp_path / "a.xml", tmp_path / "b.xml")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "state") == ["a.xml", "b.xml.xep419-journal"]
