"""Chooses between the compiled core and its pure-Python twin, once, at import.

The pure twin runs only where it was asked for: by ``XEP419_ISA=python``, or by a build with
``XEP419_NO_EXTENSIONS=1``, which leaves the marker module ``_pure/built_without_extensions.py``.
"""

from __future__ import annotations

import importlib.machinery
import os

TYPE_CHECKING = False


def _is_built(module: str) -> bool:
    path = os.path.join(os.path.dirname(__file__), *module.split("."))
    return any(os.path.exists(path + suffix) for suffix in importlib.machinery.all_suffixes())


def _use_python() -> bool:
    if os.environ.get("XEP419_ISA") == "python":
        return True
    if _is_built("_core.isa"):
        return False
    if _is_built("_pure.built_without_extensions"):
        return True
    raise ImportError(
        "xep419's compiled modules are missing for this interpreter: build them (pip install .),"
        " or set XEP419_ISA=python to run in pure Python"
    )


def _refuse_other_isas() -> None:
    requested = os.environ.get("XEP419_ISA") or "python"
    if requested != "python":
        raise ImportError(
            f"instruction set {requested!r} is not available in a build without extensions: choose 'python'"
        )


if TYPE_CHECKING or not _use_python():
    from ._core import checking, cipher, columns, framing, incremental, namespaces, restoration
    from ._core.isa import available_isas, build, isa
else:
    _refuse_other_isas()
    from ._pure import checking, cipher, columns, framing, incremental, namespaces, restoration

    def isa() -> str:
        """The name of the instruction set in use."""
        return "python"

    def available_isas() -> tuple[str, ...]:
        """The instruction sets this machine can run, slowest first."""
        return ("python",)

    def build() -> str:
        """What the core was built with."""
        return "pure Python"


__all__ = [
    "available_isas",
    "build",
    "checking",
    "cipher",
    "columns",
    "framing",
    "incremental",
    "isa",
    "namespaces",
    "restoration",
]
