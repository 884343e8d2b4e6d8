"""``DocumentChecker`` and ``check_stanza``: the same judgement for every chunking, errors included, and nothing kept.

expat is the oracle for documents that are well-formed: where the header, the last first-level element and the document
end. ``StanzaStream`` is one for the errors of a recorded stream, whose exact messages ``test_stream.py`` states; the pure
twin is one for any bytes.
"""

from __future__ import annotations

import array
import itertools
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import RefusedError, cut_by_expat
from test_stream import (
    HEADER,
    REFUSED,
    REFUSED_FIRST,
    REFUSED_UNRESTRICTED,
    STREAMS,
    UNRESTRICTED,
    chunkings,
    chunks,
    cut,
    damaged,
    documents,
    told,
)

from xep419 import EncodingError, LimitExceededError, MalformedXMLError, StanzaStream, XEP419Error
from xep419._pure.checking import DocumentChecker as Twin
from xep419._pure.checking import check_stanza as twin_check_stanza
from xep419.stream import DocumentChecker, check_stanza

Error = tuple[type[XEP419Error], str, int | None, str | None]
Answer = tuple[Error | None, int, int, tuple[int, int] | None]


def checked(checker: Any, pieces: Iterable[Any], finalize: bool = True) -> Answer:
    """The error of a document, and how far it was understood; after an error the object must be of no more use."""
    error = None
    try:
        for piece in pieces:
            assert checker.feed(piece) is None
        if finalize:
            assert checker.finalize() is None
    except XEP419Error as raised:
        error = told(raised)
        for use in (lambda: checker.feed(b"<a/>"), checker.finalize, lambda: checker.feed(b"")):
            with pytest.raises(type(raised)) as again:
                use()
            assert told(again.value) == error
    return error, checker.stanzas, checker.boundary, checker.header


def refusal(kind: type[XEP419Error], message: str, offset: int) -> Error:
    return kind, f"{message} (at byte {offset})", offset, kind.condition


# -- what is understood -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*STREAMS, *UNRESTRICTED])
def test_any_chunking_of_a_stream_gives_the_same(name: str) -> None:
    data, stanzas = (STREAMS | UNRESTRICTED)[name]
    stream = StanzaStream(restricted=False)
    stream.feed(data)
    assert stream.header is not None
    start = data.rindex(stream.header)
    header = (start, start + len(stream.header))
    boundary = data.rindex(stanzas[-1]) + len(stanzas[-1]) if stanzas else header[1]
    for pieces in chunkings(data):
        assert checked(DocumentChecker(stream=True), pieces) == (None, len(stanzas), boundary, header)


@given(documents, st.lists(st.integers(0, 2000), max_size=4))
@settings(max_examples=150, deadline=None)
def test_documents_are_understood_as_expat_understands_them(document: bytes, places: list[int]) -> None:
    header, stanzas, closed = cut_by_expat(document)
    assert header is not None
    boundary = document.rindex(stanzas[-1]) + len(stanzas[-1])
    pieces = cut(document, sorted(min(place, len(document)) for place in places))
    for stream in (False, True):
        found = checked(DocumentChecker(stream=stream), pieces)
        assert found[1:] == (len(stanzas), boundary, (0, len(header)))
        unclosed = "the end tag </root> is expected, but the document ended"
        expected = None if closed or stream else refusal(MalformedXMLError, unclosed, len(document))
        assert found[0] == expected
    for stanza in stanzas:
        check_stanza(stanza)


@pytest.mark.parametrize(
    ("document", "stanzas"),
    [
        ("<a>text</a>", 0),
        ("<a>\u00e9 &amp; &foo; &#65; ] ]] ]&gt;<b>c</b>text<d/> text </a>", 2),
        ("<a><![CDATA[<b>]]></a>", 0),
        ("<a><![CDATA[<b>]]>]]<c/><![CDATA[]]> <!-- b --><?p?>x</a>\n<!-- c --><?q?> ", 1),
        ("<a><stream/><b:stream><c/></b:stream><stream/></a>", 3),
        ("<stream><stream/></stream>", 1),
        ("<!DOCTYPE a [<!ENTITY foo 'b'>]><a/>", 0),
        ("\ufeff<?xml version='1.0' encoding='UTF-8'?>\n<a\n></a >", 0),
    ],
)
def test_one_document_is_any_xml(document: str, stanzas: int) -> None:
    data = document.encode()
    for pieces in chunkings(data):
        error, count, _, header = checked(DocumentChecker(), pieces)
        assert (error, count, header is not None) == (None, stanzas, True)


