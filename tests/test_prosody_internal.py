"""Prosody's internal archives: only letters in the stanzas' own strings come, at the places the scope table says."""

from __future__ import annotations

import io
import tracemalloc
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

import pytest
from format_runs import ROTATIONS, Discarded, Repeated, assert_flips_are_caught, prove, recode
from growth import assert_linear
from hypothesis import given, settings
from hypothesis import strategies as st

import xep419
from xep419.archive.formats import Proved, lua, lua_stanza, recognise
from xep419.archive.formats.prosody_internal import ProsodyInternal
from xep419.archive.recoding import Recoding
from xep419.archive.tally import Tally
from xep419.errors import LimitExceededError, UnsupportedArchiveError

pytestmark = pytest.mark.any_isa

FORMAT = ProsodyInternal()

ITEM = rb"""item({
	{
		"see http://example.org/ \195\169 \'q\' \"d\" \\ ]]>\n<a xmlns=\'http://x\'/>";
		["attr"] = {};
		["name"] = "body";
	};
	{
		["attr"] = {
			["xmlns"] = "urn:xmpp:sid:0";
			["id"] = "oid0";
		};
		["name"] = "origin-id";
	};
	["when"] = 1795366821;
	["key"] = "urn:xmpp:key";
	["name"] = "message";
	["attr"] = {
		["type"] = "chat";
		["stamp"] = "http://stamp";
		["xml:lang"] = "en";
	};
	["with"] = "http://with";
});
"""


def item(attributes: bytes = b"", children: bytes = b"", name: bytes = b"message") -> bytes:
    """One item on one line."""
    return b'item({ ["name"] = "%b"; ["attr"] = { %b }; %b });\n' % (name, attributes, children)


def element(name: bytes, attributes: bytes = b"", children: bytes = b"") -> bytes:
    return b'{ %b ["attr"] = { %b }; ["name"] = "%b"; };' % (children, attributes, name)


def test_a_message_gains_the_letters_of_its_names_and_nothing_else() -> None:
    (target,), tally = recode(FORMAT, [ITEM * 3])
    assert target == ITEM.replace(b"urn:xmpp:sid", b"urn:xmpps:sid") * 3
    assert tally == Tally(stanzas=3, insecure=tally.insecure)
    assert tally.insecure == {"urn:xmpp:sid:0": 3}
    assert prove(FORMAT, [ITEM * 3], [target]) == Proved(stanzas=3, letters=3)


NAMES = [
    ("declaration", item(b'["xmlns"] = "http://x";'), b"http:", b"https:"),
    ("any case", item(b'["xmlns"] = "URN:Xmpp:x";'), b"Xmpp:", b"Xmpps:"),
    ("declaration of the outer element's child", item(children=element(b"x", b'["xmlns"] = "http://x";')), b"http:", b"https:"),
    ("prefixed attribute", item(b'["http://x\\001name"] = "http://value";'), b"http://x", b"https://x"),
    ("prefixed attribute, short escape", item(b'["http://x\\1name"] = "http://value";'), b"http://x", b"https://x"),
    ("prefixed attribute, raw", item(b'["http://x\1name"] = "http://value";'), b"http://x", b"https://x"),
    ("prefixed attribute, old", item(b'["http://x|name"] = "http://value";'), b"http://x", b"https://x"),
    ("feature", item(children=element(b"feature", b'["var"] = "urn:xmpp:x+notify";')), b"urn:xmpp:", b"urn:xmpps:"),
    ("Clark notation", item(children=element(b"field", b'["var"] = "{http://x}y";')), b"http:", b"https:"),
    ("node", item(children=element(b"items", b'["node"] = "urn:xmpp:avatar:data";')), b"urn:xmpp:", b"urn:xmpps:"),
    ("reference", item(children=element(b"fallback", b'["for"] = "urn:xmpp:reply:0";')), b"urn:xmpp:", b"urn:xmpps:"),
    ("form type",
     item(children=element(b"field", b'["var"] = "FORM_TYPE";', element(b"value", b"", b'"\\n \\032http://x";'))),
     b"http:", b"https:"),
    ("letters as escapes", item(b'["xmlns"] = "\\104\\x74\\u{74}\\z \t\\112://x";'), b"\\112:", b"\\112s:"),
    ("a colon as an escape", item(b'["xmlns"] = "http\\058//x";'), b"http\\058", b"https\\058"),
    ("after an escape", item(children=element(b"field", b'["var"] = "\\123http://\\195\\169}y";')), b"http:", b"https:"),
    ("two names in one item", item(b'["xmlns"] = "http://x"; ["http://y\\1z"] = "";'), b"http:", b"https:"),
    ("numbered children", item(children=b'[2] = ' + element(b"b", b'["xmlns"] = "http://x";') + b'[1] = "text";'), b"http:", b"https:"),
    ("commas", item(b'["xmlns"] = "http://x", ["id"] = "a"').replace(b";", b","), b"http:", b"https:"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "before", "after"), [row[1:] for row in NAMES], ids=[row[0] for row in NAMES])
