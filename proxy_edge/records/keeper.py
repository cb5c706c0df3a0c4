"""The keeper of an edge: takes closed records out of all workers' rings, to the sink, and says so in the ring.

It is a process of its own, so that delivering costs the workers nothing and goes on when they die: what a dead
worker left open it finishes as `unknown`. It keeps no record but in the rings; killed at any instruction, its
successor loses none and repeats none.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import time
from collections.abc import Callable, Sequence
from operator import attrgetter
from pathlib import Path

from models.record import Record, join, lines
from proxy_edge.records.delivery import Delivery
from proxy_edge.records.mark import MarkFile
from proxy_edge.records.recovery import find_rings, remove_ring
from proxy_edge.records.sink import NdjsonSink, RecordSink
from proxy_edge.records.view import Entry, RingView
from proxy_edge.settings import EdgeSettings
from proxy_edge.tasks import spawn

BATCH = 1024
"""The most records in one write."""

SWEEP = 4096
"""The most records of one ring in one sweep, which are in memory at a time."""

PAUSE_SECONDS = (0.05, 0.1)
"""Between two sweeps: while records come, and at most when none do."""

LOOK_SECONDS = 0.25
"""How often the directory is looked through for new rings."""

RETRY_SECONDS = (0.1, 5.0)
"""The first and the longest wait after the sink failed; it doubles in between."""

STOP_SECONDS = 3.0

_log = logging.getLogger("exeat.edge.records")
_ENDED = attrgetter("ended")


class Keeper:
    """Delivers what is in the rings of a directory: `start`ed once in the running loop, ended by `stop`.

    There is one per directory at a time; `mark`, whose file is locked, sees to that. Both it and the sink are
    the keeper's from now on. A record is acknowledged in its ring once the sink has accepted it, and before
    that, should we die in between, the mark says from where on the sink is to be asked for it.
    """

    def __init__(
        self,
        directory: Path,
        mark: MarkFile,
        sink: RecordSink,
        *,
        now: Callable[[], float] = time.monotonic,
        pause: tuple[float, float] = PAUSE_SECONDS,
        retry: tuple[float, float] = RETRY_SECONDS,
    ) -> None:
        """now: monotonic seconds. pause, retry: seconds, see PAUSE_SECONDS and RETRY_SECONDS."""
        self._directory, self._mark, self._sink = directory, mark, sink
        self._now, self._pause, self._retry = now, pause, retry
        self._views: list[RingView] = []
        self._looked: float | None = None
        self.asked = asyncio.Event()
        """Set once the sink was asked what a keeper before us delivered. Until then it must not let go of anything."""
        self._wake = asyncio.Event()
        self._stopping = False
        self._runner: asyncio.Task[None] | None = None

    @property
    def depth(self) -> int:
        """Records that are over and that the sink has not accepted, of all rings known so far."""
        return sum(view.depth for view in self._views)

    async def sweep(self) -> int:
        """Delivers what waits in the rings and removes those that are done with; returns how many records went.

        Raises what the sink raised; nothing is lost by that. Not to be called beside a `start`ed keeper.
        """
        now = self._now()
        if self._looked is None or self._stopping or now - self._looked >= LOOK_SECONDS:
            self._views += find_rings(self._directory, {view.path for view in self._views})
            self._looked = now
        if not self.asked.is_set():
            await self._ask_sink()
            self.asked.set()
        waiting: list[Entry] = []
        for view in self._views:
            waiting += _entries(view, SWEEP)
        waiting.sort(key=_ENDED)
        for start in range(0, len(waiting), BATCH):
            await self._deliver(waiting[start : start + BATCH])
        for view in [view for view in self._views if view.orphaned and not view.waiting(1)]:
            remove_ring(view)
            self._views.remove(view)
        return len(waiting)

    def start(self) -> None:
        """Begins to deliver."""
        self._runner = spawn("records", self._run())

    async def stop(self, deadline: float = STOP_SECONDS) -> int:
        """Delivers what is over, for at most `deadline` seconds, and lets go of rings, mark and sink.

        Returns how many records that are over stay for the next keeper.
        """
        self._stopping = True
        self._wake.set()
        if self._runner is None:
            self.start()
        if self._runner is not None:
            _, late = await asyncio.wait({self._runner}, timeout=deadline)
            if late:
                self._runner.cancel()
                await asyncio.wait(late, timeout=0.1)
        left = self.depth
        if left:
            _log.warning("records wait for the next start", extra={"records": left})
        for view in self._views:
            view.close()
        self._mark.close()
        await self._sink.close()
        return left

    async def _ask_sink(self) -> None:
        """Acknowledges what a keeper before us delivered and could not acknowledge any more.

        Before the first batch of ours, for that moves the mark. Rings that are made from now on need no
        asking, and what living workers have open now nobody can have delivered.
        """
        held: dict[str, tuple[RingView, int]] = {}
        for view in self._views:
            for entry in _entries(view, view.slots):
                held[entry.opening.request_id] = view, entry.slot
        if held:
            for request_id in await self._sink.known(held.keys(), self._mark.read()):
                view, slot = held[request_id]
                view.acknowledge(slot)

    async def _deliver(self, batch: Sequence[Entry]) -> None:
        records: list[Record] = []
        places: list[tuple[RingView, int]] = []
        for entry in batch:
            try:
                records.append(join(entry.opening, entry.closing))
            except Exception as error:  # noqa: BLE001 - whatever it is, it would be raised again for ever
                entry.view.withhold(entry.slot, error)
            else:
                places.append((entry.view, entry.slot))
        while records:
            text = lines(records)
            self._mark.store(self._sink.mark())
            accepted = await self._sink.write(text, len(records))
            for view, slot in places[:accepted]:
                view.acknowledge(slot)
            del records[:accepted], places[:accepted]

    async def _run(self) -> None:
        (pause, longest_pause), (first, longest) = self._pause, self._retry
        idle, delay = pause, 0.0
        while True:
            stopping = self._stopping
            try:
                moved = await self.sweep()
            except Exception as error:  # noqa: BLE001 - whatever ails the sink, the records stay and we go on
                number = error.errno if isinstance(error, OSError) else None
                _log.warning(
                    "records not accepted",
                    extra={"error": type(error).__name__, "errno": number, "waiting": self.depth},
                )
                delay = first if stopping else min(longest, max(first, delay * 2))
                await self._sleep(delay)
                continue
            if delay:
                _log.info("records accepted again", extra={"waiting": self.depth})
                delay = 0.0
            if moved >= BATCH:
                await asyncio.sleep(0)
            elif stopping:
                return
            else:
                idle = pause if moved else min(longest_pause, idle * 2)
                await self._sleep(idle)

    async def _sleep(self, seconds: float) -> None:
        """Less than `seconds` when the end comes."""
        if self._stopping:
            self._wake.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()


def records_file(home: Path) -> Path:
    """Where the local sink, of an edge with a policy file, writes request records, one JSON object a line."""
    return home / "records" / "requests.ndjson"


def ring_directory(home: Path) -> Path:
    """Where the workers' rings are."""
    return home / "ring"


