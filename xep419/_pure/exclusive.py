"""Objects for one thread at a time, and only after their ``__init__``: what the compiled ones promise, in plain Python.

``__init__`` may be called again: it begins anew, or refuses while a method is at work. Knows nothing of what they do.
"""

from __future__ import annotations

import _thread
import contextlib
from collections.abc import Iterator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn, TypeVar

    _Self = TypeVar("_Self", bound="Exclusive")


class Exclusive:
    """Its ``__init__`` reads all arguments first, then changes the object within :meth:`_initializing`."""

    _in_use: _thread.LockType
    _begun = False

    def __new__(cls: type[_Self], *_: object, **_options: object) -> _Self:
        made = super().__new__(cls)
        made._in_use = _thread.allocate_lock()  # here, so that a second __init__ does not replace it
        return made

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"cannot pickle {type(self).__name__!r} object")

    @contextlib.contextmanager
    def _initializing(self) -> Iterator[None]:
        with self._taken():
            yield
            self._begun = True

    @contextlib.contextmanager
    def _used_alone(self) -> Iterator[None]:
        with self._taken():
            self._check_begun()
            yield

    @contextlib.contextmanager
    def _taken(self) -> Iterator[None]:
        if not self._in_use.acquire(blocking=False):
            raise RuntimeError(f"this {type(self).__name__} is in use by another thread")
        try:
            yield
        finally:
            self._in_use.release()

    def _check_begun(self) -> None:
        if not self._begun:
            raise RuntimeError(f"this {type(self).__name__} was never initialized")
