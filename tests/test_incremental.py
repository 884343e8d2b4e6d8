"""``Encryptor`` and ``Decryptor``: any chunking gives what the one-shot functions give, in constant memory.

The one-shot functions are the oracle here (``test_namespaces.py`` and ``test_differential.py`` hold them against the
scope table), with the standard library's ROT-13 for the rotations.
"""

from __future__ import annotations

import codecs
import gc
import itertools
import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import xep419
from xep419 import Decryptor, EncodingError, Encryptor, LimitExceededError, Scope, downgrade, encrypt, upgrade

CAPS = "http://jabber.org/protocol/caps"
COMMANDS = "http://jabber.org/protocol/commands"

#: between them everything that can be cut in two
DOCUMENTS = {
    "names": (
        f"<a xmlns='http://a' xmlns:p = \"urn:xmpp:p\" b='>'><p:feature var='HTTP://a'/><field var='{{http://a}}b'/>"
        f"<x node='{COMMANDS}#x'/><y node='http://x#y'/><c node='{COMMANDS}'/><fallback for='urn:xmpp:r'/>"
        f"<c xmlns='{CAPS}' node='{COMMANDS}'><c node='urn:xmpp:a'/><z xmlns='' node='urn:xmpp:a'/></c>"
        f"<q:a xmlns:q='{CAPS}'><q:c node='{COMMANDS}'/></q:a><q:c node='{COMMANDS}'/></a>"
    ),
    "forms": (
        "<x><field var='F&#79;RM_TYPE'><value> &#32;<!-- http: --><?p?> http://a </value><value>urn:xmpp:b</value>"
        "<value><![CDATA[http:]]></value><value>text</value><value/><o><value>http://a</value></o><value>\n"
        "&#x0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000020;h&#116;tp:"
        "</value></field><value>http://a</value></x>"
    ),
    "references": (
        "<a xmlns='&#104;&#x74;tp&#000000115;&#58;//a' xmlns:b='&#104ttp:' xmlns:c='&#x68;ttp:'>&#104;ttp:&amp;<b "
        "xmlns='urn&#58;xmpp&#x3A;'/></a>"
    ),
    "sections": (
        "<?xml version='1.0'?><!-- <a xmlns='http:'/> - -> --><!----><a>]]>--&gt;?><![CDATA[<b xmlns='http:'/>]] >]]]]>"
        "<b xmlns='http:'/><?p <b xmlns='http:'/> ? > ??><!-- ' --><b xmlns=\"http:\"/><![CDATA[]]></a ><!-->--><?p?>"
    ),
    "DTD": (
        "<!DOCTYPE a PUBLIC 'a>' \"b'[\" [<!ENTITY e ']>'><!-- ' ]> --><?p \" ]> ?><!ENTITY % f \"<a xmlns='http:'/>\">"
        "<!ELEMENT a ANY>%f;] ><a xmlns='http:'>&e;</a>"
    ),
    "letters": "\ufeff<\u00e9 xmlns='http://\u4e00' \u00e9='\U0001f600'>\U0001f600it's \"http:\"</\u00e9>\u0416",
    "secure": (
        "<a xmlns='https://jabber.org/protocol/muc' xmlns:b='http&#115;://b'><feature var='urn:xmpps:ping+notify'/>"
        "<field var='FORM_TYPE'><value>https://jabber.org/protocol/muc#roomconfig</value></field></a>"
    ),
    "malformed": (
        "<a b='<a xmlns='http:'/></b <b xmlns='http:' <c xmlns=\"http:'><!x ' > ' <a xmlns='http:'/>' > <>< a='http:'></>"
        "&#<field var='FORM_TYPE'></x></y><value>&#</value><value>http:<"
    ),
}
#: every three-way split of these
TINY = (
    b"<a xmlns='http:'/>",
    b"<!--'--><a xmlns='&#104;ttp:'>",
    b"<field var='FORM_TYPE'><value> http:</value>",
    b"<![CDATA[<]]><?p?><!D[]><a b='>' xmlns=\"urn:xmpp:\">",
)


def rot13(data: bytes, rounds: int) -> bytes:
    for _ in range(rounds):
        data = codecs.encode(data.decode("latin-1"), "rot13").encode("latin-1")
    return data


