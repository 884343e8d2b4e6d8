"""What ``xep419 speed`` measures: the operations, their inputs, and the loop that times them in turns.

Every cell is one operation on one instruction set at one size. Cells are visited round after round, so that a drift
of the machine spreads over all of them, and in each round ``bytes.translate`` of the same size is timed beside them:
the reference, which a drift slows too. Each cell's result is checked once, outside the timing, against one that comes
from the way the input was made and not from this package.

memcpy would be a poor reference: its speed hangs on where the two buffers come to lie, a third of it at 4 KiB, which
differs from process to process. A lookup for each byte does not hang on that.
"""

from __future__ import annotations

import codecs
import contextlib
import functools
import itertools
import random
import statistics
import time
import timeit
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from .. import _backend, cipher, namespaces

#: rounds, as many as time allows between these
MOST_ROUNDS, LEAST_ROUNDS = 15, 5
#: seconds that a timed slice takes at least: under it the clock itself would show
LEAST_SLICE = 20e-6
#: what is timed first, to know whether a size can be measured at all
PROBE_BYTES = 4096
#: Encryptor gets its input in pieces of this size
PIECE_BYTES = 4096
#: the name under which the reference appears among the operations
REFERENCE = "bytes.translate"

_LOWER = bytes(range(ord("a"), ord("z") + 1))
_ROTATED = bytes.maketrans(_LOWER + _LOWER.upper(), codecs.encode((_LOWER + _LOWER.upper()).decode(), "rot13").encode())

Names = dict[str, Any]


class Key(NamedTuple):
    """Which cell: an operation, an instruction set (none for the reference), bytes of input."""

    operation: str
    isa: str
    size: int


class Measurement(NamedTuple):
    """What a cell took.

    :param seconds: per call, the median over the rounds; ``mad`` is the median absolute deviation from it.
    :param relative: the median, over the rounds, of the time per call over the reference's in the same round at the
        same size; ``relative_mad`` is its median absolute deviation.
    """

    key: Key
    rounds: int
    calls: int
    seconds: float
    mad: float
    relative: float
    relative_mad: float


class Measured(NamedTuple):
    """A whole run. ``skipped`` are the cells of which five rounds would take longer than their share of the time."""

    cells: list[Measurement]
    skipped: list[Key]


class Operation(NamedTuple):
    """A statement to time over the names that ``inputs`` makes for a size.

    :param check: true when the statement's value (and what it did to its arguments) is right.
    """

    statement: str
    inputs: Callable[[int], Names]
    check: Callable[[Any, Names], bool]


# -- inputs ---------------------------------------------------------------------------------------------------


def cipher_input(size: int) -> Names:
    """Random bytes, the same in every run, and room for as many."""
    data = random.Random(419).randbytes(size)
    return {**vars(cipher), "data": data, "buffer": bytearray(data), "room": bytearray(size)}


#: What a client and its server say. ``{s}`` is where a name gets its letter, ``{id}`` differs from stanza to stanza.
_STANZAS = (
    "<message to='juliet@capulet.example/balcony' id='{id}' type='chat'>"
    "<body>Wherefore art thou? See http://example.org/{id} &amp; urn:xmpp:text</body>"
    "<request xmlns='urn:xmpp{s}:receipts'/><active xmlns='http{s}://jabber.org/protocol/chatstates'/></message>",
    "<r xmlns='urn:xmpp{s}:sm:3'/>",
    "<iq type='get' id='{id}'><query xmlns='http{s}://jabber.org/protocol/disco#info'/></iq>",
    "<a xmlns='urn:xmpp{s}:sm:3' h='419'/>",
    "<presence from='romeo@montague.example/orchard' id='{id}'><priority>5</priority><status>Beneath the balcony, as"
    " ever: http://example.org/{id}</status><c xmlns='http{s}://jabber.org/protocol/caps' hash='sha-1'"
    " node='http://example.org/client' ver='jK8oCzZPWiW5OevK6ymzbRzm5Ug='/></presence>",
    "<iq type='result' id='{id}'><query xmlns='jabber:iq:roster'><item jid='{id}@montague.example'"
    " subscription='both'><group>Verona</group></item><item jid='nurse@capulet.example' subscription='to'/>"
    "</query></iq>",
    "<iq type='result' id='{id}'><query xmlns='http{s}://jabber.org/protocol/disco#info'"
    " node='http://example.org/client#jK8oCzZPWiW5OevK6ymzbRzm5Ug='><identity category='client' type='pc'/>"
    "<feature var='http{s}://jabber.org/protocol/muc'/><feature var='urn:xmpp{s}:avatar:metadata+notify'/>"
    "<feature var='jabber:iq:version'/><x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'>"
    "<value>urn:xmpp{s}:dataforms:softwareinfo</value></field></x></query></iq>",
)
_SHORTEST = min(_STANZAS, key=len)


