from .._types import Buffer
from ..names import Scope

def recode_values(
    values: Buffer,
    offsets: Buffer,
    /,
    *,
    large: bool = False,
    valid: Buffer | None = None,
    rounds_from: int = 0,
    rounds_to: int = 2,
    upgrade: bool = True,
    check: bool = True,
    census: bool = False,
    limit: int | None = None,
) -> tuple[bytes, bytes, list[int], dict[tuple[str, Scope, bool], int]]: ...
