"""The XML of a stream as a table of states, one byte at a time: what both framers know of XML.

``NEXT[state][byte]`` is the state after a byte, or an action (``FIRST_ACTION`` and above) that the framer takes
before it goes on, or ``ERROR``. The bytes come checked: they are UTF-8, and no character is one that XML forbids. All
characters past ASCII count as letters of names. The productions are those of XML 1.0; DTDs are passed over by their
quotes, brackets, comments and instructions alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .errors import EncodingError, LimitExceededError, MalformedXMLError, RestrictedXMLError, XEP419Error

SPACE = b" \t\r\n"
DIGITS = b"0123456789"
LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
NAME_START = LETTERS + b"_:" + bytes(range(0x80, 0x100))
NAME = NAME_START + DIGITS + b".-"
ALL = bytes(range(256))

STATES = (
    "ERROR",
    "OUTSIDE",  # before the root, between stanzas, after the root
    "BOM_2", "BOM_3",  # in a byte order mark
    "TEXT", "TEXT_BRACKET", "TEXT_BRACKETS",  # in a stanza; after "]", after "]]"
    "OPEN",  # after "<"
    "TAG_NAME", "TAG_SPACE", "ATTRIBUTE", "BEFORE_EQUALS", "BEFORE_VALUE", "APOS_VALUE", "QUOT_VALUE", "AFTER_VALUE",
    "EMPTY",  # after "/" in a start tag
    "END_OPEN", "END_NAME", "END_SPACE",
    "REFERENCE", "ENTITY", "HASH", "DECIMAL", "HASH_X", "HEX",
    "BANG", "BANG_DASH", "COMMENT", "COMMENT_DASH", "COMMENT_DASHES",
    "CDATA_1", "CDATA_2", "CDATA_3", "CDATA_4", "CDATA_5", "CDATA_6", "CDATA", "CDATA_BRACKET", "CDATA_BRACKETS",
    "PI_OPEN", "PI_TARGET", "PI", "PI_MARK", "PI_CLOSE",
    "DOCTYPE_1", "DOCTYPE_2", "DOCTYPE_3", "DOCTYPE_4", "DOCTYPE_5", "DOCTYPE_6", "DOCTYPE_SPACE",
    "DTD", "DTD_APOS", "DTD_QUOT", "DTD_OPEN", "DTD_BANG", "DTD_BANG_DASH",
    "DTD_COMMENT", "DTD_COMMENT_DASH", "DTD_COMMENT_DASHES", "DTD_PI", "DTD_PI_MARK",
)  # fmt: skip
ACTIONS = (
    "END_BOM",
    "BEGIN_MARKUP",  # "<"
    "BEGIN_START_TAG", "END_START_TAG", "END_EMPTY_TAG",
    "BEGIN_END_TAG", "END_END_NAME", "END_END_TAG",
    "BEGIN_REFERENCE", "ENTITY_LETTER", "DECIMAL_DIGIT", "HEX_DIGIT", "END_ENTITY", "END_CHARACTER",
    "BEGIN_COMMENT", "END_COMMENT", "BEGIN_CDATA", "BEGIN_DECLARATION",
    "BEGIN_PI", "TARGET_LETTER", "END_TARGET", "END_PI",
    "OPEN_BRACKET", "CLOSE_BRACKET", "END_DTD",
)  # fmt: skip
CODES = {name: code for code, name in enumerate(STATES + ACTIONS)}
FIRST_ACTION = len(STATES)


def _table() -> list[bytes]:
    """The rules below, the later ones of a state before the earlier."""
    table = [bytearray(256) for _ in STATES]

    def rule(state: str, *nexts: tuple[Iterable[int], str]) -> None:
        row = table[CODES[state]]
        for among, then in nexts:
            code = CODES[then]
            if among is ALL:
                row[:] = bytes([code]) * 256
            else:
                for byte in among:
                    row[byte] = code

    rule("BOM_2", (b"\xbb", "BOM_3"))
    rule("BOM_3", (b"\xbf", "END_BOM"))
    rule("OUTSIDE", (SPACE, "OUTSIDE"), (b"<", "BEGIN_MARKUP"))
    for state, bracket in (
        ("TEXT", "TEXT_BRACKET"),
        ("TEXT_BRACKET", "TEXT_BRACKETS"),
        ("TEXT_BRACKETS", "TEXT_BRACKETS"),
    ):
        rule(state, (ALL, "TEXT"), (b"<", "BEGIN_MARKUP"), (b"&", "BEGIN_REFERENCE"), (b"]", bracket))
    rule("TEXT_BRACKETS", (b">", "ERROR"))
    rule("OPEN", (NAME_START, "BEGIN_START_TAG"), (b"/", "BEGIN_END_TAG"), (b"!", "BANG"), (b"?", "BEGIN_PI"))

    ends = ((b"/", "EMPTY"), (b">", "END_START_TAG"))
    rule("TAG_NAME", (NAME, "TAG_NAME"), (SPACE, "TAG_SPACE"), *ends)
    rule("TAG_SPACE", (NAME_START, "ATTRIBUTE"), (SPACE, "TAG_SPACE"), *ends)
    rule("ATTRIBUTE", (NAME, "ATTRIBUTE"), (SPACE, "BEFORE_EQUALS"), (b"=", "BEFORE_VALUE"))
    rule("BEFORE_EQUALS", (SPACE, "BEFORE_EQUALS"), (b"=", "BEFORE_VALUE"))
    rule("BEFORE_VALUE", (SPACE, "BEFORE_VALUE"), (b"'", "APOS_VALUE"), (b'"', "QUOT_VALUE"))
    for state, quote in (("APOS_VALUE", b"'"), ("QUOT_VALUE", b'"')):
        rule(state, (ALL, state), (b"<", "ERROR"), (b"&", "BEGIN_REFERENCE"), (quote, "AFTER_VALUE"))
    rule("AFTER_VALUE", (SPACE, "TAG_SPACE"), *ends)
    rule("EMPTY", (b">", "END_EMPTY_TAG"))
    rule("END_OPEN", (NAME_START, "END_NAME"))
    rule("END_NAME", (NAME, "END_NAME"), (SPACE + b">", "END_END_NAME"))
    rule("END_SPACE", (SPACE, "END_SPACE"), (b">", "END_END_TAG"))

    rule("REFERENCE", (NAME_START, "ENTITY_LETTER"), (b"#", "HASH"))
    rule("ENTITY", (NAME, "ENTITY_LETTER"), (b";", "END_ENTITY"))
    rule("HASH", (DIGITS, "DECIMAL_DIGIT"), (b"x", "HASH_X"))
    rule("DECIMAL", (DIGITS, "DECIMAL_DIGIT"), (b";", "END_CHARACTER"))
    rule("HASH_X", (DIGITS + b"abcdefABCDEF", "HEX_DIGIT"))
    rule("HEX", (DIGITS + b"abcdefABCDEF", "HEX_DIGIT"), (b";", "END_CHARACTER"))

    rule("BANG", (LETTERS, "BEGIN_DECLARATION"), (b"-", "BANG_DASH"), (b"[", "BEGIN_CDATA"))
    rule("BANG_DASH", (b"-", "BEGIN_COMMENT"))
    rule("COMMENT", (ALL, "COMMENT"), (b"-", "COMMENT_DASH"))
    rule("COMMENT_DASH", (ALL, "COMMENT"), (b"-", "COMMENT_DASHES"))
    rule("COMMENT_DASHES", (b">", "END_COMMENT"))
    for at, letter in enumerate(b"CDATA[", 1):
        rule(f"CDATA_{at}", ([letter], f"CDATA_{at + 1}" if at < 6 else "CDATA"))
    rule("CDATA", (ALL, "CDATA"), (b"]", "CDATA_BRACKET"))
    rule("CDATA_BRACKET", (ALL, "CDATA"), (b"]", "CDATA_BRACKETS"))
    rule("CDATA_BRACKETS", (ALL, "CDATA"), (b"]", "CDATA_BRACKETS"), (b">", "TEXT"))
    rule("PI_OPEN", (NAME_START, "TARGET_LETTER"))
    rule("PI_TARGET", (NAME, "TARGET_LETTER"), (SPACE + b"?", "END_TARGET"))
    rule("PI", (ALL, "PI"), (b"?", "PI_MARK"))
    rule("PI_MARK", (ALL, "PI"), (b"?", "PI_MARK"), (b">", "END_PI"))
    rule("PI_CLOSE", (b">", "END_PI"))

    for at, letter in enumerate(b"OCTYPE", 1):
        rule(f"DOCTYPE_{at}", ([letter], f"DOCTYPE_{at + 1}" if at < 6 else "DOCTYPE_SPACE"))
    rule("DOCTYPE_SPACE", (SPACE, "DTD"))
    rule("DTD", (ALL, "DTD"), (b"'", "DTD_APOS"), (b'"', "DTD_QUOT"), (b"<", "DTD_OPEN"))
    rule("DTD", (b"[", "OPEN_BRACKET"), (b"]", "CLOSE_BRACKET"), (b">", "END_DTD"))
    rule("DTD_APOS", (ALL, "DTD_APOS"), (b"'", "DTD"))
    rule("DTD_QUOT", (ALL, "DTD_QUOT"), (b'"', "DTD"))
    rule("DTD_OPEN", (LETTERS, "DTD"), (b"!", "DTD_BANG"), (b"?", "DTD_PI"))
    rule("DTD_BANG", (LETTERS, "DTD"), (b"-", "DTD_BANG_DASH"), (b"[", "OPEN_BRACKET"))
    rule("DTD_BANG_DASH", (b"-", "DTD_COMMENT"))
    rule("DTD_COMMENT", (ALL, "DTD_COMMENT"), (b"-", "DTD_COMMENT_DASH"))
    rule("DTD_COMMENT_DASH", (ALL, "DTD_COMMENT"), (b"-", "DTD_COMMENT_DASHES"))
    rule("DTD_COMMENT_DASHES", (b">", "DTD"))
    rule("DTD_PI", (ALL, "DTD_PI"), (b"?", "DTD_PI_MARK"))
    rule("DTD_PI_MARK", (ALL, "DTD_PI"), (b"?", "DTD_PI_MARK"), (b">", "DTD"))
    return [bytes(row) for row in table]


NEXT = _table()

# -- what a document may be refused for ---------------------------------------------------------------------

_EXPECTED = {
    "TEXT_BRACKETS": "text without ']]>'",
    "OPEN": "a name, '/', '!' or '?' after '<'",
    "TAG_NAME": "a name, then white space, '/' or '>'",
    "TAG_SPACE": "an attribute's name, '/' or '>'",
    "ATTRIBUTE": "an attribute's name, then '='",
    "BEFORE_EQUALS": "'=' after an attribute's name",
    "BEFORE_VALUE": "a quoted value after '='",
    "APOS_VALUE": "a value without '<'",
    "QUOT_VALUE": "a value without '<'",
    "AFTER_VALUE": "white space, '/' or '>' after a value",
    "EMPTY": "'>' after '/'",
    "END_OPEN": "a name after '</'",
    "END_NAME": "a name, then '>'",
    "END_SPACE": "'>' at the end of an end tag",
    "REFERENCE": "a name or '#' after '&'",
    "ENTITY": "a name, then ';'",
    "HASH": "a decimal number or 'x' after '&#'",
    "DECIMAL": "a decimal number, then ';'",
    "HASH_X": "a hexadecimal number after '&#x'",
    "HEX": "a hexadecimal number, then ';'",
    "BANG": "'--' or '[CDATA[' after '<!'",
    "BANG_DASH": "'<!--'",
    "COMMENT_DASHES": "'>' after '--' in a comment",
    "PI_OPEN": "a name after '<?'",
    "PI_TARGET": "a name, then white space or '?>'",
    "PI_CLOSE": "'?>'",
    "DOCTYPE_SPACE": "white space after '<!DOCTYPE'",
    "DTD_OPEN": "a declaration, comment or instruction after '<'",
    "DTD_BANG": "a declaration or comment after '<!'",
    "DTD_BANG_DASH": "'<!--'",
    "DTD_COMMENT_DASHES": "'>' after '--' in a comment",
}
_OUTSIDE = (
    "the start tag of a stream",
    "white space or a tag between stanzas",
    "white space after the end of the stream",
)


def _expected(state: str, where: int) -> str:
    if state in ("OUTSIDE", "BOM_2", "BOM_3"):
        return _OUTSIDE[where]
    if state.startswith("CDATA_"):
        return "'<![CDATA['"
    if state.startswith("DOCTYPE_") and state != "DOCTYPE_SPACE":
        return "'<!DOCTYPE'"
    return _EXPECTED[state]


def _shown_byte(byte: int) -> str:
    return repr(chr(byte)) if byte < 0x80 else f"byte 0x{byte:02x}"


def unexpected(state: int, byte: int, where: int, offset: int) -> XEP419Error:
    """The error of a byte that cannot come; ``where`` is 0 before the root, 1 in it, 2 after it."""
    error = MalformedXMLError(f"{_expected(STATES[state], where)} is expected, not {_shown_byte(byte)}", offset=offset)
    if STATES[state] == "OUTSIDE" and where:
        error.condition = "bad-format"
    return error


_RESTRICTED = "in an XMPP stream (RFC 6120 section 11.1)"
#: what the framers find beyond that; {0} is what came, {1} what should have come
FAULTS: dict[str, tuple[type[XEP419Error], str]] = {
    "STANZA_LIMIT": (LimitExceededError, "a stanza of at most {1} bytes is expected, but more came without its end"),
    "HEADER_LIMIT": (
        LimitExceededError,
        "a stream header of at most {1} bytes is expected, but more came without its end",
    ),
    "WIDE": (EncodingError, "XML in UTF-8 is expected, not in UTF-16 or UTF-32"),
    "UTF_8": (EncodingError, "UTF-8 is expected, not the bytes {0}"),
    "DECLARED_ENCODING": (EncodingError, "UTF-8 is expected, not {0}"),
    "CHARACTER": (MalformedXMLError, "a character that XML 1.0 allows is expected, not {0}"),
    "CHARACTER_REFERENCE": (MalformedXMLError, "a reference to a character that XML 1.0 allows is expected, not {0}"),
    "MISMATCH": (MalformedXMLError, "the end tag </{1}> is expected, not </{0}>"),
    "END_TAG": (MalformedXMLError, "a start tag is expected, not an end tag"),
    "AFTER_END": (MalformedXMLError, "white space after the end of the stream is expected, not a tag"),
    "SECOND_HEADER": (MalformedXMLError, "a stanza is expected after the stream header, not another stream header"),
    "DECLARATION": (MalformedXMLError, "an XML declaration such as <?xml version='1.0'?> is expected, not {0}"),
    "DECLARATION_PLACE": (MalformedXMLError, "an XML declaration is expected only where a document begins"),
    "RESERVED_TARGET": (MalformedXMLError, "an instruction not named xml in any case is expected, not {0}"),
    "CDATA_OUTSIDE": (MalformedXMLError, "white space or a tag is expected outside stanzas, not a CDATA section"),
    "DTD_PLACE": (MalformedXMLError, "a DTD is expected only before the root, once"),
    "COMMENT": (RestrictedXMLError, f"no comment is expected {_RESTRICTED}"),
    "PI": (RestrictedXMLError, f"no processing instruction is expected {_RESTRICTED}"),
    "DTD": (RestrictedXMLError, f"no document type declaration is expected {_RESTRICTED}"),
    "ENTITY": (RestrictedXMLError, f"no entity but the five predefined ones is expected {_RESTRICTED}, but {{0}} came"),
    "MARKUP_LIMIT": (
        LimitExceededError,
        "a tag or reference of at most {1} bytes is expected, but more came without its end",
    ),
    "NAMES_LIMIT": (LimitExceededError, "open elements whose names have at most {1} bytes in all are expected"),
    "NO_ROOT": (MalformedXMLError, "a root element is expected, but the document ended"),
    "UNFINISHED": (MalformedXMLError, "the end of the markup that begins here is expected, but the document ended"),
    "OPEN_ELEMENT": (MalformedXMLError, "the end tag </{1}> is expected, but the document ended"),
}
FAULT_CODES = {name: code for code, name in enumerate(FAULTS)}
_BY_CODE = list(FAULTS.values())
#: bytes of what came that a message shows
SHOWN = 60


def shown(piece: bytes) -> str:
    return piece[:SHOWN].decode("utf-8", "replace") + ("…" if len(piece) > SHOWN else "")


def fault(code: int, came: bytes, wanted: bytes | int, offset: int) -> XEP419Error:
    """The error of a fault; ``came`` and ``wanted`` are for its message."""
    kind, message = _BY_CODE[code]
    if code in (FAULT_CODES["UTF_8"], FAULT_CODES["DECLARED_ENCODING"]):
        what = repr(came[:SHOWN])
    elif code == FAULT_CODES["CHARACTER"]:
        what = f"U+{ord(came.decode('utf-8')):04X}"
    else:
        what = shown(came)
    error = kind(message.format(what, shown(wanted) if isinstance(wanted, bytes) else wanted), offset=offset)
    if code == FAULT_CODES["SECOND_HEADER"]:
        error.condition = "bad-format"
    return error


def again(error: BaseException) -> BaseException:
    """The same error for another raise: no traceback of the first one grows, no stanza is given twice."""
    if not isinstance(error, XEP419Error):
        return error
    other = type(error)(error.message, offset=error.offset)
    other.condition = error.condition
    return other


def not_a_stanza(came: bytes, offset: int) -> XEP419Error:
    """The error of two bytes that begin no element (or of one or none, at the end of the input)."""
    if not came:
        return MalformedXMLError("a stanza is expected, but nothing came", offset=offset)
    if came[0] in (0, 0xFE, 0xFF) or came == b"<\0":
        return fault(FAULT_CODES["WIDE"], b"", b"", offset)
    what = repr(came.decode("ascii")) if came[0] == 0x3C else _shown_byte(came[0])
    return MalformedXMLError(f"a start tag is expected, not {what}", offset=offset)


def not_alone(byte: int, offset: int) -> XEP419Error:
    """The error of a byte behind a stanza that should stand alone."""
    return MalformedXMLError(f"white space after the stanza is expected, not {_shown_byte(byte)}", offset=offset)


# compiled with the first declaration that comes
_DECLARATION = (
    rb"""<\?xml[ \t\r\n]+version[ \t\r\n]*=[ \t\r\n]*(?:'1\.[0-9]+'|"1\.[0-9]+")"""
    rb"""(?:[ \t\r\n]+encoding[ \t\r\n]*=[ \t\r\n]*('[A-Za-z][A-Za-z0-9._-]*'|"[A-Za-z][A-Za-z0-9._-]*"))?"""
    rb"""(?:[ \t\r\n]+standalone[ \t\r\n]*=[ \t\r\n]*(?:'yes'|'no'|"yes"|"no"))?[ \t\r\n]*\?>"""
)


def declaration_fault(declaration: bytes, offset: int) -> XEP419Error | None:
    """What is wrong with an XML declaration: its form, or an encoding that is not UTF-8 (RFC 6120 section 11.6)."""
    found = re.fullmatch(_DECLARATION, declaration)
    if not found:
        return fault(FAULT_CODES["DECLARATION"], declaration, b"", offset)
    if found[1] and found[1][1:-1].lower() != b"utf-8":
        return fault(FAULT_CODES["DECLARED_ENCODING"], found[1][1:-1], b"", offset + found.start(1) + 1)
    return None
