"""The pin store on real files: many processes, a clock set back, a file that is damaged, locked, full or gone.

No mocks but the clock's two sources of time. What a pin forbids is ``test_policy``'s subject.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import xep419
from xep419.policy import (
    MalformedJIDError,
    Pin,
    PinClock,
    PinFormatError,
    PinStore,
    PinStoreError,
    Stored,
    export_pins,
    import_pins,
)
from xep419.policy import store as store_module

pytestmark = pytest.mark.any_isa

PING, DISCO = "urn:xmpps:ping", "https://jabber.org/protocol/disco#info"
DAY = 86_400.0
START = 1_800_000_000.0
DAMAGED = (
    "it is damaged (%s). Nothing in it is trusted. Move it away and import an export of it; without one, every peer"
    " will be met as for the first time"
)


class Times:
    """The two sources of a clock, set by hand: what the wall shows, and what really went by."""

    def __init__(self) -> None:
        self.wall = START
        self.went_by = 0.0

    def clock(self) -> PinClock:
        return PinClock(lambda: self.wall, lambda: self.went_by)

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.went_by += seconds


@pytest.fixture
def times() -> Times:
    return Times()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pins.sqlite"


@pytest.fixture
def store(path: Path, times: Times) -> Iterator[PinStore]:
    with PinStore(path, clock=times.clock(), timeout=0.2) as opened:
        yield opened


def pin(peer: str = "bob@example.org", name: str = PING, seen: float = START, age: float = DAY) -> Pin:
    return Pin(peer, name, seen, seen, age)


def run(program: str, *arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(xep419.__file__).parents[1])}
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, **options)  # type: ignore[call-overload,no-any-return]


@contextlib.contextmanager
def started(program: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    environment = os.environ | {"PYTHONPATH": str(Path(xep419.__file__).parents[1])}
    command = [sys.executable, "-c", program, *map(str, arguments)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


# -- what is stored -----------------------------------------------------------------------------------------


def test_pins_outlive_the_store_that_learned_them(path: Path, store: PinStore, times: Times) -> None:
    store.learn("bob@example.org", [PING, DISCO], max_age=DAY)
    store.learn("example.org", [PING], max_age=2 * DAY, include_subdomains=True)
    store.close()
    with PinStore(path, create=False) as again:
        assert list(again) == [
            Pin("bob@example.org", DISCO, START, START, DAY, False),
            Pin("bob@example.org", PING, START, START, DAY, False),
            Pin("example.org", PING, START, START, 2 * DAY, True),
        ]
        assert len(again) == 3
        assert again.of("bob@example.org").keys() == {PING, DISCO}
        assert again.of("nobody@example.org") == {}


def test_a_new_store_can_be_read_by_its_owner_only(path: Path, store: PinStore) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(found.name for found in path.parent.iterdir() if "new" in found.name) == []


def test_a_use_is_written_down_once_in_an_hour(store: PinStore, times: Times, path: Path) -> None:
    store.learn("bob@example.org", [PING], max_age=30 * DAY)
    for minutes, seen in ((0, 0), (59, 0), (61, 61 * 60), (90, 61 * 60)):
        times.wall, times.went_by = START + minutes * 60, minutes * 60.0
        store.learn("bob@example.org", [PING], max_age=30 * DAY)
        with contextlib.closing(sqlite3.connect(path)) as other:
            assert other.execute("SELECT first_seen, last_seen FROM pin").fetchall() == [(START, START + seen)]


def test_a_refresh_keeps_the_age_that_the_pin_was_given(store: PinStore, times: Times) -> None:
    store.add([pin(age=300 * DAY)])
    times.pass_by(DAY)
    store.learn("bob@example.org", [PING], max_age=DAY)
    assert store.of("bob@example.org")[PING] == Pin("bob@example.org", PING, START, START + DAY, 300 * DAY)


def test_a_use_extends_a_pin_at_once_and_never_shortens_it(store: PinStore, times: Times) -> None:
    store.learn("example.org", [PING], max_age=10 * DAY)
    times.pass_by(60)
    store.learn("example.org", [PING], max_age=20 * DAY, include_subdomains=True)
    extended = Pin("example.org", PING, START, START + 60, 20 * DAY, True)
    assert store.of("example.org")[PING] == extended
    times.pass_by(60)
    store.learn("example.org", [PING], max_age=10 * DAY)
    assert store.of("example.org")[PING] == extended


def test_of_two_pins_the_one_seen_later_stays(store: PinStore, times: Times) -> None:
    times.pass_by(100)
    assert store.add([pin(seen=START + 50, age=DAY)]) == Stored(1, 0, 0)
    assert store.add([pin(seen=START, age=9 * DAY)]) == Stored(0, 1, 0)
    assert list(store) == [Pin("bob@example.org", PING, START + 50, START + 50, DAY)]
    assert store.add([pin(seen=START + 60, age=9 * DAY)]) == Stored(0, 1, 0)
    assert list(store) == [Pin("bob@example.org", PING, START + 50, START + 60, 9 * DAY)]


def test_no_pin_counts_as_seen_later_than_now(store: PinStore) -> None:
    store.add([pin(seen=START + 1_000 * DAY)])
    assert list(store) == [pin(seen=START)]


def test_pins_are_removed_by_any_spelling(store: PinStore) -> None:
    store.add([pin(), pin(name=DISCO), pin("example.org")])
    assert store.remove("Bob@example.org/phone", "urn:xmpp:ping") == 1
    assert store.of("bob@example.org").keys() == {DISCO}
    assert store.remove("bob@example.org") == 1
    assert store.remove("bob@example.org") == 0
    assert list(store) == [pin("example.org")]


def test_what_has_expired_is_removed_when_asked_for(store: PinStore, times: Times) -> None:
    store.add([pin(age=DAY), pin(name=DISCO, age=3 * DAY)])
    times.pass_by(2 * DAY)
    assert store.remove_expired() == 1
    assert [found.name for found in store] == [DISCO]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (pin(name="urn:xmpp:ping"), "a pin's name begins with 'https:' or 'urn:xmpps:' and is printable, not 'urn:xmpp:ping'"),
        (pin(name="urn:xmpps:\n"), "a pin's name begins with 'https:' or 'urn:xmpps:' and is printable, not 'urn:xmpps:\\n'"),
        (pin(age=0), "a pin's max_age is above 0 and at most 315360000 seconds, not 0"),
        (pin(age=1e10), "a pin's max_age is above 0 and at most 315360000 seconds, not 10000000000.0"),
        (pin(seen=float("nan")), "a pin's first_seen is a number of seconds from 0 to 10^12, not nan"),
        (pin(seen=-1), "a pin's first_seen is a number of seconds from 0 to 10^12, not -1"),
        (pin(seen=True), "a pin's first_seen is a number of seconds from 0 to 10^12, not True"),
        (Pin("a@b", PING, 2, 1), "a pin's first_seen is not after its last_seen: 2, 1"),
        (Pin("a@b", PING, 1, 1, 1, True), "only a domain's pin includes subdomains, not 'a@b''s"),
        (Pin("b", PING, 1, 1, 1, 1), "a pin's include_subdomains is true or false, not 1"),  # type: ignore[arg-type]
        (pin(peer=None), "a pin's peer is a string, not 'NoneType'"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_what_cannot_be_a_pin_is_told_and_none_is_stored(store: PinStore, wrong: Pin, message: str) -> None:
    with pytest.raises(PinFormatError) as told:
        store.add([pin(), wrong])
    assert str(told.value) == message
    assert len(store) == 0


def test_what_cannot_be_a_peer_is_told(store: PinStore) -> None:
    with pytest.raises(MalformedJIDError):
        store.add([pin("@")])
    with pytest.raises(MalformedJIDError):
        store.remove("@")


def test_names_that_nobody_registers_are_not_learned(store: PinStore) -> None:
    store.learn("b", ["urn:xmpps:\udc80", "urn:xmpps:\x00", "urn:xmpps:" + "x" * 2_000, PING], max_age=DAY)
    assert [found.name for found in store] == [PING]


# -- the clock ----------------------------------------------------------------------------------------------


def test_a_clock_set_back_ends_no_pin_and_makes_none_last_for_ever(path: Path, store: PinStore, times: Times) -> None:
    store.learn("bob@example.org", [PING], max_age=10 * DAY)
    times.pass_by(DAY)
    store.learn("bob@example.org", [PING], max_age=10 * DAY)
    times.wall -= 3_000 * DAY
    assert store.now() == START + DAY
    store.learn("carol@example.org", [PING], max_age=10 * DAY)
    assert store.of("carol@example.org")[PING].last_seen == START + DAY  # not years ago: it would expire at once
    times.pass_by(9 * DAY)
    assert store.of("bob@example.org")[PING].expires > store.now()  # not early
    times.pass_by(2 * DAY)
    assert store.of("bob@example.org")[PING].expires < store.now()  # nor never: time that really goes by counts
    times.wall += 3_000 * DAY
    assert store.now() == START + 12 * DAY  # put right, it is the time


def test_a_clock_set_back_between_two_runs_is_known_from_the_store(path: Path, times: Times) -> None:
    with PinStore(path, clock=times.clock()) as first:
        first.learn("bob@example.org", [PING], max_age=DAY)
    times.wall -= 3_000 * DAY
    with PinStore(path, clock=times.clock()) as second:
        assert second.of("bob@example.org")[PING].expires == START + DAY
        assert second.now() == START
        times.pass_by(2 * DAY)
        assert second.now() == START + 2 * DAY


def test_after_a_clock_that_was_ahead_a_pin_still_ends_when_its_age_has_gone_by(path: Path, times: Times) -> None:
    times.wall += 30_000 * DAY
    with PinStore(path, clock=times.clock()) as store:
        store.learn("bob@example.org", [PING], max_age=DAY)
        times.wall -= 30_000 * DAY
        times.pass_by(0.9 * DAY)
        assert store.of("bob@example.org")[PING].expires > store.now()
        times.pass_by(0.2 * DAY)
        assert store.of("bob@example.org")[PING].expires < store.now()


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(0, 1e4))))
def test_the_time_never_goes_back_and_never_lags_behind_what_went_by(steps: list[tuple[float, float]]) -> None:
    times = Times()
    clock = times.clock()
    shown = [clock.now()]
    for set_by, went_by in steps:
        times.pass_by(went_by)
        times.wall += set_by
        shown.append(clock.now())
        assert shown[-1] >= shown[-2] + went_by - 1e-3
        assert shown[-1] >= times.wall


# -- no room ------------------------------------------------------------------------------------------------


def test_a_hostile_peer_fills_its_own_share_and_no_more(
    path: Path, times: Times, caplog: pytest.LogCaptureFixture
) -> None:
    with PinStore(path, clock=times.clock(), max_pins_per_peer=10) as store:
        store.learn("mallory@example.org", [PING], max_age=DAY)
        for number in range(0, 1_000, 100):
            names = [f"urn:xmpps:{n}" for n in range(number, number + 100)]
            store.learn("mallory@example.org", names, max_age=DAY)
        assert len(store) == len(store.of("mallory@example.org")) == 10
        assert PING in store.of("mallory@example.org")
        assert store.refused > 0
        assert caplog.messages == [f"pin store {path} holds 10 pins of mallory@example.org and takes no more of them"]
        store.learn("bob@example.org", [PING], max_age=DAY)
        assert PING in store.of("bob@example.org")
        times.pass_by(2 * DAY)
        store.learn("mallory@example.org", [DISCO], max_age=DAY)  # what has expired makes room
        assert DISCO in store.of("mallory@example.org")


def test_a_full_store_keeps_what_it_has(path: Path, times: Times, caplog: pytest.LogCaptureFixture) -> None:
    with PinStore(path, clock=times.clock(), max_pins=3) as store:
        store.learn("bob@example.org", [PING], max_age=DAY)
        for number in range(100):
            store.learn(f"mallory{number}@example.org", [PING], max_age=300 * DAY)
        assert [found.peer for found in store] == [f"{who}@example.org" for who in ("bob", "mallory0", "mallory1")]
        assert caplog.messages == [f"pin store {path} holds 3 pins and takes no more of them"]
        assert store.add([pin("carol@example.org"), pin()]) == Stored(0, 1, 1)
        times.pass_by(2 * DAY)
        store.learn("carol@example.org", [PING], max_age=DAY)
        assert [found.peer for found in store] == [f"{who}@example.org" for who in ("carol", "mallory0", "mallory1")]


def test_ten_thousand_peers(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than are kept in memory, too: an eviction loses nothing."""
    monkeypatch.setattr(store_module, "CACHED", 1_000)
    with PinStore(path) as store:
        for number in range(10_000):
            store.learn(f"user{number}@example.org", [PING, DISCO], max_age=DAY)
        assert len(store) == 20_000
        assert all(store.of(f"user{number}@example.org").keys() == {PING, DISCO} for number in range(10_000))
        assert len(store._cache) <= 1_000
        assert sum(1 for _ in store) == 20_000