def test_names_stand_where_the_scope_table_says(source: bytes, before: bytes, after: bytes) -> None:
    if source.endswith(b"),\n"):
        source = source[:-2] + b";\n"
    (target,), tally = recode(FORMAT, [source])
    assert tally.skips == []
    assert target == source.replace(before, after)
    assert prove(FORMAT, [source], [target]) == Proved(1, source.count(before))


UNTOUCHED = [
    ("text", item(children=b'"http://x";')),
    ("text of an element", item(children=element(b"body", b"", b'"urn:xmpp:x";'))),
    ("another attribute", item(b'["id"] = "http://x";')),
    ("secure", item(b'["xmlns"] = "https://x"; ["urn:xmpps:x\\1y"] = "z";')),
    ("another scheme", item(b'["xmlns"] = "jabber:client";')),
    ("xmlns:xml", item(b'["xmlns:xml"] = "http://www.w3.org/XML/1998/namespace";')),
    ("the archive's own", item(b'["stamp"] = "http://x"; ["stamp_legacy"] = "urn:xmpp:x";', b'["with"] = "http://x";')),
    ("other fields", item(children=b'["tags"] = { ["xmlns"] = "http://x"; };')),
    ("numbers, booleans and nil", item(children=b'["a"] = -1.5e+3; ["b"] = (1/0); ["c"] = true; ["d"] = nil; 5; "t";')),
]


@pytest.mark.parametrize("source", [row[1] for row in UNTOUCHED], ids=[row[0] for row in UNTOUCHED])
def test_all_else_stays(source: bytes) -> None:
    (target,), tally = recode(FORMAT, [source])
    assert (target, tally.skips, tally.stanzas) == (source, [], 1)
    assert prove(FORMAT, [source], [target]) == Proved(1, 0)


def test_names_are_counted_by_their_positions_and_security() -> None:
    source = item(b'["xmlns"] = "http://x";') + item(b'["xmlns"] = "https://x";') + item(b'["xmlns"] = "http://x";')
    _, tally = recode(FORMAT, [source])
    assert (tally.insecure, tally.secure) == ({"http://x": 2}, {"https://x": 1})


def test_without_upgrade_names_are_counted_and_stay() -> None:
    (target,), tally = recode(FORMAT, [ITEM], Recoding(upgrade=False))
    assert (target, tally.letters) == (ITEM, 1)
    assert prove(FORMAT, [ITEM], [target], Recoding(upgrade=False)) == Proved(1, 0)


# -- rotations ----------------------------------------------------------------------------------------------


