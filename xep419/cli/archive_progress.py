"""How an archive job goes on, on a terminal: bytes, their speed, units, the time left, what is being worked on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from .files import printable
from .progress import MOMENT, REDRAWN

if TYPE_CHECKING:
    from rich.progress import Progress


class ArchiveProgress:
    """An :class:`xep419.archive.Observer` that draws on standard error, once the job takes longer than a moment.

    :param shown: false where standard error is no terminal.
    :param measure: the bytes that the job will go over, which it comes to know only as it goes; takes its time.
    """

    def __init__(self, *, shown: bool, measure: Callable[[], int]) -> None:
        self._measure = measure
        self._units_done = self._size = self._size_done = 0
        self._name = ""
        self._adding = threading.Lock()
        self._ended = threading.Event()
        # A thread of its own: a unit may take long, and the coordinator waits for it.
        self._drawer = threading.Thread(target=self._draw, daemon=True) if shown else None

    def __enter__(self) -> ArchiveProgress:
        if self._drawer is not None:
            self._drawer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._drawer is not None:
            self._drawer.join()

    def found(self, units: int, size: int) -> None:
        self._size += size

    def working(self, name: str) -> None:
        self._name = printable(name)

    def advance(self, count: int) -> None:
        with self._adding:
            self._size_done += count

    def done(self, units: int) -> None:
        self._units_done += units

    def _draw(self) -> None:
        if self._ended.wait(MOMENT):
            return
        with _new_bar() as bar:
            (task,) = bar.task_ids
            measured = self._measure()
            while not self._ended.wait(REDRAWN):
                bar.update(
                    task,
                    total=max(measured, self._size) or None,
                    completed=self._size_done,
                    description=self._name,
                    units=f"{self._units_done:,}",
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