@pytest.mark.parametrize(
    ("data", "message", "offset"),
    [
        (b"<a>]]></a>", "text without ']]>' is expected, not '>'", 5),
        (b"<a>b<c></d>", "the end tag </c> is expected, not </d>", 7),
        (b"<a>b</c>", "the end tag </a> is expected, not </c>", 4),
        (b"<a><b/><?xml version='1.0'?><a/>", "an XML declaration is expected only where a document begins", 7),
        (b"<a></a>text", "white space after the end of the stream is expected, not 't'", 7),
        (b"<a></a>&lt;", "white space after the end of the stream is expected, not '&'", 7),
        (b"<a/><b/>", "white space after the end of the stream is expected, not a tag", 4),
        (b"<a/><![CDATA[]]>", "white space or a tag is expected outside stanzas, not a CDATA section", 4),
        (b"<![CDATA[]]>", "white space or a tag is expected outside stanzas, not a CDATA section", 0),
        (b"text", "the start tag of a stream is expected, not 't'", 0),
        (b"<a>&#0;</a>", "a reference to a character that XML 1.0 allows is expected, not &#0;", 3),
        (b"<a>&b c;</a>", "a name, then ';' is expected, not ' '", 5),
    ],
)
def test_what_one_document_is_refused_for(data: bytes, message: str, offset: int) -> None:
    for pieces in chunkings(data):
        error = checked(DocumentChecker(), pieces)[0]
        assert error is not None
        assert error[:3] == refusal(MalformedXMLError, message, offset)[:3]


@pytest.mark.parametrize(("data", "kind", "message", "offset"), [*REFUSED, *REFUSED_FIRST, *REFUSED_UNRESTRICTED])
def test_a_stream_is_refused_for_what_the_stanza_stream_refuses_it(
    data: bytes, kind: type[XEP419Error], message: str, offset: int
) -> None:
    for document in (data, b"<s><a/>" + data):
        expected: Error | None = None
        count = 0
        stream = StanzaStream(restricted=False)
        try:
            count = len(stream.feed(document))
        except XEP419Error as error:
            count, expected = len(error.stanzas), told(error)
        for pieces in chunkings(document):
            found = checked(DocumentChecker(stream=True), pieces, finalize=False)
            assert found[:2] == (expected, count)


# -- where it may end ---------------------------------------------------------------------------------------

NO_ROOT = "a root element is expected, but the document ended"
UNFINISHED = "the end of the markup that begins here is expected, but the document ended"


@pytest.mark.parametrize(
    ("data", "message", "offset"),
    [
        (b"", NO_ROOT, 0),
        (b" \n", NO_ROOT, 2),
        (b"\xef\xbb", NO_ROOT, 2),
        (b"<?xml version='1.0'?><!-- -->", NO_ROOT, 29),
        (b"<", UNFINISHED, 0),
        (b"<?xml", UNFINISHED, 0),
        (b"<!DOCTYPE a [<!ENTITY b '>'", UNFINISHED, 0),
        (b" <a b='", UNFINISHED, 1),
        (b"<a b='&am", UNFINISHED, 0),
        (b"<s><a>b&am", UNFINISHED, 7),
        (b"<s><a></a ", UNFINISHED, 6),
        (b"<s><!-- <a> --", UNFINISHED, 3),
        (b"<s><a><![CDATA[]]", UNFINISHED, 6),
        (b"<s><?p", UNFINISHED, 3),
        (b"<s></s", UNFINISHED, 3),
        (b"<s><a>", "the end tag </a> is expected, but the document ended", 6),
        (b"<s><a><b/>]]", "the end tag </a> is expected, but the document ended", 12),
        (b"<s><a>\xe2\x82", "the end tag </a> is expected, but the document ended", 8),
        (b"<s><b><%b/>" % (b"a" * 200), "the end tag </b> is expected, but the document ended", 209),
        (b"<s><%b>" % (b"a" * 300), f"the end tag </{'a' * 60}\u2026> is expected, but the document ended", 305),
    ],
)
def test_a_document_that_is_cut_off(data: bytes, message: str, offset: int) -> None:
    for stream, pieces in itertools.product((False, True), chunkings(data) if data else [[b""]]):
        assert checked(DocumentChecker(stream=stream), pieces)[0] == refusal(MalformedXMLError, message, offset)