def fed(machine: Encryptor | Decryptor, pieces: Iterable[Any]) -> bytes:
    return b"".join([machine.update(piece) for piece in pieces] + [machine.finalize()])


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    return [data[start:end] for start, end in itertools.pairwise([0, *places, len(data)])]


def chunks(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


@pytest.fixture(params=DOCUMENTS)
def document(request: pytest.FixtureRequest) -> bytes:
    return DOCUMENTS[request.param].encode()


# -- any chunking -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rounds", [0, 1, 2, 3, 4, 1001])
def test_one_piece_gives_what_the_functions_give(document: bytes, rounds: int) -> None:
    encrypted = rot13(upgrade(document), rounds % 2)
    assert fed(Encryptor(rounds=rounds), [document]) == encrypted
    assert fed(Decryptor(rounds=rounds), [encrypted]) == upgrade(document)
    assert fed(Encryptor(), [document]) == encrypt(document)


@pytest.mark.parametrize("rounds", [0, 1, 2, 3])
def test_every_split_in_two(document: bytes, rounds: int) -> None:
    encrypted = rot13(upgrade(document), rounds)
    for place in range(len(document) + 1):
        assert fed(Encryptor(rounds=rounds), cut(document, [place])) == encrypted


@pytest.mark.parametrize("rounds", [0, 1, 2, 3])
def test_every_split_in_two_back(document: bytes, rounds: int) -> None:
    encrypted = rot13(upgrade(document), rounds)
    for known_only in (True, False):
        expected = downgrade(upgrade(document), known_only=known_only)
        for place in range(len(encrypted) + 1):
            machine = Decryptor(downgrade=True, rounds=rounds, known_only=known_only)
            assert fed(machine, cut(encrypted, [place])) == expected


@pytest.mark.parametrize("data", TINY)
def test_every_split_in_three(data: bytes) -> None:
    encrypted = rot13(upgrade(data), 1)
    assert encrypted != rot13(data, 1)
    for places in itertools.combinations_with_replacement(range(len(data) + 1), 2):
        assert fed(Encryptor(rounds=1), cut(data, places)) == encrypted
    for places in itertools.combinations_with_replacement(range(len(encrypted) + 1), 2):
        assert fed(Decryptor(downgrade=True, rounds=1, known_only=False), cut(encrypted, places)) == data


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 16, 63, 64, 65])
def test_pieces_of_one_size(document: bytes, size: int) -> None:
    for rounds in (0, 1, 2, 3):
        encrypted = rot13(upgrade(document), rounds)
        assert fed(Encryptor(rounds=rounds), chunks(document, size)) == encrypted
        machine = Decryptor(downgrade=True, rounds=rounds, known_only=False)
        assert fed(machine, chunks(encrypted, size)) == downgrade(upgrade(document), known_only=False)


@pytest.mark.parametrize("scope", [Scope(0), *Scope, Scope.NODES | Scope.FORM_TYPES])
def test_a_scope_holds_in_pieces_too(document: bytes, scope: Scope) -> None:
    for size in (1, 5, 1000):
        machine = Encryptor(scope=scope, rounds=0)
        assert fed(machine, chunks(document, size)) == upgrade(document, scope=scope)
        back = Decryptor(scope=scope, downgrade=True, known_only=False)
        assert fed(back, chunks(document, size)) == downgrade(document, scope=scope, known_only=False)


def test_empty_pieces_change_nothing(document: bytes) -> None:
    pieces = [piece for piece in chunks(document, 1) for piece in (b"", piece, b"")]
    assert fed(Encryptor(), pieces) == upgrade(document)
    assert fed(Encryptor(), []) == b""
    assert fed(Encryptor(), [b"", b""]) == b""


def test_pieces_may_be_of_any_kind(document: bytes) -> None:
    kinds: tuple[Callable[[bytes], Any], ...] = (bytes, bytearray, memoryview)
    pieces = [kinds[i % 3](piece) for i, piece in enumerate(chunks(document, 5))]
    assert fed(Encryptor(), pieces) == upgrade(document)
    assert fed(Encryptor(), document.decode()) == upgrade(document)  # letter by letter, as text
    assert type(Encryptor().update("<a/>")) is bytes
    assert type(Encryptor().update("<a")) is bytes
    assert type(Decryptor().update("")) is bytes


