"""Our side: every operation as a call over an input of a size, with the result it must have.

The cipher runs over ``inputs.octets``, the others over an ``inputs.document`` of a density.
"""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Callable

import inputs
from measure import Call, expecting

import xep419
from xep419.columns import recode_values

ROTATION = bytes.maketrans(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", b"NOPQRSTUVWXYZABCDEFGHIJKLMnopqrstuvwxyzabcdefghijklm"
)
PIECE = 4 * inputs.KIB


def rotated(data: bytes, rounds: int) -> bytes:
    """By the interpreter, which shares no code with ours."""
    return data.translate(ROTATION) if rounds % 2 else data


def new_bytes(size: int, rounds: int = 2) -> Call:
    data = inputs.octets(size)
    function = xep419.double_rot13 if rounds == 2 else xep419.rot13
    return expecting(lambda: rotated(data, rounds), function, data, size=size)


def into(size: int, rounds: int = 2) -> Call:
    data, target = inputs.octets(size), bytearray(size)
    function = xep419.double_rot13_into if rounds == 2 else xep419.rot13_into

    def judge() -> str:
        return "" if function(data, target) == size and target == rotated(data, rounds) else "wrong"

    return Call(function, (data, target), size, judge)


def in_place(size: int, rounds: int = 2) -> Call:
    buffer = bytearray(inputs.octets(size))

    def judge() -> str:
        expected = rotated(bytes(buffer), rounds)
        xep419.rot13_inplace(buffer, rounds=rounds)
        return "" if buffer == expected else "wrong"

    return Call(xep419.rot13_inplace, (buffer,), size, judge, {"rounds": rounds})


def scan(size: int, density: str) -> Call:
    document = inputs.document(size, density)
    return Call(
        xep419.scan,
        (document.data,),
        size,
        lambda: "" if len(xep419.scan(document.data)) == document.names else "wrong",
    )


def upgrade(size: int, density: str) -> Call:
    document = inputs.document(size, density)
    return expecting(lambda: document.upgraded, xep419.upgrade, document.data, size=size)


def encrypt(size: int, density: str) -> Call:
    document = inputs.document(size, density)
    return expecting(lambda: document.upgraded, xep419.encrypt, document.data, size=size)


def batch(size: int, density: str) -> Call:
    document = inputs.document(size, density)
    return expecting(lambda: document.upgraded_stanzas, xep419.encrypt_many, document.stanzas, size=size)


def offsets_of(stanzas: list[bytes]) -> bytes:
    """Of Arrow's layout, in 8 bytes each."""
    return array("q", itertools.accumulate(map(len, stanzas), initial=0)).tobytes()


def columns(size: int, density: str, check: bool = True) -> Call:
    """The stanzas as a column in Arrow's layout."""
    document = inputs.document(size, density)
    upgraded = document.upgraded, offsets_of(document.upgraded_stanzas), [], {}
    args = document.data, offsets_of(document.stanzas)
    return Call(
        recode_values,
        args,
        size,
        lambda: "" if recode_values(*args, large=True, check=check) == upgraded else "wrong",
        {"large": True, "check": check},
    )


def encrypt_each(stanzas: list[bytes]) -> list[bytes]:
    encrypt = xep419.encrypt
    return [encrypt(stanza) for stanza in stanzas]


def loop(size: int, density: str) -> Call:
    """What ``encrypt_many`` saves."""
    document = inputs.document(size, density)
    return expecting(lambda: document.upgraded_stanzas, encrypt_each, document.stanzas, size=size)


def _encrypt_pieces(pieces: list[bytes]) -> list[bytes]:
    encryptor = xep419.Encryptor()
    return [*map(encryptor.update, pieces), encryptor.finalize()]


def incremental(size: int, density: str) -> Call:
    """An ``Encryptor`` fed in pieces of 4 KiB."""
    document = inputs.document(size, density)
    pieces = [document.data[at : at + PIECE] for at in range(0, size, PIECE)]
    return Call(
        _encrypt_pieces,
        (pieces,),
        size,
        lambda: "" if b"".join(_encrypt_pieces(pieces)) == document.upgraded else "wrong",
    )


STREAM_HEADER = b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"


def _cut(pieces: list[bytes]) -> list[bytes]:
    stream = xep419.StanzaStream()
    return [stanza for piece in pieces for stanza in stream.feed(piece)]


def framing(size: int, density: str) -> Call:
    """A ``StanzaStream`` fed in pieces of 4 KiB, the first of which has the stream header before it."""
    document = inputs.document(size, density)
    pieces = [document.data[at : at + PIECE] for at in range(0, size, PIECE)]
    pieces[0] = STREAM_HEADER + pieces[0]
    return expecting(lambda: document.stanzas, _cut, pieces, size=size)


CIPHER: dict[str, Callable[..., Call]] = {"new bytes": new_bytes, "into": into, "in place": in_place}
NAMESPACES: dict[str, Callable[[int, str], Call]] = {
    "scan": scan,
    "upgrade": upgrade,
    "encrypt": encrypt,
    "incremental": incremental,
    "batch": batch,
    "framing": framing,
}