def test_an_odd_rotation_rotates_the_stanza_and_no_escape_nor_what_is_the_archives() -> None:
    (target,), _ = recode(FORMAT, [ITEM], Recoding(rounds_to=1))
    assert (
        target
        == rb"""item({
	{
		"frr uggc://rknzcyr.bet/ \195\169 \'d\' \"q\" \\ ]]>\n<n kzyaf=\'uggc://k\'/>";
		["attr"] = {};
		["name"] = "obql";
	};
	{
		["attr"] = {
			["kzyaf"] = "hea:kzccf:fvq:0";
			["vq"] = "bvq0";
		};
		["name"] = "bevtva-vq";
	};
	["when"] = 1795366821;
	["key"] = "urn:xmpp:key";
	["name"] = "zrffntr";
	["attr"] = {
		["glcr"] = "pung";
		["stamp"] = "http://stamp";
		["kzy:ynat"] = "ra";
	};
	["with"] = "http://with";
});
"""
    )


@pytest.mark.parametrize(("rounds_from", "rounds_to"), ROTATIONS)
def test_archives_come_and_go_with_any_rotation(rounds_from: int, rounds_to: int) -> None:
    plain = b"".join(row[1] for row in NAMES + UNTOUCHED if b",\n" not in row[1])
    (stored,), _ = recode(FORMAT, [plain], Recoding(rounds_to=rounds_from, upgrade=False))
    (upgraded,), straight = recode(FORMAT, [plain], Recoding(rounds_to=0))
    recoding = Recoding(rounds_from=rounds_from, rounds_to=rounds_to)
    (target,), tally = recode(FORMAT, [stored], recoding)
    assert tally == straight
    assert prove(FORMAT, [stored], [target], recoding) == Proved(tally.stanzas, tally.letters)
    (restored,), _ = recode(FORMAT, [target], Recoding(rounds_from=rounds_to, rounds_to=0, upgrade=False))
    assert restored == upgraded
    assert (stored == plain) == (rounds_from % 2 == 0)


# -- any stanza, in every way that Prosody wrote it ---------------------------------------------------------


@dataclass
class Element:
    name: str
    attributes: dict[str, str]
    children: list[Element | str] = field(default_factory=list)


def as_xml(node: Element | str) -> str:
    if isinstance(node, str):
        return escape(node)
    attributes = ""
    for number, (name, value) in enumerate(node.attributes.items()):
        namespace, separator, local = name.partition("\1")
        if separator:
            attributes += f" xmlns:p{number}={quoteattr(namespace)} p{number}:{local}={quoteattr(value)}"
        else:
            attributes += f" {name}={quoteattr(value)}"
    return f"<{node.name}{attributes}>{''.join(map(as_xml, node.children))}</{node.name}>"


def from_xml(document: bytes) -> Element:
    """By expat, with the prefixes of attributes put back into their names."""
    stack: list[Element] = [Element("", {})]

    def start(name: str, attributes: dict[str, str]) -> None:
        declared = {key[6:]: value for key, value in attributes.items() if key.startswith("xmlns:p")}
        found = {}
        for key, value in attributes.items():
            prefix, _, local = key.rpartition(":")
            if prefix in declared:
                found[f"{declared[prefix]}\1{local}"] = value
            elif not (prefix == "xmlns" and local in declared):
                found[key] = value
        stack.append(Element(name, found))
        stack[-2].children.append(stack[-1])

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda name: stack.pop()
    parser.CharacterDataHandler = lambda text: stack[-1].children.append(text)
    parser.Parse(document, True)
    (root,) = stack[0].children
    assert isinstance(root, Element)
    return root


def new_string(text: str) -> bytes:
    """As ``util.serialization`` has written it since 0.10."""
    known = {7: b"\\a", 8: b"\\b", 9: b"\\t", 10: b"\\n", 11: b"\\v", 12: b"\\f", 13: b"\\r"}
    known |= {ord(letter): b"\\" + letter.encode() for letter in "\\\"'"}
    return b'"%b"' % b"".join(
        known.get(byte) or (bytes([byte]) if 31 < byte < 127 else b"\\%03d" % byte) for byte in text.encode()
    )


def old_string(text: str) -> bytes:
    """As it wrote it before, by ``%q`` of Lua 5.1."""
    return b'"%b"' % text.encode().replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n").replace(
        b"\r", b"\\r"
    )  # fmt: skip