def test_a_piece_may_be_changed_after_it_was_given(document: bytes) -> None:
    piece = bytearray()
    machine = Encryptor()
    result = b""
    for byte in document:
        piece[:] = [byte]  # would be refused if the buffer were still held
        result += machine.update(piece)
        piece[:] = b"<!>'"
    assert result + machine.finalize() == upgrade(document)


def test_recorded_sessions_in_pieces(recorded: list[bytes]) -> None:
    for session in recorded:
        encrypted = rot13(upgrade(session), 1)
        for size in (3, 97, 1460, 4096):
            assert fed(Encryptor(rounds=1), chunks(session, size)) == encrypted
            assert fed(Decryptor(rounds=1, downgrade=True, known_only=False), chunks(encrypted, size)) == session


@pytest.mark.parametrize("seed", range(4))
def test_recorded_sessions_cut_at_random(recorded: list[bytes], seed: int) -> None:
    choose = random.Random(seed)
    for session in recorded:
        places = sorted(choose.choices(range(len(session) + 1), k=choose.choice([1, 10, 500])))
        assert fed(Encryptor(), cut(session, places)) == encrypt(session)
        known = downgrade(upgrade(session))
        assert fed(Decryptor(downgrade=True), cut(upgrade(session), places)) == known


def test_a_recorded_session_byte_by_byte(recorded: list[bytes]) -> None:
    session = min(recorded, key=len)
    assert fed(Encryptor(), chunks(session, 1)) == encrypt(session)


def test_the_corpus_cut_at_random(shared: Path) -> None:
    choose = random.Random(419)
    for line in (shared / "corpus" / "xep-examples.jsonl").read_text("utf-8").splitlines():
        example = json.loads(line)["xml"].encode()
        places = sorted(choose.choices(range(len(example) + 1), k=choose.choice([1, 3, 20])))
        assert fed(Encryptor(rounds=0), cut(example, places)) == upgrade(example)


# -- what is held back --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("piece", "held"),
    [
        (b"text", 0),
        (b"<a>text", 0),
        (b"<a>text 'http:", 0),
        (b"<a xmlns='http:'>", 0),
        (b"<!-- http:", 2),
        (b"<![CDATA[ http:", 2),
        (b"<?pi http:", 1),
        (b"<!DOCTYPE a [ 'x' ", 0),
        (b"text<", 1),
        (b"text<!-", 3),
        (b"text<![CDATA", 8),
        (b"text<a b='", 6),
        (b"text</a", 3),
        (b"<field var='FORM_TYPE'><value> ", 0),
        (b"<field var='FORM_TYPE'><value>http://a", 8),
        (b"<field var='FORM_TYPE'><value>" + b"no name " * 100, 0),
        (b"<field var='FORM_TYPE'><value>http://a</value>text", 0),
    ],
)
def test_no_more_is_held_back_than_is_undecided(piece: bytes, held: int) -> None:
    """At most these many bytes: text goes through as it comes."""
    machine = Encryptor(rounds=0)
    result = machine.update(piece)
    assert len(result) >= len(upgrade(piece[: len(piece) - held]))
    assert result + machine.finalize() == upgrade(piece)


