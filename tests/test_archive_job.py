"""Jobs over files: what comes out, what is left alone, what a second job does, and that nothing is half done."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from archives import document, rot13, tree

from xep419 import ArchiveError, UnsupportedArchiveError, archive
from xep419.archive import Skip, placing, slices
from xep419.archive.storage import TEMPORARY

pytestmark = pytest.mark.any_isa


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    (root / "deep" / "er").mkdir(parents=True)
    for number in range(5):
        (root / f"{number}.xml").write_bytes(document(number, 20))
    (root / "deep" / "er" / "5.xml").write_bytes(document(5, 3))
    (root / "deep" / "notes.txt").write_bytes(b"no stanza: http://example.org/\n")
    return root


def expected(root: Path) -> dict[str, bytes]:
    found = tree(root)
    for name in found:
        if name.endswith(".xml") and name != "broken.xml":
            seed = int(Path(name).stem)
            found[name] = document(seed, 3 if seed == 5 else 20, upgraded=True)
    return found


def leftovers(root: Path) -> list[str]:
    return [str(path) for path in root.rglob("*") if path.name.startswith(TEMPORARY)]


# -- what comes out -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", [1, 2, 5])
@pytest.mark.parametrize("verify", [True, False])
def test_a_directory_becomes_a_complete_upgraded_copy(source: Path, tmp_path: Path, jobs: int, verify: bool) -> None:
    target = tmp_path / "target"
    report = archive.reencrypt(source, target, jobs=jobs, verify=verify)
    assert tree(target) == expected(source)
    assert (report.exit_status, report.units, report.tally.skipped) == (0, 7, 0)
    assert report.tally.left_alone == {"nothing in it is known to be a stanza": 1}
    assert report.tally.stanzas == (103 if verify else 0)
    assert report.tally.insecure["http://example.org/root"] == 6
    assert not leftovers(tmp_path)


def test_in_place_replaces_the_files_and_keeps_their_permissions(source: Path) -> None:
    wanted = expected(source)
    (source / "0.xml").chmod(0o640)
    archive.reencrypt(source, in_place=True)
    assert tree(source) == wanted
    assert (source / "0.xml").stat().st_mode & 0o777 == 0o640
    assert not leftovers(source.parent)


def test_one_file_becomes_one_file(source: Path, tmp_path: Path) -> None:
    archive.reencrypt(source / "0.xml", tmp_path / "out.xml")
    assert (tmp_path / "out.xml").read_bytes() == document(0, 20, upgraded=True)


def test_several_sources_go_into_a_directory_under_their_names(source: Path, tmp_path: Path) -> None:
    archive.reencrypt([source / "0.xml", source / "deep"], tmp_path / "out")
    assert set(tree(tmp_path / "out")) == {"0.xml", "deep/notes.txt", "deep/er/5.xml"}


@pytest.mark.parametrize(("rounds_from", "rounds_to"), [(0, 0), (0, 1), (1, 0), (1, 2), (2, 1), (3, 3)])
def test_rotations_of_the_source_are_undone_and_those_of_the_target_done(
    tmp_path: Path, rounds_from: int, rounds_to: int
) -> None:
    plain, upgraded = document(1, 30), document(1, 30, upgraded=True)
    (tmp_path / "a.xml").write_bytes(rot13(plain) if rounds_from % 2 else plain)
    report = archive.reencrypt(tmp_path / "a.xml", tmp_path / "b.xml", rounds_from=rounds_from, rounds_to=rounds_to)
    assert report.exit_status == 0
    assert (tmp_path / "b.xml").read_bytes() == (rot13(upgraded) if rounds_to % 2 else upgraded)
    proof = archive.verify(tmp_path / "a.xml", tmp_path / "b.xml", rounds_from=rounds_from, rounds_to=rounds_to)
    assert proof.exit_status == 0


def test_without_upgrade_only_rotations_remain(source: Path, tmp_path: Path) -> None:
    report = archive.reencrypt(source, tmp_path / "target", upgrade=False)
    assert tree(tmp_path / "target") == tree(source)
    assert report.names_upgraded == {}
    assert report.tally.insecure["urn:xmpp:sid:0"] > 0


def test_links_stay_links_and_other_things_are_not_opened(source: Path, tmp_path: Path) -> None:
    (source / "link.xml").symlink_to("0.xml")
    (source / "dangling").symlink_to("nowhere")
    os.mkfifo(source / "fifo")
    report = archive.reencrypt(source, tmp_path / "target", jobs=1)
    assert os.readlink(tmp_path / "target" / "link.xml") == "0.xml"
    assert os.readlink(tmp_path / "target" / "dangling") == "nowhere"
    assert report.tally.left_alone["neither a file nor a directory"] == 1
    assert report.tally.left_alone["a symbolic link, kept as it is"] == 2
    assert report.exit_status == 0


@pytest.mark.parametrize("other", ["link", "file", "nothing"])
def test_verify_finds_a_link_that_is_another(source: Path, tmp_path: Path, other: str) -> None:
    (source / "link").symlink_to("nowhere")
    archive.reencrypt(source, tmp_path / "target")
    assert archive.verify(source, tmp_path / "target").tally.left_alone["a symbolic link, kept as it is"] == 1
    link = tmp_path / "target" / "link"
    link.unlink()
    if other == "link":
        link.symlink_to("elsewhere")
    elif other == "file":
        link.write_bytes(b"")
    report = archive.verify(source, tmp_path / "target")
    assert (report.exit_status, report.tally.skipped) == (3, 1)
    assert report.tally.skips[0].reason == f"{link} is not the same symbolic link"


def test_a_dry_run_counts_and_writes_nothing(source: Path, tmp_path: Path) -> None:
    before = tree(tmp_path)
    report = archive.reencrypt(source, dry_run=True)
    assert report.tally.insecure["http://example.org/root"] == 6
    assert tree(tmp_path) == before


# -- corrupt units --------------------------------------------------------------------------------------------

BROKEN = {
    "end tag": (b"<a><b></a></b>", "the end tag </b> is expected, not </a>", 6),
    "cut": (b"<a><b>", "the end tag </b> is expected, but the document ended", 6),
    "not UTF-8": (b"<a><b>\xff</b></a>", r"UTF-8 is expected, not the bytes b'\xff'", 6),
    "UTF-16": (
        "<a/>".encode("utf-16"),
        "XML in UTF-8 or another ASCII-compatible encoding is needed, not UTF-16 or UTF-32"
        r" (it begins with b'\xff\xfe<\x00a\x00/\x00')",
        0,
    ),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("in_place", [True, False])
def test_a_corrupt_file_is_left_as_it_was_and_the_job_goes_on(
    source: Path, tmp_path: Path, name: str, in_place: bool
) -> None:
    data, reason, offset = BROKEN[name]
    (source / "broken.xml").write_bytes(data)
    target = source if in_place else tmp_path / "target"
    wanted = expected(source)
    report = archive.reencrypt(source, None if in_place else target, in_place=in_place)
    assert (report.exit_status, report.tally.skipped) == (3, 1)
    assert report.tally.skips == [Skip(str(source / "broken.xml"), reason, offset)]
    assert tree(target) == wanted


def test_a_corrupt_file_that_was_mended_is_done_by_the_next_job(source: Path, tmp_path: Path) -> None:
    (source / "0.xml").write_bytes(b"<a>")
    assert archive.reencrypt(source, tmp_path / "target").exit_status == 3
    (source / "0.xml").write_bytes(document(0, 20))
    report = archive.reencrypt(source, tmp_path / "target")
    assert (report.exit_status, report.resumed) == (0, 6)
    assert tree(tmp_path / "target") == expected(source)


# -- a second job ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_place", [True, False])
def test_a_job_that_is_done_is_a_no_op(source: Path, tmp_path: Path, in_place: bool) -> None:
    keywords: dict[str, Any] = {"in_place": True} if in_place else {"target": tmp_path / "target"}
    keywords |= {"rounds_from": 1, "rounds_to": 2}
    for path in source.rglob("*.xml"):
        path.write_bytes(rot13(path.read_bytes()))
    first = archive.reencrypt(source, **keywords)
    done = source if in_place else tmp_path / "target"
    after = {path: path.stat().st_mtime_ns for path in done.rglob("*.xml")}
    again = archive.reencrypt(source, **keywords)
    assert {path: path.stat().st_mtime_ns for path in done.rglob("*.xml")} == after
    assert (again.resumed, again.units) == (7, 7)
    assert again.tally == first.tally


def test_a_changed_source_is_done_again(source: Path, tmp_path: Path) -> None:
    archive.reencrypt(source, tmp_path / "target")
    (source / "0.xml").write_bytes(document(1, 20))
    report = archive.reencrypt(source, tmp_path / "target")
    assert report.resumed == 6
    assert (tmp_path / "target" / "0.xml").read_bytes() == document(1, 20, upgraded=True)


def test_a_file_that_grew_after_an_odd_rotation_in_place_is_not_rotated_twice(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_bytes(rot13(document(0, 3)))
    archive.reencrypt(path, in_place=True, rounds_from=1)
    path.write_bytes(document(0, 4))
    report = archive.reencrypt(path, in_place=True, rounds_from=1)
    assert report.exit_status == 3
    assert report.tally.skips[0].reason.startswith("it changed since it was re-encrypted")
    assert path.read_bytes() == document(0, 4)


def test_a_job_with_other_settings_is_refused_until_it_is_begun_anew(source: Path, tmp_path: Path) -> None:
    archive.reencrypt(source, tmp_path / "target")
    with pytest.raises(ArchiveError, match=r"begun by a job with other settings \(rounds_to\)"):
        archive.reencrypt(source, tmp_path / "target", rounds_to=1)
    archive.reencrypt(source, tmp_path / "target", rounds_to=1, restart=True)
    assert (tmp_path / "target" / "0.xml").read_bytes() == rot13(document(0, 20, upgraded=True))


def test_two_jobs_on_one_target_refuse_each_other(source: Path, tmp_path: Path) -> None:
    class Second:
        def found(self, units: int, size: int) -> None: ...

        def working(self, name: str) -> None:
            with pytest.raises(ArchiveError, match="another job is at work on this target"):
                archive.reencrypt(source, tmp_path / "target")
            assert archive.status(tmp_path / "target").running

        def advance(self, count: int) -> None: ...

        def done(self, units: int) -> None: ...

    archive.reencrypt(source, tmp_path / "target", observer=Second())
    assert not archive.status(tmp_path / "target").running


def test_a_job_that_is_interrupted_between_two_moves_makes_both(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, calls = placing.commit, 0

    def interrupted(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return commit(*arguments)

    monkeypatch.setattr(placing, "commit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        archive.reencrypt(source, tmp_path / "target")
    assert calls > 2
    assert not leftovers(tmp_path)
    assert tree(tmp_path / "target") == expected(source)
    assert archive.status(tmp_path / "target").finished is None
    assert archive.reencrypt(source, tmp_path / "target").resumed == 7


# -- what cannot be meant -------------------------------------------------------------------------------------


@pytest.mark.parametrize("keywords", [{}, {"in_place": True, "target": "x"}])
def test_the_target_is_named_once(source: Path, keywords: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected either a target or in_place"):
        archive.reencrypt(source, **keywords)


@pytest.mark.parametrize("target", ["source/inside", "."])
def test_a_target_within_its_source_is_refused(source: Path, target: str) -> None:
    with pytest.raises(ValueError, match="one within the other"):
        archive.reencrypt(source, source.parent / target)


def test_a_source_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="there is no such file or directory"):
        archive.reencrypt(tmp_path / "nothing", tmp_path / "target")


# -- verify, status, scan -------------------------------------------------------------------------------------


def test_verify_finds_one_changed_byte_anywhere(source: Path, tmp_path: Path) -> None:
    archive.reencrypt(source, tmp_path / "target")
    assert archive.verify(source, tmp_path / "target").exit_status == 0
    changed = tmp_path / "target" / "3.xml"
    whole = changed.read_bytes()
    for at in range(0, len(whole), 97):
        changed.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        report = archive.verify(source, tmp_path / "target")
        assert report.tally.skipped == 1, at
        assert str(changed) in report.tally.skips[0].reason
    changed.unlink()
    assert archive.verify(source, tmp_path / "target").tally.skips[0].reason == f"{changed} is missing"


def test_status_tells_of_a_job(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="no job was begun"):
        archive.status(tmp_path / "target")
    archive.reencrypt(source, tmp_path / "target")
    found = archive.status(tmp_path / "target")
    assert (found.running, found.units, found.tally.stanzas) == (False, 7, 103)
    assert found.finished is not None
    json.dumps(found.as_dict())


def test_status_leaves_nothing_behind(source: Path, tmp_path: Path) -> None:
    archive.reencrypt(source, tmp_path / "target")
    before = sorted(os.listdir(tmp_path))
    archive.status(tmp_path / "target")
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_status_of_a_place_that_may_not_be_written(source: Path, tmp_path: Path) -> None:
    archive.reencrypt(source, tmp_path / "target")
    tmp_path.chmod(0o500)
    try:
        assert archive.status(tmp_path / "target").units == 7
    finally:
        tmp_path.chmod(0o700)


def test_scan_tells_where_else_names_stand(source: Path) -> None:
    (source / "pep_urn%3axmpp%3aavatar%3adata").mkdir()
    (source / "pep_urn%3axmpp%3aavatar%3adata" / "alice.dat").write_bytes(b"")
    report = archive.scan(source)
    assert [place for place, _count in report.elsewhere] == [f"the path {source}/pep_urn%3axmpp%3aavatar%3adata"]


# -- slices ---------------------------------------------------------------------------------------------------


@pytest.fixture
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SPLIT", 20_000)
    monkeypatch.setattr(slices, "SLICE", 4_000)
    monkeypatch.setattr(slices, "CHUNK", 1_000)


@pytest.mark.usefixtures("small_slices")
@pytest.mark.parametrize(("rounds_from", "rounds_to"), [(0, 2), (1, 2), (0, 1)])
def test_a_large_document_in_slices_comes_out_as_if_it_were_whole(
    tmp_path: Path, rounds_from: int, rounds_to: int
) -> None:
    plain, upgraded = document(7, 300), document(7, 300, upgraded=True)
    (tmp_path / "a.xml").write_bytes(rot13(plain) if rounds_from else plain)
    report = archive.reencrypt(
        tmp_path / "a.xml", tmp_path / "b.xml", rounds_from=rounds_from, rounds_to=rounds_to, jobs=3
    )
    assert report.exit_status == 0
    assert report.tally.stanzas == 300
    assert (tmp_path / "b.xml").read_bytes() == (rot13(upgraded) if rounds_to % 2 else upgraded)


@pytest.mark.usefixtures("small_slices")
def test_a_large_document_that_breaks_late_is_left_as_it_was(tmp_path: Path) -> None:
    broken = document(7, 300)[:-20]
    (tmp_path / "a.xml").write_bytes(broken)
    report = archive.reencrypt(tmp_path / "a.xml", in_place=True)
    assert report.exit_status == 3
    assert (tmp_path / "a.xml").read_bytes() == broken
    assert not leftovers(tmp_path)


@pytest.mark.usefixtures("small_slices")
def test_prefixes_that_the_root_declares_reach_every_slice(tmp_path: Path) -> None:
    """Within XEP-0115's ``c`` a node stays, also where its prefix was declared slices ago."""
    c = "<c:c node='urn:xmpp:ping'/><iq><q node='urn:xmpp:ping'/></iq>\n"
    data = f"<a xmlns:c='http://jabber.org/protocol/caps'>{c * 500}</a>"
    (tmp_path / "a.xml").write_text(data)
    archive.reencrypt(tmp_path / "a.xml", in_place=True)
    upgraded = c.replace("q node='urn:xmpp:", "q node='urn:xmpps:")
    assert (tmp_path / "a.xml").read_text() == f"<a xmlns:c='https://jabber.org/protocol/caps'>{upgraded * 500}</a>"


