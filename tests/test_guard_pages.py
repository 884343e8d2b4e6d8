"""No kernel and no public function touches a byte outside its buffers: they end, or begin, at a page nobody may touch.

One byte read too far kills the process, so each sweep runs in a process of its own: this file is also that program
(``python test_guard_pages.py NAME``). There every result is held against the same call on ordinary memory, or against
the pure-Python twin, which shares no code with the compiled core.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import xep419

if __name__ != "__main__":
    import pytest

    pytestmark = [
        pytest.mark.core,
        pytest.mark.any_python,
        pytest.mark.skipif(os.name != "posix", reason="needs mprotect"),
    ]

#: 0 to four of the widest vectors, and some
LENGTHS = range(261)
#: and lengths around those from which the streaming loops run
STREAMED = (318, 319, 320, 321, 383, 384, 511, 512, 513, 639, 640, 641)

# -- the tests --------------------------------------------------------------------------------------------


def run(sweep: str, isa: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(xep419.__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, __file__, sweep],
        env={**os.environ, "XEP419_ISA": isa, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def expect_success(sweep: str, isa: str) -> None:
    done = run(sweep, isa)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{isa}: {sweep} done\n", "")


def test_the_pages_are_guarded(isa: str) -> None:
    """The control: a read one byte too far does kill, so that the sweeps' success means something."""
    for sweep in ("control_before", "control_behind"):
        done = run(sweep, isa)
        assert done.returncode != 0
        assert done.stdout == "about to read\n"


def test_rotate(isa: str) -> None:
    expect_success("rotate", isa)


def test_candidates(isa: str) -> None:
    expect_success("candidates", isa)


def test_last_lt(isa: str) -> None:
    expect_success("last_lt", isa)


def test_tag_window(isa: str) -> None:
    expect_success("tag_window", isa)


def test_quote_sides(isa: str) -> None:
    expect_success("quote_sides", isa)


def test_loose_operations(isa: str) -> None:
    expect_success("loose", isa)


def test_classify(isa: str) -> None:
    expect_success("classify", isa)


def test_streams(isa: str) -> None:
    expect_success("streams", isa)


def test_checking(isa: str) -> None:
    expect_success("checking", isa)


def test_restoration(isa: str) -> None:
    expect_success("restoration", isa)


def test_columns(isa: str) -> None:
    expect_success("columns", isa)


def test_the_cipher(isa: str) -> None:
    expect_success("cipher", isa)


def test_the_namespace_functions(isa: str) -> None:
    expect_success("namespaces", isa)


def test_the_incremental_objects(isa: str) -> None:
    expect_success("incremental", isa)


# -- the program ------------------------------------------------------------------------------------------

PAGE = mmap.PAGESIZE


class Guarded:
    """One page of memory between two that may not be touched."""

    def __init__(self) -> None:
        self._map = mmap.mmap(-1, 3 * PAGE)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._map)) + PAGE
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        for page in (self.address - PAGE, self.address + PAGE):
            if libc.mprotect(page, PAGE, 0):  # PROT_NONE
                raise OSError(ctypes.get_errno(), "mprotect")
        self._page = memoryview(self._map)[PAGE : 2 * PAGE]

    def at_end(self, data: bytes) -> memoryview:
        """``data``, writable, right before the page behind."""
        return self._filled(self._page[PAGE - len(data) :], data)

    def at_start(self, data: bytes) -> memoryview:
        """``data``, writable, right behind the page before."""
        return self._filled(self._page[: len(data)], data)

    def _filled(self, view: memoryview, data: bytes) -> memoryview:
        view[:] = data
        return view


def both(data: bytes, guarded: Guarded) -> Iterator[memoryview]:
    yield guarded.at_end(data)
    yield guarded.at_start(data)


def control_before() -> None:
    guarded = Guarded()
    print("about to read", flush=True)
    ctypes.string_at(guarded.address - 1, 1)


def control_behind() -> None:
    guarded = Guarded()
    print("about to read", flush=True)
    ctypes.string_at(guarded.address + PAGE, 1)


#: every quote and letter that a kernel looks for, dense, at changing distances
MARKS = (b"\"h'u<!\"{='F'&<?>x\"U'H>" * 40)[:700]
#: ROT-13 of any byte is the byte's neighbour 13 places on: an oracle by table
ONCE = bytes(
    base + (byte - base + 13) % 26 if (base := byte & 0x20 | 0x41) <= byte < base + 26 else byte for byte in range(256)
)


