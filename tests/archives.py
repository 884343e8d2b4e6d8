"""Archives that the tests make for themselves, and a plain way to say what must come of them."""

from __future__ import annotations

import random
from pathlib import Path

NAMES = (
    "http://jabber.org/protocol/chatstates",
    "urn:xmpp:sid:0",
    "urn:xmpp:receipts",
    "jabber:x:oob",
    "http://example.org/private",
    "urn:xmpps:ping",
)


def stanza(rng: random.Random, upgraded: bool = False) -> str:
    """A message with some declarations, and the same names as text; ``upgraded``: as it must come out."""
    names = rng.sample(NAMES, rng.randint(1, 4))
    text = " ".join(names) + " é☃😀 &amp; " * rng.randint(0, 5)
    number = rng.randrange(10**9)
    if upgraded:
        names = [secure(name) for name in names]
    children = "".join(f"<x{i} xmlns='{name}'/>" for i, name in enumerate(names))
    return f"<message id='m{number}' to='b@x.example'><body>{text}</body>{children}</message>"


def secure(name: str) -> str:
    return name.replace("http:", "https:").replace("urn:xmpp:", "urn:xmpps:")


def document(seed: int, stanzas: int, upgraded: bool = False) -> bytes:
    rng = random.Random(seed)
    root = "https://example.org/root" if upgraded else "http://example.org/root"
    body = "\n".join(stanza(rng, upgraded) for _ in range(stanzas))
    return f"<?xml version='1.0'?>\n<archive xmlns:r='{root}'>\n{body}\n</archive>\n".encode()


def rot13(data: bytes) -> bytes:
    """By the standard library."""
    import codecs

    return codecs.encode(data.decode("latin-1"), "rot13").encode("latin-1")


def tree(root: Path) -> dict[str, bytes]:
    """Every file below a directory."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


class Counting:
    """An observer that adds up what it is told."""

    def __init__(self) -> None:
        self.size = self.read = self.units = self.units_done = 0

    def found(self, units: int, size: int) -> None:
        self.units += units
        self.size += size

    def working(self, name: str) -> None: ...

    def advance(self, count: int) -> None:
        self.read += count

    def done(self, units: int) -> None:
        self.units_done += units