def test_a_document_cut_off_anywhere_comes_out_whole(document: bytes) -> None:
    for end in range(len(document) + 1):
        head = document[:end]
        assert fed(Encryptor(), [head]) == upgrade(head)
        assert fed(Encryptor(), cut(head, [end // 2])) == upgrade(head)
        assert fed(Decryptor(downgrade=True, known_only=False), [head]) == downgrade(head, known_only=False)


# -- rotation alone -----------------------------------------------------------------------------------------


def test_without_upgrade_the_bytes_are_only_rotated(document: bytes) -> None:
    for rounds in (0, 1, 2, 3):
        for data in (document, document.decode().encode("utf-16")):
            for size in (1, 3, 1000):
                for machine in (Encryptor(upgrade=False, rounds=rounds), Decryptor(rounds=rounds)):
                    for piece in chunks(data, size):
                        assert machine.update(piece) == rot13(piece, rounds % 2)
                    assert machine.finalize() == b""


def test_without_downgrade_the_namespaces_stay_upgraded(document: bytes) -> None:
    encrypted = fed(Encryptor(), chunks(document, 7))
    assert fed(Decryptor(), chunks(encrypted, 7)) == upgrade(document)
    assert fed(Decryptor(), chunks(encrypted, 7)) == xep419.decrypt(encrypted)


# -- the limit ----------------------------------------------------------------------------------------------

MACHINES: dict[str, Callable[..., Encryptor | Decryptor]] = {
    "Encryptor": Encryptor,
    "Decryptor": lambda **options: Decryptor(downgrade=True, known_only=False, **options),
}


@pytest.fixture(params=MACHINES)
def machine_of(request: pytest.FixtureRequest) -> Callable[..., Encryptor | Decryptor]:
    return MACHINES[request.param]


def limit_error(machine: Encryptor | Decryptor, pieces: Iterable[bytes]) -> LimitExceededError:
    with pytest.raises(LimitExceededError) as info:
        fed(machine, pieces)
    return info.value


@pytest.mark.parametrize("size", [1, 2, 3, 10, 99])
@pytest.mark.parametrize("head", [b"", b"x", b"<b>text</b>" * 20])
@pytest.mark.parametrize("tag", [b"<a b='" + b"x" * 92 + b"'>", b"<a " + b"\n" * 96 + b">", b"</a" + b" " * 96 + b">"])
def test_a_tag_of_max_markup_bytes_passes_and_one_more_does_not(
    machine_of: Callable[..., Encryptor | Decryptor], tag: bytes, head: bytes, size: int
) -> None:
    assert len(tag) == 100
    data = head + tag + b"text"
    assert fed(machine_of(max_markup=100), chunks(data, size)) == data
    error = limit_error(machine_of(max_markup=98), chunks(data, 1))
    assert str(error) == (
        f"a tag or name of at most 98 bytes is expected, but 99 bytes came without its end (at byte {len(head)})"
    )
    assert error.offset == len(head)


def test_the_name_in_a_form_type_value_counts_too(machine_of: Callable[..., Encryptor | Decryptor]) -> None:
    head, name = b"<field var='FORM_TYPE'><value>\n ", b"https://" + b"a" * 92
    data = head + name + b"</value></field>"
    for size in (1, 5, 1000):
        expected = data if machine_of is Encryptor else data.replace(b"https", b"http")
        assert fed(machine_of(max_markup=100), chunks(data, size)) == expected
    error = limit_error(machine_of(max_markup=99), chunks(data, 1))
    assert error.offset == len(head)


def test_after_an_error_the_same_error_comes_again(machine_of: Callable[..., Encryptor | Decryptor]) -> None:
    machine = machine_of(max_markup=10)
    error = limit_error(machine, [b"text<a b='", b"123456"])
    for _ in range(2):
        for call in (lambda: machine.update(b""), lambda: machine.update(b"'>"), machine.finalize):
            with pytest.raises(LimitExceededError) as info:
                call()
            assert info.value is error
            assert info.value.offset == 4


@pytest.mark.parametrize(
    ("before", "filler", "after"),
    [
        (b"<!--", b" <a xmlns='http:'/> -> ", b"-->"),
        (b"<![CDATA[", b" <a xmlns='http:'/> ]> ", b"]]>"),
        (b"<?pi", b" <a xmlns='http:'/> > ", b"?>"),
        (b"<!DOCTYPE a [<!--", b" <a xmlns='http:'/> ]> ", b"-->]>"),
        (b"<!DOCTYPE a [<!ENTITY e '", b" <a xmlns='http:'/> ]> ".replace(b"'", b'"'), b"'>]>"),
        (b"<a>", b"text 'http: urn:xmpp:a > ", b"</a>"),
        (b"<field var='FORM_TYPE'><value>", b" \n\t", b"http:</value></field>"),
        (b"<field var='FORM_TYPE'><value>", b"<!-- -->", b"http:</value></field>"),
        (b"<field var='FORM_TYPE'>", b" text http: ", b"<value>http:</value></field>"),
        (b"<field var='FORM_TYPE'><value>http:<b/>", b" text http: ", b"</value></field>"),
        (b"", b"<a xmlns='http:'/>", b""),
        (b"<field var='FORM_TYPE'>", b"<value>http:</value>", b"</field>"),
        (f"<a xmlns:p='{CAPS}'>".encode(), b"<b xmlns='http:'></b>", b"</a>"),
    ],
)
def test_only_tags_and_names_are_limited(
    machine_of: Callable[..., Encryptor | Decryptor], before: bytes, filler: bytes, after: bytes
) -> None:
    data = before + filler * 200 + after
    for size in (1, 10, 64, 1000):
        assert fed(Encryptor(max_markup=64, rounds=0), chunks(data, size)) == upgrade(data)
        assert fed(Decryptor(max_markup=64, downgrade=True, known_only=False), chunks(upgrade(data), size)) == data


@pytest.mark.parametrize("size", [1, 10, 64, 100, 10_000])
def test_text_of_a_form_type_value_that_is_no_name_is_not_limited(size: int) -> None:
    for text in (b"no name", b"h", b"https", b"urn:xmpp", b"&amp;", b"http//"):
        data = b"<field var='FORM_TYPE'><value>" + text + b" text" * 1000 + b"</value></field>"
        assert fed(Encryptor(max_markup=100), chunks(data, size)) == data


@pytest.mark.parametrize(
    "reference",
    [b"&#" + b"0" * 70 + b"65;", b"&#" + b"0" * 70 + b"104;tt", b"&#x" + b"0" * 70 + b"20;", b"&" + b"n" * 80 + b";"],
)
def test_nor_is_text_after_a_long_reference(reference: bytes) -> None:
    data = b"<field var='FORM_TYPE'><value>" + reference + b" text" * 1000 + b"</value></field>"
    assert fed(Encryptor(max_markup=100), chunks(data, 1)) == data


@pytest.mark.any_isa
def test_max_markup_is_a_number_of_bytes() -> None:
    for machine in (Encryptor, Decryptor):
        for wrong in (0, -1):
            with pytest.raises(ValueError, match=f"^max_markup must be 1 or more, not {wrong}$"):
                machine(max_markup=wrong)
        for wrong_type in (1.5, "1", None):
            with pytest.raises(TypeError, match="cannot be interpreted as an integer"):
                machine(max_markup=wrong_type)  # type: ignore[arg-type]
        machine(max_markup=1 << 100)


@pytest.mark.any_isa
def test_the_default_limit_is_a_mebibyte() -> None:
    machine = Encryptor()
    tag = b"<a b='" + b"x" * ((1 << 20) - 6)
    assert machine.update(tag) == b""
    with pytest.raises(LimitExceededError) as info:
        machine.update(b"x")
    assert info.value.offset == 0


# -- the life of a machine ----------------------------------------------------------------------------------


@pytest.mark.any_isa
@pytest.mark.parametrize(
    "make",
    [Encryptor, Decryptor, lambda: Decryptor(downgrade=True), lambda: Encryptor(upgrade=False)],
)
def test_a_finalized_machine_is_done_with(make: Callable[[], Encryptor | Decryptor]) -> None:
    machine = make()
    machine.update(b"<a/>")
    machine.finalize()
    for call in (machine.finalize, lambda: machine.update(b""), lambda: machine.update(b"<a/>")):
        with pytest.raises(ValueError, match="was finalized: make a new one for the next document") as info:
            call()
        assert str(info.value).startswith(f"this {type(machine).__name__} ")


@pytest.mark.any_isa
@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (None, "data must be a bytes-like object or str, not 'NoneType'"),
        (7, "data must be a bytes-like object or str, not 'int'"),
        ([b"<"], "data must be a bytes-like object or str, not 'list'"),
        (memoryview(b"abcdef")[::2], "data must be C-contiguous, not a strided 'memoryview'"),
    ],
)
def test_a_wrong_type_leaves_the_machine_usable(wrong: object, error: str) -> None:
    for make in (Encryptor, lambda: Decryptor(downgrade=True, known_only=False), lambda: Encryptor(upgrade=False)):
        machine = make()
        result = machine.update(b"<a xmlns='ht")
        with pytest.raises((TypeError, BufferError)) as info:
            machine.update(wrong)  # type: ignore[arg-type]
        assert str(info.value) == error
        result += machine.update(b"tps:'/>") + machine.finalize()
        assert result in (b"<a xmlns='https:'/>", b"<a xmlns='http:'/>")


@pytest.mark.any_isa
def test_options_are_named_and_checked() -> None:
    for machine in (Encryptor, Decryptor):
        with pytest.raises(TypeError):
            machine(True)  # type: ignore[call-arg]
        with pytest.raises(ValueError, match=r"^rounds must be 0 or more, not -1$"):
            machine(rounds=-1)
        with pytest.raises(TypeError, match="cannot be interpreted as an integer"):
            machine(rounds=1.0)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"^scope must be a xep419\.Scope, not 'int'$"):
            machine(scope=1)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Encryptor(downgrade=True)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Decryptor(upgrade=True)  # type: ignore[call-arg]