@pytest.mark.usefixtures("small_slices")
def test_slices_that_are_done_are_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.xml").write_bytes(document(7, 300))
    runs: list[int] = []
    run = slices.SliceUnit.run

    def failing(unit: slices.SliceUnit, *arguments: Any) -> Any:
        runs.append(unit.cut.start)
        if len(runs) == 5:
            raise ArchiveError("no space left")
        return run(unit, *arguments)

    monkeypatch.setattr(slices.SliceUnit, "run", failing)
    with pytest.raises(ArchiveError, match="no space left"):
        archive.reencrypt(tmp_path / "a.xml", tmp_path / "b.xml", jobs=1)
    assert not (tmp_path / "b.xml").exists()
    first = list(runs)
    archive.reencrypt(tmp_path / "a.xml", tmp_path / "b.xml", jobs=1)
    assert (tmp_path / "b.xml").read_bytes() == document(7, 300, upgraded=True)
    again = set(first[:4]) & set(runs[len(first) :])
    assert len(again) <= 1  # one may still have waited for the disk


def test_a_source_that_shrinks_while_it_is_read_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.xml"
    path.write_bytes(document(0, 20))

    class Meddler:
        def found(self, units: int, size: int) -> None: ...

        def working(self, name: str) -> None: ...

        def advance(self, count: int) -> None:
            path.write_bytes(document(1, 20))

        def done(self, units: int) -> None: ...

    report = archive.reencrypt(path, in_place=True, observer=Meddler(), verify=False)
    assert report.exit_status == 3
    assert "changed while it was read" in report.tally.skips[0].reason
    assert path.read_bytes() == document(1, 20)