def run_keeper(settings: EdgeSettings, ready: Callable[[], None]) -> None:
    """Delivers the records of the edge in `settings.home` until SIGTERM, then what is left of them.

    With a policy file they go to a local file, else through the spool to the region's recorder. Raises
    ConfigurationError when there is nothing to write to, OSError when another keeper is there.
    """
    asyncio.run(_keep(settings, ready))


async def _keep(settings: EdgeSettings, ready: Callable[[], None]) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    mark = MarkFile(settings.home / "run" / "keeper.mark")  # first: it says that there is no other keeper
    delivery = None if settings.policy is not None else Delivery(settings)
    sink = NdjsonSink(records_file(settings.home)) if delivery is None else delivery.spool
    keeper = Keeper(ring_directory(settings.home), mark, sink)
    keeper.start()
    if delivery is not None:
        delivery.start(keeper.asked)
    gc.set_threshold(50_000, 50, 100)  # batches form no cycles: the collector has little to do
    gc.freeze()
    ready()
    await stopping.wait()
    await keeper.stop()
    if delivery is not None:
        await delivery.finish()


def _entries(view: RingView, most: int) -> list[Entry]:
    """At most `most` records of a ring that are to be delivered."""
    died = not view.orphaned and view.worker_died()  # before its records are looked at: nothing comes after
    entries = view.entries(most)
    if died and (orphans := sum(entry.closing is None for entry in entries)):
        _log.warning("records of a dead worker found", extra={"ring": view.path.name, "records": orphans})
    return entries