def as_lua(node: Element, new: bool, depth: int = 1, archived: dict[str, bytes] | None = None) -> bytes:
    """A table, in the order of new Prosodys or, numbered, in that of old ones."""
    string = new_string if new else old_string
    indent = b"\t" * depth
    attributes = b"".join(
        b"%b\t[%b] = %b;\n" % (indent, string(key), string(value)) for key, value in node.attributes.items()
    )
    fields = [(b"[%b] = " % string(key), value) for key, value in (archived or {}).items()]
    fields.append((b'["attr"] = ', b"{\n%b%b}" % (attributes, indent) if attributes else b"{}"))
    fields.append((b'["name"] = ', string(node.name)))
    children = []
    for number, child in enumerate(node.children, 1):
        value = string(child) if isinstance(child, str) else as_lua(child, new, depth + 1)
        children.append((b"" if new else b"[%d] = " % number, value))
    ordered = children + fields if new else fields + children[::-1]
    return b"{\n%b%b}" % (b"".join(b"%b%b%b;\n" % (indent, *pair) for pair in ordered), indent[1:])


URIS = st.sampled_from(
    ["http://x", "HTTP://y/é", "urn:xmpp:ping", "https://z", "urn:xmpps:q", "jabber:client", "", "http", "é"]
)
CHARACTERS = st.text(st.sampled_from("ab \t\n\"'\\<>&é☃😀{}[];=:/0|"), max_size=6)
TEXTS = st.one_of(CHARACTERS, URIS, st.builds("{0}{1}{2}".format, CHARACTERS, URIS, CHARACTERS))
NAMED = st.sampled_from(["message", "x", "field", "feature", "value", "c", "items", "fallback"])
KEYS = st.one_of(
    st.sampled_from(["xmlns", "id", "var", "node", "for", "xml:lang", "xmlns:q"]),
    st.builds("{0}\1{1}".format, URIS.filter(bool), st.sampled_from("abc")),
)
VALUES = st.one_of(TEXTS, st.just("FORM_TYPE"), st.builds("{{{0}}}y".format, URIS))


def text_joined(children: list[Element | str]) -> list[Element | str]:
    """No empty text and no two texts in a row, as a parser gives them."""
    joined: list[Element | str] = []
    for child in children:
        if isinstance(child, str) and joined and isinstance(joined[-1], str):
            joined[-1] += child
        elif child != "":
            joined.append(child)
    return joined


ELEMENTS = st.deferred(lambda: st.builds(Element, NAMED, st.dictionaries(KEYS, VALUES, max_size=4), CHILDREN))
CHILDREN = st.lists(st.one_of(ELEMENTS, TEXTS), max_size=3).map(text_joined)


@given(st.lists(st.tuples(ELEMENTS, st.booleans()), min_size=1, max_size=4), st.integers(1, 400))
@settings(max_examples=300, deadline=None)
def test_any_stanza_comes_out_as_the_lua_of_its_upgraded_xml(made: list[tuple[Element, bool]], most: int) -> None:
    archived = {"when": b"1795366821", "with": b'"http://x"', "key": b'"urn:xmpp:x"'}
    source, wanted, letters = b"", b"", 0
    for node, new in made:
        xml = as_xml(node).encode()
        upgraded = xep419.upgrade(xml)
        letters += len(upgraded) - len(xml)
        source += b"item(%b);\n" % as_lua(node, new, archived=archived)
        wanted += b"item(%b);\n" % as_lua(from_xml(upgraded), new, archived=archived)
    (target,), tally = recode(FORMAT, [source], Recoding(check=False), most=most)
    assert target == wanted
    assert (tally.stanzas, tally.letters, tally.skips) == (len(made), letters, [])
    assert prove(FORMAT, [source], [target], Recoding(check=False), most=most) == Proved(len(made), letters)


