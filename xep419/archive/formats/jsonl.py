"""JSON Lines with a stanza in a field of each record: letters go into the field's token, no other byte changes.

Lines are never written anew from what was parsed: escapes, spacing, the order of members and line ends stay. Of members
of one name the last is meant, as Python, JavaScript and jq read them.
"""

from __future__ import annotations

import itertools
import json
import re
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from json.decoder import scanstring  # type: ignore[attr-defined]
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import IO, Any, ClassVar, NamedTuple

from ...cipher import rot13
from ...columns import recode_values
from ...errors import LimitExceededError, RestorationError, UnsupportedArchiveError
from ...namespaces import match_upgraded, scan
from ..recoding import Recoding
from ..stored import fault_of, is_stanza_unchanged, looks_like_element, preferred, read_back
from ..tally import Tally
from . import CHUNK, ArchivedStanza, Proved

#: bytes that a line may have
MAX_LINE = 1 << 26
#: records that are looked at to tell which field holds the stanza
SAMPLES = 64
BOM = b"\xef\xbb\xbf"

_SPACE = re.compile(r"[ \t\n\r]*")
_BEGIN_VALUE = re.compile(r"[ \t\n\r]*:[ \t\n\r]*")
_ESCAPE = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u([0-9a-fA-F]{4})|\\.")
_CUT_ELEMENT = re.compile(r'"(?:\s|\\[nrt])*(?:<|\\u003[cC])[A-Za-z_:]')
_WORD, _ESCAPED_WORD = re.compile(r"[A-Za-z0-9_-]+"), re.compile(r"\\u00[2-7]")
# Nobody wants the numbers, of which int() takes only those of some thousand digits.
_DECODER: Any = json.JSONDecoder(parse_int=len)


class Token(NamedTuple):
    """A string in a line: where it begins and ends, quotes included, in characters; what it means.

    ``encode``, where it is known, spells it as it is spelled, each character by itself and always alike.
    """

    start: int
    end: int
    value: str
    encode: Callable[[str], str] | None = None


class _Counts(NamedTuple):
    stanzas: int
    letters: int


