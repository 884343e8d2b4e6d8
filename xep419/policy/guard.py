"""A policy at the mouth of a stream: ``GuardedStream`` in place of a StanzaStream, ``StreamGuard`` before bytes.

The bytes are judged as they came, before anything downgrades or decrypts them. No I/O here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Literal

from ..errors import MalformedXMLError, XEP419Error
from ..namespaces import decrypt, downgrade, encrypt
from ..stream import StanzaStream
from .attribution import outer_tag
from .peers import speaker
from .rules import Policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from .._types import Buffer

    class Transformer(Protocol):
        def update(self, data: Buffer, /) -> bytes: ...
        def finalize(self) -> bytes: ...


#: bytes held before it is asked again how many of them wait
_LOOK = 4_096

#: first-level elements that are not judged: every server on its way reads a presence, so nobody can upgrade it yet
UNJUDGED = ("presence",)


class GuardedStream:
    """A :class:`xep419.StanzaStream` whose stanzas have been admitted by a policy: ``feed`` as there.

    :param peer: who is at the other end: a client's own server, a server's client or other server.
    :param by_sender: True: ``peer`` relays for others, and a stanza is judged as its ``from``'s; without one it is the
        peer's. Who reads from another server sees to it that ``from`` is of its domain (RFC 6120 section 8.1.2.2), or
        it could have others pinned. False: all that comes is the peer's, whatever ``from`` says, as a server must take
        what clients send.
    :param unjudged: local names of first-level elements that pass as they are.
    :param max_stanza, restricted, transform: as for ``StanzaStream``; ``transform`` comes after judgement.

    A stanza that is refused ends the stream: ``feed`` raises the :class:`xep419.InsecureNamespaceError` with the
    stanzas before it as ``stanzas`` and the refused one as ``stanza``; every later call raises it again, without the
    stanzas. The stream header is not judged.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        peer: str,
        by_sender: bool = True,
        unjudged: Collection[str] = UNJUDGED,
        max_stanza: int = 262_144,
        restricted: bool = True,
        transform: Literal["encrypt", "decrypt"] | None = None,
    ) -> None:
        self._stream = StanzaStream(max_stanza=max_stanza, restricted=restricted)
        if transform not in (None, "encrypt", "decrypt"):
            raise ValueError(f"transform must be 'encrypt', 'decrypt' or None, not {transform!r}")
        self._policy = policy
        self._peer = speaker(peer)
        self._by_sender = by_sender
        self._unjudged = frozenset(unjudged)
        self._transform = transform
        self._error: XEP419Error | None = None

    def feed(self, data: Buffer | str, /) -> list[bytes]:
        """The stanzas that ``data`` completes, if the policy admits them all."""
        if self._error is not None:
            raise self._error.with_traceback(None)
        failure: XEP419Error | None = None
        try:
            stanzas: Sequence[bytes] = self._stream.feed(data)
        except XEP419Error as error:
            failure, stanzas = error, error.stanzas
        admitted: list[bytes] = []
        for stanza in stanzas:
            try:
                self._admit(stanza)
            except XEP419Error as error:
                self._refuse(error, stanza)
                failure = error
                break
            admitted.append(self._transformed(stanza))
        if failure is not None:
            failure.stanzas = tuple(admitted)
            raise failure
        return admitted

    @property
    def header(self) -> bytes | None:
        return self._stream.header

    @property
    def closed(self) -> bool:
        return self._stream.closed

    @property
    def pending(self) -> bytes:
        return self._stream.pending

    def reset(self) -> None:
        """Begins a new document, as after STARTTLS; who was refused stays refused."""
        if self._error is not None:
            raise self._error.with_traceback(None)
        self._stream.reset()

    def _admit(self, stanza: bytes) -> None:
        name, sender = outer_tag(stanza)
        if name in self._unjudged:
            return
        self._policy.admit(stanza, peer=speaker(sender) if sender and self._by_sender else self._peer)

    def _transformed(self, stanza: bytes) -> bytes:
        if self._transform == "encrypt":
            return encrypt(stanza)
        return downgrade(decrypt(stanza)) if self._transform == "decrypt" else stanza

    def _refuse(self, error: XEP419Error, stanza: bytes) -> None:
        vars(error)["stanza"] = stanza
        again = type(error)(error.message, offset=error.offset)
        vars(again).update(vars(error))
        self._error = again


class StreamGuard:
    """A policy in one direction of a byte stream, as ``Transformation.incoming`` of :mod:`xep419.integrations.asyncio`.

    What it gives is what it was given, byte for byte, up to the end of the last stanza that was admitted; the beginning
    of one waits until it is whole. ``partial(StreamGuard, policy, peer="example.org")`` makes one for each connection.

    :param then: makes what the admitted bytes go through next, such as ``partial(Decryptor, downgrade=True)``.
    :param policy, peer, by_sender, unjudged, max_stanza, restricted: as for :class:`GuardedStream`.
    """

    #: its errors are a stream's, to be told by their ``condition``
    reads_stream = True

    def __init__(
        self,
        policy: Policy,
        *,
        peer: str,
        then: Callable[[], Transformer] | None = None,
        by_sender: bool = True,
        unjudged: Collection[str] = UNJUDGED,
        max_stanza: int = 262_144,
        restricted: bool = True,
    ) -> None:
        self._stream = GuardedStream(
            policy, peer=peer, by_sender=by_sender, unjudged=unjudged, max_stanza=max_stanza, restricted=restricted
        )
        self._then = then() if then else None
        self._held = bytearray()
        self._look_at = _LOOK
        self._header: bytes | None = None

    def update(self, data: Buffer, /) -> bytes:
        """What has been admitted. The error of a stanza that is not has what came before it as ``stanzas``."""
        piece = bytes(memoryview(data))
        try:
            stanzas = self._stream.feed(piece)
        except XEP419Error as error:
            before = self._before_error(error.stanzas, self._held + piece)
            error.stanzas = (self._passed_on(before),) if before else ()
            raise
        alone = not self._held and piece.isspace()  # a keep-alive
        ended = self._new_header() or stanzas or alone or self._stream.closed
        self._held += piece
        if not ended and len(self._held) < self._look_at:
            return b""
        # ``pending`` is a copy: it is asked for where a piece has ended something, or what is held has doubled
        ready = len(self._held) - len(self._stream.pending)
        released = bytes(self._held[:ready])
        del self._held[:ready]
        self._look_at = max(_LOOK, 2 * len(self._held))
        return self._passed_on(released)

    def finalize(self) -> bytes:
        """The end of the connection.

        :raises MalformedXMLError: in the middle of a stanza, which was not judged and is not given.
        """
        if pending := self._stream.pending:
            raise MalformedXMLError(f"expected the rest of a stanza, got the end after {len(pending)} bytes of it")
        return self._then.finalize() if self._then else b""

    def _before_error(self, stanzas: Iterable[bytes], data: bytearray) -> bytes:
        """The beginning of the data up to the end of the last of the stanzas, or of a header that is new."""
        end = 0
        for stanza in stanzas:
            end = data.index(stanza, end) + len(stanza)
        if header := self._new_header():
            end = max(end, data.find(header) + len(header))  # the first place: what follows may hold it again
        return bytes(data[:end])

    def _new_header(self) -> bytes:
        """The stream header if it was not there at the last look."""
        before, self._header = self._header, self._stream.header
        return b"" if self._header is before else self._header or b""

    def _passed_on(self, data: bytes) -> bytes:
        return self._then.update(data) if self._then else data


__all__ = ["UNJUDGED", "GuardedStream", "StreamGuard"]
