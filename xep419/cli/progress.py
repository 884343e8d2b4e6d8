"""The progress bar: on standard error, for a person, when the work is longer than a moment. Silent otherwise."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from .files import size, source_name

if TYPE_CHECKING:
    from rich.progress import Progress

#: seconds before the bar shows
MOMENT = 0.5
#: seconds between two looks of a bar that no thread draws
REDRAWN = 0.25


def is_terminal(stream: IO[Any] | None) -> bool:
    return stream is not None and stream.isatty()


def total_size(files: Iterable[str]) -> int | None:
    """Bytes to come from all inputs, or None when one of them does not tell."""
    sizes = [size(path) for path in files]
    return None if None in sizes else sum(found or 0 for found in sizes)


class ProgressBar:
    """Counts the bytes done with, and shows them when it has a terminal and the time has come.

    :param files: the inputs, for their sizes.
    :param shown: false when standard output is on the terminal, where a bar would run into it.
    """

    def __init__(self, files: Iterable[str], *, shown: bool) -> None:
        self._shown = shown and is_terminal(sys.stderr)
        self._total = total_size(files) if self._shown else None
        self._name = ""
        self._done = 0
        self._bar: Progress | None = None
        # A thread, since one call on a large file may be all the work there is; it also spares short work the
        # cost of importing the bar.
        self._timer = threading.Timer(MOMENT, self._show)
        self._timer.daemon = True

    def __enter__(self) -> ProgressBar:
        if self._shown:
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            self._timer.cancel()
            self._timer.join()
        if self._bar is not None:
            self._bar.stop()

    def begin(self, path: str) -> None:
        """The next file."""
        self._name = source_name(os.path.basename(path))
        self._update()

    def advance(self, count: int) -> None:
        """``count`` more bytes are done with."""
        self._done += count
        self._update()

    def _update(self) -> None:
        if self._bar is not None:
            for task in self._bar.task_ids:
                self._bar.update(task, completed=self._done, description=self._name)

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )
        from rich.table import Column

        bar = Progress(
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, max_width=40)),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=False,
        )
        bar.add_task(self._name, total=self._total, completed=self._done)
        bar.start()
        self._bar = bar


@contextlib.contextmanager
def parts_done() -> Iterator[Callable[[float], None]]:
    """A function to tell which part is done, 0 to 1, which shows it when standard error is a terminal.

    The caller's thread draws, and no other: one of its own would be in the way of what is being timed.
    """
    if not is_terminal(sys.stderr):
        yield lambda part: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    drawn = time.monotonic()
    with Progress(
        TextColumn("measuring"),
        BarColumn(),
        TextColumn("{task.percentage:.0f} %"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
    ) as bar:
        task = bar.add_task("", total=1.0)

        def show(part: float) -> None:
            nonlocal drawn
            if time.monotonic() - drawn > REDRAWN:
                bar.update(task, completed=part, refresh=True)
                drawn = time.monotonic()

        yield show
