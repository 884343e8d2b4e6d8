"""Objects that keep a place in a document, used as nobody should: ``__init__`` again or never, from within, copied.

They begin anew or refuse with a clear error, and keep to their own memory: this file is run under the sanitizers too.
What two threads do to one object at a time is in ``test_threads.py``.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import importlib
import pickle
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

import xep419
from xep419 import Decryptor, Encryptor, Scope, StanzaStream
from xep419.namespaces import NamespaceCensus
from xep419.stream import DocumentChecker

CORE = "_pure" if xep419.isa == "python" else "_core"


class Kind(NamedTuple):
    """A class, how to feed an object of it, every other method, and what its properties are before ``__init__``."""

    type: Any
    feed: Callable[[Any, Any], object]
    others: dict[str, Callable[[Any], object]]
    properties: dict[str, object]
    limit: str = "max_markup"
    options: dict[str, object] = {}  # noqa: RUF012 (never changed)

    @property
    def name(self) -> str:
        return str(self.type.__name__)

    def new(self) -> Any:
        return self.type(**self.options)

    def begin(self, it: Any, **options: object) -> None:
        it.__init__(**{**self.options, **options})


FINALIZE: dict[str, Callable[[Any], object]] = {"finalize": lambda it: it.finalize()}
KINDS = {
    kind.name: kind
    for kind in (
        Kind(Encryptor, lambda it, data: it.update(data), FINALIZE, {}),
        Kind(
            Decryptor, lambda it, data: it.update(data), FINALIZE, {}, options={"downgrade": True, "known_only": False}
        ),
        Kind(
            NamespaceCensus,
            lambda it, data: (it.update(data), it.counts(), it.places(), it.insecure, it.secure, it.overflow),
            {
                "update": lambda it: it.update(b"<a/>"),
                "count": lambda it: it.count([b"<a xmlns='http:'/>"]),
                "counts": lambda it: it.counts(),
                "places": lambda it: it.places(),
                "found": lambda it: it.found("a source"),
                "count_of": lambda it: it.count_of("http:", Scope.DECLARATIONS),
                **FINALIZE,
            },
            {"insecure": 0, "secure": 0, "overflow": 0},
        ),
        Kind(
            StanzaStream,
            lambda it, data: (it.feed(data), it.pending, it.header, it.closed),
            {"reset": lambda it: it.reset()},
            {"header": None, "closed": False, "pending": b""},
            limit="max_stanza",
        ),
        Kind(
            DocumentChecker,
            lambda it, data: (it.feed(data), it.stanzas, it.boundary, it.header),
            FINALIZE,
            {"stanzas": 0, "boundary": 0, "header": None},
        ),
    )
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)

#: more open elements, letters of their names, names and held bytes than an object has room for without a block
DEEP = b"".join(b"<element%d xmlns='http://example.org/%d'>" % (i, i) for i in range(300))
BEGUN = b"<stream>" + DEEP + b"<open attribute='" + b"v" * 5000
DOCUMENT = b"<stream><a xmlns='http://x'/><b xmlns='urn:xmpp:b'>text</b><c"
WIDE = "<a/>".encode("utf-16")


def error_of(call: Callable[[], object]) -> tuple[type[BaseException], str]:
    with pytest.raises(Exception) as caught:
        call()
    return caught.type, str(caught.value)


# -- again --------------------------------------------------------------------------------------------------


def begun(kind: Kind, it: Any) -> None:
    kind.feed(it, BEGUN)


def failed(kind: Kind, it: Any) -> None:
    with pytest.raises(xep419.EncodingError):
        kind.feed(it, WIDE)


def begun_and_failed(kind: Kind, it: Any) -> None:
    """Of Encryptor, Decryptor and census, held bytes fail; of the others, the character does."""
    kind.feed(it, BEGUN)
    with pytest.raises(xep419.XEP419Error):
        kind.feed(it, b"'\0<>" + b"<a b='" + b"v" * (1 << 21))


def ended(kind: Kind, it: Any) -> None:
    kind.feed(it, b"<a/>")
    if "finalize" in kind.others:
        it.finalize()


@every_kind
@pytest.mark.parametrize("before", [begun, failed, begun_and_failed, ended])
def test_initialised_again_it_begins_anew(kind: Kind, before: Callable[[Kind, Any], None]) -> None:
    it = kind.new()
    for _ in range(3):
        before(kind, it)
        kind.begin(it)
        fresh = kind.new()
        for start in range(0, len(DOCUMENT), 7):
            piece = DOCUMENT[start : start + 7]
            assert kind.feed(it, piece) == kind.feed(fresh, piece)
        kind.begin(it)


@every_kind
def test_initialised_again_it_takes_other_options(kind: Kind) -> None:
    it = kind.new()
    kind.feed(it, BEGUN)
    kind.begin(it, **{kind.limit: 20})
    for _ in range(2):
        with pytest.raises(xep419.LimitExceededError):
            kind.feed(it, b"<stream><element attribute='a long value that does not end")
    kind.begin(it)
    kind.feed(it, BEGUN)


def test_each_option_is_the_last_one_given() -> None:
    encryptor = Encryptor(rounds=1, upgrade=False)
    encryptor.__init__()
    assert encryptor.update(b"<a xmlns='http://x'/>") == b"<a xmlns='https://x'/>"
    encryptor.__init__(scope=Scope.NODES, rounds=1)
    assert encryptor.update(b"<a xmlns='http://x'/>") == xep419.rot13(b"<a xmlns='http://x'/>")
    decryptor = Decryptor(downgrade=True, known_only=False)
    assert decryptor.update(b"<a xmlns='https://x'/>") == b"<a xmlns='http://x'/>"
    decryptor.__init__(downgrade=True)
    assert decryptor.update(b"<a xmlns='https://x'/>") == b"<a xmlns='https://x'/>"
    stream = StanzaStream(transform="encrypt")
    stream.__init__(restricted=False)
    assert stream.feed(b"<s><a xmlns='http://x'><!-- --></a>") == [b"<a xmlns='http://x'><!-- --></a>"]
    stream.__init__(transform="encrypt")
    assert stream.feed(b"<s><a xmlns='http://x'/>") == [b"<a xmlns='https://x'/>"]
    checker = DocumentChecker(stream=True)
    checker.__init__()
    checker.feed(b"<a>text</a>")
    checker.__init__(stream=True)
    with pytest.raises(xep419.MalformedXMLError):
        checker.feed(b"<a>text</a>")
    census = NamespaceCensus(places=1)
    census.__init__(places=3)
    census.update(b"<a xmlns='http://x'>" * 4)
    assert list(census.places().values()) == [[10, 30, 50]]


def test_an_encryptor_takes_another_census() -> None:
    first, second = NamespaceCensus(), NamespaceCensus()
    encryptor = Encryptor(census=first)
    encryptor.update(b"<a xmlns='http://x'>")
    encryptor.__init__(census=second)
    del first
    encryptor.update(b"<a xmlns='http://x'><b xmlns='http://y'>")
    assert second.insecure == 2
    encryptor.__init__()
    encryptor.update(b"<a xmlns='http://x'>")
    assert second.insecure == 2


def test_a_census_that_counts_for_an_encryptor_goes_on_so_when_it_begins_anew() -> None:
    census = NamespaceCensus()
    encryptor = Encryptor(census=census)
    encryptor.update(b"<a xmlns='http://x'>")
    census.__init__()
    assert census.counts() == {}
    with pytest.raises(RuntimeError, match=r"^this NamespaceCensus counts what an Encryptor upgrades: feed that$"):
        census.update(b"<a/>")
    encryptor.update(b"<a xmlns='http://x'>")
    assert census.counts() == {("http://x", Scope.DECLARATIONS, False): 1}


class Unwilling:
    """No number and neither true nor false."""

    def __index__(self) -> int:
        raise ZeroDivisionError("no number")

    def __bool__(self) -> bool:
        raise ZeroDivisionError("no truth")


@every_kind
def test_a_wrong_argument_leaves_it_as_it_was(kind: Kind) -> None:
    options = {
        "Encryptor": ["max_markup", "rounds", "upgrade", "scope", "census"],
        "Decryptor": ["max_markup", "rounds", "downgrade", "scope", "known_only"],
        "NamespaceCensus": ["max_markup", "scope", "places"],
        "StanzaStream": ["max_stanza", "restricted", "transform"],
        "DocumentChecker": ["max_markup", "stream"],
    }[kind.name]
    it, other = kind.new(), kind.new()
    assert kind.feed(it, BEGUN) == kind.feed(other, BEGUN)
    for option in options:
        with pytest.raises((ZeroDivisionError, TypeError)):
            kind.begin(it, **{option: Unwilling()})
    for limit, error in ((0, ValueError), (-1, ValueError), ("1", TypeError)):
        with pytest.raises(error):
            kind.begin(it, **{kind.limit: limit})
    rest = b"'/><c xmlns='http://x'/>"
    assert kind.feed(it, rest) == kind.feed(other, rest)


# -- never --------------------------------------------------------------------------------------------------


def without_a_beginning(kind: Kind) -> Iterator[Any]:
    """By ``__new__`` alone, by a subclass that forgets ``__init__`` (and has arguments of its own), by one that fails."""
    yield kind.type.__new__(kind.type)
    forgetful = type(kind.name, (kind.type,), {"__init__": lambda self, number: None})
    yield forgetful(3)
    it = kind.type.__new__(kind.type)
    with pytest.raises(ValueError, match=kind.limit):
        kind.begin(it, **{kind.limit: 0})
    yield it


@every_kind
def test_what_was_never_initialised_refuses_everything(kind: Kind) -> None:
    refusal = RuntimeError, f"this {kind.name} was never initialized"
    for it in without_a_beginning(kind):
        assert {name: getattr(it, name) for name in kind.properties} == kind.properties
        assert error_of(lambda it=it: kind.feed(it, b"<a/>")) == refusal
        for use in kind.others.values():
            assert error_of(lambda it=it, use=use: use(it)) == refusal
        kind.type.__init__(it)
        kind.feed(it, b"<a/>")


def test_an_encryptor_refuses_a_census_that_was_never_initialised() -> None:
    for census in without_a_beginning(KINDS["NamespaceCensus"]):
        encryptor = Encryptor(census=census)
        with pytest.raises(RuntimeError, match=r"^this NamespaceCensus was never initialized$"):
            encryptor.update(b"<a xmlns='http:'/>")


@pytest.mark.core
def test_the_base_of_three_does_nothing_by_itself() -> None:
    from xep419._core.incremental import _Incremental  # type: ignore[attr-defined]

    for use in (lambda: _Incremental().update(b"<a/>"), lambda: _Incremental().finalize()):
        with pytest.raises(RuntimeError, match=r"^this _Incremental was never initialized$"):
            use()


@every_kind
def test_a_subclass_works(kind: Kind) -> None:
    class Derived(kind.type):  # type: ignore[name-defined, misc]
        def __init__(self, number: int, **options: Any) -> None:
            super().__init__(**options)
            self.number = number

    it = Derived(3, **kind.options)
    assert kind.feed(it, DOCUMENT) == kind.feed(kind.new(), DOCUMENT)
    it.__init__(4, **kind.options)
    assert kind.feed(it, DOCUMENT) == kind.feed(kind.new(), DOCUMENT)
    assert it.number == 4


# -- copies -------------------------------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_it_cannot_be_copied(kind: Kind, copied: Callable[[Any], object]) -> None:
    it = kind.new()
    kind.feed(it, BEGUN)
    for one in (it, kind.type.__new__(kind.type)):
        assert error_of(lambda one=one: copied(one)) == (TypeError, f"cannot pickle {kind.name!r} object")


# -- from within --------------------------------------------------------------------------------------------


class Calling:
    """A number, and true or false, that calls something when it is asked for its value."""

    def __init__(self, value: int, call: Callable[[], object]) -> None:
        self.value = value
        self.call = call

    def __index__(self) -> int:
        self.call()
        return self.value

    def __bool__(self) -> bool:
        self.call()
        return bool(self.value)


@every_kind
def test_it_may_be_used_while_its_arguments_are_read(kind: Kind) -> None:
    """What is done then comes before the new beginning."""
    it = kind.new()
    calls: list[object] = []
    number = Calling(1000, lambda: calls.append(kind.feed(it, b"<stream><a>")))
    kind.begin(it, **{kind.limit: number})
    kind.begin(it, **{kind.limit: Calling(1000, lambda: kind.begin(it))})
    assert len(calls) == 1
    assert kind.feed(it, DOCUMENT) == kind.feed(kind.new(), DOCUMENT)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("Encryptor", "upgrade"),
        ("Decryptor", "known_only"),
        ("StanzaStream", "restricted"),
        ("DocumentChecker", "stream"),
    ],
)
def test_it_may_be_used_while_a_truth_is_found(name: str, option: str) -> None:
    kind = KINDS[name]
    it = kind.new()
    kind.begin(it, **{option: Calling(1, lambda: kind.feed(it, BEGUN))})
    assert kind.feed(it, b"<stream><a/>") == kind.feed(kind.new(), b"<stream><a/>")


def test_a_census_refuses_all_while_it_takes_the_next_document() -> None:
    census = NamespaceCensus(places=3)
    refusals = []
    uses = [NamespaceCensus.__init__, *KINDS["NamespaceCensus"].others.values()]

    def documents() -> Iterator[bytes]:
        for i in range(3):
            yield b"<a xmlns='http://%d'/>" % i
            refusals.extend(error_of(lambda use=use: use(census)) for use in uses)

    census.count(documents())
    assert refusals == [(RuntimeError, "this NamespaceCensus is in use by another thread")] * 3 * len(uses)
    assert census.insecure == 3
    census.__init__()


@pytest.mark.parametrize("use", ["counts", "places", "found"])
def test_a_census_refuses_names_while_it_tells_them(use: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """References are resolved in Python, where another thread may take over."""
    module = importlib.import_module("xep419._core.census" if CORE == "_core" else "xep419._pure.incremental")
    census = NamespaceCensus(places=1)
    census.update(b"<a xmlns='http://&#97;'/><a xmlns='http://b'/>")
    refusals = []
    more = b"".join(b"<a xmlns='http://%d'/>" % i for i in range(1000))

    def resolved(raw: bytes) -> str:
        refusals.extend(error_of(change)[1] for change in (lambda: census.update(more), census.__init__))
        return "http://a"

    monkeypatch.setattr(module, "resolve_references", resolved)
    KINDS["NamespaceCensus"].others[use](census)
    assert set(refusals) == {"this NamespaceCensus is in use by another thread"}
    census.update(more)
    assert census.insecure == 1002


def test_a_count_is_the_one_of_when_the_name_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    census = NamespaceCensus()

    def is_secure(name: str) -> bool:
        census.update(DEEP)
        return False

    monkeypatch.setattr(importlib.import_module(f"xep419.{CORE}.incremental"), "is_secure", is_secure)
    assert census.count_of("http://example.org/7", Scope.DECLARATIONS) == 1


def test_a_checker_refuses_all_while_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is made in Python, where another thread may take over."""
    checker = DocumentChecker()
    checker.feed(DEEP)
    refusals = []
    module = importlib.import_module("xep419._core.framing" if CORE == "_core" else "xep419._pure.checking")
    fault = module.fault

    def made(*arguments: Any) -> Exception:
        uses = (lambda: checker.feed(DEEP), checker.finalize, checker.__init__)
        refusals.extend(error_of(use)[1] for use in uses)
        return fault(*arguments)  # type: ignore[no-any-return]

    monkeypatch.setattr(module, "fault", made)
    with pytest.raises(xep419.MalformedXMLError):
        checker.finalize()
    assert refusals == ["this DocumentChecker is in use by another thread"] * 3