def xml_input(size: int) -> Names:
    """XMPP stanzas in turn, and what they become; what no stanza fits in is white space, as between any two.

    In long inputs a ``<`` comes every 35 bytes and an insecure name every 144; in the recorded sessions of the examples
    it is every 35 to 43 and every 86 to 134.
    """
    stanzas, secure, names, left = [], [], 0, size
    numbers = random.Random(419)
    for template in itertools.cycle(_STANZAS):
        id = f"{numbers.getrandbits(64):016x}"
        if len(template.format(id=id, s="")) > left:
            template = _SHORTEST
        stanza = template.format(id=id, s="").encode()
        if len(stanza) > left:
            break
        stanzas.append(stanza)
        secure.append(template.format(id=id, s="s").encode())
        names += template.count("{s}")
        left -= len(stanza)
    stanzas.append(b" " * left)
    secure.append(b" " * left)
    xml = b"".join(stanzas)
    return {
        **vars(namespaces),
        "encrypt_pieces": encrypt_pieces,
        "xml": xml,
        "stanzas": stanzas,
        "pieces": [xml[start : start + PIECE_BYTES] for start in range(0, size, PIECE_BYTES)],
        "secure": b"".join(secure),
        "names": names,
    }


def encrypt_pieces(pieces: Sequence[bytes]) -> list[bytes]:
    encryptor = cipher.Encryptor()
    return [*map(encryptor.update, pieces), encryptor.finalize()]


# -- operations -----------------------------------------------------------------------------------------------


OPERATIONS = {
    "rot13": Operation(
        "rot13(data)", cipher_input, lambda result, given: bool(result == given["data"].translate(_ROTATED))
    ),
    "double_rot13": Operation("double_rot13(data)", cipher_input, lambda result, given: bool(result == given["data"])),
    "double_rot13_into": Operation(
        "double_rot13_into(data, room)",
        cipher_input,
        lambda result, given: bool(result == len(given["data"]) and given["room"] == given["data"]),
    ),
    "rot13_inplace": Operation(
        "rot13_inplace(buffer)",
        cipher_input,
        lambda result, given: bool(given["buffer"] == given["data"].translate(_ROTATED)),
    ),
    "scan": Operation(
        "scan(xml)",
        xml_input,
        lambda result, given: len(result) == given["names"] and not any(ref.secure for ref in result),
    ),
    "upgrade": Operation("upgrade(xml)", xml_input, lambda result, given: bool(result == given["secure"])),
    "encrypt": Operation("encrypt(xml)", xml_input, lambda result, given: bool(result == given["secure"])),
    "encrypt_many": Operation(
        "encrypt_many(stanzas)", xml_input, lambda result, given: b"".join(result) == given["secure"]
    ),
    "Encryptor": Operation(
        "encrypt_pieces(pieces)", xml_input, lambda result, given: b"".join(result) == given["secure"]
    ),
}


_REFERENCE = Operation(
    "data.translate(table)",
    lambda size: {"data": bytes(size), "table": _ROTATED},
    lambda result, given: bool(result == given["data"]),
)


# -- time -----------------------------------------------------------------------------------------------------


class _Cell:
    """One cell under way: its timer, how often a slice calls, and what each round took per call."""

    def __init__(self, key: Key, operation: Operation, inputs: Names) -> None:
        self.key = key
        self._timer = timeit.Timer(operation.statement, globals=inputs)  # which stops the garbage collector
        self.calls = 1
        self.times: list[float] = []

    def calibrate(self, slice_seconds: float) -> None:
        self.calls = max(1, int(slice_seconds / _once(self._timer)))  # the first calls are slower than those to come
        self.calls = max(1, int(slice_seconds * self.calls / self._timer.timeit(self.calls)))

    def time_slice(self) -> None:
        self.times.append(self._timer.timeit(self.calls) / self.calls)

    def result(self, reference: _Cell) -> Measurement:
        relatives = [mine / plain for mine, plain in zip(self.times, reference.times, strict=True)]
        return Measurement(
            self.key, len(self.times), self.calls, *_median_and_mad(self.times), *_median_and_mad(relatives)
        )


