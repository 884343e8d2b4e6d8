from collections.abc import Iterable
from typing import SupportsIndex

from .._types import Buffer
from ..names import Place, Scope

class NamespaceCensus:
    def __init__(
        self, *, scope: Scope = ..., max_markup: SupportsIndex = 1048576, places: SupportsIndex = 0
    ) -> None: ...
    def update(self, data: Buffer | str, /) -> None: ...
    def finalize(self) -> None: ...
    def count(self, documents: Iterable[Buffer | str], /) -> None: ...
    def counts(self) -> dict[tuple[str, Scope, bool], int]: ...
    def places(self) -> dict[tuple[str, Scope, bool], list[int]]: ...
    def found(
        self, source: str, /
    ) -> tuple[dict[tuple[str, Scope, bool], int], dict[tuple[str, Scope, bool], tuple[Place, ...]]]: ...
    def count_of(self, name: str, kind: Scope, /) -> int: ...
    @property
    def insecure(self) -> int: ...
    @property
    def secure(self) -> int: ...
    @property
    def overflow(self) -> int: ...

class Encryptor:
    def __init__(
        self,
        *,
        upgrade: bool = True,
        rounds: SupportsIndex = 2,
        max_markup: SupportsIndex = 1048576,
        scope: Scope = ...,
        census: NamespaceCensus | None = None,
    ) -> None: ...
    def update(self, data: Buffer | str, /) -> bytes: ...
    def finalize(self) -> bytes: ...

class Decryptor:
    def __init__(
        self,
        *,
        downgrade: bool = False,
        rounds: SupportsIndex = 2,
        max_markup: SupportsIndex = 1048576,
        scope: Scope = ...,
        known_only: bool = True,
    ) -> None: ...
    def update(self, data: Buffer | str, /) -> bytes: ...
    def finalize(self) -> bytes: ...

def recode_file(
    encryptor: Encryptor,
    source: int,
    target: int,
    /,
    *,
    start: int,
    end: int,
    place: int,
    rounds: SupportsIndex = 0,
) -> tuple[int, int]: ...