# -- other processes and threads ----------------------------------------------------------------------------

LEARN = """
import sys
from xep419.policy import PinStore
path, who, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
with PinStore(path, timeout=30, max_pins_per_peer=1_000_000) as store:
    for number in range(count):
        store.learn(f"{who}{number}@example.org", ["urn:xmpps:ping"], max_age=1000)
        store.learn("all@example.org", [f"urn:xmpps:{who}:{number}"], max_age=1000)
        if number == 0:
            print("begun", flush=True)
"""


def test_many_processes_make_and_fill_one_store(path: Path) -> None:
    with contextlib.ExitStack() as running:
        processes = [running.enter_context(started(LEARN, path, who, 50)) for who in "abcd"]
        assert [process.wait(60) for process in processes] == [0] * 4
    with PinStore(path, create=False) as store:
        assert len(store) == 4 * 50 * 2
        assert len(store.of("all@example.org")) == 200
        assert [len(store.of(f"{who}49@example.org")) for who in "abcd"] == [1] * 4
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def test_a_process_that_is_killed_in_the_middle_leaves_a_whole_store(path: Path) -> None:
    with started(LEARN, path, "a", 1_000_000) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.2)
    with PinStore(path, create=False) as store:
        pins = list(store)
        assert len(pins) == len(store) > 0
        assert len([found for found in pins if found.peer != "all@example.org"]) - len(store.of("all@example.org")) in (
            0,
            1,
        )


