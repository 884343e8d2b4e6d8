"""Local documents recoded and proved by their descriptors: as by streams, whatever ends it."""

from __future__ import annotations

import errno
import io
from pathlib import Path
from typing import IO, cast

import pytest
from archives import Counting, document, rot13, tree

from xep419 import archive
from xep419.archive import descriptors
from xep419.archive.formats import xml
from xep419.archive.recoding import Recoding
from xep419.archive.storage import TEMPORARY, Location, Replacement, open_source
from xep419.archive.tally import Tally
from xep419.errors import ArchiveError, RestorationError

pytestmark = pytest.mark.any_isa
FORMAT = xml.XMLDocument()


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xml, "CHUNK", 1_000)
    monkeypatch.setattr(descriptors, "STEP", 3_000)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Where every step ended."""
    made: list[int] = []
    passed = descriptors.Pair.passed

    def noted(pair: descriptors.Pair, offset: int) -> None:
        made.append(offset)
        passed(pair, offset)

    monkeypatch.setattr(descriptors.Pair, "passed", noted)
    return made


def by_streams(data: bytes, recoding: Recoding) -> tuple[bytes, Tally]:
    target, tally = io.BytesIO(), Tally()
    FORMAT.recode([io.BytesIO(data)], [target], recoding, tally)
    return target.getvalue(), tally


@pytest.mark.parametrize(("rounds_from", "rounds_to"), [(0, 2), (1, 2), (0, 1), (1, 1), (2, 0), (3, 3)])
@pytest.mark.parametrize("verify", [True, False])
def test_a_document_comes_out_as_by_streams(
    tmp_path: Path, steps: list[int], rounds_from: int, rounds_to: int, verify: bool
) -> None:
    plain, upgraded = document(7, 300), document(7, 300, upgraded=True)
    data = rot13(plain) if rounds_from % 2 else plain
    (tmp_path / "a.xml").write_bytes(data)
    counting = Counting()
    report = archive.reencrypt(
        tmp_path / "a.xml",
        tmp_path / "b.xml",
        rounds_from=rounds_from,
        rounds_to=rounds_to,
        verify=verify,
        observer=counting,
    )
    found = (tmp_path / "b.xml").read_bytes()
    assert found == (rot13(upgraded) if rounds_to % 2 else upgraded)
    expected, tally = by_streams(data, Recoding(rounds_from, rounds_to))
    assert found == expected
    assert (report.tally.insecure, report.tally.secure) == (tally.insecure, tally.secure)
    assert report.tally.bytes_written == len(found)
    assert counting.read == len(data)
    assert len(data) > 30_000
    expected_steps = [*range(4_000, len(data), 3_000), len(data)]
    assert steps[: len(expected_steps)] == expected_steps
    assert len(steps) > (1 + verify) * 10


def test_what_is_no_local_file_takes_the_streams(tmp_path: Path, steps: list[int]) -> None:
    data = document(7, 300)
    (tmp_path / "a.xml").write_bytes(data)
    archive.reencrypt(tmp_path / "a.xml", tmp_path / "b.xml", dry_run=True)
    archive.reencrypt(tmp_path / "a.xml", tmp_path / "b.xml", upgrade=False, rounds_to=1, verify=False)
    assert (tmp_path / "b.xml").read_bytes() == rot13(data)
    assert not steps


@pytest.mark.parametrize("in_place", [False, True])
def test_what_breaks_late_is_left_as_it_was(tmp_path: Path, steps: list[int], in_place: bool) -> None:
    broken = document(7, 300).replace(b"</archive>", b"</archiv>")
    (tmp_path / "a.xml").write_bytes(broken)
    target = None if in_place else tmp_path / "b.xml"
    report = archive.reencrypt(tmp_path / "a.xml", target, in_place=in_place)
    assert (report.exit_status, len(report.tally.skips)) == (3, 1)
    assert report.tally.skips[0].offset == broken.index(b"</archiv>")
    assert (target or tmp_path / "a.xml").read_bytes() == broken
    assert steps
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(TEMPORARY)]


def test_a_job_may_end_between_two_steps(tmp_path: Path) -> None:
    class Ending(Counting):
        def advance(self, count: int) -> None:
            super().advance(count)
            if self.read > 10_000:
                raise KeyboardInterrupt

    (tmp_path / "a.xml").write_bytes(document(7, 300))
    with pytest.raises(KeyboardInterrupt):
        archive.reencrypt(tmp_path / "a.xml", tmp_path / "b.xml", observer=Ending())
    assert not [name for name in tree(tmp_path) if name.startswith((TEMPORARY, "b.xml.x")) and "journal" not in name]
    archive.reencrypt(tmp_path / "a.xml", tmp_path / "b.xml")
    assert (tmp_path / "b.xml").read_bytes() == document(7, 300, upgraded=True)


def proved(original: Path, recoded: Path, recoding: Recoding) -> int:
    with open_source(Location(str(original))) as source, open_source(Location(str(recoded))) as target:
        files = descriptors.pair(source, target)
        assert files is not None
        assert FORMAT.prove([source], [target], recoding).letters == descriptors.match(files, recoding)
        return descriptors.match(files, recoding)


def test_a_wrong_byte_anywhere_is_found(tmp_path: Path) -> None:
    original, recoded = tmp_path / "a", tmp_path / "b"
    original.write_bytes(document(7, 60))
    upgraded = document(7, 60, upgraded=True)
    recoded.write_bytes(upgraded)
    assert proved(original, recoded, Recoding()) == len(upgraded) - len(original.read_bytes())
    with pytest.raises(RestorationError, match="no inserted letter is expected"):
        proved(original, recoded, Recoding(upgrade=False))
    for at in [*range(0, len(upgraded), 97), len(upgraded) - 1]:
        recoded.write_bytes(upgraded[:at] + bytes([upgraded[at] ^ 1]) + upgraded[at + 1 :])
        with pytest.raises(RestorationError) as found:
            proved(original, recoded, Recoding())
        with pytest.raises(RestorationError) as expected:
            FORMAT.prove([io.BytesIO(original.read_bytes())], [io.BytesIO(recoded.read_bytes())], Recoding())
        assert (found.value.message, found.value.offset) == (expected.value.message, expected.value.offset)
    for other in (upgraded[:-1], upgraded + b"\n"):
        recoded.write_bytes(other)
        with pytest.raises(RestorationError):
            proved(original, recoded, Recoding())


def test_the_storages_failure_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    replacement = Replacement(Location(str(tmp_path / "b")), "token")
    with open_source(Location(str(tmp_path / "a"))) as source:
        files = descriptors.pair(source, replacement.file)
        assert files is not None
        for name, descriptor in (("a", files.source), ("b", files.target)):
            with pytest.raises(ArchiveError, match=rf"^{tmp_path}/{name}: no space left"), files.named():
                raise OSError(errno.ENOSPC, "", descriptor)
        assert descriptors.pair(source, cast(IO[bytes], io.BytesIO())) is None
        assert descriptors.pair(cast(IO[bytes], io.BytesIO()), replacement.file) is None
    replacement.discard()


def test_a_file_of_a_remote_store_has_no_descriptor() -> None:
    import fsspec

    fsspec.filesystem("memory").pipe("/descriptors/a", b"a")
    with open_source(Location("memory://descriptors/a")) as source:
        assert descriptors.pair(source, source) is None
