"""``Policy``: which insecure names a peer may not use: it has used their secure forms before, or we say so.

In the way HSTS (RFC 6797) protects web sites: pinned on first use, for a time, with the domains below, or from the
start. What a stanza's own names are is :mod:`xep419.policy.attribution`'s, pins are kept by :mod:`xep419.policy.store`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from xml.etree import ElementTree

from ..errors import InsecureNamespaceError
from ..names import Scope, downgrade_name, is_known
from .attribution import SERVER_ADDED, Said, said
from .peers import domain_of, normal_peer, parents
from .pins import DEFAULT_MAX_AGE, MAX_AGE, Pin, secure_form

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._types import Buffer
    from .store import PinStore


class Policy:
    """Judges the names in stanzas, and learns from them. One policy may serve any number of streams and threads.

    A peer is a JID as ``str``: a full or bare one stands for all clients of that account, a domain for its server
    (:func:`xep419.policy.speaker` gives it for a stanza's ``from``). A stanza is bytes-like, ``str``, or an ElementTree
    element; only its sender's own names count, not those in what it forwards (XEP-0297).

    :param require_secure: True: no insecure name at all; a collection of names, in either form: none of these.
    :param pins: where the secure names that peers use are remembered; None: nowhere.
    :param max_age: how long a pin holds after the last use, in seconds (RFC 6797 section 6.1.1).
    :param include_subdomains: what a domain is pinned to holds for the services at domains below it (6.1.2).
    :param preload: domains whose servers, services and users, and those of the domains below, are known to have been
        upgraded: every registered name is expected secure from the first stanza on (12.3). JIDs work too.
    :param shared: addresses where many speak, as in a room or through a PubSub service: bare JIDs, or domains for all
        at them. They are not pinned, for one speaker would decide for all; ``require_secure`` and ``preload`` hold.
    :param exempt: names that are neither pinned nor refused, since servers on the way add them; in either form.
    :param scope: the positions that count.
    :raises ValueError: ``max_age`` is not above 0, or above ten years.
    :raises MalformedJIDError: ``preload`` or ``shared`` hold something else.
    """

    def __init__(
        self,
        *,
        require_secure: bool | Collection[str] = False,
        pins: PinStore | None = None,
        max_age: float = DEFAULT_MAX_AGE,
        include_subdomains: bool = False,
        preload: Iterable[str] = (),
        shared: Iterable[str] = (),
        exempt: Iterable[str] = SERVER_ADDED,
        scope: Scope = Scope.ALL,
    ) -> None:
        if not 0 < max_age <= MAX_AGE:
            raise ValueError(f"max_age must be above 0 and at most {MAX_AGE:.0f} seconds, not {max_age!r}")
        if isinstance(require_secure, str) or isinstance(preload, str) or isinstance(shared, str):
            raise TypeError("require_secure, preload and shared take collections of str, not a str")
        self.pins = pins
        self.max_age = max_age
        self.include_subdomains = include_subdomains
        self.scope = scope
        #: normalized; addresses may be added and removed at any time
        self.shared: set[str] = set(map(normal_peer, shared))
        self._preload = frozenset(map(normal_peer, preload))
        self._exempt = frozenset(map(secure_form, exempt))
        self._all = require_secure is True
        self._required = frozenset(() if isinstance(require_secure, bool) else map(secure_form, require_secure))

    def check(self, stanza: Buffer | str | ElementTree.Element, /, *, peer: str) -> None:
        """Passes a stanza that the peer may send; learns nothing.

        :raises InsecureNamespaceError: it holds an insecure name that policy requires secure, or both forms of one
            name, of which a reader could be made to take either. The error tells the first one.
        :raises MalformedJIDError, EncodingError, PinStoreError: it cannot be judged.
        """
        peer = normal_peer(peer)
        self._check(said(stanza, self.scope), peer)

    def learn(self, stanza: Buffer | str | ElementTree.Element, /, *, peer: str) -> None:
        """Pins the peer to the secure names in a stanza, whatever else is in it.

        :raises MalformedJIDError, EncodingError, PinStoreError: it cannot be read, or the pins not stored.
        """
        peer = normal_peer(peer)
        self._learn(said(stanza, self.scope), peer)

    def admit(self, stanza: Buffer | str | ElementTree.Element, /, *, peer: str) -> None:
        """``check`` and, where that passes, ``learn``, with one scan. A stanza that is refused teaches nothing."""
        peer = normal_peer(peer)
        names = said(stanza, self.scope)
        if names:
            self._check(names, peer)
            self._learn(names, peer)

    def is_shared(self, peer: str) -> bool:
        """Whether many speak at the address of this peer, which is normalized."""
        return bool(self.shared) and (peer in self.shared or domain_of(peer) in self.shared)

    # -- judgement ----------------------------------------------------------------------------------------

    def _check(self, names: Sequence[Said], peer: str) -> None:
        insecure = [found for found in names if not found.secure and secure_form(found.name) not in self._exempt]
        if not insecure:
            return
        beside = {secure_form(found.name) for found in names if found.secure}
        preloaded = bool(self._preload) and self._is_preloaded(peer)
        held = self._held(peer)
        now = self.pins.now() if self.pins is not None and held else 0.0
        objections: list[tuple[Said, str]] = []
        for found in insecure:
            name = secure_form(found.name)
            if self._all or name in self._required:
                objections.append((found, "policy requires it"))
            elif preloaded and is_known(downgrade_name(name)):
                objections.append((found, "its domain is preloaded"))
            elif pin := _in_force(name, peer, held, now):
                objections.append((found, f"pinned to {pin.peer} until {_date(pin.expires)}"))
            elif name in beside and not self.is_shared(peer):
                objections.append((found, "that form stands in the same stanza"))
        if objections:
            raise _refusal(objections, peer)

    def _is_preloaded(self, peer: str) -> bool:
        domain = domain_of(peer)
        return not self._preload.isdisjoint((peer, domain, *parents(domain)))

    def _held(self, peer: str) -> list[Mapping[str, Pin]]:
        """The pins of the peer and, for a domain, of those above it, whether they hold or not."""
        if self.pins is None or self.is_shared(peer):
            return []
        above = () if "@" in peer else parents(peer)
        return [pins for one in (peer, *above) if (pins := self.pins.of(one))]

    def _learn(self, names: Sequence[Said], peer: str) -> None:
        if self.pins is None or self.is_shared(peer):
            return
        secure = {secure_form(found.name): None for found in names if found.secure}
        wanted = [name for name in secure if name not in self._exempt]
        if wanted:
            below = self.include_subdomains and "@" not in peer
            self.pins.learn(peer, wanted, max_age=self.max_age, include_subdomains=below)


def _in_force(name: str, peer: str, held: Iterable[Mapping[str, Pin]], now: float) -> Pin | None:
    for pins in held:
        pin = pins.get(name)
        if pin is not None and pin.expires >= now and (pin.peer == peer or pin.include_subdomains):
            return pin
    return None


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d")


def _refusal(objections: Sequence[tuple[Said, str]], peer: str) -> InsecureNamespaceError:
    found, reason = objections[0]
    expected = secure_form(found.name)
    others = len({name for (name, *_), _ in objections}) - 1
    more = f" and {others} more" if others else ""
    error = InsecureNamespaceError(
        f"expected {expected!r} from {peer} ({reason}), got {found.name!r}{more}", offset=found.offset
    )
    error.peer, error.name, error.expected = peer, found.name, expected
    return error


__all__ = ["Policy"]
