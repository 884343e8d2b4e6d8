"""How fast the same bytes are copied from the same place to the same place: what a job's speed is held against.

A sample is copied as ``cp`` does it, and removed. It is the page cache's speed where the sources are in it, as they
are after a job.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Sequence

from ..errors import ArchiveError
from .roots import Root
from .storage import TEMPORARY, walk

#: the most bytes and files that are copied for it
SAMPLE_BYTES, SAMPLE_FILES = 64 << 20, 256


def copying_rate(roots: Sequence[Root]) -> float | None:
    """Bytes a second, or None where it cannot be measured: sources or targets that are not local files."""
    if any(root.is_database or not (root.source.is_local and root.target.is_local) for root in roots):
        return None
    with contextlib.suppress(OSError, ArchiveError):
        files, size = _sample(roots)
        if not size:
            return None
        beside = os.path.dirname(os.path.abspath(roots[0].target.url))
        with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=beside) as sample:
            started = time.perf_counter()
            for number, file in enumerate(files):
                shutil.copyfile(file, os.path.join(sample, str(number)))
            return size / (time.perf_counter() - started)
    return None


def _sample(roots: Sequence[Root]) -> tuple[list[str], int]:
    """Files and their bytes, the first that are found; large ones are passed over."""
    files: list[str] = []
    size = 0
    for entry in itertools.chain.from_iterable(walk(root.source) for root in roots):
        if len(files) == SAMPLE_FILES:
            break
        if entry.kind == "file" and size + entry.size <= SAMPLE_BYTES:
            files.append(entry.location.url)
            size += entry.size
    return files, size