@pytest.mark.any_isa
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 1000])
@pytest.mark.parametrize("text", ["<a xmlns='http:'/>", " <a/>", "<", "\ufeff<"])
def test_utf_16_and_utf_32_are_refused_in_pieces_too(encoding: str, size: int, text: str) -> None:
    data = text.encode(encoding)
    for make in MACHINES.values():
        machine = make()
        given: list[bytes] = []
        with pytest.raises(EncodingError) as info:
            fed(machine, (given.append(piece) or piece for piece in chunks(data, size)))
        assert info.value.offset == 0
        assert sum(map(len, given)) < 4 + size  # four bytes tell
        for call in (machine.finalize, lambda machine=machine: machine.update(b"<a/>")):
            with pytest.raises(EncodingError) as again:
                call()
            assert again.value is info.value


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"\0", b"\0\0", b"\xef\xbb\xbf", b"\xff\xfda", b"\0abc", b"a\0", b"\n\n\n"]
)
def test_other_beginnings_are_not(data: bytes) -> None:
    for size in (1, 2, 1000):
        assert fed(Encryptor(), chunks(data, size)) == data
        whole = data + b"xyz<a xmlns='http:'/>"
        assert fed(Encryptor(), chunks(whole, size)) == data + b"xyz<a xmlns='https:'/>"


