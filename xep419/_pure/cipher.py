"""ROT-13 over bytes in plain Python: one ``bytes.translate`` per rotation."""

from __future__ import annotations

import operator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._types import Buffer

_UPPER = bytes(range(0x41, 0x5B))
_LOWER = bytes(range(0x61, 0x7B))
_ROTATION = bytes.maketrans(_UPPER + _LOWER, _UPPER[13:] + _UPPER[:13] + _LOWER[13:] + _LOWER[:13])


def view(data: Buffer, argument: str = "data", kind: str = "a bytes-like object or str") -> memoryview:
    """A flat view of 1-byte items; TypeError, BufferError or ValueError say what came instead."""
    came = type(data).__name__
    try:
        found = memoryview(data)
    except TypeError:
        raise TypeError(f"{argument} must be {kind}, not {came!r}") from None
    if found.itemsize != 1:
        raise ValueError(
            f"{argument} must hold 1-byte items, not {found.itemsize}-byte items of format {found.format!r} ({came!r})"
        )
    if not found.nbytes:
        return memoryview(bytearray())
    if not found.c_contiguous:
        raise BufferError(f"{argument} must be C-contiguous, not a strided {came!r}")
    return found.cast("B")


def to_bytes(data: Buffer | str, argument: str = "data") -> bytes:
    """The bytes of any input: ``str`` as UTF-8, lone surrogates passed through."""
    if isinstance(data, str):
        return data.encode("utf-8", "surrogatepass")
    if type(data) is bytes:
        return data
    return view(data, argument).tobytes()


def to_str(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def fold_rounds(rounds: int) -> int:
    """Rotations to execute: 0, 1 or 2; two rotations and any other even number are alike."""
    count = operator.index(rounds)
    if count < 0:
        raise ValueError(f"rounds must be 0 or more, not {count}")
    return count if count < 3 else 2 - count % 2


def rotate(data: bytes, rounds: int) -> bytes:
    for _ in range(rounds):
        data = data.translate(_ROTATION)
    return data


def rot13(data: Buffer | str, /, *, rounds: int = 1) -> bytes | str:
    folded = fold_rounds(rounds)
    rotated = rotate(to_bytes(data), folded)
    return to_str(rotated) if isinstance(data, str) else rotated


def double_rot13(data: Buffer | str, /) -> bytes | str:
    return rot13(data, rounds=2)


def _writable(buffer: Buffer, argument: str) -> memoryview:
    kind = "a writable bytes-like object"
    if isinstance(buffer, str):
        raise TypeError(f"{argument} must be {kind}, not 'str'")
    found = view(buffer, argument, kind)
    if memoryview(buffer).readonly:
        raise BufferError(f"{argument} must be writable, not a read-only {type(buffer).__name__!r}")
    return found


def rot13_into(src: Buffer | str, dst: Buffer, /, *, rounds: int = 1) -> int:
    folded = fold_rounds(rounds)
    source = to_bytes(src, "src")
    target = _writable(dst, "dst")
    if len(target) < len(source):
        raise ValueError(f"dst must hold at least {len(source)} bytes, not {len(target)}")
    target[: len(source)] = rotate(source, folded)
    return len(source)


def double_rot13_into(src: Buffer | str, dst: Buffer, /) -> int:
    return rot13_into(src, dst, rounds=2)


def rot13_inplace(buffer: Buffer, /, *, rounds: int = 1) -> None:
    folded = fold_rounds(rounds)
    target = _writable(buffer, "buffer")
    target[:] = rotate(target.tobytes(), folded)


__all__: list[str] = [
    "double_rot13",
    "double_rot13_into",
    "rot13",
    "rot13_inplace",
    "rot13_into",
]
