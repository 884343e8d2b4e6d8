"""Many threads at once: right answers on shared inputs, the GIL released where it is promised, and one object for one
thread at a time. What a mutation during a call may change is its own bytes, never the memory around them.

Threads are made to collide by switching between them as often as Python can, or, to see who lets whom run, never.
"""

from __future__ import annotations

import contextlib
import random
import re
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import xep419
from xep419 import Decryptor, Encryptor, NamespaceRef, Scope, StanzaStream
from xep419.namespaces import NamespaceCensus, match_upgraded
from xep419.stream import DocumentChecker, check_stanza

THREADS = 8


@pytest.fixture(autouse=True)
def _frequent_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def in_threads(work: Callable[[int], None], threads: int = THREADS) -> None:
    """``work(0)``, ``work(1)``, … all at once; an error in one of them is raised here."""
    start = threading.Barrier(threads)

    def one(number: int) -> None:
        start.wait()
        work(number)

    with ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(one, number) for number in range(threads)]:
            future.result()


# -- documents whose names are known because they were put there ------------------------------------------


def document(items: int, s: str = "") -> str:
    """``s`` after each scheme that is to be upgraded; all other ``http:`` stay."""
    return (
        f"<iq xmlns='http{s}://example.org/ns' type='http:'><query xmlns=\"urn:xmpp{s}:example\">"
        + f"<feature var='urn:xmpp{s}:ping'/><body>Grüße http: 'urn:xmpp:x' &amp; http://</body>\n" * items
        + "</query></iq><!-- <a xmlns='http://a'/> -->"
    )


def names_of(text: str) -> list[NamespaceRef]:
    data = text.encode()
    return [
        NamespaceRef(
            *found.span(2), found[2].decode(), Scope.DECLARATIONS if found[1] == b"xmlns" else Scope.FEATURES, False
        )
        for found in re.finditer(rb"(xmlns|var)=['\"]([^'\"]*)", data.partition(b"<!--")[0])
    ]


def expect_all(items: int, repeats: int) -> None:
    """Every function of the package, in every thread, over one input of each kind, gives the one right result."""
    text, secure = document(items), document(items, "s")
    data, secure_data = text.encode(), secure.encode()
    shared = bytearray(data)
    view = memoryview(data)
    once = xep419.rot13(data)
    names = names_of(text)
    batch: list[Any] = [data, text, shared, view, b"<presence/>"] * 3

    def work(number: int) -> None:
        own = bytearray(len(data))
        for _ in range(repeats):
            assert xep419.rot13(shared) == once
            assert xep419.double_rot13(text) == text
            assert xep419.rot13_into(view, own) == len(data)
            xep419.rot13_inplace(own)
            assert own == data
            assert xep419.scan(shared) == names
            assert xep419.upgrade(text) == secure
            assert xep419.upgrade(secure_data) is secure_data
            assert xep419.downgrade(secure_data, known_only=False) == data
            assert xep419.encrypt(view) == secure_data
            assert xep419.decrypt(data) == data
            assert xep419.encrypt_many(batch) == [secure_data, secure, secure_data, secure_data, b"<presence/>"] * 3
            encryptor = Encryptor(rounds=1)
            pieces = [encryptor.update(view[at : at + 7_919]) for at in range(0, len(view), 7_919)]
            assert xep419.rot13(b"".join([*pieces, encryptor.finalize()])) == secure_data
            with pytest.raises(xep419.EncodingError):
                xep419.upgrade(b"\xff\xfe<\0")

    in_threads(work)


def test_small_inputs_shared_by_eight_threads() -> None:
    expect_all(items=2, repeats=6 if xep419.isa == "python" else 150)


def test_large_inputs_shared_by_eight_threads() -> None:
    """Above 32 KiB the work runs without the GIL, so the threads really are in it together."""
    expect_all(items=600, repeats=1 if xep419.isa == "python" else 8)