@pytest.mark.any_isa
@every_kind
def test_what_its_error_held_may_use_it(kind: Kind) -> None:
    """An error's traceback keeps the frames that it went through, and so what stands in them."""
    it = kind.new()
    uses: list[object] = []

    class Last:
        def __del__(self) -> None:
            with contextlib.suppress(Exception):
                uses.append(kind.feed(it, DOCUMENT))

    def fail() -> None:
        last = Last()
        try:
            kind.feed(it, WIDE)
        except xep419.EncodingError as error:
            error.last = last  # type: ignore[attr-defined]
            raise

    for _ in range(3):
        with contextlib.suppress(xep419.EncodingError):
            fail()
        gc.collect()
        kind.begin(it)
        with contextlib.suppress(Exception):
            kind.feed(it, BEGUN)
        kind.begin(it)
        gc.collect()
    kind.begin(it)
    assert kind.feed(it, DOCUMENT) == kind.feed(kind.new(), DOCUMENT)


def test_the_last_of_a_census_may_use_its_encryptor() -> None:
    uses: list[object] = []

    class Dying(NamespaceCensus):
        def __del__(self) -> None:
            try:
                uses.append(encryptor.update(b"<a xmlns='http://x'>"))
            except RuntimeError as error:
                uses.append(str(error))

    encryptor = Encryptor(census=Dying())
    for _ in range(10):
        encryptor.__init__(census=Dying())
    encryptor.__init__()
    assert encryptor.update(b"<beginning>") == b"<beginning>"
    assert len(uses) == 11
    assert set(uses) <= {b"<a xmlns='https://x'>", "this Encryptor is in use by another thread"}