@pytest.mark.parametrize("data", [b"<s>", b"<s> ", b"<s><a/>", b"<s><a/> \n", b"<s><a/><!-- -->", b"<s><a></a></s>\n"])
def test_a_recording_may_end_between_stanzas(data: bytes) -> None:
    for pieces in chunkings(data):
        assert checked(DocumentChecker(stream=True), pieces)[0] is None
        closed = data.endswith(b"</s>\n")
        assert (checked(DocumentChecker(), pieces)[0] is None) is closed


def test_a_recording_may_not_end_before_the_header_of_a_restart() -> None:
    data = HEADER + b"<a/><?xml version='1.0'?>\n"
    expected = refusal(MalformedXMLError, NO_ROOT, len(data))
    assert checked(DocumentChecker(stream=True), [data]) == (expected, 1, len(HEADER) + 4, None)


def test_how_far_a_stream_is_understood_is_told_at_any_time() -> None:
    checker = DocumentChecker(stream=True)
    for piece, told_now in (
        (b"", (0, 0, None)),
        (b" <?xml"[1:], (0, 0, None)),
        (b" version='1.0'?><s ", (0, 0, None)),
        (b">", (0, 25, (0, 25))),
        (b" <a>", (0, 25, (0, 25))),
        (b"<b/>", (0, 25, (0, 25))),
        (b"</a>", (1, 37, (0, 25))),
        (b"<c/> <", (2, 41, (0, 25))),
        (b"x:stream>", (2, 52, (42, 52))),
        (b"<a/>", (3, 56, (42, 52))),
        (b"<?xml version='1.0'?>", (3, 56, None)),
        (b" <!-- --><s>", (3, 89, (56, 89))),
        (b"</s>", (3, 89, (56, 89))),
    ):
        checker.feed(piece)
        assert (checker.stanzas, checker.boundary, checker.header) == told_now
    checker.finalize()


# -- limits and memory --------------------------------------------------------------------------------------

TOO_LONG = "a tag or reference of at most {} bytes is expected, but more came without its end"
TOO_DEEP = "open elements whose names have at most {} bytes in all are expected"


@pytest.mark.parametrize(
    ("before", "markup", "after"),
    [
        (b"", b"<a b='cdefghi'>", b"</a>"),
        (b"<?p?><!-- " + b"x" * 99 + b" -->", b"<a b='cdefghi'>", b"</a>"),
        (b"<s> ", b"<a b='c' d='e'/>", b"</s>"),
        (b"<s><a>" + b"x" * 99, b"<a b='&amp;&lt;'/>", b"</a></s>"),
        (b"<s><a>" + b"x" * 99, b"</a          >", b"</s>"),
        (b"<s><a>" + b"x" * 99, b"&#0000000065;", b"</a></s>"),
        (b"<s>" + b"x" * 99, b"&a-long-entity;", b"</s>"),
        (b"<s><a>", b"<?a-long-target?>", b"</a></s>"),
        (b"", b"<?xml version='1.0'?>", b"<a/>"),
    ],
)
def test_markup_may_have_max_markup_bytes_and_not_one_more(before: bytes, markup: bytes, after: bytes) -> None:
    """A target with the ``<?`` before it and the byte behind it."""
    data = before + markup + after
    size = len(markup) - markup.startswith(b"<?a")
    for pieces in chunkings(data):
        assert checked(DocumentChecker(max_markup=size), pieces)[0] is None
        error = refusal(LimitExceededError, TOO_LONG.format(size - 1), len(before))
        assert checked(DocumentChecker(max_markup=size - 1), pieces)[0] == error


def test_the_names_of_open_elements_have_the_same_limit() -> None:
    names = [b"s", *(b"n" * size for size in (9, 30, 300, 1, 16, 17, 15))]
    most = sum(map(len, names))
    data = b"".join(b"<%b>" % name for name in names) + b"".join(b"</%b>" % name for name in reversed(names))
    last = b"".join(b"<%b>" % name for name in names[:-1])
    for size in (1, 2, 7, 64, 65, 5000):
        pieces = chunks(data + b"<!-- -->", size)
        assert checked(DocumentChecker(max_markup=most), pieces)[:2] == (None, 1)
        error = refusal(LimitExceededError, TOO_DEEP.format(most - 1), len(last))
        assert checked(DocumentChecker(max_markup=most - 1), pieces)[0] == error