@given(st.binary(max_size=60), st.binary(max_size=60), st.sampled_from(ROTATIONS))
@settings(max_examples=300, deadline=None)
def test_no_bytes_are_lost_or_changed_whatever_comes(before: bytes, after: bytes, rounds: tuple[int, int]) -> None:
    """With arbitrary bytes around and in the middle of items."""
    recoding = Recoding(rounds_from=rounds[0], rounds_to=rounds[1])
    source = before + ITEM + ITEM[:100] + after + ITEM[100:] + b"item(" + after
    (target,), tally = recode(FORMAT, [source], recoding)
    assert prove(FORMAT, [source], [target], recoding) == Proved(tally.stanzas, tally.letters)


#: in pairs or more of one layout, or nearly
ALIKE = [
    item(b'["xmlns"] = "http://x";'),
    item(b'["xmlns"] = "a&\\"<";'),
    item(b'["xmlns"] = "a\\q";'),
    item(b'["xmlnz"] = "http://x";'),
    item(b'["xmlns"] = 1;'),
    item(b'["xmlns"] = "http://x"; ["when"] = 17;'),
    item(b'["xmlns"] = "http://x";', b'["when"] = 17;'),
    item(b'["xmlns"] = "http://y";', b'["when"] = -1.5e3;'),
    item(b'["xmlns"] = "http://y";', b'["when"] = -;'),
    item(b'["xmlns"] = "http://y";', b'["when"] = 17 5;'),
    item(b'["xmlns"] = "http://y";', b'["when"] = "17";'),
    item(b'["xmlns"] = "http://y";', b'["when"] = "17;'),
    item(b'["xmlns"] = "http://y";', b'["when"] = "\n";'),
    item(b'["http://x\\1y"] = "http://x";'),
    item(b'["http://z\\1y"] = "";'),
    item(b'["stamp"] = "http://x";'),
    item(children=b'[1] = "a"; [2] = "b";'),
    item(children=b'[1] = "a"; [3] = "b";'),
    item(children=b'[2] = "b"; [1] = "a";'),
    item(children=b'"a"; "b";'),
    item(children=b'"a"; ["b"] = "c";'),
    item(children=b'"a"; ["b"] "c";'),
    item(children=b'"a" "b";'),
]


@given(st.lists(st.sampled_from(ALIKE), min_size=2, max_size=12), st.sampled_from(ROTATIONS))
@settings(max_examples=300, deadline=None)
def test_what_was_read_before_changes_nothing(sources: list[bytes], rounds: tuple[int, int]) -> None:
    recoding = Recoding(rounds_from=rounds[0], rounds_to=rounds[1], check=False)
    (together,), tally = recode(FORMAT, [b"".join(sources)], recoding)
    apart = [recode(FORMAT, [source], recoding) for source in sources]
    assert together == b"".join(target for (target,), _tally in apart)
    assert tally.stanzas == sum(alone.stanzas for _target, alone in apart)
    assert [skip.reason for skip in tally.skips] == [skip.reason for _target, alone in apart for skip in alone.skips]
    assert prove(FORMAT, [b"".join(sources)], [together], recoding) == Proved(tally.stanzas, tally.letters)


def test_layouts_are_remembered_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    source = b"".join(ALIKE) * 3
    remembered = recode(FORMAT, [source])
    monkeypatch.setattr(lua_stanza, "_REMEMBERED", 2)
    assert recode(FORMAT, [source]) == remembered


# -- what is broken -----------------------------------------------------------------------------------------

