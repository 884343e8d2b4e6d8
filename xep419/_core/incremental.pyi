from typing import SupportsIndex

from .._types import Buffer
from ..names import Scope

class Encryptor:
    def __init__(
        self,
        *,
        upgrade: bool = True,
        rounds: SupportsIndex = 2,
        max_markup: SupportsIndex = 1048576,
        scope: Scope = ...,
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
