from typing import SupportsIndex

from .._types import Buffer

def match_upgraded(
    original: Buffer | str, upgraded: Buffer | str, /, *, final: bool = False, previous: SupportsIndex = -1
) -> tuple[int, int, int]: ...