# -- memory -------------------------------------------------------------------------------------------------

MEMORY = """
import sys
from xep419 import Decryptor, Encryptor, LimitExceededError

def peak():
    # of this process only: ru_maxrss is inherited from the parent
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) << 10

total, chunk = int(sys.argv[1]), 1 << 16
fillers = {
    b"<!--": b"comment <a xmlns='http:'/> ",
    b"<![CDATA[": b"section <a xmlns='http:'/> ",
    b"<?pi ": b"instruction <a xmlns='http:'/> ",
    b"<!DOCTYPE a [<!ENTITY e \\"": b"entity <a xmlns='http:'/> ",
    b"<a>": b"text 'http: and urn:xmpp:a ",
    b"<a >": b"<message xmlns='http:'><body>text</body><x xmlns='https:'/></message>",
    b"<field var='FORM_TYPE'><value>": b"  \\n",
    b"<field var='FORM_TYPE'>": b"<value>http:</value>",
    b"<a xmlns='http://jabber.org/protocol/caps'>": b"<b xmlns='x'><c node='http:'/></b>",
    b"<c>": b"<open>",
    b"<d>": b"</closed>",
}
pieces = {head: filler * (chunk // len(filler)) for head, filler in fillers.items()}
pieces[b"<a  >"] = pieces[b"<a >"][:-7]  # every piece ends within a tag
grown = {}
for head, piece in pieces.items():
    for machine in (Encryptor(max_markup=1 << 17), Decryptor(downgrade=True, max_markup=1 << 17)):
        machine.update(head)
        for _ in range(2):
            machine.update(piece)
        before = peak()
        given = came = 0
        while given < total:
            came += len(machine.update(piece))
            given += len(piece)
        came += len(machine.finalize())
        assert came >= given * 0.8, (head, came, given)
        grown[head, type(machine).__name__] = peak() - before
worst = max(grown, key=grown.get)
print(grown[worst], *worst)
"""


@pytest.mark.any_isa
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's account of the peak of memory")
def test_memory_is_constant() -> None:
    """64 MiB in pieces of 64 KiB, of each kind of content; in plain Python less of it."""
    total = 1 << 19 if xep419.isa == "python" else 64 << 20
    gc.collect()
    run = subprocess.run([sys.executable, "-c", MEMORY, str(total)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    grown, *where = run.stdout.split(maxsplit=1)
    assert int(grown) < min(total // 4, 1 << 20), where
