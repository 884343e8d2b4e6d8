"""What a pin is: that a peer used a secure name, and until when it must. No storage and no decision here."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

from ..errors import PinFormatError
from ..names import is_secure, upgrade_name
from .peers import normal_peer

DAY = 86_400.0
#: how long a pin holds after the peer's last use of the name, unless told otherwise; seconds
DEFAULT_MAX_AGE = 180 * DAY
#: the longest that any pin may hold, so that none is for ever
MAX_AGE = 3_650 * DAY
#: characters of a name that can be pinned; the longest registered name has fewer than 100
MAX_NAME = 1_024


class Pin(NamedTuple):
    """A peer used a secure name, so it may not come back with the insecure form.

    Times are seconds since 1970 (UTC), by the clock of the store (:mod:`xep419.policy.clock`).
    """

    #: a bare JID (its clients) or a domain (its server), normalized
    peer: str
    #: the secure form, its scheme in lower case
    name: str
    first_seen: float
    last_seen: float
    #: seconds after ``last_seen`` for which the pin holds
    max_age: float = DEFAULT_MAX_AGE
    #: a domain's pin holds for the services at the domains below it too
    include_subdomains: bool = False

    @property
    def expires(self) -> float:
        return self.last_seen + self.max_age


def secure_form(name: str) -> str:
    """The secure form of a name, with its scheme in lower case: what names are compared by."""
    return _secure_form(name) if len(name) <= MAX_NAME else _secure_form.__wrapped__(name)


@lru_cache(maxsize=8192)
def _secure_form(name: str) -> str:
    secure = upgrade_name(name)
    head = secure[:10].lower()
    for scheme in ("urn:xmpps:", "https:"):
        if head.startswith(scheme):
            return scheme + secure[len(scheme) :]
    return secure


def can_be_pinned(name: str) -> bool:
    """Whether a secure name is one that a store takes: not longer than any could be, nor of control characters."""
    return len(name) <= MAX_NAME and name.isprintable()


def checked(pin: Pin) -> Pin:
    """The pin with its peer and name normalized.

    :raises PinFormatError: a field is not what it must be.
    :raises MalformedJIDError: the peer is not a JID.
    """
    peer, name, first_seen, last_seen, max_age, include_subdomains = pin
    for field, value in (("peer", peer), ("name", name)):
        if not isinstance(value, str):
            raise PinFormatError(f"a pin's {field} is a string, not {type(value).__name__!r}")
    for field, number in (("first_seen", first_seen), ("last_seen", last_seen), ("max_age", max_age)):
        if type(number) not in (int, float) or not math.isfinite(number) or not 0 <= number < 1e12:
            raise PinFormatError(f"a pin's {field} is a number of seconds from 0 to 10^12, not {number!r}")
    if not 0 < max_age <= MAX_AGE:
        raise PinFormatError(f"a pin's max_age is above 0 and at most {MAX_AGE:.0f} seconds, not {max_age!r}")
    if first_seen > last_seen:
        raise PinFormatError(f"a pin's first_seen is not after its last_seen: {first_seen!r}, {last_seen!r}")
    if type(include_subdomains) is not bool:
        raise PinFormatError(f"a pin's include_subdomains is true or false, not {include_subdomains!r}")
    normal = normal_peer(peer)
    if include_subdomains and "@" in normal:
        raise PinFormatError(f"only a domain's pin includes subdomains, not {normal!r}'s")
    if not is_secure(name) or not can_be_pinned(name):
        raise PinFormatError(f"a pin's name begins with 'https:' or 'urn:xmpps:' and is printable, not {name[:60]!r}")
    return Pin(normal, secure_form(name), float(first_seen), float(last_seen), float(max_age), include_subdomains)


__all__ = ["DEFAULT_MAX_AGE", "MAX_AGE", "MAX_NAME", "Pin", "can_be_pinned", "checked", "secure_form"]
