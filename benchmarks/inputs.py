"""What is measured on: bytes for the cipher, XML by size and by density of namespaces, the recorded sessions.

Everything here is made from a seed or committed, so that two runs measure the same bytes. XML is made of stanzas in
which every namespace name is marked by hand, after its scheme; the marks say what each operation must find and make of
the document, so that no expectation comes from the code that is measured.

    ~   an insecure name in a declaration
    ^   an insecure name in another position of docs/scanning.md
    $   a secure name

The densities:

    never    messages without a single namespace
    rare     the same, and a declaration about every 3 KiB
    common   as in XMPP: a declaration about every 240 bytes, and nearly as many names in other positions
    hostile  names in text, comments, CDATA and the wrong attributes: many candidates, few names
"""

from __future__ import annotations

import functools
import itertools
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
SIZES = [64, 300, 4 * KIB, 64 * KIB, MIB, 64 * MIB, 256 * MIB]
DENSITIES = ["never", "rare", "common", "hostile"]
#: every density up to 1 MiB; what is larger is of the density "common"
DOCUMENTS = [(density, size) for density in DENSITIES for size in SIZES if size <= MIB or density == "common"]

ASCII = bytes(byte & 0x7F for byte in range(256))
WORDS = "wherefore art thou but soft what light through yonder window breaks it is the east".split()
MESSAGE = "<message from='%(sender)s' to='%(to)s' id='%(id)s' type='chat'><body>%(text)s</body></message>"

#: number of elements, and the stanza
Template = tuple[int, str]
NEVER: list[Template] = [
    (2, MESSAGE),
    (3, "<presence from='%(sender)s' to='%(to)s'><show>away</show><status>%(text)s</status></presence>"),
]
RARE: list[Template] = [
    *NEVER * 8,
    (2, "<iq from='%(sender)s' to='%(to)s' id='%(id)s' type='get'><ping xmlns='urn:xmpp~:ping'/></iq>"),
]
COMMON: list[Template] = [
    (1, "<r xmlns='urn:xmpp~:sm:3'/>"),
    (4, MESSAGE.replace("</message>", "<request xmlns='urn:xmpp~:receipts'/>"
        "<active xmlns='http~://jabber.org/protocol/chatstates'/></message>")),
    (4, "<presence from='%(sender)s' to='%(to)s'><show>away</show><priority>5</priority>"
        "<c xmlns='http~://jabber.org/protocol/caps' hash='sha-1' node='http://example.org/client' ver='%(id)s='/>"
        "</presence>"),
    (7, "<iq from='%(sender)s' to='%(to)s' id='%(id)s' type='result'>"
        "<query xmlns='http~://jabber.org/protocol/disco#info'><identity category='client' type='pc' name='Client'/>"
        "<feature var='urn:xmpp^:ping'/><feature var='http^://jabber.org/protocol/muc'/>"
        "<feature var='urn:xmpp^:avatar:metadata+notify'/><feature var='vcard-temp'/></query></iq>"),
    (3, "<message from='%(sender)s' to='%(to)s' type='groupchat'><body>%(text)s, see http://example.org/%(id)s or "
        "urn:xmpp:%(id)s</body><delay xmlns='urn:xmpp~:delay' from='%(to)s' stamp='2019-04-01T00:00:00Z'/></message>"),
    (6, "<iq from='%(sender)s' id='%(id)s' type='set'><pubsub xmlns='http~://jabber.org/protocol/pubsub'>"
        "<publish node='urn:xmpp^:avatar:metadata'><item id='%(id)s'><metadata xmlns='urn:xmpp~:avatar:metadata'>"
        "<info bytes='12345' id='%(id)s' type='image/png' url='http://example.org/%(id)s.png'/></metadata></item>"
        "</publish></pubsub></iq>"),
    (7, "<iq to='%(to)s' id='%(id)s' type='set'><query xmlns='http~://jabber.org/protocol/muc#owner'>"
        "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>"
        "<value>http^://jabber.org/protocol/muc#roomconfig</value></field><field var='muc#roomconfig_roomname'>"
        "<value>%(text)s</value></field></x></query></iq>"),
    (2, "<message to='%(to)s'><x xmlns='https$://example.org/secure'>%(text)s</x></message>"),
]  # fmt: skip
HOSTILE: list[Template] = [
    (1, "<a b='http:'>\"http:</a>"),
    (2, "<message><body>" + "the text xmlns='http://example.org/' and \"urn:xmpp:\" 'http: 'h \"u 'H " * 4
        + "</body></message>"),
    (2, "<message><item name='http:' id=\"urn:xmpp:x\" xmlnsx='http://example.org/' var='urn:xmpp:ping'/></message>"),
    (1, "<message><!-- <a xmlns='http://example.org/'/> --><![CDATA[<a xmlns='urn:xmpp:ping'/>]]></message>"),
    (3, "<a xmlns='http~://example.org/'>'http:<feature var='&#104;ttp^://example.org/'/><b xmlns='httpx:'/></a>"),
    (1, "<message to='%(to)s'>" + "''''\"\"\"\"" * 20 + "'h'h'h'h\"{\"{</message>"),
]  # fmt: skip
TEMPLATES = {"never": NEVER, "rare": RARE, "common": COMMON, "hostile": HOSTILE}