def measure(keys: Sequence[Key], seconds: float, step: Callable[[float], None]) -> Measured:
    """Times every cell, and the reference at every size, within about ``seconds`` in all.

    The time is split evenly among the cells. Rounds end when it is up, but there are five of them at least.

    :param step: called between slices with the part that is done, 0 to 1.
    """
    started = time.perf_counter()
    sizes = list(dict.fromkeys(key.size for key in keys))
    with _forcing() as force:
        fitting = _fitting(keys, seconds / (len(keys) + len(sizes)) / LEAST_ROUNDS, force)
        groups = [_prepare([key for key in fitting if key.size == size], force) for size in sizes]
        cells = [cell for group in groups for cell in group]
        left = seconds - (time.perf_counter() - started)
        for cell in cells:
            force(cell.key.isa)
            cell.calibrate(max(LEAST_SLICE, left / len(cells) / (MOST_ROUNDS + 1)))  # calibration is one more
        for done in range(MOST_ROUNDS if cells else 0):
            if done >= LEAST_ROUNDS and time.perf_counter() - started >= seconds:
                break
            for number, cell in enumerate(cells if done % 2 else reversed(cells)):
                step((done + number / len(cells)) / MOST_ROUNDS)
                force(cell.key.isa)
                cell.time_slice()
    found = {cell.key: cell.result(group[0]) for group in groups for cell in group}
    references = [group[0].key for group in groups if group]
    return Measured([found[key] for key in (*references, *fitting)], [key for key in keys if key not in found])


def _prepare(keys: Sequence[Key], force: Callable[[str], None]) -> list[_Cell]:
    """The cells of one size, the reference first, each having given the right result once; none for no keys."""
    if not keys:
        return []
    size = keys[0].size
    inputs = functools.cache(lambda make: make(size))
    cells = []
    for key in (Key(REFERENCE, "", size), *keys):
        operation = _REFERENCE if key.operation == REFERENCE else OPERATIONS[key.operation]
        given = inputs(operation.inputs)
        if operation.inputs is cipher_input:  # what the last operation wrote must not pass for this one's result
            given["buffer"][:] = given["data"]
            given["room"][:] = bytes(size)
        force(key.isa)
        if not operation.check(eval(operation.statement, given), given):
            raise RuntimeError(f"{key.operation} gave a wrong result on {key.isa} for {size} bytes")
        cells.append(_Cell(key, operation, given))
    return cells


def _fitting(keys: Sequence[Key], longest: float, force: Callable[[str], None]) -> list[Key]:
    """The cells of which one call will take no longer than ``longest``, in proportion to a call on a few kilobytes."""

    @functools.cache
    def per_byte(operation: str, isa: str) -> float:
        force(isa)
        statement, inputs, _ = OPERATIONS[operation]
        return _once(timeit.Timer(statement, globals=inputs(PROBE_BYTES))) / PROBE_BYTES

    return [key for key in keys if per_byte(key.operation, key.isa) * key.size <= longest]


def _once(timer: timeit.Timer) -> float:
    """Seconds that one call takes, roughly."""
    return max(1e-8, min(timer.repeat(3, 1)))


def _median_and_mad(values: Sequence[float]) -> tuple[float, float]:
    median = statistics.median(values)
    return median, statistics.median(abs(value - median) for value in values)


@contextlib.contextmanager
def _forcing() -> Iterator[Callable[[str], None]]:
    """A function that makes the process use an instruction set, and sees that it does; afterwards all is as it was.

    The reference has none, and pure Python no other than itself: ``""`` leaves what is.
    """
    before = _backend.isa()

    def force(isa: str) -> None:
        if isa and isa != _backend.isa():
            from .._core import isa as core

            core.force(isa)
            if _backend.isa() != isa:
                raise RuntimeError(f"instruction set {isa!r} was forced, but {_backend.isa()!r} is in use")

    try:
        yield force
    finally:
        force(before)
