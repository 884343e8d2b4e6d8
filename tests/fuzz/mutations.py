"""Changes that know what a tag is: what a fuzzer's changes of single bytes would take long to find.

Half of the changes are left to the fuzzer's own mutator, which has the dictionary and the comparisons it saw.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

from layout import CHOICES, GROWTH
from seeds import SNIPPETS

DICTIONARY = Path(__file__).parent / "xml.dict"

_TAG = re.compile(rb"<[^<>]*>")
_VALUE = re.compile(rb"'([^'<]*)'|\"([^\"<]*)\"")
_EDGE = re.compile(rb"(?=[<>'\"= ])")
_ENTRY = re.compile(r'^"((?:[^"\\]|\\.)*)"$')

NAMES = (
    b"http:", b"https:", b"urn:xmpp:", b"urn:xmpps:", b"HTTP:", b"uRN:XMPP:", b"http", b"urn:xmpp", b"httpss:", b"",
    b"http://jabber.org/protocol/caps", b"https://jabber.org/protocol/caps", b"http://jabber.org/protocol/muc",
    b"https://jabber.org/protocol/muc#owner", b"urn:xmpp:ping", b"urn:xmpps:mam:2", b"jabber:client", b"FORM_TYPE",
    b"{http://a}b", b"{urn:xmpps:a}", b"http://jabber.org/protocol/commands#x", b"https://jabber.org/protocol/nick+notify",
)  # fmt: skip
ATTRIBUTES = (
    b"xmlns", b"xmlns:p", b"xmlns:xml", b"xmlns:", b"var", b"node", b"namespace", b"for", b"reason", b"a", b"p:var",
)  # fmt: skip
ELEMENTS = (
    b"a", b"field", b"value", b"feature", b"c", b"p:c", b"query", b"encryption", b"fallback", b"report", b"body", b"p:field",
)  # fmt: skip
OPENINGS = (
    b"<!--", b"-->", b"<![CDATA[", b"]]>", b"<?p ", b"?>", b"<!DOCTYPE a [", b"]>", b"<!", b"<", b"</", b"/>", b"&#",
)  # fmt: skip


def dictionary() -> list[bytes]:
    """The tokens of the dictionary, as libFuzzer reads them."""
    tokens = []
    for line in DICTIONARY.read_text(encoding="ascii").splitlines():
        found = _ENTRY.match(line.strip())
        if found:
            tokens.append(found[1].encode().decode("unicode_escape").encode("latin-1"))
    return tokens


TOKENS = dictionary()


def _attribute(r: random.Random) -> bytes:
    quote = r.choice((b"'", b"'", b'"'))
    around = r.choice((b"", b"", b"", b" ", b"\n"))
    return b" " + r.choice(ATTRIBUTES) + around + b"=" + around + quote + r.choice(NAMES) + quote


def _start_tag(r: random.Random) -> bytes:
    attributes = b"".join(_attribute(r) for _ in range(r.choice((0, 1, 1, 2, 3))))
    return b"<" + r.choice(ELEMENTS) + attributes + r.choice((b">", b">", b"/>", b" />"))


def _form(r: random.Random) -> bytes:
    return b"<field var='FORM_TYPE'>%b<value>%b%b</value></field>" % (
        r.choice((b"", b" ", _start_tag(r))), r.choice((b"", b"\n ", b"<!-- -->", b"<?p?>", b"&#32;")), r.choice(NAMES),
    )  # fmt: skip


def _new_piece(r: random.Random) -> bytes:
    make = r.choice((_attribute, _start_tag, _start_tag, _form, None, None))
    if make is not None:
        return make(r)
    return r.choice(r.choice((TOKENS, OPENINGS, NAMES, SNIPPETS)))


def _edge(document: bytes, r: random.Random) -> int:
    """A place before markup, or any."""
    if r.random() < 0.2:
        return r.randint(0, len(document))
    return r.choice([found.start() for found in _EDGE.finditer(document)] or [0])


def insert(document: bytes, r: random.Random) -> bytes:
    at = _edge(document, r)
    return document[:at] + _new_piece(r) + document[at:]


def wrap(document: bytes, r: random.Random) -> bytes:
    tag = _start_tag(r)
    return tag + document + b"</%b>" % re.split(rb"[ />]", tag[1:], maxsplit=1)[0]


def remove(document: bytes, r: random.Random) -> bytes:
    start, end = sorted((_edge(document, r), _edge(document, r)))
    return document[:start] + document[end:]


def repeat(document: bytes, r: random.Random) -> bytes:
    start, end = sorted((_edge(document, r), _edge(document, r)))
    return document[:start] + document[start:end] * r.choice((2, 2, 3, 70)) + document[end:]


def move_tag(document: bytes, r: random.Random) -> bytes:
    tags = list(_TAG.finditer(document))
    if not tags:
        return insert(document, r)
    tag = r.choice(tags)
    without = document[: tag.start()] + document[tag.end() :]
    at = _edge(without, r)
    return without[:at] + tag[0] + without[at:]


def replace_value(document: bytes, r: random.Random) -> bytes:
    values = list(_VALUE.finditer(document))
    if not values:
        return insert(document, r)
    value = r.choice(values)
    return document[: value.start() + 1] + r.choice(NAMES) + document[value.end() - 1 :]


def refer(document: bytes, r: random.Random) -> bytes:
    """One byte written as a character reference, or as something that only looks like one."""
    if not document:
        return b"&#104;"
    values = [i for found in _VALUE.finditer(document) for i in range(found.start() + 1, found.end() - 1)]
    at = r.choice(values) if values else r.randrange(len(document))
    pattern = r.choice(("&#{};", "&#x{:x};", "&#x{:X};", "&#{:09};", "&#x0{:x};", "&#{}", "&#X{:x};", "&#x11{:04x};"))
    return document[:at] + pattern.format(document[at]).encode() + document[at + 1 :]


def truncate(document: bytes, r: random.Random) -> bytes:
    at = _edge(document, r)
    return document[:at] if r.random() < 0.7 else document[at:]


def change_byte(document: bytes, r: random.Random) -> bytes:
    if not document:
        return b"<"
    at = r.randrange(len(document))
    return document[:at] + r.choice((r.randbytes(1), b"'", b'"', b"<", b">", b" ", b"\0", b"&")) + document[at + 1 :]


CHANGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    insert, insert, wrap, remove, repeat, move_tag, replace_value, replace_value, refer, truncate, change_byte,
)  # fmt: skip


def change_choices(choices: bytes, r: random.Random) -> bytes:
    written = bytearray(choices)
    for _ in range(r.choice((1, 1, 2, 4))):
        at = r.randrange(len(written))
        written[at] = r.choice((0, 1, 2, 3, 4, r.randrange(256)))
    if written[GROWTH] > 251 and r.random() < 0.8:  # long documents are slow
        written[GROWTH] = 0
    return bytes(written)


def mutate(data: bytes, most: int, seed: int) -> bytes:
    """A changed input of at most ``most`` bytes."""
    r = random.Random(seed)
    cut = max(0, len(data) - CHOICES)
    document, choices = data[:cut], data[cut:].ljust(CHOICES, b"\0")
    if r.random() < 0.2:
        choices = change_choices(choices, r)
    else:
        for _ in range(r.choice((1, 1, 1, 2, 3))):
            document = r.choice(CHANGES)(document, r)
    return document[: max(0, most - CHOICES)] + choices[:most]