# -- buffers ------------------------------------------------------------------------------------------------


@every_kind
def test_a_buffer_can_be_resized_as_soon_as_the_call_is_over(kind: Kind) -> None:
    """Whether it succeeds or fails; and what was held of it is a copy."""
    it, other = kind.new(), kind.new()
    buffer = bytearray(BEGUN)
    assert kind.feed(it, buffer) == kind.feed(other, BEGUN)
    buffer.clear()
    buffer.extend(b"x" * 100_000)
    buffer[:] = b"'/><c xmlns='http://x'/>"
    assert kind.feed(it, buffer) == kind.feed(other, bytes(buffer))
    buffer[:] = WIDE
    kind.begin(it)
    for _ in range(2):
        with pytest.raises(xep419.EncodingError):
            kind.feed(it, buffer)
        buffer.extend(b" ")
    with pytest.raises(RuntimeError):
        kind.feed(kind.type.__new__(kind.type), buffer)
    buffer.clear()


def test_a_buffer_that_is_counted_cannot_be_resized_by_who_gives_it_too_early() -> None:
    census = NamespaceCensus()
    buffer = bytearray(b"<a xmlns='http://x'/>" * 1000)

    def documents() -> Iterator[bytearray]:
        for _ in range(3):
            yield buffer
            buffer.extend(b"<a xmlns='http://x'/>" * 5000)  # between two documents nothing of it is held
        buffer.clear()

    census.count(documents())
    assert census.insecure == 1000 + 6000 + 11000