def test_a_journal_that_is_not_one_is_refused(source: Path, tmp_path: Path) -> None:
    (tmp_path / "target.xep419-journal").write_bytes(b"not a database" * 100)
    with pytest.raises(ArchiveError, match="the job's journal cannot be used"):
        archive.reencrypt(source, tmp_path / "target")
    shutil.rmtree(tmp_path / "target", ignore_errors=True)


# -- groups ---------------------------------------------------------------------------------------------------

INDEX = 'item({\n\t["offset"] = 0;\n\t["length"] = %d;\n\t["when"] = "2026-11-22T17:09:37Z";\n\t["id"] = "x";\n});\n'
MESSAGE = b"<message><x xmlns='urn:xmpp:sid:0'/></message>\n"


@pytest.fixture
def day(tmp_path: Path) -> Path:
    """The index of a day of Prosody's xmlarchive, with the XML beside it."""
    (tmp_path / "day").mkdir()
    (tmp_path / "day" / "a.xml").write_bytes(MESSAGE)
    index = tmp_path / "day" / "a.list"
    index.write_text(INDEX % len(MESSAGE))
    return index


@pytest.mark.parametrize("alone", [True, False])
def test_an_index_and_its_xml_are_one_unit(day: Path, tmp_path: Path, alone: bool) -> None:
    target = tmp_path / "out"
    source, into = (day, target / "a.list") if alone else (day.parent, target)
    report = archive.reencrypt(source, into)
    assert (report.units, report.tally.stanzas, report.exit_status) == (1, 1, 0)
    assert tree(target) == {
        "a.list": (INDEX % (len(MESSAGE) + 1)).encode(),
        "a.xml": MESSAGE.replace(b"urn:xmpp:", b"urn:xmpps:"),
        **({"a.list.xep419-journal": tree(target)["a.list.xep419-journal"]} if alone else {}),
    }
    assert archive.verify(source, into).exit_status == 0
    assert archive.reencrypt(source, into).resumed == 1


def test_an_index_takes_its_xml_along_to_another_name(day: Path, tmp_path: Path) -> None:
    archive.reencrypt(day, tmp_path / "b.list")
    assert (tmp_path / "b.xml").read_bytes() == MESSAGE.replace(b"urn:xmpp:", b"urn:xmpps:")


def test_an_index_without_its_xml_is_corrupt(day: Path, tmp_path: Path) -> None:
    (day.parent / "a.xml").unlink()
    report = archive.reencrypt(day, tmp_path / "b.list")
    assert (report.exit_status, report.tally.skips[0].place) == (3, str(day))
    assert "needs a.xml beside it" in report.tally.skips[0].reason


def test_the_stanzas_of_a_directory_have_places(source: Path, day: Path) -> None:
    found = list(archive.stanzas(day.parent))
    assert found == [(f"{day}: item 1", MESSAGE)]
    assert len(list(archive.stanzas(source))) == 103
    with pytest.raises(UnsupportedArchiveError, match="nothing in it is known to be a stanza"):
        list(archive.stanzas(source / "deep" / "notes.txt"))