def test_what_another_process_writes_shows_within_a_second(path: Path, store: PinStore) -> None:
    assert store.of("a0@example.org") == {}
    assert run(LEARN, path, "a", 1).returncode == 0
    end = time.monotonic() + 30
    while not store.of("a0@example.org"):
        assert time.monotonic() < end
        time.sleep(0.05)
    with PinStore(path) as other:
        other.remove("a0@example.org")
    time.sleep(store_module.STALE)
    assert store.of("a0@example.org") == {}


def test_threads_share_one_store(path: Path) -> None:
    errors: list[BaseException] = []
    with PinStore(path, timeout=30) as store:

        def learn(who: int) -> None:
            try:
                for number in range(50):
                    store.learn(f"{who}.{number}@example.org", [PING], max_age=DAY)
                    assert PING in store.of(f"{who}.{number}@example.org")
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=learn, args=(who,)) for who in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert len(store) == 400


FORK = """
import os, sys
from xep419.policy import PinStore
store = PinStore(sys.argv[1])
store.learn("before@example.org", ["urn:xmpps:ping"], max_age=1000)
parents = store._database._connection
children = []
for number in range(3):
    child = os.fork()
    if not child:
        assert len(store.of("before@example.org")) == 1
        assert len(store) > 0
        assert store._database._connection is not parents  # which SQLite forbids to use
        store.learn(f"child{number}@example.org", ["urn:xmpps:ping"], max_age=1000)
        store.close()
        os._exit(0)
    children.append(child)
store.learn("parent@example.org", ["urn:xmpps:ping"], max_age=1000)
assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
print(*[pin.peer.partition("@")[0] for pin in store])
store.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
def test_a_store_that_was_opened_before_a_fork_serves_the_children(path: Path) -> None:
    done = run(FORK, path)
    assert (done.stdout, done.stderr) == ("before child0 child1 child2 parent\n", "")


# -- locked -------------------------------------------------------------------------------------------------


def test_a_locked_store_is_waited_for_and_then_told(path: Path, store: PinStore) -> None:
    store.learn("bob@example.org", [PING], max_age=DAY)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        with pytest.raises(PinStoreError) as told:
            store.learn("carol@example.org", [PING], max_age=DAY)
        assert 0.1 < time.monotonic() - began < 5
        assert str(told.value) == f"pin store {path}: another process has held it locked for 0.2 s"
        assert (told.value.path, told.value.condition) == (str(path), "internal-server-error")
        assert store.of("bob@example.org").keys() == {PING}  # what protects can still be read
        other.execute("ROLLBACK")
    store.learn("carol@example.org", [PING], max_age=DAY)
    assert len(store) == 2


def test_a_thread_that_does_not_let_go_is_not_waited_for_longer(path: Path, store: PinStore) -> None:
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with store._database.reading():
            held.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(30)
    with pytest.raises(PinStoreError, match=r"another thread has not let go of it for 0\.2 s"):
        store.of("bob@example.org")
    done.set()
    thread.join()


# -- damaged, full, gone ------------------------------------------------------------------------------------


def filled(path: Path) -> None:
    with PinStore(path) as store:
        store.add([pin(f"user{number}@example.org") for number in range(2_000)])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def overwritten(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 4096] = b"\xa5" * 4096
    path.write_bytes(data)


def replaced_by_text(path: Path) -> None:
    path.write_text("urn:xmpps:ping\n" * 100)


def header_lost(path: Path) -> None:
    path.write_bytes(b"\0" * 100 + path.read_bytes()[100:])


def replaced_by_another_database(path: Path) -> None:
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE pin (peer, name)")
        other.commit()


def schema_garbled(path: Path) -> None:
    garbled = path.read_bytes().replace(b"CREATE TABLE pin", b"CREATE \xebABLE pin")  # SQLite's error quotes it
    path.write_bytes(garbled)


def deleted_row(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("DELETE FROM store")
        other.commit()


@pytest.mark.parametrize(
    "harm",
    [
        emptied,
        cut,
        overwritten,
        replaced_by_text,
        header_lost,
        replaced_by_another_database,
        schema_garbled,
        deleted_row,
    ],
    ids=lambda harm: harm.__name__,
)
def test_a_damaged_store_is_told_and_never_taken_for_an_empty_one(path: Path, harm: Callable[[Path], None]) -> None:
    filled(path)
    harm(path)
    damaged = path.read_bytes()
    with pytest.raises(PinStoreError) as told:
        PinStore(path)
    start, end = DAMAGED.split("%s")
    assert str(told.value).startswith(f"pin store {path}: {start}")
    assert str(told.value).endswith(end)
    assert path.read_bytes() == damaged


def test_a_store_that_is_damaged_while_it_is_open_is_told(path: Path) -> None:
    with PinStore(path) as store:  # of more than SQLite keeps in memory
        store.add([pin(f"user{number}@example.org", "urn:xmpps:" + "x" * 1_000) for number in range(5_000)])
    with PinStore(path) as store:
        size = path.stat().st_size
        assert size > 4_000_000
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xa5" * (size - 4096))
        with pytest.raises(PinStoreError, match="it is damaged"):
            list(store)
        with pytest.raises(PinStoreError, match="it is damaged"):
            [store.of(f"user{number}@example.org") for number in range(5_000)]


def test_a_store_of_a_later_version_is_left_alone(path: Path) -> None:
    filled(path)
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA user_version = 2")
    with pytest.raises(PinStoreError) as told:
        PinStore(path)
    assert told.value.reason == "its tables are of version 2, this package knows 1: update the package"


def test_a_store_that_must_be_there_and_is_not_is_told(path: Path) -> None:
    with pytest.raises(PinStoreError) as told:
        PinStore(path, create=False)
    assert str(told.value) == f"pin store {path}: it is not there"
    assert not path.exists()


def test_a_store_in_no_directory_is_told(tmp_path: Path) -> None:
    with pytest.raises(PinStoreError, match="No such file or directory"):
        PinStore(tmp_path / "none" / "pins.sqlite")
    with pytest.raises(PinStoreError, match="unable to open database file"):
        PinStore(tmp_path)


@pytest.mark.parametrize(
    "harm", [Path.unlink, lambda path: path.rename(path.with_name("moved"))], ids=["removed", "moved"]
)
def test_a_store_that_goes_away_while_it_is_open_is_told(path: Path, harm: Callable[[Path], None]) -> None:
    filled(path)
    with PinStore(path) as store:
        harm(path)
        with pytest.raises(PinStoreError) as told:
            store.of("user7@example.org")
        assert told.value.reason == "it was removed or replaced while it was open; open it again"


def test_a_closed_store_is_told(path: Path, store: PinStore) -> None:
    store.close()
    store.close()
    with pytest.raises(PinStoreError) as told:
        len(store)
    assert told.value.reason == "it was closed"


FULL = """
import resource, sys
from xep419.policy import Pin, PinStore, PinStoreError
path = sys.argv[1]
store = PinStore(path)
store.add([Pin("before@example.org", "urn:xmpps:ping", 1, 1)])
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    store.add(Pin(f"user{number}@example.org", "urn:xmpps:" + "x" * 900, 1, 1) for number in range(1_000))
except PinStoreError as error:
    print(error.reason)
