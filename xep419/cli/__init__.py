"""The ``xep419`` command. Needs the extra ``xep419[cli]``; nothing else in the package imports this."""

from __future__ import annotations

try:
    import click  # noqa: F401
    import rich  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"the xep419 command needs click and rich ({error}): pip install 'xep419[cli]'", name=error.name
    ) from error

from .run import main

__all__ = ["main"]
