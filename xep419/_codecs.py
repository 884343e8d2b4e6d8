"""The ciphers as codecs, bytes to bytes, stateless and incremental; registered only on request."""

from __future__ import annotations

import codecs
from collections.abc import Callable

from .cipher import double_rot13, rot13

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._types import Buffer


def _codec_info(name: str, rotate: Callable[[Buffer], bytes]) -> codecs.CodecInfo:
    def transform(data: Buffer, errors: str = "strict") -> tuple[bytes, int]:
        if isinstance(data, str):
            raise TypeError(f"{name} is a bytes-to-bytes codec: it takes a bytes-like object, not 'str'")
        rotated = rotate(data)
        return rotated, len(rotated)

    class Codec(codecs.Codec):
        def encode(self, input: Buffer, errors: str = "strict") -> tuple[bytes, int]:  # type: ignore[override]
            return transform(input, errors)

        def decode(self, input: Buffer, errors: str = "strict") -> tuple[bytes, int]:  # type: ignore[override]
            return transform(input, errors)

    class IncrementalEncoder(codecs.IncrementalEncoder):
        def encode(self, input: Buffer, final: bool = False) -> bytes:  # type: ignore[override]
            return transform(input, self.errors)[0]

    class IncrementalDecoder(codecs.IncrementalDecoder):
        def decode(self, input: Buffer, final: bool = False) -> bytes:  # type: ignore[override]
            return transform(input, self.errors)[0]

    class StreamWriter(Codec, codecs.StreamWriter):
        charbuffertype = bytes

    class StreamReader(Codec, codecs.StreamReader):
        charbuffertype = bytes

    return codecs.CodecInfo(
        name=name,
        encode=transform,  # type: ignore[arg-type]
        decode=transform,  # type: ignore[arg-type]
        incrementalencoder=IncrementalEncoder,
        incrementaldecoder=IncrementalDecoder,
        streamwriter=StreamWriter,
        streamreader=StreamReader,
        _is_text_encoding=False,
    )


_CODECS = {
    "rot13_bytes": _codec_info("rot13_bytes", rot13),
    "double_rot13": _codec_info("double_rot13", double_rot13),
}
_registered = False


def register() -> None:
    """Idempotent: a second call changes nothing."""
    global _registered
    if not _registered:
        codecs.register(_CODECS.get)
        _registered = True