print(*[pin.peer for pin in store])
store.add([Pin("after@example.org", "urn:xmpps:ping", 1, 1)])
print(len(store))
store.close()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_when_nothing_more_can_be_written_nothing_is_half_written(path: Path) -> None:
    done = run(FULL, path)
    reason, peers, count = done.stdout.splitlines()
    assert reason in ("disk I/O error; nothing was changed", "database or disk is full; nothing was changed")
    assert (peers, count, done.stderr) == ("before@example.org", "2", "")
    with PinStore(path, create=False) as store:
        assert [found.peer for found in store] == ["after@example.org", "before@example.org"]


# -- export and import --------------------------------------------------------------------------------------


def exported(store: PinStore) -> str:
    return "".join(export_pins(store))


def test_what_is_exported_can_be_imported(store: PinStore, times: Times, tmp_path: Path) -> None:
    pins = [pin("bücher.example"), pin("bob@example.org", DISCO), pin("jürgen@example.org", 'https://x/"é\U0001f600')]
    store.add(pins)
    text = exported(store)
    assert json.loads(text)["format"] == "xep419 pins 1"
    with PinStore(tmp_path / "other.sqlite", clock=times.clock()) as other:
        assert import_pins(other, text.encode()) == Stored(3, 0, 0)
        assert list(other) == list(store) != []
        assert import_pins(other, text) == Stored(0, 3, 0)
        assert exported(other) == text
    with PinStore() as empty:
        assert json.loads(exported(empty)) == {"format": "xep419 pins 1", "pins": []}