class _NoStanzaError(ValueError):
    """Why a line holds none, and the byte in the line where that shows."""

    def __init__(self, reason: str, offset: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset


class JSONLines:
    """:param field: the top-level member that holds the stanza; ``None``: the one that holds XML elements."""

    name: ClassVar[str] = "jsonl"
    title: ClassVar[str] = "JSON Lines with a stanza in a field"
    random_access: ClassVar[bool] = False
    in_python: ClassVar[bool] = True

    def __init__(self, field: str | None = None) -> None:
        self.field = field

    def recognises(self, head: bytes, recoding: Recoding) -> bool:
        lines = list(itertools.islice(filter(bytes.strip, head.removeprefix(BOM).split(b"\n")), SAMPLES))
        records = [line for line in lines if line.lstrip().startswith(b"{")]
        if 2 * len(records) < len(lines):
            return False  # such as a log in which a record stands now and then
        found: set[str] = set()
        for line in records:  # the first may be broken, or tell of the others
            fields = _fields(line.decode("utf-8", "replace"))
            if self.field in fields if self.field is not None else any(fields.values()):
                return True
            found.update(fields)
        if self.field is not None and found:
            names = ", ".join(sorted(found))
            raise UnsupportedArchiveError(f"the first records have no text field {self.field!r}, but {names}")
        return False

    def companions(self, name: str) -> tuple[str, ...]:
        return ()

    def recode(
        self, sources: Sequence[IO[bytes]], targets: Sequence[IO[bytes]], recoding: Recoding, tally: Tally
    ) -> None:
        (source,), (target,) = sources, targets
        bom, portions = _portions(source)
        target.write(bom)
        field, portions = self._find_field(portions)
        first = 1
        for lines in portions:
            target.write(b"\n".join(_recoded(lines, first, field, recoding, tally)))
            first += len(lines) - 1

    def prove(self, sources: Sequence[IO[bytes]], targets: Sequence[IO[bytes]], recoding: Recoding) -> Proved:
        (source,), (target,) = sources, targets
        (bom, portions), (other_bom, other_portions) = _portions(source), _portions(target)
        if bom != other_bom:
            raise RestorationError("a byte order mark stands before one side alone", offset=0)
        field, portions = self._find_field(portions)
        stanzas = letters = done = 0
        for pairs in _side_by_side(portions, other_portions):
            try:
                found = _prove_together(pairs, field, recoding)
            except RestorationError:
                found = _prove_one_by_one(pairs, done + 1, field, recoding)
            stanzas, letters, done = stanzas + found.stanzas, letters + found.letters, done + len(pairs)
        return Proved(stanzas, letters)

    def stanzas(self, sources: Sequence[IO[bytes]], recoding: Recoding) -> Iterator[ArchivedStanza]:
        (source,) = sources
        field, portions = self._find_field(_portions(source)[1])
        for number, line in enumerate(_lines(portions), 1):
            try:
                _text, token = locate(line, field)
            except _NoStanzaError:
                continue
            yield ArchivedStanza(f"line {number}", read_back(_to_bytes(token.value), recoding))

    def search(self, source: IO[bytes]) -> None:
        self._find_field(_portions(source)[1])

    def _find_field(self, portions: Iterator[list[bytes]]) -> tuple[str, Iterator[list[bytes]]]:
        """The field, and the portions again."""
        if self.field is not None:
            return self.field, portions
        seen: list[list[bytes]] = []
        records = 0
        votes: dict[str, int] = {}
        for lines in portions:
            seen.append(lines)
            for line in itertools.islice(filter(bytes.strip, lines), SAMPLES - records):
                records += 1
                for name, is_element in _fields(line.decode("utf-8", "replace")).items():
                    votes[name] = votes.get(name, 0) + (1 if is_element else -1)
            if records == SAMPLES:
                break
        found = [name for name, balance in votes.items() if balance > 0]
        if not found:
            raise UnsupportedArchiveError("no field of the first records holds an XML element")
        chosen = preferred(found)
        if chosen is None:
            raise UnsupportedArchiveError(f"several fields hold XML elements: name one of {', '.join(found)}")
        return chosen, itertools.chain(seen, portions)


# -- lines --------------------------------------------------------------------------------------------------


def _portions(source: IO[bytes]) -> tuple[bytes, Iterator[list[bytes]]]:
    """The byte order mark, if there is one, and the rest in lists of lines without their ends.

    The last item of each list is empty, or the source's last line: each joined by line feeds, the lists are the source.
    """
    begin = source.read(len(BOM))
    bom = BOM if begin == BOM else b""
    return bom, _split(source, begin[len(bom) :])


def _split(source: IO[bytes], begin: bytes) -> Iterator[list[bytes]]:
    """:raises LimitExceededError: a line is longer than :data:`MAX_LINE`."""
    held: list[bytes] = []
    size = done = 0
    for piece in itertools.chain([begin], iter(lambda: source.read(CHUNK), b"")):
        lines = piece.split(b"\n")
        size += len(lines[0])
        if size > MAX_LINE:
            raise LimitExceededError(f"a line has more than {MAX_LINE} bytes", offset=done)
        if len(lines) == 1:
            held.append(piece)
            continue
        lines[0] = b"".join([*held, lines[0]])
        rest = lines[-1]
        lines[-1] = b""
        done += sum(map(len, lines)) + len(lines) - 1
        yield lines
        held, size = [rest], len(rest)
    yield [b"".join(held)]


def _lines(portions: Iterable[list[bytes]]) -> Iterator[bytes]:
    """Each line without its end; after the last end another, empty or not."""
    for lines in portions:
        last = lines.pop()
        yield from lines
    yield last


def _to_bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


# -- records ------------------------------------------------------------------------------------------------


def _members(text: str) -> Iterator[tuple[str, int, int, Any]]:
    """Name, place of the value and value of each member of the object that is all of ``text``.

    :raises json.JSONDecodeError: ``text`` is no JSON object; members may have come before.
    """
    at = _skip(text, 0)
    if text[at : at + 1] != "{":
        raise json.JSONDecodeError("Expecting an object", text, at)
    at = _skip(text, at + 1)
    if text[at : at + 1] == "}":
        return _end(text, at + 1)
    while True:
        if text[at : at + 1] != '"':
            raise json.JSONDecodeError("Expecting a name in double quotes", text, at)
        name, at = scanstring(text, at + 1, True)
        begin = _BEGIN_VALUE.match(text, at)
        if begin is None:
            raise json.JSONDecodeError("Expecting ':'", text, at)
        try:
            value, at = _DECODER.scan_once(text, begin.end())
        except StopIteration as stop:
            raise json.JSONDecodeError("Expecting a value", text, stop.value) from None
        yield name, begin.end(), at, value
        at = _skip(text, at)
        if text[at : at + 1] == "}":
            return _end(text, at + 1)
        if text[at : at + 1] != ",":
            raise json.JSONDecodeError("Expecting ',' or '}'", text, at)
        at = _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    assert space is not None
    return space.end()


def _end(text: str, at: int) -> None:
    at = _skip(text, at)
    if at < len(text):
        raise json.JSONDecodeError("Expecting the end of the line", text, at)


def _fields(text: str) -> dict[str, bool]:
    """The string members of a record, or of the beginning of one, and whether each holds an XML element."""
    found: dict[str, bool] = {}
    at = 0
    try:
        for name, _start, end, value in _members(text):
            at = end
            if isinstance(value, str):
                found[name] = looks_like_element(_to_bytes(value))
    except json.JSONDecodeError:
        cut = _name_of_cut(text, at)
        if cut is not None:
            found[cut] = True
    except RecursionError:
        pass
    return found


def _name_of_cut(text: str, at: int) -> str | None:
    """The member whose value, an XML element, begins behind ``at`` and is cut by the end of the text."""
    at = _skip(text, at)
    if text[at : at + 1] in ("{", ","):
        at = _skip(text, at + 1)
    if text[at : at + 1] != '"':
        return None
    try:
        name, at = scanstring(text, at + 1, True)
    except json.JSONDecodeError:
        return None
    begin = _BEGIN_VALUE.match(text, at)
    return name if begin and _CUT_ELEMENT.match(text, begin.end()) else None


def _decoded(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise _NoStanzaError("the line is not in UTF-8", error.start) from None


def locate(line: bytes, field: str) -> tuple[str, Token]:
    """The line as text, and the token of its field, by a walk over the record's members.

    :raises _NoStanzaError: it has none.
    """
    text = _decoded(line)
    token: Token | None = None
    is_there = False
    try:
        for name, start, end, value in _members(text):
            if name == field:
                token = Token(start, end, value) if isinstance(value, str) else None
                is_there = True
    except json.JSONDecodeError as error:
        raise _NoStanzaError(f"the line is no JSON object: {error.msg}", len(text[: error.pos].encode())) from None
    except RecursionError:
        raise _NoStanzaError("the line is nested too deeply") from None
    if token is None:
        raise _NoStanzaError(f"the field {field!r} is no string" if is_there else f"there is no field {field!r}")
    return text, token


def _value(line: bytes, field: str) -> bytes | None:
    """The stanza of a line as the parser reads it; None where it has none."""
    try:
        text = line.decode()
        record, end = _DECODER.scan_once(text, 0)
        if end == len(text) and type(record) is dict:
            value = record.get(field)
            return _to_bytes(value) if type(value) is str else None
    except (ValueError, StopIteration, RecursionError):
        pass
    try:
        return _to_bytes(locate(line, field)[1].value)
    except _NoStanzaError:
        return None


def locate_fast(line: bytes, field: str, quoted: str | None) -> tuple[str, Token]:
    """What :func:`locate` says, by one call of the parser where the name, ``quoted``, stands in the line once.

    Other spellings of it have escapes like ``\\u0061``: where there are any the members are walked over.
    """
    text = _decoded(line)
    if quoted is None or text.count(quoted) != 1:
        return locate(line, field)
    if "\\u00" in text and _ESCAPED_WORD.search(text):
        return locate(line, field)
    try:
        record, end = _DECODER.scan_once(text, 0)
    except (ValueError, StopIteration, RecursionError):
        return locate(line, field)
    value = record.get(field) if type(record) is dict else None
    if type(value) is not str or (end != len(text) and _skip(text, end) != len(text)):
        return locate(line, field)
    start = text.find('"', text.find(quoted) + len(quoted))  # only space and a colon before it
    for encode in (encode_basestring, encode_basestring_ascii):
        spelled = encode(value)
        if text.startswith(spelled, start):
            return text, Token(start, start + len(spelled), value, encode)
    return text, Token(start, scanstring(text, start + 1, True)[1], value)


# -- recoding -----------------------------------------------------------------------------------------------


def _recoded(lines: list[bytes], first: int, field: str, recoding: Recoding, tally: Tally) -> list[bytes]:
    found: list[tuple[int, str, Token]] = []
    quoted = f'"{field}"' if _WORD.fullmatch(field) else None  # other names may have other escapes
    for at, line in enumerate(lines):
        if not line or line.isspace():
            continue
        try:
            found.append((at, *locate_fast(line, field, quoted)))
        except _NoStanzaError as error:
            tally.skip(f"line {first + at}", error.reason, error.offset)
    stored = [_to_bytes(token.value) for _at, _text, token in found]
    new_values, new_offsets, left, names = recode_values(
        b"".join(stored),
        array("q", itertools.accumulate(map(len, stored), initial=0)).tobytes(),
        large=True,
        rounds_from=recoding.rounds_from,
        rounds_to=recoding.rounds_to,
        upgrade=recoding.upgrade,
        check=recoding.check,
        census=True,
    )
    tally.stanzas += len(found) - len(left)
    tally.count(names)
    for row in left:
        fault = fault_of(stored[row], recoding)
        assert fault is not None
        tally.skip(f"line {first + found[row][0]}", fault.message, fault.offset)
    kept = set(left)
    bounds = memoryview(new_offsets).cast("q")
    for row, (at, text, token) in enumerate(found):
        new_value = new_values[bounds[row] : bounds[row + 1]]
        if new_value != stored[row] and row not in kept:
            spelled = _respelled(text, token, new_value, stored[row], recoding)
            lines[at] = f"{text[: token.start]}{spelled}{text[token.end :]}".encode()
    return lines


def _respelled(text: str, token: Token, new_value: bytes, stored: bytes, recoding: Recoding) -> str:
    """The token of the new value, with the escapes of the old one, each where it stood."""
    new = new_value.decode("utf-8", "surrogatepass")
    if token.encode is not None:
        return token.encode(new)
    spelled = text[token.start : token.end]
    marks = _marks(recoding.plain(stored), recoding.decoded(new_value))
    pieces: list[str] = []
    done = 0
    shrunk = 1  # the quote
    for escape in _ESCAPE.finditer(spelled):
        at = escape.start() - shrunk
        shrunk += len(escape[0]) - 1
        at += bisect_right(marks, at)
        pieces += new[done:at], _turned(escape, new[at])
        done = at + 1
    pieces.append(new[done:])
    return f'"{"".join(pieces)}"'


def _turned(escape: re.Match[str], meant: str) -> str:
    """The escape, or that of the letter that a letter became."""
    digits = escape[1]
    return escape[0] if digits is None or int(digits, 16) == ord(meant) else f"\\u{ord(meant):04x}"


def _marks(plain: bytes, upgraded: bytes) -> list[int]:
    """The characters before which letters came in, in order; there are none where both are of one size."""
    marks: list[int] = []
    done = characters = 0
    for name in scan(plain) if len(upgraded) > len(plain) else ():
        if not name.secure:
            mark, grown = name.start, len(marks)
            while plain[mark] == upgraded[mark + grown]:
                mark += 1
            characters += len(plain[done:mark].decode("utf-8", "surrogatepass"))
            marks.append(characters)
            done = mark
    return marks


# -- the proof ----------------------------------------------------------------------------------------------


def _side_by_side(
    portions: Iterable[list[bytes]], others: Iterable[list[bytes]]
) -> Iterator[list[tuple[bytes, bytes]]]:
    """The lines of both sides in pairs, some hundred kilobytes at a time.

    :raises RestorationError: one side has more lines.
    """
    pairs: list[tuple[bytes, bytes]] = []
    size = 0
    for line, other in itertools.zip_longest(_lines(portions), _lines(others)):
        if line is None or other is None:
            raise RestorationError(f"the target has {'fewer' if other is None else 'more'} lines than the source")
        pairs.append((line, other))
        size += len(line) + len(other)
        if size > CHUNK:
            yield pairs
            pairs, size = [], 0
    yield pairs


def _prove_together(pairs: list[tuple[bytes, bytes]], field: str, recoding: Recoding) -> _Counts:
    """Proves lines in one comparison of what the parser makes of their fields, and one of the lines as they are.

    A line that gained just as many letters as its stanza did gained none beside it. No letter makes another member the
    field, whose name is a word: letters come before a colon or an ampersand (see ``match_upgraded``).

    :raises RestorationError: it cannot be proved in this way.
    """
    changed = [pair for pair in pairs if pair[0] != pair[1]]
    if changed and (recoding.is_visible or not _WORD.fullmatch(field)):
        raise RestorationError("letters change, or the field's name may")
    unchanged = [_value(line, field) for line, other in pairs if line == other]
    stanzas = sum(value is not None and is_stanza_unchanged(value, recoding) for value in unchanged)
    if not changed:
        return _Counts(stanzas, 0)
    lines, others = zip(*changed, strict=True)
    stored = [value for line in lines if (value := _value(line, field)) is not None]
    recoded = [value for other in others if (value := _value(other, field)) is not None]
    if not len(stored) == len(recoded) == len(lines):
        raise RestorationError("a line without a stanza is not the same")
    letters = recoding.prove_all(stored, recoded)
    match_upgraded(recoding.decoded(b"\n".join(lines)), recoding.decoded(b"\n".join(others)), final=True)
    if _growth(lines, others) != _growth(stored, recoded):
        raise RestorationError("letters came in beside a stanza, or its escapes are not the same")
    return _Counts(stanzas + len(lines), letters)


def _growth(before: Sequence[bytes], after: Sequence[bytes]) -> list[int]:
    return [len(new) - len(old) for old, new in zip(before, after, strict=True)]


def _prove_one_by_one(pairs: list[tuple[bytes, bytes]], first: int, field: str, recoding: Recoding) -> _Counts:
    """Proves each line by itself, its token against the other side's.

    :raises RestorationError: it is not so; with the line's number.
    """
    stanzas = letters = 0
    for number, (line, other) in enumerate(pairs, first):
        try:
            gained = _prove_line(line, other, field, recoding)
        except RestorationError as error:
            raise RestorationError(f"line {number}: {error.message}", offset=error.offset) from error
        if gained is not None:
            stanzas, letters = stanzas + 1, letters + gained
    return _Counts(stanzas, letters)


def _prove_line(line: bytes, other: bytes, field: str, recoding: Recoding) -> int | None:
    """Letters that the line gained, None where it is not recoded."""
    try:
        text, token = locate(line, field)
    except _NoStanzaError:
        if line != other:
            raise RestorationError("a line without a stanza is not the same") from None
        return None
    stored = _to_bytes(token.value)
    if line == other:
        return 0 if is_stanza_unchanged(stored, recoding) else None
    try:
        other_text, other_token = locate(other, field)
    except _NoStanzaError as error:
        raise RestorationError(f"the target's line has no stanza: {error.reason}", offset=error.offset) from None
    if text[: token.start] != other_text[: other_token.start] or text[token.end :] != other_text[other_token.end :]:
        raise RestorationError("the line is not the same beside the stanza")
    letters = recoding.prove(stored, _to_bytes(other_token.value))
    if not recoding.is_visible:
        raw, other_raw = text[token.start : token.end], other_text[other_token.start : other_token.end]
        if not _has_only_more(raw, other_raw, rot13("s", rounds=recoding.rounds_to)):
            raise RestorationError("the escapes of the stanza are not the same")
    return letters


def _has_only_more(one: str, other: str, letter: str) -> bool:
    """Whether a text without some of its ``letter``s is ``one``."""
    at = more = 0
    while more < len(other) - len(one):
        at = _first_difference(one, at, other, more)
        if other[at + more] != letter:
            return False
        more += 1
    return one[at:] == other[at + more :]


def _first_difference(one: str, at: int, other: str, more: int) -> int:
    """The place in ``one`` from which on ``other``, so many characters later, is not the same; by halves."""
    step = 64
    while step:
        if one[at : at + step] == other[at + more : at + more + step] and at + step <= len(one):
            at += step
            step *= 2
        else:
            step //= 2
    return at