@pytest.mark.parametrize("max_markup", [8192, 5000, 3000])
def test_deep_nesting_up_to_the_limit(max_markup: int) -> None:
    """A limit below a page's size is kept by the careful way alone."""
    deep = max_markup // 4
    data = b"<s>" + b"<abcd>" * deep + b"</abcd>" * deep + b"</s>"
    error = refusal(LimitExceededError, TOO_DEEP.format(max_markup), 3 + 6 * (deep - 1))
    for pieces in ([data], chunks(data, 1000), chunks(data, 7)):
        assert checked(DocumentChecker(max_markup=max_markup), pieces)[0] == error
        assert checked(DocumentChecker(max_markup=max_markup + 1), pieces)[0] is None


@pytest.mark.parametrize("limit", [0, -1, 1 << 32])
def test_a_limit_that_cannot_be(limit: int) -> None:
    with pytest.raises(ValueError, match=f"^max_markup must be from 1 to 4294967295, not {limit}$"):
        DocumentChecker(max_markup=limit)


MEMORY = """
import resource, sys
from xep419.stream import DocumentChecker
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
checker = DocumentChecker()
pieces = (b"<b c='d'>text &amp; <e/></b>" * 3000, b"text " * 20000, b"<!-- ", b"comment " * 10000, b" -->")
def feed(times):
    for _ in range(times):
        for piece in pieces:
            checker.feed(piece)
checker.feed(b"<s><a>")
feed(2)
before = peak()
feed(int(sys.argv[1]))
checker.feed(b"</a></s>")
checker.finalize()
print(peak() - before, checker.stanzas)
"""


@pytest.mark.any_isa
def test_an_element_of_any_size_is_checked_in_constant_memory() -> None:
    """Kilobytes of memory more, for 128 MB of one element (in pure Python, for 5 MB)."""
    times = "20" if DocumentChecker is Twin else "500"
    done = subprocess.run([sys.executable, "-c", MEMORY, times], capture_output=True, text=True, check=True)
    grown, stanzas = map(int, done.stdout.split())
    assert stanzas == 1
    assert grown < 1024


# -- the object ---------------------------------------------------------------------------------------------


def test_it_takes_no_more_after_its_end() -> None:
    checker = DocumentChecker()
    checker.feed(b"<a/>")
    checker.finalize()
    for use in (lambda: checker.feed(b""), checker.finalize):
        with pytest.raises(
            ValueError, match=r"^this DocumentChecker was finalized: make a new one for the next document$"
        ):
            use()
    assert (checker.stanzas, checker.boundary, checker.header) == (0, 4, (0, 4))


def test_any_buffer_may_be_fed_and_none_is_kept() -> None:
    checker = DocumentChecker()
    piece = bytearray(b"<\xc3\xa9><")
    checker.feed(piece)
    piece[:] = b"nothing of this is read"
    checker.feed(memoryview(b"b"))
    checker.feed(array.array("B", b"/></"))
    checker.feed("\u00e9>")
    checker.finalize()
    assert checker.stanzas == 1


def test_wrong_arguments() -> None:
    checker = DocumentChecker()
    for call in (checker.feed, check_stanza):
        with pytest.raises(TypeError, match=r"^data must be a bytes-like object or str, not 'int'$"):
            call(1)  # type: ignore[operator]
    checker.feed(b"<a/>")
    with pytest.raises(TypeError):
        DocumentChecker(100)  # type: ignore[misc]
    with pytest.raises(TypeError, match=r"^'str' object cannot be interpreted as an integer$"):
        DocumentChecker(max_markup="1")  # type: ignore[arg-type]