def test_a_merge_keeps_the_newer(store: PinStore, times: Times) -> None:
    times.pass_by(100)
    store.add([pin(seen=START + 10), pin(name=DISCO, seen=START + 10)])
    older, newer = (
        json.dumps({"format": "xep419 pins 1", "pins": [pin(seen=seen, age=9.0)._asdict()]})
        for seen in (START, START + 20)
    )
    import_pins(store, older)
    assert store.of("bob@example.org")[PING] == Pin("bob@example.org", PING, START + 10, START + 10, DAY)
    import_pins(store, newer)
    assert store.of("bob@example.org")[PING] == Pin("bob@example.org", PING, START + 10, START + 20, 9.0)
    assert store.of("bob@example.org")[DISCO].last_seen == START + 10


GOOD = pin()._asdict()


def document(*pins: object, **changes: object) -> str:
    return json.dumps({"format": "xep419 pins 1", "pins": list(pins), **changes})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected exported pins, got no JSON: Expecting value (at byte 0)"),
        ('{"ä": x}', "expected exported pins, got no JSON: Expecting value (at byte 7)"),
        (b'{"\xff"', "expected exported pins, got bytes that are not UTF-8 (at byte 2)"),
        (b"[" * 200_000, None),
        (b"1" * 10_000, None),
        ("[]", "expected exported pins, got JSON whose format is not 'xep419 pins 1'"),
        ('{"format": "xep419 pins 2", "pins": []}', "expected exported pins, got JSON whose format is not 'xep419 pins 1'"),
        (document(pins={}), "expected exported pins, got no list of 'pins'"),
        (document(GOOD, 1), "pin 1: expected an object of peer, name, first_seen, last_seen, max_age, include_subdomains"),
        (document({**GOOD, "x": 1}), "pin 0: expected an object of peer, name, first_seen, last_seen, max_age, include_subdomains"),
        (document({**GOOD, "peer": "@"}), "pin 0: expected a JID (RFC 7622), got '@': its local part is empty or longer than 1023 octets"),
        (document({**GOOD, "name": "x"}), "pin 0: a pin's name begins with 'https:' or 'urn:xmpps:' and is printable, not 'x'"),
        (document({**GOOD, "max_age": float("inf")}), "pin 0: a pin's max_age is a number of seconds from 0 to 10^12, not inf"),
        (document(GOOD, {**GOOD, "peer": "BOB@example.org"}), "pin 1: bob@example.org has 'urn:xmpps:ping' twice"),
    ],
)  # fmt: skip
def test_what_is_not_an_export_is_told_and_nothing_is_stored(
    store: PinStore, data: bytes | str, message: str | None
) -> None:
    store.add([pin("before@example.org")])
    with pytest.raises(PinFormatError) as told:
        import_pins(store, data)
    assert message is None or str(told.value) == message
    assert [found.peer for found in store] == ["before@example.org"]


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_with_a_typed_error(data: bytes) -> None:
    with PinStore() as store, pytest.raises(PinFormatError):
        import_pins(store, data)


def test_the_tables_of_a_page_are_joined_without_a_gap(store: PinStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_PAGE", 3)
    names = [f"urn:xmpps:{a}{b}" for a, b in itertools.product("abc", "abc")]
    store.add([pin(name=name) for name in names] + [pin("a@b", name) for name in names])
    assert [(found.peer, found.name) for found in store] == [
        (peer, name) for peer in ("a@b", "bob@example.org") for name in names
    ]