def test_each_thread_rotates_its_part_of_one_buffer() -> None:
    """Neighbours share cache lines and vectors at their edges, but no byte."""
    part = 50_001
    before = random.Random(419).randbytes(part * THREADS)
    buffer = bytearray(before)
    view = memoryview(buffer)

    def work(number: int) -> None:
        own = view[number * part : (number + 1) * part]
        for _ in range(21):
            xep419.rot13_inplace(own)
        assert xep419.double_rot13_into(own, own) == part

    in_threads(work)
    assert buffer == xep419.rot13(before)


# -- the GIL ----------------------------------------------------------------------------------------------

LARGE = document(60_000).encode()
SECURE = document(60_000, "s").encode()


def checked(data: bytes) -> None:
    with contextlib.suppress(xep419.XEP419Error):  # it is a document's beginning
        check_stanza(data)


#: one call on much data, by name
CALLS: dict[str, Callable[[Any], object]] = {
    "rot13": xep419.rot13,
    "double_rot13": xep419.double_rot13,
    "rot13_into": lambda data: xep419.rot13_into(data, bytearray(len(data))),
    "rot13_inplace": lambda data: xep419.rot13_inplace(bytearray(data)),
    "scan": lambda data: xep419.scan(data, scope=Scope.REFERENCES),
    "upgrade": xep419.upgrade,
    "downgrade": xep419.downgrade,
    "encrypt": xep419.encrypt,
    "decrypt": xep419.decrypt,
    "encrypt_many": lambda data: xep419.encrypt_many([data, b"<a/>"]),
    "Encryptor.update": lambda data: Encryptor().update(data),
    "Decryptor.update": lambda data: Decryptor(downgrade=True).update(data),
    "NamespaceCensus.update": lambda data: NamespaceCensus().update(data),
    "Encryptor.update, counting": lambda data: Encryptor(census=NamespaceCensus()).update(data),
    "DocumentChecker.feed": lambda data: DocumentChecker().feed(data),
    "check_stanza": lambda data: checked(data),
    "match_upgraded": lambda data: match_upgraded(data, data),
}


def lets_others_run(call: Callable[[], object], calls: int, meanwhile: Callable[[], object] = lambda: None) -> bool:
    """Whether a waiting thread ran ``meanwhile`` during one of the calls, when Python itself takes the GIL from nobody.

    It may be late for the first call or two, so there are more; between two of them it cannot run.
    """
    wanted, ran = threading.Lock(), []
    wanted.acquire()
    thread = threading.Thread(target=lambda: (wanted.acquire(), meanwhile(), ran.append(True)))
    sys.setswitchinterval(1000)
    try:
        thread.start()  # returns when the thread waits for the lock: nothing else takes the GIL from it
        wanted.release()  # from here on it waits for the GIL only
        for _ in range(calls):
            call()
            if ran:
                return True
        return False
    finally:
        sys.setswitchinterval(1e-6)
        thread.join()


needs_gil = pytest.mark.skipif(not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="there is no GIL")


@pytest.mark.core
@needs_gil
@pytest.mark.parametrize("name", CALLS)
def test_the_gil_is_released_on_large_inputs(name: str) -> None:
    assert lets_others_run(lambda: CALLS[name](LARGE), calls=2000)


@pytest.mark.core
@needs_gil
@pytest.mark.parametrize("name", CALLS)
def test_the_gil_is_kept_on_small_inputs(name: str) -> None:
    """Releasing it costs more than the work."""
    small = LARGE[:30_000]
    assert not lets_others_run(lambda: CALLS[name](small), calls=50)


# -- one object, two threads ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Encryptor, Decryptor])
def test_an_object_used_by_two_threads_at_once_works_or_refuses(kind: Any) -> None:
    """Every piece is whole in itself, so that each call that succeeds gives the same bytes whatever came before."""
    items = 30 if xep419.isa == "python" else 800
    upgrades = kind is Encryptor
    piece = document(items, "" if upgrades else "s").encode()
    expected = document(items, "s" if upgrades else "").encode()
    shared = kind(upgrade=True) if upgrades else kind(downgrade=True, known_only=False)
    refusals = []

    def work(number: int) -> None:
        for _ in range(30):
            try:
                assert shared.update(piece) == expected
            except RuntimeError as error:
                refusals.append(str(error))

    in_threads(work)
    assert set(refusals) <= {f"this {kind.__name__} is in use by another thread"}
    assert shared.update(piece) + shared.finalize() == expected


