"""The Dask engine: units on the workers of a Dask distributed cluster, this machine's or any other.

Workers must see sources and targets under the same paths or URLs, and have the same xep419 installed. A worker that is
lost costs what it was doing: Dask gives its units to others, which write under the same temporary names anew.

Needs the extra ``xep419[dask]``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Any

from ...errors import ArchiveError, XEP419Error
from ..storage import discard
from ..work import Advance, Outcome, Unit
from .local import processors

try:
    import distributed
except ImportError as error:
    raise ImportError(
        f"the dask engine needs distributed ({error}): pip install 'xep419[dask]'", name=error.name
    ) from error

#: seconds to wait for a scheduler to answer, and for its first worker
PATIENCE = 30
#: how often a unit that failed is tried again; a lost worker is Dask's own affair
RETRIES = 2
#: bytes that a worker reads between two messages about its progress
TOLD = 8 << 20
TOPIC = "xep419-archive"


class DaskEngine:
    """:param scheduler: the address of one that is there; by default a cluster of processes on this machine.
    :param jobs: units at once, by default one for each thread of the workers.
    """

    def __init__(self, scheduler: str | None = None, jobs: int | None = None) -> None:
        self._cluster: Any = None
        try:
            if scheduler is None:
                self._cluster = distributed.LocalCluster(
                    n_workers=jobs or processors(), threads_per_worker=1, dashboard_address=None, silence_logs=50
                )
            self._client = distributed.Client(self._cluster or scheduler, timeout=PATIENCE, set_as_default=False)
            self._client.wait_for_workers(1, timeout=PATIENCE)
        except (OSError, TimeoutError) as error:
            self._close_cluster()
            raise ArchiveError(f"{scheduler or 'the local cluster'}: no Dask worker is to be had: {error}") from error
        self.jobs = jobs or max(1, sum(self._client.nthreads().values()))

    def run(self, units: Iterable[Unit], advance: Advance) -> Iterator[list[Outcome]]:
        running: set[Any] = set()
        ended = threading.Event()
        told = self._listen(advance, ended)
        try:
            for unit in units:
                running.add(self._client.submit(run_unit, unit, told, pure=False, retries=RETRIES))
                while len(running) > 2 * self.jobs:
                    yield from self._taken(running)
            while running:
                yield from self._taken(running)
        finally:
            ended.set()
            self._client.unsubscribe_topic(told)
            self._abandon(running)

    def _listen(self, advance: Advance, ended: threading.Event) -> str:
        """The topic under which workers tell what they read."""
        topic = f"{TOPIC}-{id(advance):x}-{id(ended):x}"

        def hear(event: tuple[float, Any]) -> None:
            if not ended.is_set():
                advance(int(event[1]))

        self._client.subscribe_topic(topic, hear)
        return topic

    def _taken(self, running: set[Any]) -> Iterator[list[Outcome]]:
        done = distributed.wait(running, return_when="FIRST_COMPLETED").done
        for future in done:
            running.discard(future)
            yield self._result(future)

    @staticmethod
    def _result(future: Any) -> list[Outcome]:
        try:
            outcomes: list[Outcome] = future.result()
        except XEP419Error:
            raise
        except distributed.KilledWorker as error:
            raise ArchiveError(f"the workers that were given a unit died, one after another: {error}") from error
        except (distributed.CancelledError, OSError, ImportError) as error:
            raise ArchiveError(f"the Dask cluster is lost: {type(error).__name__}: {error}") from error
        return outcomes

    def _abandon(self, running: set[Any]) -> None:
        """Removes what units left that nobody will put in place."""
        self._client.cancel(list(running))
        for future in running:
            if future.status == "finished":
                for outcome in future.result():
                    for move in outcome.moves:
                        discard(move.temporary)

    def close(self) -> None:
        self._client.close()
        self._close_cluster()

    def _close_cluster(self) -> None:
        if self._cluster is not None:
            self._cluster.close()


class Teller:
    """Counts what a worker reads, and tells it in large numbers."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._count = 0

    def __call__(self, count: int) -> None:
        self._count += count
        if self._count >= TOLD:
            self.flush()

    def flush(self) -> None:
        if self._count:
            distributed.get_worker().log_event(self._topic, self._count)
            self._count = 0


def run_unit(unit: Unit, topic: str) -> list[Outcome]:
    """In a worker."""
    teller = Teller(topic)
    outcomes = unit.run(teller)
    teller.flush()
    return outcomes
