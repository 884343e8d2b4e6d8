from typing import SupportsIndex

from .._types import Buffer

def match_upgraded(
    original: Buffer | str, upgraded: Buffer | str, /, *, final: bool = False, previous: SupportsIndex = -1
) -> tuple[int, int, int]: ...
def match_files(
    original: int,
    upgraded: int,
    /,
    *,
    start: int,
    end: int,
    place: int,
    place_end: int,
    most: int,
    rounds: SupportsIndex = 0,
    upgraded_rounds: SupportsIndex = 0,
    previous: SupportsIndex = -1,
) -> tuple[int, int, int, int, bool]: ...