FIRST, LAST = item(b'["xmlns"] = "http://x";'), item(b'["xmlns"] = "http://y";')
DEEP = item(children=b"{" * 250 + b"}" * 250)
BROKEN = [
    ("cut off in a string", ITEM[:60], "expected a field or the end of a table, got b'\"see http://example.'", 12),
    ("cut off between fields", ITEM[:ITEM.index(b'["key"]')], "expected the item's end, but it was cut off", ITEM.index(b'["key"]') + 1),
    ("no table", b'item("2026-11-22");\n', "expected item({, got b'item(\"2026-11-22\");\\n'", 0),
    ("no stanza", b'item({ ["a"] = 1; });\n', 'expected a stanza, with a string "name" and a table "attr", got neither or one', 0),
    ("a child that is none", item(children=b"{};"), 'expected a stanza, with a string "name" and a table "attr", got neither or one', 0),
    ("an attribute that is a number", item(b'["id"] = 5;'), "expected attributes that are strings, got another under b'id'", 0),
    ("a key twice", item(b'["id"] = "a"; ["id"] = "b";'), "the key b'id' stands twice in a table", 66),
    ("a gap in the array", item(children=b'[1] = "a"; [3] = "b";'), "expected array items numbered from 1 without a gap", 0),
    ("too deep", DEEP, "tables deeper than 200", 245),
    ("an unknown escape", item(b'["id"] = "a\\q";'), "expected an escape sequence of Lua's, got b'\\\\q'", 53),
    ("a byte above 255", item(b'["id"] = "a\\256";'), "expected an escape sequence of Lua's, got b'\\\\256'", 53),
    ("a comment", item(children=b"-- text"), "expected a field or the end of a table, got b'-- text });'", 46),
    ("a long string", item(children=b"[[text]];"), "expected a field or the end of a table, got b'[[text]]; });'", 46),
    ("a bare name", item(children=b'text = "x";'), "expected a field or the end of a table, got b'text = \"x\"; });'", 46),
    ("no separator", item(b'["id"] = "a" ["to"] = "b";'), "expected a field or the end of a table, got b'[\"id\"] = \"a\" [\"to\"] '", 42),
    ("more after the end", item()[:-1] + b" item\n", "expected a field or the end of a table, got b'); item'", 48),
    ("no character of XML", item(b'["id"] = "\\001";'), None, 0),
    ("not UTF-8", item(b'["id"] = "\\255";'), None, 0),
    ("a name that is none", item(name=b"a b"), None, 0),
]  # fmt: skip


