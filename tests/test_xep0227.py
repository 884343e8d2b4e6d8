"""XEP-0227 exports: what was sent by stanzas is recoded where it lies, and the export's own names stay."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path
from xml.parsers import expat

import pytest
from format_runs import ROTATIONS, Discarded, Repeated, Trickle, assert_flips_are_caught, prove, recode
from growth import assert_linear
from hypothesis import given, settings
from hypothesis import strategies as st

import xep419
from xep419.archive.formats import Proved, recognise, xep0227
from xep419.archive.formats.xep0227 import XEP0227
from xep419.archive.recoding import Recoding
from xep419.archive.tally import Tally
from xep419.errors import EncodingError, LimitExceededError, MalformedXMLError, RestrictedXMLError

pytestmark = pytest.mark.any_isa

FORMAT = XEP0227()

MESSAGE = "<message xmlns='jabber:client' id='1'><body>http://x é</body><request xmlns='urn:xmpp:receipts'/></message>"
GROWN = MESSAGE.replace("xmlns='urn:xmpp:", "xmlns='urn:xmpps:")
ARCHIVED = (
    "<result id='a' xmlns='urn:xmpp:mam:2'><forwarded xmlns='urn:xmpp:forward:0'>"
    "<delay stamp='2026-11-22T17:00:21Z' xmlns='urn:xmpp:delay'/>{}</forwarded></result>"
)


def user(content: str) -> bytes:
    text = (
        "<?xml version='1.0' encoding='UTF-8'?>\n<server-data xmlns='urn:xmpp:pie:0' xmlns:xi='http://www.w3.org/2001/XInclude'>"
        f"\n <host jid='capulet.com'><!-- <message xmlns='http://x'/> --><user name='juliet' password='s3crEt'>{content}"
        "</user><xi:include href='urn:xmpp:x'/></host></server-data>\n"
    )
    return text.encode()


def archive(*stanzas: str) -> str:
    return f"<archive xmlns='urn:xmpp:pie:0#mam'>{''.join(map(ARCHIVED.format, stanzas))}</archive>"


PAYLOADS = [
    ("archived messages", archive("{0}", "{0}"), MESSAGE, GROWN),
    ("offline messages", "<offline-messages>\n {0} {0}</offline-messages>", MESSAGE, GROWN),
    ("subscription requests", "{0}{0}", "<presence xmlns='jabber:client' from='a'><x xmlns='http://x'/></presence>",
     "<presence xmlns='jabber:client' from='a'><x xmlns='https://x'/></presence>"),
    ("published items",
     "<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:xmpp:avatar:data'><item id='x'>{0}</item>"
     "<item id='y'>{0}</item></items></pubsub>", "<data xmlns='urn:xmpp:avatar:data'/>", "<data xmlns='urn:xmpps:avatar:data'/>"),
    ("a payload with the like in it", "<offline-messages>{0}<b/>{0}</offline-messages>",
     f"<message xmlns='jabber:client'><message/>{archive(MESSAGE)}></message>",
     f"<message xmlns='jabber:client'><message/>{xep419.upgrade(archive(MESSAGE))}></message>"),
    ("an empty payload before an end tag", "<offline-messages>{0}</offline-messages><offline-messages>{0}</offline-messages>",
     "<m a='>' b=\"/'\" xmlns='http://x' />", "<m a='>' b=\"/'\" xmlns='https://x' />"),
    ("an empty element at a payload's end", "<offline-messages>{0}{0}</offline-messages>",
     "<m xmlns='http://x'><a/></m\n>", "<m xmlns='https://x'><a/></m\n>"),
    ("text that looks like an end", "<offline-messages>{0}{0}</offline-messages>",
     "<m xmlns='http://x'>/></m>", "<m xmlns='https://x'>/></m>"),
    ("sections", "<offline-messages>{0}{0}</offline-messages>",
     "<m xmlns='http://x'><![CDATA[</m><m xmlns='http://x'>]]><!--</m>--><?pi </m>?></m>",
     "<m xmlns='https://x'><![CDATA[</m><m xmlns='http://x'>]]><!--</m>--><?pi </m>?></m>"),
    ("an upgraded export", archive("{0}", "{0}").replace("urn:xmpp:", "urn:xmpps:"), MESSAGE, GROWN),
    ("prefixes", "<offline-messages><c:m xmlns:c='http://y'/>{0}{0}</offline-messages>".replace("http:", "https:"),
     "<c:m xmlns:c='http://x'/>", "<c:m xmlns:c='https://x'/>"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "before", "after"), [row[1:] for row in PAYLOADS], ids=[row[0] for row in PAYLOADS]
)
def test_payloads_are_recoded(content: str, before: str, after: str) -> None:
    source, wanted = user(content.format(before)), user(content.format(after))
    others = content.count("<b/>") + content.count("<c:m")
    for most in (1, 7, 1 << 20):
        (target,), tally = recode(FORMAT, [source], most=most)
        assert target.decode() == wanted.decode()
        assert (tally.stanzas, tally.letters) == (2 + others, 2 * (len(after) - len(before)))
        assert prove(FORMAT, [source], [target], most=most) == Proved(tally.stanzas, tally.letters)


KEPT = [
    ("nothing", ""),
    ("a roster", "<query xmlns='jabber:iq:roster'><item jid='a@b' xmlns:p='http://x'/></query>"),
    ("private XML, which is found by its name", "<query xmlns='jabber:iq:private'><x xmlns='http://x'/></query>"),
    ("a vCard", "<vCard xmlns='vcard-temp'><x xmlns='http://x'/></vCard>"),
    ("privacy lists", "<query xmlns='jabber:iq:privacy'><list xmlns:p='http://x'/></query>"),
    ("what nodes are and who may see them",
     "<pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><configure node='urn:xmpp:avatar:data'>"
     "<x type='submit' xmlns='jabber:x:data'><field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#node_config</value>"
     "</field></x></configure></pubsub>"),
    ("another presence", "<presence xmlns='http://x'/>"),
    ("an include", "<offline-messages><xi:include href='a.xml' xmlns:y='http://y'/></offline-messages>"),
    ("an extension", "<x xmlns='http://x'><forwarded xmlns='urn:xmpp:forward:0'><message xmlns:y='http://y'/></forwarded></x>"),
    ("an item that is none of pubsub's", "<items><item><data xmlns='http://x'/></item></items>"),
]  # fmt: skip


@pytest.mark.parametrize("content", [row[1] for row in KEPT], ids=[row[0] for row in KEPT])
def test_all_else_stays(content: str) -> None:
    source = user(content)
    (target,), tally = recode(FORMAT, [source])
    assert (target, tally) == (source, Tally())
    assert prove(FORMAT, [source], [target]) == Proved(0, 0)


@pytest.mark.parametrize(("rounds_from", "rounds_to"), ROTATIONS)
def test_the_document_is_rotated_as_a_whole(rounds_from: int, rounds_to: int) -> None:
    plain = user(archive(MESSAGE.replace("é", "é &amp; <![CDATA[ ]]> &#x41;")))
    upgraded = plain.replace(b"'urn:xmpp:receipts", b"'urn:xmpps:receipts")
    stored, recoding = xep419.rot13(plain, rounds=rounds_from), Recoding(rounds_from=rounds_from, rounds_to=rounds_to)
    assert FORMAT.recognises(stored, recoding)
    (target,), tally = recode(FORMAT, [stored], recoding, most=50)
    assert target == xep419.rot13(upgraded, rounds=rounds_to)
    assert (tally.stanzas, tally.insecure) == (1, {"urn:xmpp:receipts": 1})
    assert prove(FORMAT, [stored], [target], recoding, most=30) == Proved(1, 1)


def test_without_upgrade_names_are_counted_and_stay() -> None:
    source = user(archive(MESSAGE))
    (target,), tally = recode(FORMAT, [source], Recoding(upgrade=False))
    assert (target, tally.letters) == (source, 1)
    assert prove(FORMAT, [source], [target], Recoding(upgrade=False)) == Proved(1, 0)


WORD = st.text(st.sampled_from("ab<>&'\"/é☃ ]"), max_size=5)
PIECES = st.one_of(
    st.builds("<![CDATA[{0}]]>".format, WORD.filter(lambda text: "]]>" not in text)),
    st.builds("<!--{0}-->".format, WORD),
    st.builds(lambda text: f"<a xmlns='http://x' b=\"{text}\"/>", st.text(st.sampled_from("ab>'/é"), max_size=5)),
    st.builds(
        lambda text: f"<b xmlns:p='urn:xmpp:x'>{text}<message/></b>", st.text(st.sampled_from("ab>/é'"), max_size=5)
    ),
    st.just(MESSAGE),
    st.just(" \n"),
)


@given(st.lists(PIECES, max_size=5), st.lists(PIECES, max_size=5), st.integers(1, 200), st.sampled_from(ROTATIONS))
@settings(max_examples=200, deadline=None)
def test_any_chunking_gives_what_the_scanner_makes_of_each_payload(
    inside: list[str], beside: list[str], most: int, rounds: tuple[int, int]
) -> None:
    stanza = f"<message xmlns='jabber:client'>{''.join(inside)}</message>"
    content = f"<x>{''.join(beside)}</x>{{0}}<vCard xmlns='http://y'>{''.join(beside)}</vCard>".replace("{0}", "\0")
    source = user(content.replace("\0", archive(stanza)))
    wanted = user(content.replace("\0", archive(xep419.upgrade(stanza))))
    recoding = Recoding(rounds_from=rounds[0], rounds_to=rounds[1])
    stored = xep419.rot13(source, rounds=rounds[0])
    (target,), tally = recode(FORMAT, [stored], recoding, most=most)
    assert target == xep419.rot13(wanted, rounds=rounds[1])
    assert prove(FORMAT, [stored], [target], recoding, most=most + 1) == Proved(1, tally.letters)


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_any_flipped_byte_is_caught(data: st.DataObject) -> None:
    recoding = Recoding(*data.draw(st.sampled_from(ROTATIONS)))
    source = xep419.rot13(user(archive(MESSAGE, MESSAGE) + KEPT[3][1]), rounds=recoding.rounds_from)
    (target,), _ = recode(FORMAT, [source], recoding)
    at = data.draw(st.integers(0, len(target) - 1))
    assert_flips_are_caught(FORMAT, [source], [target], recoding, 0, at, data.draw(st.integers(1, 255)))


# -- what is broken, recognition ----------------------------------------------------------------------------

WHOLE = user(archive(MESSAGE))
BROKEN = [
    ("cut off", WHOLE[:-10], MalformedXMLError, "the document is not well-formed: unclosed token", len(WHOLE) - 15),
    ("tags that do not match", user("<a></b>"), MalformedXMLError, "the document is not well-formed: mismatched tag", None),
    ("a prefix that is not bound", user("<z:a/>"), MalformedXMLError, "the document is not well-formed: unbound prefix", None),
    ("not UTF-8", user("").replace(b"juliet", b"\xff"), MalformedXMLError,
     "the document is not well-formed: not well-formed (invalid token)", None),
    ("empty", b"", MalformedXMLError, "the document is not well-formed: no element found", 0),
    ("an encoding that is not known", WHOLE.replace(b"UTF-8", b"UGF-8"), EncodingError,
     "the document's encoding cannot be read: unknown encoding: UGF-8", 0),
    ("a DTD", b"<!DOCTYPE server-data [<!ENTITY a 'b'>]><server-data xmlns='urn:xmpp:pie:0'/>", RestrictedXMLError,
     "expected an export without a document type declaration", None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "kind", "message", "offset"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN]
)
def test_a_document_that_is_broken_is_refused_whole(
    source: bytes, kind: type[Exception], message: str, offset: int | None
) -> None:
    with pytest.raises(kind) as error:
        recode(FORMAT, [source])
    assert type(error.value) is kind
    assert error.value.message == message  # type: ignore[attr-defined]
    if offset is not None:
        assert error.value.offset == offset  # type: ignore[attr-defined]


@pytest.mark.parametrize("most", [1, 2, 1000])
def test_utf_16_is_refused(most: int) -> None:
    with pytest.raises(EncodingError):
        recode(FORMAT, [WHOLE.decode().replace("UTF-8", "UTF-16").encode("utf-16")], most=most)


@pytest.mark.parametrize("content", ["<offline-messages><m>{0}</m></offline-messages>", "{0}"])
def test_what_cannot_be_held_is_refused(monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    monkeypatch.setattr(xep0227, "MAX_PAYLOAD", 1000)
    with pytest.raises(LimitExceededError) as error:
        recode(FORMAT, [user(content.format("x" * 2000))], most=100)
    assert error.value.message == "expected a stanza of at most 1000 bytes, got more"


@pytest.mark.parametrize(
    ("head", "recognised"),
    [
        (WHOLE, True),
        (WHOLE[:150], True),
        (b"<host xmlns='urn:xmpp:pie:0' jid='a'/>", True),
        (b"\xef\xbb\xbf<!-- --><p:user xmlns:p='urn:xmpps:pie:0'/>", True),
        (WHOLE.replace(b"xmpp:pie", b"xmpps:pie"), True),
        (b"<server-data/>", False),
        (b"<server-data xmlns='urn:xmpp:pie:1'/>", False),
        (b"<message xmlns='urn:xmpp:pie:0'/>", False),
        (b"<server-data xmlns='urn:xmpp:pie:0'", False),
        (b"item({})", False),
        (b"", False),
    ],
)
def test_exports_are_told_by_their_root(head: bytes, recognised: bool) -> None:
    assert FORMAT.recognises(head, Recoding()) is recognised
    if recognised:
        assert recognise(head, Recoding()).name == "xep0227"  # type: ignore[union-attr]


def test_stanzas_are_given_with_where_they_stand() -> None:
    source = user(archive(MESSAGE, "<m/>"))
    found = list(FORMAT.stanzas([Trickle(xep419.rot13(source), 11)], Recoding(rounds_from=1)))
    assert found == [
        (f"byte {source.index(MESSAGE.encode())}", MESSAGE.encode()),
        (f"byte {source.index(b'<m/>')}", b"<m/>"),
    ]


def messages(document: bytes) -> list[list[tuple[str, str]]]:
    """Declarations of each message and of what is in it, by expat alone."""
    found: list[list[tuple[str, str]]] = []
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth = 1 if name == "message" and not depth else depth + bool(depth)
        if depth == 1:
            found.append([])
        if depth:
            found[-1] += [(name, value) for key, value in attributes.items() if key == "xmlns"]

    def end(name: str) -> None:
        nonlocal depth
        depth = max(0, depth - 1)

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.Parse(document, True)
    return found


def test_samples_of_real_servers(shared: Path) -> None:
    counts = {}
    for path in sorted(shared.glob("archives/xep0227/*.xml")):
        source = path.read_bytes()
        assert recognise(source, Recoding()).name == "xep0227"  # type: ignore[union-attr]
        (target,), tally = recode(FORMAT, [source])
        before, after = messages(source), messages(target)
        assert after == [[(name, xep419.upgrade_name(value)) for name, value in message] for message in before]
        assert prove(FORMAT, [source], [target]) == Proved(tally.stanzas, tally.letters)
        assert target.count(b"urn:xmpp:mam:2") == source.count(b"urn:xmpp:mam:2")
        counts[path.name] = (len(before), tally.stanzas)
    assert set(counts.values()) == {(0, 0), (30, 30), (30, 31)}  # one with a published avatar


# -- bounds -------------------------------------------------------------------------------------------------

HOSTILE = {
    "elements in one another": lambda size: user("<a>" * (size // 7) + "</a>" * (size // 7)),
    "elements in a payload": lambda size: user(archive("<a>" * (size // 7) + "</a>" * (size // 7))),
    "payloads": lambda size: user("<offline-messages>" + "<a/>" * (size // 4) + "</offline-messages>"),
    "items in one another": lambda size: user("<offline-messages>" * (size // 40) + "</offline-messages>" * (size // 40)),
    "an endless tag": lambda size: WHOLE[:250] + b"<a " + b"b" * size,
    "text": lambda size: user("x" * size),
    "attributes": lambda size: user("<a " + " ".join(f"b{number}=''" for number in range(size // 10)) + "/>"),
}  # fmt: skip


@pytest.mark.any_python
@pytest.mark.parametrize("pattern", HOSTILE)
def test_work_is_linear_on_hostile_input(pattern: str) -> None:
    def work_of(size: int):  # type: ignore[no-untyped-def]
        data = HOSTILE[pattern](size)

        def work() -> None:
            try:
                FORMAT.recode([io.BytesIO(data)], [Discarded()], Recoding(), Tally())
            except MalformedXMLError:
                assert pattern == "an endless tag"

        return work

    assert_linear(work_of, largest=xep0227.MAX_PAYLOAD // 32)


def test_the_end_of_a_long_tag_is_found_without_a_copy() -> None:
    data = HOSTILE["attributes"](1 << 20)
    start = data.index(b"<a ")
    tracemalloc.start()
    try:
        end = xep0227._payload_end(data, start, start)
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert data[end - 2 : end] == b"/>"
    assert peak < 10_000  # the matcher's stack was 25 times the tag


@pytest.mark.any_python
@pytest.mark.outer
def test_memory_is_bounded() -> None:
    before, _, after = user("<archive xmlns='urn:xmpp:pie:0#mam'>\0</archive>").partition(b"\0")
    long = ARCHIVED.format(MESSAGE.replace("http://x", "http://x " * 500)).encode()
    source, target, tally = Repeated(before, lambda number: long, after, 11_000), Discarded(), Tally()
    tracemalloc.start()
    try:
        FORMAT.recode([source], [target], Recoding(), tally)
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (tally.stanzas, tally.letters) == (11_000, 11_000)
    assert target.written == len(before) + 11_000 * (len(long) + 1) + len(after) > 50_000_000
    assert peak < 8_000_000
