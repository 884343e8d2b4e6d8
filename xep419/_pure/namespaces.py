"""``scan``, ``upgrade``, ``downgrade``, ``encrypt`` in plain Python, over the pure scanner's positions."""

from __future__ import annotations

from collections.abc import Iterable

from .._encoding import HEAD_BYTES, check_encoding
from ..names import NamespaceRef, Scope
from . import cipher
from .cipher import rotate, to_bytes, to_str
from .scanner import Finding, Scanner, is_known_finding, resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._types import Buffer


def scope_bits(scope: Scope) -> int:
    if not isinstance(scope, Scope):
        raise TypeError(f"scope must be a xep419.Scope, not {type(scope).__name__!r}")
    return scope.value


def find(xml: Buffer | str, data: bytes, scopes: int) -> list[Finding]:
    if not isinstance(xml, str):
        check_encoding(data[:HEAD_BYTES])
    return Scanner(scopes).scan(data, True)[0]


def splice_up(data: bytes, found: list[Finding], rounds: int) -> bytes:
    """``data`` with the letter of every insecure name put in, then rotated."""
    pieces: list[bytes] = []
    done = 0
    for name in found:
        if not name.secure:
            pieces += (data[done : name.mark], b"s")
            done = name.mark
    pieces.append(data[done:])
    return rotate(b"".join(pieces), rounds)


def splice_down(data: bytes, found: list[Finding], known_only: bool, rounds: int) -> bytes:
    """``data`` without the letter of the secure names, or of the known ones among them, then rotated."""
    pieces: list[bytes] = []
    done = 0
    for name in found:
        if name.secure and (not known_only or is_known_finding(data, name)):
            pieces.append(data[done : name.mark])
            done = name.mark_end
    pieces.append(data[done:])
    return rotate(b"".join(pieces), rounds)


def scan(xml: Buffer | str, /, *, scope: Scope = Scope.ALL) -> list[NamespaceRef]:
    scopes = scope_bits(scope)
    data = to_bytes(xml, "xml")
    return [
        NamespaceRef(name.start, name.end, resolve(data, name.start, name.end), Scope(name.kind), name.secure)
        for name in find(xml, data, scopes)
    ]


def _result(xml: Buffer | str, data: bytes, changed: bytes) -> bytes | str:
    if len(changed) == len(data):
        return xml if isinstance(xml, (bytes, str)) else data
    return to_str(changed) if isinstance(xml, str) else changed


def upgrade(xml: Buffer | str, /, *, scope: Scope = Scope.ALL) -> bytes | str:
    scopes = scope_bits(scope)
    data = to_bytes(xml, "xml")
    return _result(xml, data, splice_up(data, find(xml, data, scopes), 0))


def downgrade(xml: Buffer | str, /, *, scope: Scope = Scope.ALL, known_only: bool = True) -> bytes | str:
    scopes = scope_bits(scope)
    data = to_bytes(xml, "xml")
    return _result(xml, data, splice_down(data, find(xml, data, scopes), bool(known_only), 0))


def encrypt(stanza: Buffer | str, /) -> bytes | str:
    data = to_bytes(stanza, "stanza")
    encrypted = splice_up(data, find(stanza, data, Scope.ALL.value), 2)
    return to_str(encrypted) if isinstance(stanza, str) else encrypted


def decrypt(stanza: Buffer | str, /) -> bytes | str:
    if not isinstance(stanza, str):
        stanza = to_bytes(stanza, "stanza")
    return cipher.double_rot13(stanza)


def encrypt_many(stanzas: Iterable[Buffer | str], /) -> list[bytes | str]:
    return [encrypt(stanza) for stanza in stanzas]