def test_a_census_of_two_encryptors_in_two_threads_counts_or_refuses() -> None:
    """The encryptor whose turn it was not is done with; no count is lost or made up."""
    items = 30 if xep419.isa == "python" else 800
    piece = document(items).encode()
    census = NamespaceCensus()
    counted = []

    def work(number: int) -> None:
        encryptor = Encryptor(census=census)
        done = 0
        try:
            for _ in range(30):
                encryptor.update(piece)
                done += 1
        except RuntimeError as error:
            assert str(error) == "this NamespaceCensus is in use by another thread"
        counted.append(done)

    in_threads(work)
    assert census.insecure == sum(counted) * (items + 2)
    assert sum(census.counts().values()) == census.insecure


@pytest.mark.core
@needs_gil
@pytest.mark.parametrize(
    "use",
    [
        lambda shared: shared.update(b"<a/>"),
        lambda shared: shared.finalize(),
        lambda shared: shared.__init__(),
        lambda shared: shared.__init__(rounds=1, census=NamespaceCensus()),
    ],
)
def test_an_object_in_use_refuses_a_second_thread_and_goes_on(use: Callable[[Encryptor], bytes]) -> None:
    shared = Encryptor()
    results, refusals = [], []

    def intrude() -> None:
        try:
            use(shared)
        except RuntimeError as error:
            refusals.append(str(error))

    assert lets_others_run(lambda: results.append(shared.update(LARGE)), 2000, intrude)
    assert refusals == ["this Encryptor is in use by another thread"]
    assert all(result == SECURE for result in results)
    assert shared.update(b"<a xmlns='http://x'/>") + shared.finalize() == b"<a xmlns='https://x'/>"


@pytest.mark.parametrize("transform", [None, "encrypt"])
def test_a_stream_used_by_two_threads_at_once_works_or_refuses(transform: Any) -> None:
    stanza = document(30 if xep419.isa == "python" else 800).partition("<!--")[0].encode()
    expected = [stanza if transform is None else xep419.encrypt(stanza)]
    shared = StanzaStream(max_stanza=1 << 24, transform=transform)
    shared.feed(b"<stream>")
    refusals = []

    def work(number: int) -> None:
        for _ in range(30):
            try:
                assert shared.feed(stanza) == expected
            except RuntimeError as error:
                refusals.append(str(error))

    in_threads(work)
    assert set(refusals) <= {"this StanzaStream is in use by another thread"}
    assert shared.feed(stanza) == expected


@pytest.mark.core
@needs_gil
@pytest.mark.parametrize(
    "use",
    [
        lambda shared: shared.feed(b"<a/>"),
        lambda shared: shared.reset(),
        lambda shared: shared.__init__(restricted=False),
    ],
)
def test_a_stream_in_use_refuses_a_second_thread_and_goes_on(use: Callable[[StanzaStream], object]) -> None:
    shared = StanzaStream(max_stanza=1 << 30)
    shared.feed(b"<stream>")
    stanza = b"<a>" + b"<b c='d'/>" * 200_000 + b"</a>"
    results, refusals = [], []

    def intrude() -> None:
        try:
            use(shared)
        except RuntimeError as error:
            refusals.append(str(error))

    assert lets_others_run(lambda: results.append(shared.feed(stanza)), 2000, intrude)
    assert refusals == ["this StanzaStream is in use by another thread"]
    assert all(result == [stanza] for result in results)
    assert shared.feed(b"<a/>") == [b"<a/>"]


@pytest.mark.core
@needs_gil
@pytest.mark.parametrize(
    "use",
    [
        lambda shared: shared.update(b"<a/>"),
        lambda shared: shared.count([b"<a/>"]),
        lambda shared: shared.counts(),
        lambda shared: shared.places(),
        lambda shared: shared.count_of("http:", Scope.NODES),
        lambda shared: shared.__init__(places=9),
    ],
)
def test_a_census_in_use_refuses_a_second_thread_and_goes_on(use: Callable[[NamespaceCensus], object]) -> None:
    shared = NamespaceCensus(places=2)
    calls, refusals = [], []

    def intrude() -> None:
        try:
            use(shared)
        except RuntimeError as error:
            refusals.append(str(error))

    assert lets_others_run(lambda: calls.append(shared.update(LARGE)), 2000, intrude)
    assert refusals == ["this NamespaceCensus is in use by another thread"]
    assert shared.insecure == len(calls) * len(xep419.scan(LARGE))


