"""The fuzz targets: one function for each entry point, that asserts what holds for any bytes at all.

The oracles are the pure-Python twin, ``codecs``' ROT-13, and relations between the functions themselves. An error is
allowed only where the twin (or the same call on other forms of the data) has the same one. Nothing here knows of a
fuzzer: each function takes a :class:`case.Case`, and a plain assertion is the finding.
"""

from __future__ import annotations

import array
import codecs
from collections import Counter
from collections.abc import Callable
from typing import Any
from xml.parsers import expat

from case import Case, Given, as_bytes, failed, outcome
from layout import FLAGS, LIMIT, PIECES, SPARE

import xep419
from xep419 import namespaces
from xep419 import stanza as stanzas
from xep419 import stream as streams
from xep419._pure import checking as twin_checking
from xep419._pure import cipher as twin_cipher
from xep419._pure import framing as twin_framing
from xep419._pure import incremental as twin_incremental
from xep419._pure import namespaces as twin
from xep419._pure import restoration as twin_restoration
from xep419.names import is_known, resolve_references

_LATIN = bytes(range(256)).decode("latin-1")
_ROTATION = codecs.encode(_LATIN, "rot13").encode("latin-1")


def rotated(data: bytes, rounds: int) -> bytes:
    return data.translate(_ROTATION) if rounds % 2 else data


def same_form(result: object, given: Given) -> None:
    assert type(result) is (str if isinstance(given, str) else bytes), (type(result), type(given))


# -- rotation ---------------------------------------------------------------------------------------------


def rotate(case: Case) -> None:
    """``rot13``, ``double_rot13``, their ``_into`` forms with any overlap, and in place."""
    data, rounds = case.document, case.rounds
    given, expected = case.given(), rotated(data, rounds)
    for result, right in ((xep419.rot13(given, rounds=rounds), expected), (xep419.double_rot13(given), data)):
        same_form(result, given)
        assert as_bytes(result) == right
    assert as_bytes(xep419.rot13(xep419.rot13(given))) == data

    target = bytearray(b"\xa5" * (len(data) + 1))
    assert xep419.rot13_into(given, target, rounds=rounds) == len(data)
    assert target == expected + b"\xa5"
    if data:
        short = bytearray(len(data) - 1)
        refused = False
        try:
            xep419.rot13_into(given, short, rounds=rounds)
        except ValueError:
            refused = True
        assert refused
        assert not any(short)

    within = bytearray(data)
    assert xep419.rot13_inplace(within, rounds=rounds) is None
    assert within == expected
    _overlapping(case, data)


