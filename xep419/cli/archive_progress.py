"""How an archive job goes on, on a terminal: bytes, their speed, units, the time left, what is being worked on."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING

from .files import printable
from .progress import MOMENT

if TYPE_CHECKING:
    from rich.progress import Progress


class ArchiveProgress:
    """An :class:`xep419.archive.Observer` that draws on standard error, once the job takes longer than a moment.

    :param shown: false where standard error is no terminal.
    """

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown
        self._begun = time.monotonic()
        self._units = self._units_done = self._size = self._size_done = 0
        self._name = ""
        self._bar: Progress | None = None
        self._count = threading.Lock()

    def __enter__(self) -> ArchiveProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def found(self, units: int, size: int) -> None:
        self._units += units
        self._size += size
        self._draw()

    def working(self, name: str) -> None:
        self._name = printable(name)
        self._draw()

    def advance(self, count: int) -> None:
        with self._count:
            self._size_done += count

    def done(self, units: int) -> None:
        self._units_done += units
        self._draw()

    def _draw(self) -> None:
        if not self._shown or time.monotonic() - self._begun < MOMENT:
            return
        if self._bar is None:
            self._bar = _new_bar()
            self._bar.start()
        for task in self._bar.task_ids:
            self._bar.update(
                task,
                total=max(self._size, 1),
                completed=min(self._size_done, self._size),
                description=self._name,
                units=f"{self._units_done} of {self._units}",
            )


def _new_bar() -> Progress:
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
        TextColumn("{task.fields[units]} units"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
    )
    bar.add_task("", total=None, units="0")
    return bar
