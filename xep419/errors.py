"""Every error this package raises about the data it was given.

Wrong argument *types* raise the built-in ``TypeError``, ``BufferError`` or ``ValueError``; this module is
for what is wrong inside the bytes. Each error says what was expected and what came, and carries the byte
offset where it was found.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .stanza import Exposure


class XEP419Error(Exception):
    """Base of every error about the data.

    :param message: what was expected and what came.
    :param offset: byte offset in the input (for incremental objects: since their first byte), or None.
    """

    offset: int | None
    #: the stream error condition to close an XMPP stream with (RFC 6120 section 4.9.3), where there is one
    condition: str | None = None
    #: what :meth:`xep419.StanzaStream.feed` had completed before the error it raised: nothing is lost
    stanzas: tuple[bytes, ...] = ()

    def __init__(self, message: str, *, offset: int | None = None) -> None:
        super().__init__(message if offset is None else f"{message} (at byte {offset})")
        self.message = message
        self.offset = offset

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.offset, self.__dict__))


def _rebuild(kind: type[XEP419Error], message: str, offset: int | None, state: dict[str, object]) -> XEP419Error:
    error = kind(message, offset=offset)
    error.__dict__.update(state)
    return error


class MalformedXMLError(XEP419Error, ValueError):
    """The input is not the well-formed XML that the operation needs."""

    condition = "not-well-formed"


class RestrictedXMLError(XEP419Error):
    """XML that RFC 6120 section 11.1 forbids in a stream: a comment, PI, DTD or undefined entity."""

    condition = "restricted-xml"


class LimitExceededError(XEP419Error):
    """More bytes would have to be held back than the stated limit allows."""

    condition = "policy-violation"


class EncodingError(XEP419Error, ValueError):
    """The input is in an encoding whose markup is not ASCII-compatible (UTF-16, UTF-32); in a stream, not in UTF-8."""

    condition = "unsupported-encoding"


class PartialEncryptionError(XEP419Error):
    """A stanza whose encryption does not cover all of it (XEP-0419, Stanza Encryption)."""

    #: what a reader of the clear parts learns
    exposures: tuple[Exposure, ...] = ()


class RestorationError(XEP419Error, ValueError):
    """Without the letters that an upgrade put in, its input does not come back."""

    @classmethod
    def at(cls, expected: int | None, came: int | None, offset: int) -> RestorationError:
        """The error of one byte; None is the end."""
        wanted = "the end" if expected is None else f"byte 0x{expected:02x} at this place"
        what = "the end" if came is None else f"0x{came:02x}"
        return cls(f"expected {wanted} of the restored input, got {what}", offset=offset)


class InsecureNamespaceError(XEP419Error):
    """A namespace came in its insecure form where policy requires the secure one."""

    condition = "policy-violation"
    #: who sent it, as policy knows them: a bare JID or a domain
    peer: str | None = None
    #: the name that came
    name: str | None = None
    #: the secure form that was expected
    expected: str | None = None
    #: the stanza that was refused, where a stream was being read; ``offset`` counts in it
    stanza: bytes | None = None


class ArchiveError(XEP419Error):
    """A job over an archive cannot go on: another job has it, its target is full or gone, its journal does not fit."""


class CorruptArchiveError(XEP419Error, ValueError):
    """A unit of an archive is not what its format promises: truncated, inconsistent, not decodable."""


class UnsupportedArchiveError(ArchiveError, ValueError):
    """Something that holds no stanza, or none that can be rewritten; the message says why."""


class UnknownNamespaceError(XEP419Error, KeyError):
    """A name that is neither registered with the XMPP Registrar nor the target namespace of a XEP."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would show its repr


class ResolutionError(XEP419Error):
    """DNS gave no way to connect to a domain (:mod:`xep419.srv`).

    :param reason: ``invalid-domain``: it is no domain name; ``no-such-domain``: DNS has no such name;
        ``not-offered``: the target "." says that the service is decidedly not available (RFC 2782); ``no-address``:
        nothing to connect to is in the answers; ``timeout``: no answer in the time given; ``bad-answer``: an error, a
        loop, or what is not DNS; ``no-nameserver``: there is nobody to ask.
    """

    def __init__(self, message: str, *, offset: int | None = None, reason: str = "bad-answer") -> None:
        super().__init__(message, offset=offset)
        self.reason = reason


class LinkError(XEP419Error):
    """No XMPP stream could be opened over TLS with an endpoint (:mod:`xep419.probe`)."""


class MalformedJIDError(XEP419Error, ValueError):
    """An address that is not a JID (RFC 7622)."""

    condition = "improper-addressing"


class PinStoreError(XEP419Error):
    """The pins of downgrade protection cannot be read or written; what was stored is as it was.

    :param path: the store's file.
    :param reason: what is wrong, and what can be done.
    """

    condition = "internal-server-error"
    path: str | None = None
    reason: str | None = None


class PinFormatError(XEP419Error, ValueError):
    """A file of exported pins is not one, or what would become a pin cannot be one."""