@pytest.mark.core
@needs_gil
@pytest.mark.parametrize(
    "use", [lambda shared: shared.feed(b"<a/>"), lambda shared: shared.finalize(), lambda shared: shared.__init__()]
)
def test_a_checker_in_use_refuses_a_second_thread_and_goes_on(use: Callable[[DocumentChecker], object]) -> None:
    shared = DocumentChecker(stream=True)
    shared.feed(b"<stream>")
    stanza = b"<a>" + b"<b c='d'/>" * 200_000 + b"</a>"
    calls, refusals = [], []

    def intrude() -> None:
        try:
            use(shared)
        except RuntimeError as error:
            refusals.append(str(error))

    assert lets_others_run(lambda: calls.append(shared.feed(stanza)), 2000, intrude)
    assert refusals == ["this DocumentChecker is in use by another thread"]
    assert shared.stanzas == len(calls)


@pytest.mark.parametrize("kind", [Encryptor, Decryptor, NamespaceCensus, StanzaStream, DocumentChecker])
def test_an_object_that_threads_begin_anew_and_feed_refuses_or_begins_anew(kind: Any) -> None:
    """Pieces end within markup and open many elements, so that there is memory to be held and given back each time."""
    items = 10 if xep419.isa == "python" else 800
    piece = b"<stream>" + b"".join(b"<element%d a='b'>" % i for i in range(100)) + b"<a xmlns='http://x'/>" * items
    piece += b"<open attribute='" + b"v" * 3000
    options = {Encryptor: {"census": NamespaceCensus()}, Decryptor: {"downgrade": True}}.get(kind, {})
    shared = kind(**options)
    feed = shared.feed if hasattr(shared, "feed") else shared.update
    refusal = f"this {kind.__name__} is in use by another thread"

    def work(number: int) -> None:
        chance = random.Random(number)
        for _ in range(60):
            try:
                if chance.random() < 0.4:
                    shared.__init__(**options)
                elif chance.random() < 0.1:
                    (shared.reset if kind is StanzaStream else shared.finalize)()
                else:
                    feed(piece)
            except (xep419.XEP419Error, ValueError):
                pass
            except RuntimeError as error:
                assert str(error) == refusal

    in_threads(work)
    shared.__init__(**options)
    feed(b"<stream><a/><a/>")


@pytest.mark.core
@pytest.mark.skipif(sys.version_info < (3, 12), reason="no class can offer a buffer in Python (PEP 688)")
def test_an_object_is_in_use_from_before_it_asks_for_the_buffer() -> None:
    """Asking may run Python, and so another thread: it must not come in between the check and the work."""
    piece = b"<x><field var='FORM_TYPE'><value>http://x</value></field></x>" * 20_000
    expected = piece.replace(b"http:", b"https:")
    for _ in range(10):
        shared = Encryptor()
        results: list[bytes] = []

        def update(data: Any, shared: Encryptor = shared, results: list[bytes] = results) -> None:
            with contextlib.suppress(RuntimeError):
                results.append(shared.update(data))

        class Delayed:
            def __buffer__(self, flags: int, update: Callable[[Any], None] = update) -> memoryview:
                self.other = threading.Thread(target=update, args=(piece,))
                self.other.start()
                return memoryview(piece)

        delayed = Delayed()
        update(delayed)
        delayed.other.join()
        assert results in ([expected], [expected, expected])


# -- bytes that change under a call -----------------------------------------------------------------------


def while_another_thread(mutate: Callable[[random.Random], None], work: Callable[[], None], repeats: int) -> None:
    done = threading.Event()

    def disturb() -> None:
        chance = random.Random(419)
        while not done.is_set():
            mutate(chance)

    with ThreadPoolExecutor(1) as pool:
        disturbing = pool.submit(disturb)
        try:
            for _ in range(repeats):
                work()
        finally:
            done.set()
        disturbing.result()