def _overlapping(case: Case, data: bytes) -> None:
    """From one place of a buffer to another of it."""
    n = len(data)
    start, size, to = (n * case.choices[PIECES + i] // 255 for i in range(3))
    size = min(size, n - start, n - to)
    buffer = array.array("B", data) if case.flag(3) else bytearray(data)
    source, target = memoryview(buffer)[start : start + size], memoryview(buffer)[to:]
    if case.flag(0):
        written, rounds = xep419.double_rot13_into(source, target), 2
    else:
        written, rounds = xep419.rot13_into(source, target, rounds=case.rounds), case.rounds
    assert written == size
    assert bytes(buffer) == data[:to] + rotated(data[start : start + size], rounds) + data[to + size :]


# -- namespaces -------------------------------------------------------------------------------------------


def scan(case: Case) -> None:
    """Names stand in order, within the document, and are what their bytes say, whatever form the document comes in."""
    data, scope, given = case.document, case.scope, case.given()
    found = outcome(xep419.scan, given, scope=scope)
    if failed(found):
        assert not isinstance(given, str)
        assert outcome(xep419.scan, data) == outcome(twin.scan, data) == found
        return
    done = 0
    for name in found:
        assert isinstance(name, xep419.NamespaceRef)
        assert done <= name.start < name.end <= len(data)
        assert name.kind in scope
        assert name.kind.value.bit_count() == 1
        assert name.name == resolve_references(data[name.start : name.end])
        assert name.secure == xep419.is_secure(name.name)
        assert xep419.upgrade_name(name.name) != xep419.downgrade_name(name.name)
        done = name.end
    if data.count(b"=") < 64:  # deeper than the scanner follows, one scope's frames take the room of another's
        everything = xep419.scan(given)
        assert found == [name for name in everything if name.kind in scope]


def twins(case: Case) -> None:
    """The compiled functions and the pure ones: the same names, the same bytes, the same errors."""
    scope, given, known_only = case.scope, case.given(), case.flag(0)
    assert outcome(xep419.scan, given, scope=scope) == outcome(twin.scan, given, scope=scope)
    assert outcome(xep419.upgrade, given, scope=scope) == outcome(twin.upgrade, given, scope=scope)
    options = {"scope": scope, "known_only": known_only}
    assert outcome(xep419.downgrade, given, **options) == outcome(twin.downgrade, given, **options)
    assert outcome(xep419.encrypt, given) == outcome(twin.encrypt, given)
    assert xep419.decrypt(given) == twin.decrypt(given)
    assert xep419.rot13(given, rounds=case.rounds) == twin_cipher.rot13(given, rounds=case.rounds)


def only_inserted(before: bytes, after: bytes) -> int:
    """Asserts that ``after`` is ``before`` with letters ``s`` put in, and tells how many."""
    at = 0
    for byte in after:
        if at < len(before) and byte == before[at]:
            at += 1
        else:
            assert byte == 0x73, (byte, at)
    assert at == len(before)
    return len(after) - len(before)


def upgrade(case: Case) -> None:
    """Only letters come in, one for each insecure name; afterwards every name is secure, and nothing more changes."""
    data, scope, given = case.document, case.scope, case.given()
    result = outcome(xep419.upgrade, given, scope=scope)
    if failed(result):
        assert result == outcome(twin.upgrade, data, scope=scope)
        return
    same_form(result, given)
    upgraded = as_bytes(result)
    before = xep419.scan(_text_or(given, data), scope=scope)
    after = xep419.scan(_text_or(result, upgraded), scope=scope)
    letters = only_inserted(data, upgraded)
    assert letters == sum(not name.secure for name in before)
    assert [(xep419.upgrade_name(name.name), name.kind, True) for name in before] == [name[2:] for name in after]
    assert xep419.upgrade(result, scope=scope) is result
    if not letters and isinstance(given, (bytes, str)):
        assert result is given
    insecure = xep419.downgrade(result, scope=scope, known_only=False)
    assert insecure == xep419.downgrade(given, scope=scope, known_only=False)


def _text_or(given: object, data: bytes) -> Given:
    """Text as it is: its UTF-8 form may look like another encoding, which only bytes are judged by."""
    return given if isinstance(given, str) else data


def restore(case: Case) -> None:
    """An upgrade is matched to its end; with one byte changed it is not; the twin finds the same."""
    data = case.document
    upgraded = outcome(xep419.upgrade, data, scope=case.scope)
    if failed(upgraded):
        upgraded = data
    whole = len(data), len(upgraded), len(upgraded) - len(data)
    assert namespaces.match_upgraded(case.given(), upgraded, final=True) == whole
    place, byte = len(upgraded) * case.choices[PIECES] // 256, case.choices[SPARE]
    changed = upgraded[:place] + bytes([byte]) + upgraded[place + 1 :]
    for other, final in ((changed, True), (changed, False), (data, False), (upgraded[:place], False)):
        answers = [
            outcome(match, data, other, final=final)
            for match in (namespaces.match_upgraded, twin_restoration.match_upgraded)
        ]
        assert answers[0] == answers[1]
        assert changed == upgraded or not final or (type(answers[0][0]) is type and answers[0][2] <= len(data))


def downgrade(case: Case) -> None:
    """Names change as ``downgrade_name`` says, those that must stay do, and nothing is found anew."""
    data, scope, given, known_only = case.document, case.scope, case.given(), case.flag(0)
    result = outcome(xep419.downgrade, given, scope=scope, known_only=known_only)
    if failed(result):
        assert result == outcome(twin.downgrade, data, scope=scope, known_only=known_only)
        return
    same_form(result, given)
    downgraded = as_bytes(result)
    before = xep419.scan(_text_or(given, data), scope=scope)
    after = xep419.scan(_text_or(result, downgraded), scope=scope)
    expected = []
    for name in before:
        insecure = xep419.downgrade_name(name.name)
        expected.append(insecure if not known_only or is_known(insecure) else name.name)
    assert [name.name for name in after] == expected
    assert [name.kind for name in after] == [name.kind for name in before]
    assert len(downgraded) <= len(data)
    assert xep419.downgrade(result, scope=scope, known_only=known_only) is result


def encrypt(case: Case) -> None:
    """``encrypt`` is ``upgrade`` and two rotations; ``decrypt`` leaves the names as they are."""
    data, given = case.document, case.given()
    result = outcome(xep419.encrypt, given)
    assert result == outcome(xep419.upgrade, given)
    if failed(result):
        return
    same_form(result, given)
    assert result is not given or not data or xep419.isa == "python"
    assert xep419.decrypt(result) == result
    assert as_bytes(xep419.decrypt(given)) == data
    assert xep419.encrypt(result) == result
    only_inserted(data, as_bytes(result))


def encrypt_many(case: Case) -> None:
    """The same as one by one, over more than one batch too, and in the order given."""
    parts = case.document.split(b"\xff") * case.one_of(LIMIT, (*[1] * 29, 2, 40, 600))
    forms = [case.given(part) if i % 3 else part for i, part in enumerate(parts[:2000])]
    given = forms if case.flag(0) else iter(forms)
    expected = [outcome(xep419.encrypt, form) for form in forms]
    result = outcome(xep419.encrypt_many, given)
    first = next(filter(failed, expected), None)
    assert result == (first or expected)
    for one, form in zip(result if first is None else (), forms, strict=False):
        same_form(one, form)


# -- incremental ------------------------------------------------------------------------------------------


Error = tuple[type, str, Any]


def _through(transform: Any, pieces: list[bytes], case: Case) -> tuple[bytes, Error | None]:
    """All the output, and the error that ended it; either way the object is done with after it."""
    output = b""
    for piece in pieces:
        given = outcome(transform.update, case.given(piece))
        if failed(given):
            assert outcome(transform.update, b"") == given == outcome(transform.finalize)
            return output, given
        output += given
    rest = outcome(transform.finalize)
    if failed(rest):
        assert outcome(transform.update, b"") == rest
        return output, rest
    refused = False
    try:
        transform.update(b"")
    except ValueError:
        refused = True
    assert refused
    return output + rest, None


def _incremental(
    case: Case, compiled: Callable[..., Any], pure: Callable[..., Any], whole: object, **options: Any
) -> None:
    """Any pieces give ``whole``, what the functions give at once; after an error it is the beginning of that."""
    limit = 4 * case.choices[LIMIT] or 1 << 20
    options |= {"rounds": case.rounds, "scope": case.scope, "max_markup": limit}
    pieces = list(case.pieces(case.document))
    output, error = _through(compiled(**options), pieces, case)
    twin_output, twin_error = _through(pure(**options), pieces, case)
    if failed(whole):
        assert (output, error) == (twin_output, twin_error) == (b"", whole)
    elif limit == 1 << 20:
        assert output == twin_output == whole
        assert error is twin_error is None
    else:
        for given, ended in ((output, error), (twin_output, twin_error)):
            assert isinstance(whole, bytes)
            assert whole.startswith(given) if ended else whole == given
            assert ended is None or (ended[0] is xep419.LimitExceededError and 0 <= ended[2] < len(case.document))
        assert twin_error or not error  # in what is not well-formed, the twin may hold back more


def encryptor(case: Case) -> None:
    """Any pieces give what ``upgrade`` and the rotations give at once."""
    changes, data = not case.flag(1), case.document
    whole = outcome(xep419.upgrade, data, scope=case.scope) if changes else data
    if isinstance(whole, bytes):
        whole = rotated(whole, case.rounds)
    _incremental(case, xep419.Encryptor, twin_incremental.Encryptor, whole, upgrade=changes)


def census(case: Case) -> None:
    """Any pieces count what ``scan`` finds at once, alone or for an Encryptor; the twin counts the same."""
    found = outcome(xep419.scan, case.document, scope=case.scope)
    pieces, totals = list(case.pieces(case.document)), []
    for make in (namespaces.NamespaceCensus, twin_incremental.NamespaceCensus):
        alone, fused = make(scope=case.scope), make()
        encryptor = (xep419 if make is namespaces.NamespaceCensus else twin_incremental).Encryptor(
            scope=case.scope, census=fused
        )
        for counter, feeding in ((alone, alone), (fused, encryptor)):
            refused = next(filter(failed, (outcome(feeding.update, case.given(piece)) for piece in pieces)), None)
            refused = refused or outcome(feeding.finalize)
            assert failed(refused) == failed(found)
            totals.append((counter.counts(), counter.insecure, counter.secure, counter.overflow))
    assert all(total == totals[0] for total in totals)
    if not failed(found):
        counts, insecure, secure, overflow = totals[0]
        assert (insecure, secure) == tuple(
            sum(name.secure is is_secure for name in found) for is_secure in (False, True)
        )
        assert overflow or counts == Counter((name.name, name.kind, name.secure) for name in found)


def decryptor(case: Case) -> None:
    """Any pieces give what the rotations and ``downgrade`` give at once."""
    changes, known_only = not case.flag(1), case.flag(2)
    whole: object = rotated(case.document, case.rounds)
    if changes:
        whole = outcome(xep419.downgrade, whole, scope=case.scope, known_only=known_only)
    options = {"downgrade": changes, "known_only": known_only}
    _incremental(case, xep419.Decryptor, twin_incremental.Decryptor, whole, **options)


# -- streams ----------------------------------------------------------------------------------------------


def _framed(stream: Any, pieces: list[bytes], case: Case) -> tuple[Any, ...]:
    """Everything a stream gives for some pieces; after an error it must give that again."""
    stanzas: list[bytes] = []
    for piece in pieces:
        try:
            stanzas += stream.feed(case.given(piece))
        except xep419.XEP419Error as error:
            stanzas += error.stanzas
            told = type(error), str(error), error.offset
            assert outcome(stream.feed, b"") == told == outcome(stream.reset)
            return stanzas, stream.header, stream.closed, stream.pending, (*told, error.condition)
    return stanzas, stream.header, stream.closed, stream.pending, None


def _elements_by_expat(document: bytes) -> int | None:
    """How many first-level elements begin, or None for what expat refuses."""
    parser = expat.ParserCreate()
    begun = depth = 0

    def begin(name: str, attributes: dict[str, str]) -> None:
        nonlocal begun, depth
        begun += depth == 1
        depth += 1

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1

    parser.StartElementHandler, parser.EndElementHandler = begin, end
    try:
        parser.Parse(document, False)
    except expat.ExpatError:
        return None
    return begun


def stream(case: Case) -> None:
    """Any pieces give what the twin gives from one, and each transform that of each stanza; expat begins as many."""
    data, restricted = case.document if case.flag(3) else b"<s>" + case.document, case.flag(0)
    limit = 4 * case.choices[LIMIT] or 262_144
    transform = case.one_of(FLAGS, (None, "encrypt", "decrypt"))
    options = {"restricted": restricted, "max_stanza": limit}
    pieces = list(case.pieces(data))
    whole = _framed(twin_framing.StanzaStream(**options), [data], case)
    assert _framed(xep419.StanzaStream(**options), pieces, case) == whole
    assert _framed(xep419.StanzaStream(**options), [data], case) == whole
    stanzas, error = whole[0], whole[4]
    if transform:
        change = xep419.encrypt if transform == "encrypt" else lambda one: xep419.downgrade(xep419.decrypt(one))
        changed = _framed(xep419.StanzaStream(transform=transform, **options), pieces, case)
        assert changed == ([change(one) for one in stanzas], *whole[1:])
    if error is None and b"stream" not in data and b"<?xml" not in data and b"<!DOCTYPE" not in data and data.isascii():
        begun = _elements_by_expat(data)
        assert begun is None or begun - len(stanzas) in (0, 1)


def _checked(checker: Any, pieces: list[bytes], case: Case) -> tuple[Any, ...]:
    """The error of a document, which must come again, and how far it was understood."""
    error = next(filter(failed, (outcome(checker.feed, case.given(piece)) for piece in pieces)), None)
    error = error or outcome(checker.finalize)
    if error:
        assert outcome(checker.feed, b"") == error == outcome(checker.finalize)
    return error, checker.stanzas, checker.boundary, checker.header


def check(case: Case) -> None:
    """Any pieces are judged as the twin judges them in one, and no other than by ``StanzaStream`` where that has said no."""
    data, recorded = case.document if case.flag(3) else b"<s>" + case.document, case.flag(0)
    options = {"max_markup": 4 * case.choices[LIMIT] or 1 << 20, "stream": recorded}
    pieces = list(case.pieces(data))
    whole = _checked(twin_checking.DocumentChecker(**options), [data], case)
    assert _checked(streams.DocumentChecker(**options), pieces, case) == whole
    assert _checked(streams.DocumentChecker(**options), [data], case) == whole
    given = case.given()
    assert outcome(streams.check_stanza, given) == outcome(twin_checking.check_stanza, given)
    if recorded and options["max_markup"] == 1 << 20:
        cut, _, _, _, error = _framed(xep419.StanzaStream(restricted=False, max_stanza=1 << 30), [data], case)
        assert len(cut) == whole[1]
        assert error is None or error[:3] == whole[0]
        assert all(outcome(streams.check_stanza, one) is None for one in cut)


# -- stanzas ----------------------------------------------------------------------------------------------


def stanza(case: Case) -> None:
    """``encrypt_stanza`` rotates its spans and nothing else; ``validate`` passes the whole stanza alone."""
    data, given = case.document, case.given()
    part = case.one_of(FLAGS, tuple(stanzas.StanzaPart))
    once = outcome(stanzas.encrypt_stanza, given, part=part, rounds=1)
    refusals = [outcome(call, given) for call in (stanzas.encrypt_stanza, stanzas.exposed)]
    if failed(once):
        assert all(failed(refusal) for refusal in refusals)
        assert failed(outcome(stanzas.validate, given))
        return
    done, expected = 0, bytearray(data)
    for start, end in once.spans:
        assert done <= start < end <= len(data)
        expected[start:end] = rotated(data[start:end], 1)
        done = end
    assert once == expected
    twice = stanzas.encrypt_stanza(given, part=part)
    assert (bytes(twice), twice.spans) == (data, once.spans)
    assert stanzas.encrypt_stanza(given, part=part, rounds=0).spans == ()
    _spans_hold(data, part, once.spans)
    _exposure(data, part, once, twice)


def _spans_hold(data: bytes, part: stanzas.StanzaPart, spans: tuple[tuple[int, int], ...]) -> None:
    """What a part covers can be taken out, and then the part is empty."""
    if part is stanzas.StanzaPart.STANZA:
        assert spans == ((0, len(data)),)
        return
    rest, done = b"", 0
    for start, end in spans:
        rest, done = rest + data[done:start], end
    rest += data[done:]
    assert stanzas.encrypt_stanza(rest, part=part).spans == ()


def _exposure(data: bytes, part: stanzas.StanzaPart, *encrypted: stanzas.EncryptedStanza) -> None:
    everything = stanzas.exposed(data)
    assert everything
    for one in encrypted:
        exposed = stanzas.exposed(one)
        refused = outcome(stanzas.validate, one)
        assert failed(refused) == (part is not stanzas.StanzaPart.STANZA)
        assert bool(exposed) == failed(refused)
        told = [item for item in exposed if item.kind is not stanzas.ExposureKind.SIZE]
        assert [item for item in told if item not in everything] == []
        for item in exposed:
            assert 0 <= item.start <= item.end <= len(data)


TARGETS: dict[str, Callable[[Case], None]] = {
    target.__name__: target
    for target in (
        rotate, scan, upgrade, restore, downgrade, encrypt, encrypt_many, encryptor, decryptor, census, stream, check, stanza,
        twins,
    )
}  # fmt: skip
