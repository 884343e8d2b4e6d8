"""JSON Lines: only letters come into the stanza's token; what the lines mean is judged by ``json`` alone."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xep419
from xep419 import rot13
from xep419.archive.formats import jsonl
from xep419.archive.formats.jsonl import JSONLines, locate, locate_fast
from xep419.archive.recoding import Recoding
from xep419.archive.tally import Skip, Tally
from xep419.errors import LimitExceededError, RestorationError, UnsupportedArchiveError

pytestmark = pytest.mark.any_isa

STANZA = '<iq to="a@b"><query xmlns="http://a/b"><feature var="urn:xmpp:ping"/>\n<x>\u00e9\U0001f600\\</x></query></iq>'
ENCRYPT = Recoding()


def recode(lines: bytes, recoding: Recoding = ENCRYPT, **options: Any) -> tuple[bytes, Tally]:
    target, tally = io.BytesIO(), Tally()
    JSONLines(**options).recode([io.BytesIO(lines)], [target], recoding, tally)
    return target.getvalue(), tally


def prove(source: bytes, target: bytes, recoding: Recoding = ENCRYPT, **options: Any) -> tuple[int, int]:
    return JSONLines(**options).prove([io.BytesIO(source)], [io.BytesIO(target)], recoding)


def spelled(text: str, how: str) -> str:
    """A JSON string, by its spelling: as it is, in ASCII, as PHP does it, every character as an escape."""
    if how == "escapes":
        units = text.encode("utf-16-be")
        return '"' + "".join(f"\\u{units[i]:02X}{units[i + 1]:02x}" for i in range(0, len(units), 2)) + '"'
    found = json.dumps(text, ensure_ascii=how != "raw")
    return found.replace("/", "\\/") if how == "php" else found


SPELLINGS = ["raw", "ascii", "php", "escapes"]
every_spelling = pytest.mark.parametrize("how", SPELLINGS)


@every_spelling
@pytest.mark.parametrize("rounds_to", [0, 1, 2])
@pytest.mark.parametrize("rounds_from", [0, 1, 2])
def test_what_a_line_means_is_recoded_and_the_rest_stays_byte_for_byte(
    how: str, rounds_from: int, rounds_to: int
) -> None:
    recoding = Recoding(rounds_from=rounds_from, rounds_to=rounds_to)
    before, after = b'{ "id" :1e400,"x":"\\u00e9\\/", "stanza":\t', b' , "y" : [ {"stanza": "<a/>"} ] }'
    line = before + spelled(rot13(STANZA, rounds=rounds_from), how).encode() + after
    target, tally = recode(line, recoding)
    assert target.startswith(before)
    assert target.endswith(after)
    assert json.loads(target)["stanza"] == rot13(xep419.upgrade(STANZA), rounds=rounds_to)
    assert (tally.stanzas, tally.insecure.total(), tally.skipped) == (1, 2, 0)
    assert prove(line, target, recoding) == (1, 2)
    if not recoding.is_visible:
        letter = rot13("s", rounds=rounds_to).encode()
        assert len(target) == len(line) + 2
        assert target.count(letter) == line.count(letter) + 2


@pytest.mark.parametrize(
    ("token", "upgraded"),
    [
        (r'"<a xmlns=\"http:\/\/a\"/>"', r'"<a xmlns=\"https:\/\/a\"/>"'),
        (r'"\u003ca xmlns=\u0022\u0068ttp:\"/>"', r'"\u003ca xmlns=\u0022\u0068ttps:\"/>"'),
        (r'"<a xmlns=\"urn:xmp\u0070\u003aa\"/>"', r'"<a xmlns=\"urn:xmp\u0070s\u003aa\"/>"'),
        (r'"<a b=\"\\\\\" xmlns=\"http:\"/>"', r'"<a b=\"\\\\\" xmlns=\"https:\"/>"'),
        (r'"<a b=\"\ud83d\ude00\" xmlns=\"http:\"/>"', r'"<a b=\"\ud83d\ude00\" xmlns=\"https:\"/>"'),
        ("\"<a b='\u00e9\U0001f600' xmlns='http:'/>\\n\"", "\"<a b='\u00e9\U0001f600' xmlns='https:'/>\\n\""),
        (r'"<a xmlns=\"h&#116;t&#x70;&#58;\"/>"', r'"<a xmlns=\"h&#116;t&#x70;s&#58;\"/>"'),
    ],
)
def test_the_letter_comes_to_its_place_in_the_token(token: str, upgraded: str) -> None:
    target, _tally = recode(f'{{"stanza":{token}}}\n'.encode())
    assert target.decode() == f'{{"stanza":{upgraded}}}\n'


@pytest.mark.parametrize(
    ("token", "rotated"),
    [
        (r'"<a b=\"n\n\t\/\"/>"', r'"<n o=\"a\n\t\/\"/>"'),
        (r'"<a>\u0061\u006A\u00e9\u0041</a>"', r'"<n>\u006e\u0077\u00e9\u004e</n>"'),
        (r'"<a>\ud83d\ude00\\u0061</a>"', r'"<n>\ud83d\ude00\\h0061</n>"'),
    ],
)
def test_letters_in_escapes_are_turned_and_escapes_are_not(token: str, rotated: str) -> None:
    target, _tally = recode(f'{{"stanza":{token}}}'.encode(), Recoding(rounds_to=1))
    assert target.decode() == f'{{"stanza":{rotated}}}'


@pytest.mark.parametrize("end", ["\n", "\r\n", "", "\n\n \t\n", "\n\r\n"])
@pytest.mark.parametrize("begin", ["", "\ufeff", "\n\n", "\ufeff\r\n"])
def test_lines_ends_blank_lines_and_the_byte_order_mark_stay(begin: str, end: str) -> None:
    line = '{"stanza": "<a xmlns=\'http:\'/>"}'
    source = (begin + line + "\n \r\n" + line + end).encode()
    target, tally = recode(source)
    assert target == source.replace(b"http:", b"https:")
    assert (tally.stanzas, tally.skipped) == (2, 0)
    assert prove(source, target) == (2, 2)


GOOD = b'{"stanza": "<a/>"}'


@pytest.mark.parametrize(
    ("line", "reason", "offset"),
    [
        (b'{"stanza": "<a/>"', "the line is no JSON object: Expecting ',' or '}'", 17),
        (b'{"stanza": "<a/>"} x', "the line is no JSON object: Expecting the end of the line", 19),
        (b'{"\xc3\xa9": x, "stanza": "<a/>"}', "the line is no JSON object: Expecting a value", 7),
        (b'{"stanza" "<a/>"}', "the line is no JSON object: Expecting ':'", 9),
        (b"{stanza: 1}", "the line is no JSON object: Expecting a name in double quotes", 1),
        (b'{"stanza": "<a/>",}', "the line is no JSON object: Expecting a name in double quotes", 18),
        (b'["<a/>"]', "the line is no JSON object: Expecting an object", 0),
        (b'{"stanza": "<a>\xff</a>"}', "the line is not in UTF-8", 15),
        (b'{"xml": "<a/>"}', "there is no field 'stanza'", None),
        (b"{}", "there is no field 'stanza'", None),
        (b'{"x": {"stanza": "<a/>"}}', "there is no field 'stanza'", None),
        (b'{"stanza": null}', "the field 'stanza' is no string", None),
        (b'{"stanza": "<a/>", "stanza": 7}', "the field 'stanza' is no string", None),
        (b'{"stanza": ' + b"[" * 100_000 + b"}", "the line is nested too deeply", None),
        (b'{"stanza": "Hey"}', "a start tag is expected, not 'H'", 0),
        (b'{"stanza": ""}', "a stanza is expected, but nothing came", 0),
    ],
    ids=range(16),
)
def test_a_line_without_a_stanza_stays_and_is_reported(line: bytes, reason: str, offset: int | None) -> None:
    source = b"\n".join([GOOD, line, GOOD])
    target, tally = recode(source, field="stanza")
    assert target == source
    assert tally.skips == [Skip("line 2", reason, offset)]
    assert (tally.stanzas, tally.skipped) == (2, 1)
    assert prove(source, target, field="stanza") == (2, 0)


def test_of_members_of_one_name_the_last_is_meant() -> None:
    source = b'{"stanza": "<a xmlns=\'http:\'/>", "st\\u0061nza": "<b xmlns=\'http:\'/>"}'
    target, _tally = recode(source)
    assert target == source.replace(b"b xmlns='http:", b"b xmlns='https:")


def test_numbers_of_any_length_are_no_hindrance() -> None:
    source = b'{"id": ' + b"7" * 5000 + b', "stanza": "<a xmlns=\'http:\'/>"}'
    assert recode(source)[0] == source.replace(b"http:", b"https:")


def test_a_long_line_is_held_only_up_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "CHUNK", 64)
    monkeypatch.setattr(jsonl, "MAX_LINE", 1000)
    source = b'{"stanza": "<a>%s</a>"}\n' % (b"x" * 900)
    assert recode(source * 5)[0] == source * 5
    with pytest.raises(LimitExceededError) as raised:
        recode(source + b"y" * 1100)
    assert str(raised.value) == f"a line has more than 1000 bytes (at byte {len(source)})"


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 40, 1000])
def test_any_chunking_gives_the_same(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    source = "\ufeff".encode() + b'{"stanza": "<a xmlns=\'http:\'/>"}\r\n\n{"stanza": 1}\n' * 9
    whole, tally = recode(source, field="stanza")
    monkeypatch.setattr(jsonl, "CHUNK", chunk)
    assert recode(source, field="stanza") == (whole, tally)
    assert [skip.place for skip in tally.skips] == [f"line {number}" for number in range(3, 28, 3)]


def test_every_stanza_is_given_with_its_place() -> None:
    source = b'{"stanza": "<n/>"}\n{"x": 1}\n\n{"stanza": "\\u003cb/>"}'
    found = list(JSONLines("stanza").stanzas([io.BytesIO(source)], Recoding(rounds_from=1)))
    assert found == [("line 1", b"<a/>"), ("line 4", b"<o/>")]


# -- which field --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "field"),
    [
        (['{"body": "Hey", "packet": "<a xmlns=\'http:\'/>"}'], "packet"),
        (['{"html": "<p>Hey</p>", "xml": "<a xmlns=\'http:\'/>"}'], "xml"),
        (['{"xml": "<p>Hey</p>", "stanza": "<a xmlns=\'http:\'/>"}'], "stanza"),
        (
            ["", '{"x": 1}', "junk", '{"packet": "<a xmlns=\'http:\'/>"}', '{"packet": "<b/>", "note": "<c/>"}'],
            "packet",
        ),
    ],
)
def test_the_field_is_found_by_its_content_or_its_name(lines: list[str], field: str) -> None:
    source = "\n".join(lines).encode()
    if field == "packet" and len(lines) > 1:
        source = source.replace(b"<c/>", b"c/")
    target, _tally = recode(source)
    assert target == source.replace(b"http:", b"https:")
    assert field.encode() in target


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b'{"a": "<a/>", "b": "<b/>"}', "several fields hold XML elements: name one of a, b"),
        (b'{"a": "Hey", "b": 1}', "no field of the first records holds an XML element"),
        (b"", "no field of the first records holds an XML element"),
    ],
)
def test_files_without_such_a_field_are_refused(source: bytes, message: str) -> None:
    with pytest.raises(UnsupportedArchiveError) as raised:
        recode(source)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("head", "field", "recognised"),
    [
        (b'{"stanza": "<a/>"}\n', None, True),
        (b'\xef\xbb\xbf\r\n\n {"id": 1, "s": "\\u003ca/>"}\nrest', None, True),
        (b'{"stanza": "<message><body>and so on', None, True),
        (b'{"id": [1, 2], "stanza": "\\n<message', None, True),
        (b'{"stanza": "Hey"}\n', None, False),
        (b'{"stanza": "Hey', None, False),
        (b'{"stanza": {"xml": "<a/>"}}', None, False),
        (b"{\n", None, False),
        (b'["<a/>"]\n', None, False),
        (b"<a/>", None, False),
        (b"", None, False),
        (b'{"x": "Hey"}', "x", True),
        (b'{"stanza": "<a/>\n{"stanza": "<a/>"}\n', None, True),
        (b'{"made by": "export", "version": 1}\n{"stanza": null}\n{"stanza": "<a/>"}\n', None, True),
        (b'{"made by": "export"}\n{"x": "Hey"}\n', "x", True),
        (b'{"n": 1}\n' * 64 + b'{"stanza": "<a/>"}\n', None, False),
        (b'12:00 start\n12:01 got\n{"stanza": "<a/>"}\n12:02 end\n', None, False),
        (b"item({\n\t{\n\t\t" * 3, "x", False),
    ],
)
def test_recognition_by_the_first_records(head: bytes, field: str | None, recognised: bool) -> None:
    assert JSONLines(field).recognises(head, ENCRYPT) is recognised


def test_a_field_that_is_named_and_not_there_is_told() -> None:
    with pytest.raises(UnsupportedArchiveError) as raised:
        JSONLines("y").recognises(b'{"x": "<a/>", "n": 1}\n{"q": "Hey"}\n', ENCRYPT)
    assert str(raised.value) == "the first records have no text field 'y', but q, x"


# -- the proof ----------------------------------------------------------------------------------------------

PROVED = b'{"id": 1, "stanza": "<a xmlns=\\"http:\\">x</a>"}\n{"id": 2}\n'


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b">x<", b">y<", "line 1: "),
        (b"https:", b"httpss:", "line 1: "),
        (b'"id": 1', b'"id":  1', "line 1: the line is not the same beside the stanza"),
        (b'"id": 2', b'"id": 3', "line 2: a line without a stanza is not the same"),
        (b'x</a>"}', b'x</a>"} ', "line 1: the line is not the same beside the stanza"),
        (b"x</a>", b"\\u0078</a>", "line 1: "),
        (b'\n{"id": 2}\n', b"", "the target has fewer lines than the source"),
        (b'{"id": 2}\n', b'{"id": 2}\n\n', "the target has more lines than the source"),
        (b'"}', b'"', "line 1: the target's line has no stanza: the line is no JSON object: Expecting ',' or '}'"),
        (b'{"id": 1', b'\xef\xbb\xbf{"id": 1', "a byte order mark stands before one side alone"),
    ],
)
def test_the_proof_finds_what_is_not_the_same(old: bytes, new: bytes, message: str) -> None:
    target, _tally = recode(PROVED)
    assert target == PROVED.replace(b"http:", b"https:")
    assert prove(PROVED, target) == (1, 1)
    assert old in target
    with pytest.raises(RestorationError) as raised:
        prove(PROVED, target.replace(old, new))
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize(
    "line",
    [
        b'{"xmp:": "", "stanza": "<a xmlns=\'http:\'/>"}',
        b'{"stanza": "<a xmlns=\'http:\'/>", "stanza": "<a xmlns=\'http:\'/>"}',
        b'{"xml": "<a xmlns=\'http:\'/>", "stanza": "<a xmlns=\'http:\'/>"}',
        b'{"stanza": "<a xmlns=\'htt\\u0070:\'/>"}',
    ],
    ids=range(4),
)
def test_a_letter_at_another_place_of_the_line_is_found(line: bytes) -> None:
    source = line + b"\n" + PROVED
    target, _tally = recode(source)
    end = target.index(b"\n")
    assert prove(source, target) == (2, 2)
    for at in range(line.index(b"p:") if b"p:" in line else 0, len(line)):
        elsewhere = line[:at] + b"s" + line[at:]
        if elsewhere != target[:end]:
            with pytest.raises(RestorationError, match=r"^line 1: "):
                prove(source, elsewhere + target[end:], field="stanza")


# -- any lines ----------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["stanza", "xml", "a", "", 'st"anza', "stanza\\"])
TEXTS = st.text("a<>/\"'\\\n\u00e9\U0001f600:hs", max_size=12) | st.sampled_from(
    [
        "<a xmlns='http:'/>",
        '<b xmlns="urn:xmpp:x">\\"</b>',
        "stanza",
        '"stanza":',
        "<c d='\u00e9' xmlns='http://\u00e9'/>",
    ]
)
VALUES = st.recursive(
    TEXTS | st.none() | st.integers() | st.floats(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=4,
)


@st.composite
def records(draw: st.DrawFn) -> str:
    members = draw(st.lists(st.tuples(NAMES, VALUES), max_size=4))
    parts = []
    for name, value in members:
        if isinstance(value, str):
            token = spelled(value, draw(st.sampled_from(SPELLINGS)))
        else:
            token = json.dumps(value, ensure_ascii=draw(st.booleans()))
        parts.append(spelled(name, draw(st.sampled_from(SPELLINGS))) + draw(st.sampled_from([":", " : "])) + token)
    return "{" + ", ".join(parts) + "}"


@settings(max_examples=400, deadline=None)
@given(records())
def test_both_ways_to_the_field_agree_with_the_parser(record: str) -> None:
    line = record.encode()
    value = json.loads(record).get("stanza")
    if isinstance(value, str):
        text, token = locate(line, "stanza")
        assert token.value == value == json.loads(text[token.start : token.end])
        same_text, same_token = locate_fast(line, "stanza", '"stanza"')
        assert (same_text, same_token[:3]) == (text, token[:3])
        assert same_token.encode is None or same_token.encode(value) == text[token.start : token.end]
    else:
        with pytest.raises(ValueError) as walked:
            locate(line, "stanza")
        with pytest.raises(ValueError) as looked_up:
            locate_fast(line, "stanza", '"stanza"')
        assert str(looked_up.value) == str(walked.value)


@settings(max_examples=400, deadline=None)
@given(st.lists(records() | TEXTS, max_size=4), st.integers(0, 2), st.integers(0, 2), st.booleans())
def test_any_lines_are_recoded_as_the_parser_reads_them(
    lines: list[str], rounds_from: int, rounds_to: int, check: bool
) -> None:
    recoding = Recoding(rounds_from=rounds_from, rounds_to=rounds_to, check=check)
    source = "\n".join(lines).encode()
    target, tally = recode(source, recoding, field="stanza")
    places = {int(skip.place[5:]) for skip in tally.skips}
    assert len(places) == tally.skipped
    pairs = zip(source.split(b"\n"), target.split(b"\n"), strict=True)
    for number, (before, after) in enumerate(pairs, 1):
        if not before.strip() or number in places:
            assert before == after
            continue
        old, new = json.loads(before), json.loads(after)
        plain = rot13(old["stanza"], rounds=rounds_from)
        assert new.pop("stanza") == rot13(xep419.upgrade(plain), rounds=rounds_to)
        del old["stanza"]
        assert repr(new) == repr(old)
    proved = prove(source, target, recoding, field="stanza")
    assert proved == (tally.stanzas, tally.insecure.total())


@settings(max_examples=400, deadline=None)
@given(st.lists(records() | TEXTS, min_size=1, max_size=4), st.sampled_from([(0, 2), (1, 1)]), st.data())
def test_lines_that_are_proved_together_can_be_proved_one_by_one(
    lines: list[str], rounds: tuple[int, int], data: st.DataObject
) -> None:
    recoding = Recoding(rounds_from=rounds[0], rounds_to=rounds[1])
    source = "\n".join(lines).encode()
    target, _tally = recode(source, recoding, field="stanza")
    at = data.draw(st.integers(0, len(target)))
    letter = rot13(b"s", rounds=rounds[0])
    changed = data.draw(st.sampled_from([target, target[:at] + letter + target[at:], source]))
    if changed.count(b"\n") != source.count(b"\n"):
        return
    pairs = list(zip(source.split(b"\n"), changed.split(b"\n"), strict=True))
    try:
        together = jsonl._prove_together(pairs, "stanza", recoding)
    except RestorationError:
        return
    assert jsonl._prove_one_by_one(pairs, 1, "stanza", recoding) == together