def test_names_that_change_during_a_call_come_out_in_one_form_or_the_other() -> None:
    """``http:`` and ``xttp:`` by turns: whatever the plan saw, letters stand only where it put them.

    A rotation may read a byte twice, so what becomes of a byte that changes meanwhile is not promised; the others stay.
    """
    items = 20 if xep419.isa == "python" else 3000
    buffer = bytearray(b"".join(b"<a xmlns='http://%d'>text</a>\n" % i for i in range(items)))
    places = [found.start() for found in re.finditer(b"http", buffer)]
    rest = buffer.replace(b"http", b"")

    def mutate(chance: random.Random) -> None:
        buffer[chance.choice(places)] = chance.choice(b"hx")

    def work() -> None:
        for function, first in ((xep419.upgrade, rb"[hx]"), (xep419.encrypt, rb"(?s:.)")):
            result = function(buffer)
            assert len(buffer) <= len(result) <= len(buffer) + items
            assert re.sub(first + rb"ttps?(?=:)", b"", result) == rest
        assert {ref.end - ref.start for ref in xep419.scan(buffer)} <= {len(f"http://{i}") for i in range(items)}

    while_another_thread(mutate, work, 50)


def test_bytes_that_change_at_random_during_a_call_never_harm_more_than_the_result() -> None:
    """All markup may come and go: no crash, no error but the package's own, and no length that cannot be."""
    clean = document(40 if xep419.isa == "python" else 1000).encode()
    buffer = bytearray(clean)
    view = memoryview(buffer)
    alphabet = b"<>'\"=/!?-[]&#;:{}hHuUxs \n"
    pieces = [b"<!--", b"-->", b"<![CDATA[", b"]]>", b"<!DOCTYPE", b"<?", b"FORM_TYPE", b" xmlns='http://", b"</"]

    def mutate(chance: random.Random) -> None:
        for _ in range(20):
            buffer[chance.randrange(len(buffer))] = chance.choice(alphabet)
        piece = chance.choice(pieces)
        at = chance.randrange(len(buffer) - len(piece))
        buffer[at : at + len(piece)] = piece
        if chance.random() < 0.05:
            buffer[:] = clean

    def work() -> None:
        assert len(xep419.rot13(buffer)) == len(buffer)
        for function in (xep419.upgrade, xep419.encrypt):
            assert len(buffer) <= len(function(buffer)) <= 2 * len(buffer)
        assert len(xep419.downgrade(buffer, known_only=False)) <= len(buffer)
        for ref in xep419.scan(buffer):
            assert 0 <= ref.start < ref.end <= len(buffer)
        assert all(len(result) >= len(buffer) for result in xep419.encrypt_many([buffer, view]))
        encryptor = Encryptor()
        halves = encryptor.update(view[: len(view) // 2]), encryptor.update(view[len(view) // 2 :])
        assert len(b"".join(halves) + encryptor.finalize()) >= len(buffer)
        census, checker = NamespaceCensus(), DocumentChecker()
        census.update(buffer)
        assert sum(census.counts().values()) + census.overflow == census.insecure + census.secure
        for check in (checker.feed, check_stanza, lambda data: match_upgraded(clean, data, final=True)):
            with contextlib.suppress(xep419.XEP419Error):
                check(buffer)

    while_another_thread(mutate, work, 30 if xep419.isa == "python" else 100)


def test_a_buffer_in_use_cannot_be_resized() -> None:
    buffer = bytearray(document(20 if xep419.isa == "python" else 2000).encode())
    size = len(buffer)

    def mutate(chance: random.Random) -> None:
        with contextlib.suppress(BufferError):
            buffer.extend(b" " * 4096)
        with contextlib.suppress(BufferError):
            del buffer[size:]

    def work() -> None:
        result = xep419.upgrade(buffer)
        assert result.rstrip(b" ").endswith(b"</query></iq><!-- <a xmlns='http://a'/> -->")

    while_another_thread(mutate, work, 50)
