"""How fast the same bytes are copied from the same place to the same place: what a job's speed is held against.

A sample is copied as ``cp`` does it, and removed. It is the page cache's speed where the sources are in it, as they
are after a job.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Sequence

from .job import Root
from .storage import TEMPORARY, walk

#: the most bytes and files that are copied for it
SAMPLE_BYTES, SAMPLE_FILES = 64 << 20, 256


def copying_rate(roots: Sequence[Root]) -> float | None:
    """Bytes a second, or None where it cannot be measured: sources or targets that are not local files."""
    files: list[str] = []
    size = 0
    for root in roots:
        if root.is_database or not (root.source.is_local and root.target.is_local):
            return None
        for entry in walk(root.source):
            if entry.kind == "file" and len(files) < SAMPLE_FILES and size + entry.size <= SAMPLE_BYTES:
                files.append(entry.location.url)
                size += entry.size
    if not size:
        return None
    with contextlib.suppress(OSError):
        beside = os.path.dirname(os.path.abspath(roots[0].target.url))
        with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=beside) as sample:
            started = time.perf_counter()
            for number, file in enumerate(files):
                shutil.copyfile(file, os.path.join(sample, str(number)))
            return size / (time.perf_counter() - started)
    return None