@pytest.mark.parametrize(("broken", "reason", "offset"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_a_broken_item_is_reported_and_stays_and_the_others_are_recoded(
    broken: bytes, reason: str | None, offset: int
) -> None:
    source = FIRST + broken.rstrip(b"\n") + b"\n" + LAST
    (target,), tally = recode(FORMAT, [source])
    assert target == FIRST.replace(b"http", b"https") + source[len(FIRST) : -len(LAST)] + LAST.replace(
        b"http", b"https"
    )
    assert (tally.stanzas, tally.skipped) == (2, 1)
    (skip,) = tally.skips
    if reason is None:
        assert skip.reason.startswith("its stanza is not well-formed: ")
    else:
        assert skip.reason == reason
    assert (skip.place, skip.offset) == ("item 2", len(FIRST) + offset)
    assert prove(FORMAT, [source], [target]) == Proved(2, 2)


@pytest.mark.parametrize("length", range(1, len(ITEM) - 3))
def test_an_item_that_a_crash_cut_off_is_reported_and_stays(length: int) -> None:
    source = FIRST + ITEM[:length]
    (target,), tally = recode(FORMAT, [source])
    assert target == FIRST.replace(b"http:", b"https:") + ITEM[:length]
    assert (tally.stanzas, tally.skipped, tally.skips[0].place) == (1, 1, "item 2")


def test_an_item_cut_off_before_its_last_bytes_is_whole_to_lua() -> None:
    for end in (2, 1, 0):
        source = ITEM[: len(ITEM) - end]
        assert recode(FORMAT, [source])[1].skips == []


def test_blanks_that_prosody_leaves_of_a_failed_write_are_passed_over() -> None:
    source = FIRST + b" " * 100 + b"\n" + LAST + b" " * 50
    (target,), tally = recode(FORMAT, [source])
    assert (target, tally.skips) == (source.replace(b"http:", b"https:"), [])


def test_with_no_check_what_is_not_well_formed_is_recoded_too() -> None:
    source = item(b'["xmlns"] = "http://x"; ["id"] = "\\001";')
    (target,), tally = recode(FORMAT, [source], Recoding(check=False))
    assert (target, tally.skips) == (source.replace(b"http:", b"https:"), [])


def test_an_item_that_is_too_long_ends_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lua, "MAX_ITEM", 1000)
    with pytest.raises(LimitExceededError) as error:
        recode(FORMAT, [FIRST + item(children=b'"%b";' % (b"x" * 2000))], most=100)
    assert error.value.message == "expected an item of at most 1000 bytes, got more"
    assert error.value.offset == len(FIRST)


# -- proof, recognition, reading ----------------------------------------------------------------------------


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_any_flipped_byte_is_caught(data: st.DataObject) -> None:
    rounds = data.draw(st.sampled_from(ROTATIONS))
    recoding = Recoding(rounds_from=rounds[0], rounds_to=rounds[1])
    source = b"".join([FIRST, ITEM, BROKEN[0][1], b"\n", ITEM, NAMES[4][1], LAST])
    (target,), _ = recode(FORMAT, [source], recoding)
    at = data.draw(st.integers(0, len(target) - 1))
    assert_flips_are_caught(FORMAT, [source], [target], recoding, 0, at, data.draw(st.integers(1, 255)))


def test_files_are_told_by_what_they_begin_with(shared: Path) -> None:
    for path in (*shared.glob("archives/prosody-internal/*/*.list"), *shared.glob("archives/*/*/pep_*/*.list")):
        found = recognise(path.read_bytes(), Recoding())
        assert found is not None
        assert found.name == "prosody-internal"


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b'return {\n\t["http://x"] = {};\n};\n', "this is a .dat file of Prosody's: settings of a store, no stanza"),
        (b'item("2026-11-22");\n', "this is a list of days or keys of Prosody's: it holds no stanza"),
    ],
)
def test_what_holds_no_stanza_is_refused(head: bytes, reason: str) -> None:
    with pytest.raises(UnsupportedArchiveError) as error:
        recognise(head, Recoding())
    assert error.value.message == reason


@pytest.mark.parametrize("head", [b"", b"<message/>", b"items({})", b"-- item({", b"item(5);"])
def test_what_is_none_is_not_recognised(head: bytes) -> None:
    assert not FORMAT.recognises(head, Recoding())


def test_stanzas_are_given_as_xml() -> None:
    broken = b'item({ ["name"] = 1; });\n'
    found = list(
        FORMAT.stanzas([io.BytesIO(item(b'["http://x\\1id"] = "<\xc3\xa9>";', b'"a\\n&"; 5;') + broken)], Recoding())
    )
    assert found == [
        ("item 1", '<message xmlns:ns1="http://x" ns1:id="&lt;é&gt;">a\n&amp;</message>'.encode()),
        ("item 2", broken),
    ]


def test_samples_of_a_real_server_gain_letters_at_declarations_only(shared: Path) -> None:
    for path in shared.glob("archives/prosody-internal/*/*.list"):
        source = path.read_bytes()
        (target,), tally = recode(FORMAT, [source])
        assert tally.skips == []
        assert tally.stanzas == source.count(b"\nitem(") + 1
        assert target == source.replace(b'["xmlns"] = "urn:xmpp:', b'["xmlns"] = "urn:xmpps:')
        assert prove(FORMAT, [source], [target]) == Proved(tally.stanzas, tally.letters)


# -- strings (by the rules of Lua's manual) -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "denoted"),
    [
        (b"plain \xc3\xa9", b"plain \xc3\xa9"),
        (b"\\a\\b\\f\\n\\r\\t\\v\\\\\\\"\\'", b"\a\b\f\n\r\t\v\\\"'"),
        (b"\\0\\07\\0655\\1955", b"\0\7A5\xc35"),
        (b"\\x41\\x4a2", b"AJ2"),
        (b"\\u{41}\\u{2603}\\u{1F600}", "A☃😀".encode()),
        (b"a\\z \t b\\zc", b"abc"),
    ],
)
def test_escapes_denote_bytes(raw: bytes, denoted: bytes) -> None:
    assert lua.unescape(raw) == denoted
    if b"u{" not in raw:  # of which one gives several bytes
        for offset in range(len(denoted)):
            assert lua.unescape(raw[: lua.raw_offset(raw, offset)]) == denoted[:offset]


