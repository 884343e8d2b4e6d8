"""Downgrade protection: who once used a secure name may not come back with its insecure form (docs/policy.md).

``import xep419`` does not import this. Layers within, each on those before: peers, pins, clock; database, store,
exchange; attribution, rules; guard.
"""

from __future__ import annotations

from ..errors import InsecureNamespaceError, MalformedJIDError, PinFormatError, PinStoreError
from .attribution import SERVER_ADDED
from .clock import PinClock
from .exchange import export_pins, import_pins
from .guard import GuardedStream, StreamGuard
from .peers import normal_peer, speaker
from .pins import DEFAULT_MAX_AGE, MAX_AGE, Pin
from .rules import Policy
from .store import PinStore, Stored

__all__ = [
    "DEFAULT_MAX_AGE",
    "MAX_AGE",
    "SERVER_ADDED",
    "GuardedStream",
    "InsecureNamespaceError",
    "MalformedJIDError",
    "Pin",
    "PinClock",
    "PinFormatError",
    "PinStore",
    "PinStoreError",
    "Policy",
    "Stored",
    "StreamGuard",
    "export_pins",
    "import_pins",
    "normal_peer",
    "speaker",
]
