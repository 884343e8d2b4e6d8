"""The peers: what a user would pick instead, in one table.

A peer says what it does and is judged like our own calls, once, outside the timing. What it gets wrong is shown beside
its speed, not hidden: a fast wrong answer is a choice that people make. One that is not installed is skipped by name.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

from inputs import Document
from measure import Call, expecting
from operations import ROTATION, rotated

HERE = Path(__file__).parent

#: of the declarations that ``upgrade`` changes; the third group is what a "s" is put after
DECLARATION = rb"""(\sxmlns(?::[\w.-]+)?\s*=\s*["'])(http|urn:xmpp)(?=:)"""
#: the same without groups, for engines that only match
MATCH_ONLY = rb"""\sxmlns(:[\w.-]+)?\s*=\s*["'](http|urn:xmpp):"""


class Missing(Exception):
    """The peer is not installed."""


@dataclass(frozen=True)
class Peer:
    """``prepare`` takes an input (bytes for the cipher, else a Document) and gives the call, or raises Missing."""

    name: str
    does: str
    prepare: Callable[[Any], Call]

    def __str__(self) -> str:
        return self.name


def module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Missing(f"the Python package {name} is not installed") from error


def program(name: str) -> str:
    found = shutil.which(name)
    if not found:
        raise Missing(f"the program {name} is not installed")
    return found


# -- the cipher ---------------------------------------------------------------------------------------------


def bytes_translate(data: bytes) -> Call:
    return expecting(lambda: rotated(data, 1), bytes.translate, data, ROTATION, size=len(data))


def codecs_rot13(data: bytes) -> Call:
    import codecs

    text, encode = data.decode("latin-1"), codecs.encode
    expected = rotated(data, 1).decode("latin-1")
    return expecting(lambda: expected, encode, text, "rot13", size=len(data))


def numpy_take(data: bytes) -> Call:
    numpy = module("numpy")
    table, array = numpy.frombuffer(ROTATION, numpy.uint8), numpy.frombuffer(data, numpy.uint8)
    return Call(
        numpy.take,
        (table, array),
        len(data),
        lambda: "" if numpy.take(table, array).tobytes() == rotated(data, 1) else "wrong",
    )


def stringzilla_translate(data: bytes) -> Call:
    translate = module("stringzilla").translate
    return Call(
        translate,
        (data, ROTATION),
        len(data),
        lambda: "" if bytes(translate(data, ROTATION)) == rotated(data, 1) else "wrong",
    )


def copy_to_new(data: bytes) -> Call:
    source = bytearray(data)
    return expecting(lambda: data, bytes, source, size=len(data))


def memcpy(data: bytes) -> Call:
    target = bytearray(len(data))
    view = memoryview(target)

    def judge() -> str:
        view[:] = data
        return "" if target == data else "wrong"

    return Call(view.__setitem__, (slice(None), data), len(data), judge)


def stringzilla_in_place(data: bytes) -> Call:
    translate = module("stringzilla").translate
    buffer = bytearray(data)

    def judge() -> str:
        expected = rotated(bytes(buffer), 1)
        translate(buffer, ROTATION, inplace=True)
        return "" if buffer == expected else "wrong"

    return Call(translate, (buffer, ROTATION), len(data), judge, {"inplace": True})


# -- namespaces: search -------------------------------------------------------------------------------------


def counting(function: Callable[..., object], *args: object, document: Document, count: Callable[[], int]) -> Call:
    """A search that must find every insecure declaration and nothing else."""

    def judge() -> str:
        extra = count() - document.insecure_declarations
        return "" if not extra else f"wrong: {abs(extra)} names too {'many' if extra > 0 else 'few'}"

    return Call(function, args, document.size, judge)


def finding_with(name: str) -> Callable[[Document], Call]:
    def prepare(document: Document) -> Call:
        find = module(name).compile(DECLARATION).findall
        return counting(find, document.data, document=document, count=lambda: len(find(document.data)))

    return prepare


def hyperscan_database() -> Any:
    hyperscan = module("hyperscan")
    database = hyperscan.Database()
    database.compile(expressions=[MATCH_ONLY], ids=[0], elements=1, flags=[0])
    return database


def hyperscan_scan(document: Document) -> Call:
    database = hyperscan_database()

    def ignore(*match: object) -> None: ...

    def search(data: bytes) -> None:
        database.scan(data, match_event_handler=ignore)

    def count() -> int:
        matches: list[object] = []
        database.scan(document.data, match_event_handler=lambda *match: matches.append(match))
        return len(matches)

    return counting(search, document.data, document=document, count=count)


def stringzilla_count(document: Document) -> Call:
    text = module("stringzilla").Str(document.data)
    needles = b" xmlns='http:"
    return expecting(lambda: document.data.count(needles), text.count, needles, size=document.size)


# -- namespaces: rewriting ----------------------------------------------------------------------------------


def rewritten(result: bytes, expected: bytes) -> str:
    if result == expected:
        return ""
    return "wrong: rewrites text too" if len(result) > len(expected) else "wrong"


def rewriting(function: Callable[..., bytes], *args: object, document: Document) -> Call:
    """A rewriter that was asked for declarations alone."""

    return Call(function, args, document.size, lambda: rewritten(function(*args), document.declarations_upgraded))


def substituting_with(name: str) -> Callable[[Document], Call]:
    def prepare(document: Document) -> Call:
        return rewriting(module(name).compile(DECLARATION).sub, rb"\1\2s", document.data, document=document)

    return prepare


def _replaced(xml: bytes) -> bytes:
    for quote in (b"'", b'"'):
        xml = xml.replace(b"xmlns=" + quote + b"http:", b"xmlns=" + quote + b"https:")
        xml = xml.replace(b"xmlns=" + quote + b"urn:xmpp:", b"xmlns=" + quote + b"urn:xmpps:")
    return xml


def bytes_replace(document: Document) -> Call:
    return rewriting(_replaced, document.data, document=document)


def _replaced_everywhere(xml: bytes) -> bytes:
    return xml.replace(b"http:", b"https:").replace(b"urn:xmpp:", b"urn:xmpps:")


def bytes_replace_everywhere(document: Document) -> Call:
    return rewriting(_replaced_everywhere, document.data, document=document)


# -- namespaces: parsing ------------------------------------------------------------------------------------


def parsing(function: Callable[..., object], *args: object, document: Document, count: Callable[[], int]) -> Call:
    """A parser, which must see every element; ``count`` parses once more and counts them, the root among them."""

    def judge() -> str:
        return "" if count() == document.elements + 1 else "wrong"

    return Call(function, args, document.size, judge)


def _parse_with_expat(xml: bytes) -> None:
    expat.ParserCreate().Parse(xml, True)


def _count_with_expat(xml: bytes) -> int:
    started = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal started
        started += 1

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.Parse(xml, True)
    return started


def expat_silent(document: Document) -> Call:
    xml = document.rooted
    return parsing(_parse_with_expat, xml, document=document, count=lambda: _count_with_expat(xml))


def expat_starts(document: Document) -> Call:
    xml = document.rooted
    return parsing(_count_with_expat, xml, document=document, count=lambda: _count_with_expat(xml))


def lxml_parse(document: Document) -> Call:
    etree, xml = module("lxml.etree"), document.rooted
    return parsing(etree.fromstring, xml, document=document, count=lambda: _elements(etree.fromstring(xml)))


def lxml_serialise(document: Document) -> Call:
    etree, xml = module("lxml.etree"), document.rooted

    def parse_and_serialise() -> bytes:
        return etree.tostring(etree.fromstring(xml))  # type: ignore[no-any-return]

    return parsing(
        parse_and_serialise, document=document, count=lambda: _elements(etree.fromstring(parse_and_serialise()))
    )


def _elements(root: Any) -> int:
    return sum(isinstance(node.tag, str) for node in root.iter())


def elementtree(document: Document) -> Call:
    xml = document.rooted
    return parsing(ElementTree.fromstring, xml, document=document, count=lambda: _elements(ElementTree.fromstring(xml)))


def _pulled(pieces: list[bytes]) -> int:
    parser, seen = ElementTree.XMLPullParser(("start",)), 0
    for piece in pieces:
        parser.feed(piece)
        seen += sum(1 for _ in parser.read_events())
    parser.close()
    return seen


def elementtree_pull(document: Document) -> Call:
    xml = document.rooted
    pieces = [xml[at : at + 4096] for at in range(0, len(xml), 4096)]
    return parsing(_pulled, pieces, document=document, count=lambda: _pulled(pieces))


def cut_with_expat(pieces: list[bytes]) -> int:
    """The number of first-level elements by a start and an end handler: their places, not their bytes."""
    parser = expat.ParserCreate()
    depth = count = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1

    def end(name: str) -> None:
        nonlocal depth, count
        depth -= 1
        count += depth == 1

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    for piece in pieces:
        parser.Parse(piece, False)
    return count


def expat_framing(document: Document) -> Call:
    xml = document.rooted
    pieces = [xml[at : at + 4096] for at in range(0, len(xml), 4096)]
    return expecting(lambda: len(document.stanzas), cut_with_expat, pieces, size=document.size)


@functools.cache
def _library() -> ctypes.CDLL:
    """``parsers.cpp``, compiled for this run."""
    compiler = program("g++")
    for header, package in (("pugixml.hpp", "libpugixml-dev"), ("rapidxml/rapidxml.hpp", "librapidxml-dev")):
        if subprocess.run(
            [compiler, "-E", "-x", "c++", "-include", header, "-", "-o", "/dev/null"],
            stdin=subprocess.DEVNULL, capture_output=True, check=False,
        ).returncode:  # fmt: skip
            raise Missing(f"the C++ header {header} is not installed (Debian: {package})")
    with tempfile.TemporaryDirectory() as directory:
        built = Path(directory, "parsers" + (sysconfig.get_config_var("SHLIB_SUFFIX") or ".so"))
        command = [compiler, "-O3", "-std=c++17", "-shared", "-fPIC", "-o", built, HERE / "parsers.cpp", "-lpugixml"]
        subprocess.run(command, check=True)
        return ctypes.CDLL(str(built))


def parsing_in_cpp(symbol: str) -> Callable[[Document], Call]:
    def prepare(document: Document) -> Call:
        function = getattr(_library(), symbol)
        function.restype = ctypes.c_long
        function.argtypes = [ctypes.c_char_p, ctypes.c_ulong, ctypes.c_int]
        xml = document.rooted
        return parsing(
            function, xml, len(xml), 0, document=document, count=lambda: function(xml, len(xml), 1)
        )  # fmt: skip

    return prepare


# -- whole processes ----------------------------------------------------------------------------------------


def running(command: Callable[[], list[str]], expected: Callable[[Any], bytes]) -> Callable[[Any], Call]:
    """A command that reads the input from a file on standard input; starting and ending it is timed with the rest."""

    def prepare(given: Any) -> Call:
        arguments = command()
        data = given.data if isinstance(given, Document) else given
        file = tempfile.TemporaryFile()  # noqa: SIM115
        file.write(data)
        environment = {"LC_ALL": "C", "PATH": "/usr/bin:/bin"}

        def run(output: int = subprocess.DEVNULL) -> bytes:
            file.seek(0)
            done = subprocess.run(arguments, stdin=file, stdout=output, env=environment, check=True)
            return done.stdout or b""

        weakref.finalize(run, file.close)
        return Call(run, (), len(data), lambda: rewritten(run(subprocess.PIPE), expected(given)))

    return prepare


OUR_COMMAND = [sys.executable, "-m", "xep419"]
EXPRESSION = r"""s/( xmlns(:[A-Za-z0-9_.-]+)?=["'])(http|urn:xmpp):/\1\3s:/g"""


def ours(*arguments: str) -> Callable[[], list[str]]:
    def command() -> list[str]:
        module("click")
        return [*OUR_COMMAND, *arguments]

    return command


# -- the table ----------------------------------------------------------------------------------------------

NEW_BYTES = [
    Peer("copy", "bytes(bytearray): a new copy, no rotation", copy_to_new),
    Peer("bytes.translate", "one table look-up a byte", bytes_translate),
    Peer("StringZilla", "translate, one table look-up a byte", stringzilla_translate),
    Peer("codecs", "rot13 of the standard library, over str", codecs_rot13),
    Peer("NumPy", "take, one table look-up a byte", numpy_take),
]
INTO = [
    Peer("memcpy", "memoryview assignment, no rotation", memcpy),
]
IN_PLACE = [
    Peer("StringZilla", "translate(inplace=True)", stringzilla_in_place),
]
SEARCH = [
    Peer("re (find)", "finds declarations", finding_with("re")),
    Peer("regex (find)", "finds declarations", finding_with("regex")),
    Peer("Hyperscan (match)", "matches declarations", hyperscan_scan),
    Peer("StringZilla (count)", "counts one string, no context", stringzilla_count),
]
UPGRADE = [
    Peer("re.sub", "rewrites declarations", substituting_with("re")),
    Peer("regex.sub", "rewrites declarations", substituting_with("regex")),
    Peer("bytes.replace x 4", "rewrites declarations, by fixed strings", bytes_replace),
    Peer("bytes.replace x 2", "rewrites schemes wherever they stand", bytes_replace_everywhere),
]
PARSE = [
    Peer("RapidXML", "parse_fastest, C++", parsing_in_cpp("parse_with_rapidxml")),
    Peer("pugixml", "parses into a tree, C++", parsing_in_cpp("parse_with_pugixml")),
    Peer("expat (silent)", "parses, no handlers", expat_silent),
    Peer("expat (starts)", "parses, one handler of start tags", expat_starts),
    Peer("lxml", "parses into a tree", lxml_parse),
    Peer("lxml (both ways)", "parses and serialises, no rewriting", lxml_serialise),
    Peer("ElementTree", "parses into a tree", elementtree),
    Peer("ElementTree (pull)", "XMLPullParser in pieces of 4 KiB", elementtree_pull),
]
FRAME = [
    Peer("expat (starts, ends)", "counts first-level elements by two handlers", expat_framing),
]
ROTATE_PROCESS = [
    Peer("xep419 rot13", "our command", running(ours("rot13"), lambda data: rotated(data, 1))),
    Peer("tr", "GNU tr", running(lambda: [program("tr"), "A-Za-z", "N-ZA-Mn-za-m"], lambda data: rotated(data, 1))),
]
UPGRADE_PROCESS = [
    Peer("xep419 upgrade", "our command, every scope", running(ours("upgrade"), lambda document: document.upgraded)),
    Peer("xep419 encrypt", "our command, every scope", running(ours("encrypt"), lambda document: document.upgraded)),
    Peer(
        "sed -E",
        "GNU sed, rewrites declarations",
        running(lambda: [program("sed"), "-E", EXPRESSION], lambda document: document.declarations_upgraded),
    ),
    Peer(
        "perl -pe",
        "rewrites declarations",
        running(lambda: [program("perl"), "-pe", EXPRESSION], lambda document: document.declarations_upgraded),
    ),
]