#: what fills a document to its exact size
FIRST, LAST = b"<message><body>", b"</body></message>"


def unmarked(marked: bytes) -> bytes:
    return marked.translate(None, b"~^$")


@dataclass(frozen=True)
class Document:
    """Stanzas without a root, ``times`` over, and what is true of them."""

    density: str
    times: int
    marked: tuple[bytes, ...] = field(repr=False)
    elements: int

    @functools.cached_property
    def data(self) -> bytes:
        return unmarked(b"".join(self.marked)) * self.times

    @property
    def size(self) -> int:
        return len(self.data)

    @property
    def stanzas(self) -> list[bytes]:
        return [unmarked(stanza) for stanza in self.marked] * self.times

    @property
    def upgraded_stanzas(self) -> list[bytes]:
        return [unmarked(stanza.replace(b"~", b"s").replace(b"^", b"s")) for stanza in self.marked] * self.times

    @property
    def upgraded(self) -> bytes:
        """Every insecure name secure."""
        return unmarked(b"".join(self.marked).replace(b"~", b"s").replace(b"^", b"s")) * self.times

    @property
    def declarations_upgraded(self) -> bytes:
        """The same of declarations alone, which is all that a regular expression is asked for."""
        return unmarked(b"".join(self.marked).replace(b"~", b"s")) * self.times

    @property
    def names(self) -> int:
        """Names that ``scan`` lists."""
        return sum(stanza.count(mark) for stanza in self.marked for mark in (b"~", b"^", b"$")) * self.times

    @property
    def insecure_declarations(self) -> int:
        return sum(stanza.count(b"~") for stanza in self.marked) * self.times

    @property
    def rooted(self) -> bytes:
        """Within a root element, for parsers, which want one."""
        return b"<all>" + self.data + b"</all>"


def _stanzas(size: int, density: str) -> Iterator[tuple[int, bytes]]:
    """Stanzas of ``size`` bytes in all: the templates in turn, then a message of just the bytes that are missing."""
    source = random.Random(f"{density} {size}")
    for elements, template in itertools.cycle(TEMPLATES[density]):
        stanza = template % {
            "sender": f"{source.choice(WORDS)}@capulet.example/{source.choice(WORDS)}",
            "to": f"{source.choice(WORDS)}@montague.example",
            "id": f"{source.getrandbits(32):08x}",
            "text": " ".join(source.choices(WORDS, k=source.randrange(4, 24))),
        }
        marked = stanza.encode()
        if len(unmarked(marked)) > size - len(FIRST + LAST):
            break
        size -= len(unmarked(marked))
        yield elements, marked
    yield 2, FIRST + (" ".join(WORDS).encode() * size)[: size - len(FIRST + LAST)] + LAST


@functools.lru_cache(maxsize=4)
def document(size: int, density: str) -> Document:
    """Exactly ``size`` bytes (64 or more) of stanzas; above 1 MiB (and then whole MiB) one MiB again and again."""
    elements, marked = zip(*_stanzas(min(size, MIB), density), strict=True)
    times = max(1, size // MIB)
    made = Document(density, times, marked, sum(elements) * times)
    assert made.size == size
    return made


@functools.lru_cache(maxsize=4)
def octets(size: int) -> bytes:
    """Random ASCII for the cipher, two fifths of it letters; above 1 MiB one MiB again and again.

    No byte is cheaper than another to any but ``codecs``, which is at its best on ASCII.
    """
    return random.Random(size).randbytes(min(size, MIB)).translate(ASCII) * max(1, size // MIB)


def recorded() -> bytes:
    """The recorded sessions with a real server, one after another."""
    return b"".join(path.read_bytes() for path in sorted((ROOT / "examples" / "recorded").glob("*.xml")))


def stream() -> bytes:
    """About 1 MB of XMPP: the shared corpus beside a development checkout, else the recorded sessions."""
    corpus = ROOT.parent / "shared" / "corpus" / "xep-examples.jsonl"
    if corpus.exists():
        return "\n".join(json.loads(line)["xml"] for line in corpus.read_text(encoding="utf-8").splitlines()).encode()
    sessions = recorded()
    return sessions * (1 + MIB // len(sessions))