def rotate() -> None:
    from xep419._core.isa import call_rotate

    source, target = Guarded(), Guarded()
    for n in (*LENGTHS[1:], *STREAMED):
        data = MARKS[:n]
        for view, out in zip(both(data, source), both(bytes(n), target), strict=True):
            for streaming in (False, True):
                for rounds in (1, 2):
                    out[:] = bytes(n)
                    call_rotate(xep419.isa, out, view, rounds=rounds, streaming=streaming)
                    assert out == (data.translate(ONCE) if rounds == 1 else data), n
            call_rotate(xep419.isa, view, view, rounds=1, streaming=False)
            assert view == data.translate(ONCE), n


def candidates() -> None:
    from xep419._core.isa import call_candidates

    guarded = Guarded()
    for n in LENGTHS[1:]:
        for data in (MARKS[:n], MARKS[-n:], b"=" * n, b'"' * n, b"=" * (n - 1) + b"<"):
            for room in (64, 80, 1000):
                expected = call_candidates(xep419.isa, data, room)
                for view in both(data, guarded):
                    assert call_candidates(xep419.isa, view, room) == expected, n


def last_lt() -> None:
    from xep419._core.isa import call_last_lt

    guarded = Guarded()
    for n in LENGTHS[1:]:
        for data in (b"=" * n, b"<" + b"=" * (n - 1), b"=" * (n - 1) + b"<"):
            for view in both(data, guarded):
                for end in {0, 1, n // 2, n - 1, n}:
                    for floor in {0, 1, n // 2, n - 1, n}:
                        if floor <= end:
                            found = data.rfind(b"<", floor, end)
                            assert call_last_lt(xep419.isa, view, floor, end) == (None if found < 0 else found), n


def tag_window() -> None:
    from xep419._core.isa import call_tag_window

    guarded = Guarded()
    for n in LENGTHS[1:]:
        data = MARKS[:n]
        expected = [call_tag_window("scalar", data, at) for at in range(n)]
        for view in both(data, guarded):
            assert [call_tag_window(xep419.isa, view, at) for at in range(n)] == expected, n


def quote_sides() -> None:
    from xep419._core.isa import call_quote_sides

    guarded = Guarded()
    for n in LENGTHS:
        if n >= 64:
            data = MARKS[:n]
            quotes = [at for at in range(1, n - 1) if data[at] in b"'\""]
            expected = [call_quote_sides(xep419.isa, data, at) for at in quotes]
            for view in both(data, guarded):
                assert [call_quote_sides(xep419.isa, view, at) for at in quotes] == expected, n


def loose() -> None:
    from xep419._core.isa import call_loosely

    source, target = Guarded(), Guarded()
    for n in LENGTHS[1:]:
        data = MARKS[: n + 128]
        for view, out in zip(both(data, source), both(bytes(len(data)), target), strict=True):
            for rounds in (0, 2):
                call_loosely(xep419.isa, out, view, n, rounds=rounds)
                assert out[:n] == data[:n], n


def classify() -> None:
    from xep419._core.isa import call_classify

    guarded = Guarded()
    for n in LENGTHS[1:]:
        data = MARKS[:n]
        expected = call_classify("scalar", data)
        for view in both(data, guarded):
            assert call_classify(xep419.isa, view) == expected, n


def cipher() -> None:
    source, target = Guarded(), Guarded()
    for n in (*LENGTHS, *STREAMED):
        data = MARKS[:n]
        once = data.translate(ONCE)
        for view, out in zip(both(data, source), both(bytes(n), target), strict=True):
            assert xep419.rot13(view) == once, n
            assert xep419.rot13(view, rounds=0) == data, n
            assert xep419.double_rot13(view) == data, n
            assert xep419.decrypt(view) == data, n
            assert (xep419.rot13_into(view, out), out) == (n, once), n
            assert (xep419.rot13_into(data.decode(), out, rounds=0), out) == (n, data), n
            out[:] = bytes(n)
            assert (xep419.double_rot13_into(view, out), out) == (n, data), n
            xep419.rot13_inplace(view)
            assert view == once, n


def _document(*parts: str) -> bytes:
    return "".join(parts).encode()


#: cut at every place: the ends of tags, values, references, sections and FORM_TYPE values all come to stand at a page
DOCUMENTS = [
    _document(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
        '<iq type="result"><query xmlns="http://jabber.org/protocol/disco#info" node="urn:xmpp:x#h">',
        "<feature var='urn:xmpp:ping'/><feature var='http://jabber.org/protocol/muc+notify'/></query></iq>",
    ),
    _document(
        "<message><x xmlns='jabber:x:data'><field type='hidden' var='FORM_TYPE'><value> \n",
        "http://jabber.org/protocol/muc#roomconfig</value></field><field var='{http://a}b'/></x>",
        "<encryption xmlns='urn:xmpp:eme:0' namespace='&#x75;rn:xmpp:omemo:2'/></message>",
    ),
    _document(
        "<!DOCTYPE a [<!-- ' --><!ENTITY e \"'http:\"><?pi '?>]><!-- xmlns='http://a' -->",
        "<a><![CDATA[<b xmlns='http:']]>",
        "<c xmlns='http://jabber.org/protocol/caps' node='http://jabber.org/protocol/muc' ver='x'/>",
        "<report xmlns='urn:xmpp:reporting:1' reason='urn:xmpp:reporting:spam'/>text > ' \" &amp; &#104;</a>",
    ),
    _document("<a b='", "h" * 70, "' c='http:", "//" * 70, "' xmlns:d='&#0000104;ttp:" * 8, "'/>"),
    _document("<é xmlns='http://é'>", "é\"h 'u <é/>" * 12, "</é>"),
    "<a xmlns='http://x'/>".encode("utf-16"),
    "\ufeff<a xmlns='https://x'/><b xmlns='urn:xmpps:y'/>".encode(),
]


def pieces_of(document: bytes) -> Iterator[bytes]:
    for n in LENGTHS:
        if n <= len(document):
            yield document[:n]
            yield document[len(document) - n :]


def outcome(call: Callable[..., object], *args: Any, **kwargs: Any) -> object:
    """The result, or the type and message of the package's error."""
    try:
        return call(*args, **kwargs)
    except xep419.XEP419Error as error:
        return type(error), str(error)


def namespaces() -> None:
    from xep419._pure import namespaces as pure

    guarded = Guarded()
    for document in DOCUMENTS:
        for data in pieces_of(document):
            expected = [
                outcome(pure.scan, data),
                outcome(pure.upgrade, data),
                outcome(pure.downgrade, data),
                outcome(pure.downgrade, data, known_only=False),
                outcome(pure.encrypt, data),
            ]
            many = outcome(lambda data=data: pure.encrypt_many([data] * 3))
            for view in both(data, guarded):
                found = [
                    outcome(xep419.scan, view),
                    outcome(xep419.upgrade, view),
                    outcome(xep419.downgrade, view),
                    outcome(xep419.downgrade, view, known_only=False),
                    outcome(xep419.encrypt, view),
                ]
                assert found == expected, data
                assert outcome(xep419.encrypt_many, [view] * 3) == many, data


def incremental() -> None:
    """Two pieces, each in its own guarded page, cut in the middle and near both ends."""
    from xep419._pure.incremental import NamespaceCensus as PureCensus
    from xep419.namespaces import NamespaceCensus

    first, second = Guarded(), Guarded()
    for document in DOCUMENTS:
        for data in pieces_of(document):
            encrypted = outcome(xep419.encrypt, data)
            downgraded = outcome(xep419.downgrade, data)
            counts = outcome(count, PureCensus(), data, b"")
            for cut in {0, min(5, len(data)), len(data) // 2, max(len(data) - 1, 0)}:
                for head, tail in zip(both(data[:cut], first), both(data[cut:], second), strict=True):
                    for worker, expected in (
                        (xep419.Encryptor(), encrypted),
                        (xep419.Decryptor(downgrade=True), downgraded),
                        (xep419.Encryptor(census=NamespaceCensus()), encrypted),
                        (xep419.Encryptor(upgrade=False, rounds=1), data.translate(ONCE)),
                    ):
                        whole = outcome(
                            lambda worker=worker, head=head, tail=tail: (
                                worker.update(head) + worker.update(tail) + worker.finalize()
                            )
                        )
                        assert whole == expected, (data, cut)
                    assert outcome(count, NamespaceCensus(), head, tail) == counts, (data, cut)


def count(census: Any, *pieces: Any) -> list[Any]:
    for piece in pieces:
        census.update(piece)
    census.finalize()
    return list(census.counts().items())


def streams() -> None:
    """The same for a stream; every beginning of a document too, so that everything is cut off by a page's end once."""
    first, second = Guarded(), Guarded()
    header = b"<s xmlns='jabber:client'><a b='c'>d &amp; e]]</a ><f\n g = \"h>'\"/>"
    for document in (header + document for document in (b"", *DOCUMENTS)):
        for n in range(len(document) + 1) if len(document) < 400 else (len(document),):
            data = document[:n]
            for restricted, transform in ((True, None), (False, "encrypt")):
                expected = cut_stream([data], restricted, transform)
                for cut in {0, min(5, n), n // 2, max(n - 1, 0)}:
                    for head, tail in zip(both(data[:cut], first), both(data[cut:], second), strict=True):
                        assert cut_stream([head, tail], restricted, transform) == expected, (data, cut)


def checking() -> None:
    """The same for documents that are checked alone, and for each beginning of one as a stored stanza."""
    from xep419._pure.checking import check_stanza as pure_check
    from xep419.stream import check_stanza

    first, second = Guarded(), Guarded()
    stanza = b" <a b='c'>d &amp; e]]<f.f\n g = \"h>'\"></f.f><%b>&#65;</%b></a >\n" % (b"n" * 300, b"n" * 300)
    for document in (b"<s>" + stanza + b"<t/></s>", *DOCUMENTS):
        for n in range(len(document) + 1):
            data = document[:n]
            expected = check_document([data])
            for cut in {0, min(5, n), n // 2, max(n - 1, 0)}:
                for head, tail in zip(both(data[:cut], first), both(data[cut:], second), strict=True):
                    assert check_document([head, tail]) == expected, (data, cut)
    for document in (stanza, *DOCUMENTS):
        for data in (document[:n] for n in range(len(document) + 1)):
            expected = outcome(pure_check, data)
            for view in both(data, first):
                assert outcome(check_stanza, view) == expected, data


def restoration() -> None:
    """Every beginning of a document beside every few of its upgrade, each in its own guarded page."""
    from xep419._pure.restoration import match_upgraded as pure
    from xep419.namespaces import match_upgraded

    first, second = Guarded(), Guarded()
    for document in DOCUMENTS[:4]:
        upgraded = xep419.upgrade(document)
        for n in range(min(len(document), 200) + 1):
            for m in {0, n // 2, max(n - 1, 0), n, n + 1, n + 2}:
                for final in (False, True):
                    expected = outcome(pure, document[:n], upgraded[:m], final=final)
                    for one, other in zip(both(document[:n], first), both(upgraded[:m], second), strict=True):
                        assert outcome(match_upgraded, one, other, final=final) == expected, (n, m)


def columns() -> None:
    """One row and two, the values in a guarded page; the offsets, which are copied, in another."""
    from xep419._pure.columns import recode_values as pure
    from xep419.columns import recode_values

    first, second = Guarded(), Guarded()
    for document in DOCUMENTS:
        for data in pieces_of(document):
            offsets = struct.pack("=3i", 0, len(data) // 2, len(data))
            for check in (False, True):
                options: Any = {"check": check, "rounds_to": 1, "census": True}
                expected = pure(data, offsets, **options), pure(data, offsets[4:], **options)
                for values, places in zip(both(data, first), both(offsets, second), strict=True):
                    found = recode_values(values, places, **options), recode_values(values, places[4:], **options)
                    assert found == expected, data


def check_document(pieces: list[Any]) -> tuple[Any, ...]:
    checker = xep419.stream.DocumentChecker()
    try:
        for piece in pieces:
            checker.feed(piece)
        checker.finalize()
    except xep419.XEP419Error as error:
        return type(error), str(error), checker.stanzas, checker.boundary
    return checker.stanzas, checker.boundary, checker.header


def cut_stream(pieces: list[Any], restricted: bool, transform: Any) -> tuple[Any, ...]:
    stream = xep419.StanzaStream(restricted=restricted, transform=transform)
    stanzas: list[bytes] = []
    for piece in pieces:
        try:
            stanzas += stream.feed(piece)
        except xep419.XEP419Error as error:
            return [*stanzas, *error.stanzas], type(error), str(error)
    return stanzas, stream.header, stream.pending


if __name__ == "__main__":
    SWEEPS = (
        control_before,
        control_behind,
        rotate,
        candidates,
        last_lt,
        tag_window,
        quote_sides,
        loose,
        classify,
        cipher,
        namespaces,
        incremental,
        streams,
        checking,
        restoration,
        columns,
    )
    {sweep.__name__: sweep for sweep in SWEEPS}[sys.argv[1]]()
    print(f"{xep419.isa}: {sys.argv[1]} done")