# -- one stanza ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stanza",
    [
        "<a/>",
        " \t\r\n<a/>\n",
        "<p:a q:b='c'>text<![CDATA[</a>]]><!-- </a> --><?p?>&foo;<s:stream/></p:a >",
        "<stream:stream/>",
        "<\u00e9>\U0001f600</\u00e9>",
        "<a>" * 1000 + "</a>" * 1000,
        "<a b='" + "c" * 10_000 + "'/>",
        "<" + "n" * 300 + "></" + "n" * 300 + ">",
    ],
)
def test_a_stored_stanza(stanza: str) -> None:
    check_stanza(stanza)
    check_stanza(memoryview(stanza.encode()))
    inner = stanza.strip().encode()
    for end in range(0, len(inner), max(1, len(inner) // 97)):
        with pytest.raises((MalformedXMLError, EncodingError)):
            check_stanza(inner[:end])


@pytest.mark.parametrize(
    ("data", "kind", "message", "offset"),
    [
        (b"", MalformedXMLError, "a stanza is expected, but nothing came", 0),
        (b" \n", MalformedXMLError, "a stanza is expected, but nothing came", 2),
        (b" text", MalformedXMLError, "a start tag is expected, not 't'", 1),
        (b"\xc3\xa9", MalformedXMLError, "a start tag is expected, not byte 0xc3", 0),
        (b"\xff", EncodingError, "XML in UTF-8 is expected, not in UTF-16 or UTF-32", 0),
        ("<a/>".encode("utf-16-le"), EncodingError, "XML in UTF-8 is expected, not in UTF-16 or UTF-32", 0),
        ("<a/>".encode("utf-16-be"), EncodingError, "XML in UTF-8 is expected, not in UTF-16 or UTF-32", 0),
        (b"<!-- --><a/>", MalformedXMLError, "a start tag is expected, not '<!'", 0),
        (b"<?xml version='1.0'?><a/>", MalformedXMLError, "a start tag is expected, not '<?'", 0),
        (b"</a>", MalformedXMLError, "a start tag is expected, not '</'", 0),
        (b"<", MalformedXMLError, UNFINISHED, 0),
        (b"<a", MalformedXMLError, UNFINISHED, 0),
        (b"<a>", MalformedXMLError, "the end tag </a> is expected, but the document ended", 3),
        (b"<a><b></b>&am", MalformedXMLError, UNFINISHED, 10),
        (b"<a></b>", MalformedXMLError, "the end tag </a> is expected, not </b>", 3),
        (b"<a/><b/>", MalformedXMLError, "white space after the stanza is expected, not '<'", 4),
        (b"<a></a> text", MalformedXMLError, "white space after the stanza is expected, not 't'", 8),
        (b"<a/>\0", MalformedXMLError, "white space after the stanza is expected, not '\\x00'", 4),
        (b"<a>\xff</a>", EncodingError, "UTF-8 is expected, not the bytes b'\\xff'", 3),
        (b"<a b=c/>", MalformedXMLError, "a quoted value after '=' is expected, not 'c'", 5),
        (
            b"<a b='c' " + b" " * 40_000 + b"'/>",
            MalformedXMLError,
            "an attribute's name, '/' or '>' is expected, not \"'\"",
            40_009,
        ),
    ],
)
def test_what_is_no_stored_stanza(data: bytes, kind: type[XEP419Error], message: str, offset: int) -> None:
    with pytest.raises(kind) as raised:
        check_stanza(data)
    assert told(raised.value) == refusal(kind, message, offset)


def test_the_corpus(shared: Path) -> None:
    """A whole of all that expat takes, of which each part is a stanza of its own."""
    examples = (shared / "corpus" / "xep-examples.jsonl").read_text("utf-8").splitlines()
    taken = []
    for xml in (json.loads(line)["xml"].encode() for line in examples):
        try:
            taken += cut_by_expat(b"<root>" + xml + b"</root>")[1]
        except RefusedError:
            continue
    assert len(taken) > 2300
    whole = b"<root>" + b"\n".join(taken) + b"</root>\n"
    for size in (1000, 4096, 1 << 20):
        found = checked(DocumentChecker(), chunks(whole, size))
        assert found == (None, len(taken), len(whole) - len(b"</root>\n"), (0, 6))
    for stanza in taken:
        check_stanza(stanza)


# -- damaged documents --------------------------------------------------------------------------------------

options = st.fixed_dictionaries(
    {"max_markup": st.sampled_from([1 << 20, 1, 5, 20, 50, 300]), "stream": st.booleans()},
)


@given(damaged, options, st.lists(st.integers(0, 400), max_size=4), st.lists(st.integers(0, 400), max_size=4))
@settings(max_examples=400, deadline=None)
def test_any_bytes_in_any_pieces_give_what_the_twin_gives(
    data: bytes, chosen: dict[str, Any], places: list[int], others: list[int]
) -> None:
    first, second = (
        checked(kind(**chosen), cut(data, sorted(min(place, len(data)) for place in where)))
        for kind, where in ((DocumentChecker, places), (Twin, others))
    )
    assert first == second


@given(damaged)
@settings(max_examples=400, deadline=None)
def test_any_bytes_are_a_stored_stanza_to_both_or_to_neither(data: bytes) -> None:
    answers = []
    for check in (check_stanza, twin_check_stanza):
        try:
            answers.append(check(data))
        except XEP419Error as error:
            answers.append(told(error))  # type: ignore[arg-type]
    assert answers[0] == answers[1]
    if answers[0] is None:  # then it is one where a document has it
        assert checked(DocumentChecker(), [b"<s>", data, b"</s>"])[:2] == (None, 1)
