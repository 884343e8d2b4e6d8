"""Pins as JSON, out of a store and into one: for a backup, another machine, or pins that somebody else has seen.

The file is ``{"format": "xep419 pins 1", "pins": [{"peer": …, "name": …, "first_seen": …, "last_seen": …, "max_age": …,
"include_subdomains": …}, …]}``, times in seconds since 1970, ages in seconds. It is read whole before a pin is stored.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from ..errors import PinFormatError, XEP419Error
from .pins import Pin, checked
from .store import PinStore, Stored

#: what the first field says; the number changes when the fields do
FORMAT = "xep419 pins 1"


def export_pins(store: PinStore) -> Iterator[str]:
    """The JSON of all pins, piece by piece, a line for each, also of those that have expired.

    :raises PinStoreError: the store cannot be read.
    """
    yield f'{{"format": {json.dumps(FORMAT)}, "pins": ['
    separator = "\n"
    for pin in store:
        yield separator + json.dumps(pin._asdict())
        separator = ",\n"
    yield "\n]}\n"


def import_pins(store: PinStore, data: bytes | str) -> Stored:
    """Merges exported pins into a store: see :meth:`PinStore.add`.

    :raises PinFormatError: it is not what :func:`export_pins` makes; ``offset`` tells where the JSON breaks off. No pin
        is stored then.
    :raises PinStoreError: the store cannot be written.
    """
    return store.add(parsed(data))


def parsed(data: bytes | str) -> list[Pin]:
    """The exported pins, none of them twice.

    :raises PinFormatError: as :func:`import_pins`.
    """
    try:
        found = json.loads(data.decode() if isinstance(data, bytes) else data)
    except json.JSONDecodeError as error:
        at = len(error.doc[: error.pos].encode("utf-8", "surrogatepass"))
        raise PinFormatError(f"expected exported pins, got no JSON: {error.msg}", offset=at) from None
    except UnicodeDecodeError as error:
        raise PinFormatError("expected exported pins, got bytes that are not UTF-8", offset=error.start) from None
    except (ValueError, RecursionError) as error:  # a number of too many digits, lists within lists
        raise PinFormatError(f"expected exported pins, got no JSON: {error}") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise PinFormatError(f"expected exported pins, got JSON whose format is not {FORMAT!r}")
    if not isinstance(found.get("pins"), list):
        raise PinFormatError("expected exported pins, got no list of 'pins'")
    pins = [_as_pin(entry, number) for number, entry in enumerate(found["pins"])]
    seen: set[tuple[str, str]] = set()
    for number, pin in enumerate(pins):
        if pin[:2] in seen:
            raise PinFormatError(f"pin {number}: {pin.peer} has {pin.name!r} twice")
        seen.add(pin[:2])
    return pins


def _as_pin(entry: object, number: int) -> Pin:
    if not isinstance(entry, dict) or entry.keys() != set(Pin._fields):
        raise PinFormatError(f"pin {number}: expected an object of {', '.join(Pin._fields)}")
    try:
        return checked(Pin(**entry))
    except XEP419Error as error:
        raise PinFormatError(f"pin {number}: {error.message}") from None


__all__ = ["FORMAT", "export_pins", "import_pins", "parsed"]