@given(st.text(max_size=30))
def test_what_prosody_writes_is_read(text: str) -> None:
    for string in (new_string, old_string):
        assert lua.unescape(string(text)[1:-1]) == text.encode()


# -- bounds -------------------------------------------------------------------------------------------------

HOSTILE = {
    "an endless string": lambda size: b'item({"' + b"x" * size,
    # so many that each size is past the step to fresh pages in which the expression's stack grows
    "endless escapes": lambda size: b'item({"' + b"\\\\" * (16 * size),
    "quotes": lambda size: b"item({" + b'"' * size,
    "strings": lambda size: b"item({" + b'"a";' * (size // 4),
    "quotes as escapes": lambda size: b'item({"' + b'\\"' * (4 * size),
    "quotes as escapes, line by line": lambda size: b'item({\n' + b'"\\"\n' * (size // 2),
    "lines of quotes": lambda size: b"item({\n" + b'"\n' * (size // 2),
    "opening braces": lambda size: b"item({" + b"{" * size,
    "nested tables": lambda size: item(children=element(b"a", b"", element(b"a") * 5) * (size // 300)),
    "white space": lambda size: b"item({" + b" " * size,
    "white space in a key": lambda size: b"item({" + b'[ "a" ] ' + b" " * size + b"=",
    "keys without a value": lambda size: b"item({" + b'["a"] = ' * (size // 8),
    "numbers": lambda size: b"item({" + b"1;" * (size // 2),
    "numbered backwards": lambda size: item(children=b"".join(b'[%d]="";' % i for i in range(size // 20, 0, -1))),
    "digits": lambda size: b"item({" + b"1" * size,
    "names in one item": lambda size: item(children=element(b"a", b'["xmlns"] = "http://x";') * (size // 60)),
    "item after item": lambda size: b"item(\n" * (size // 6),
    "brackets": lambda size: b"item({" + b"[" * size,
}  # fmt: skip


@pytest.mark.any_python
@pytest.mark.parametrize("pattern", HOSTILE)
def test_work_is_linear_on_hostile_input(pattern: str) -> None:
    def work_of(size: int):  # type: ignore[no-untyped-def]
        data = HOSTILE[pattern](size // 4)
        return lambda: FORMAT.recode([io.BytesIO(data)], [Discarded()], Recoding(), Tally())

    assert_linear(work_of, largest=1 << 20)  # sixteen times that is still an item


@pytest.mark.parametrize("pattern", [rb"\195\169", rb"\\", rb"\"", b"text "])
def test_reading_a_long_string_takes_a_few_times_its_memory(pattern: bytes) -> None:
    data = item(children=b'"' + pattern * 100_000 + b'";')
    tracemalloc.start()
    try:
        assert 1 in lua.Reader().read(data)
        assert pattern * 100_000 in lua.cut_at_quotes(data)
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5 * len(data)  # the matcher's stack alone was 110 times the string


@pytest.mark.any_python
@pytest.mark.outer
def test_memory_is_bounded() -> None:
    long = item(b'["xmlns"] = "http://x";', element(b"body", b"", b'"%b";' % (b"some text " * 2500 + b"\\195\\169")))
    source = Repeated(b"", lambda number: long, b"", 1500)
    target, tally = Discarded(), Tally()
    tracemalloc.start()
    try:
        FORMAT.recode([source], [target], Recoding(), tally)
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (tally.stanzas, tally.skipped, target.written) == (1500, 0, 1500 * len(long) + 1500)
    assert target.written > 35_000_000
    assert peak < 5_000_000
