from typing import Literal, SupportsIndex

from .._types import Buffer

class StanzaStream:
    def __init__(
        self,
        *,
        max_stanza: SupportsIndex = 262144,
        restricted: bool = True,
        transform: Literal["encrypt", "decrypt"] | None = None,
    ) -> None: ...
    def feed(self, data: Buffer | str, /) -> list[bytes]: ...
    def reset(self) -> None: ...
    @property
    def header(self) -> bytes | None: ...
    @property
    def closed(self) -> bool: ...
    @property
    def pending(self) -> bytes: ...
