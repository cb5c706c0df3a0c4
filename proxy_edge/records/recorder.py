"""The recorder of a worker: opens and closes records in the ring, and moves them to the sink in batches.

A slot is freed only when the sink has accepted its record; a sink that fails keeps records waiting and
loses none. It never waits on the hot path: `open` and `close` do no I/O but stores into mapped memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

from models.errors import ExeatError, RingFull
from models.record import USER_AGENT_BYTES, Closing, Opening, line
from proxy_edge.records.recovery import Leftover
from proxy_edge.records.ring import Ring
from proxy_edge.records.sink import RecordSink
from proxy_edge.tasks import spawn

_log = logging.getLogger("exeat.edge.records")

INTERVAL_SECONDS = 0.05
"""How long a closed record waits for others to go with it."""

EAGER = 128
"""So many closed records do not wait: the sooner they go, the more of them is still in the cache."""

SLICE = 128
"""Records encoded before the loop has its turn: about 0.4 ms."""

BATCH = 1024
"""The most records in one write, so that a slow sink takes more at a time."""

RETRY_SECONDS = (0.1, 5.0)
"""The first and the longest wait after the sink failed; it doubles in between."""


class Recorder:
    """One worker's records: `start`ed once in the running loop, ended by `stop`.

    leftovers: what `recovery.adopt` found; they are delivered before anything new. dropped: requests that
    went on without a record, which their proxy's policy allowed while the ring was full.
    """

    __slots__ = (
        "_closings",
        "_interval",
        "_leftovers",
        "_openings",
        "_pending",
        "_retry",
        "_ring",
        "_ring_close",
        "_ring_free",
        "_ring_open",
        "_runner",
        "_sink",
        "_stopping",
        "_wake",
        "dropped",
    )

    def __init__(
        self,
        ring: Ring,
        sink: RecordSink,
        leftovers: Sequence[Leftover] = (),
        *,
        interval: float = INTERVAL_SECONDS,
        retry: tuple[float, float] = RETRY_SECONDS,
    ) -> None:
        """interval, retry: seconds, see INTERVAL_SECONDS and RETRY_SECONDS."""
        self._ring, self._sink, self._leftovers = ring, sink, list(leftovers)
        self._interval, self._retry = interval, retry
        self._ring_open: Callable[[Opening], int] = ring.open
        self._ring_close: Callable[[int, Closing], None] = ring.close
        self._ring_free: Callable[[int], None] = ring.free
        # What is in the ring once more as objects, so that delivering need not decode what we just encoded.
        self._openings: list[Opening | None] = [None] * ring.capacity
        self._closings: list[Closing | None] = [None] * ring.capacity
        self._pending: list[int] = []
        self._wake = asyncio.Event()
        self._stopping = False
        self._runner: asyncio.Task[None] | None = None
        self.dropped = 0

    @property
    def depth(self) -> int:
        """Records that are over and that the sink has not accepted, those of dead workers included."""
        return len(self._pending) + sum(len(leftover.entries) for leftover in self._leftovers)

    @property
    def used(self) -> int:
        """Slots of the ring that are not free: `depth` without the dead workers', and what is open."""
        return self._ring.used

    def open(self, opening: Opening) -> int:
        """Keeps the opening before the first byte goes upstream; returns the slot for `close` or `discard`.

        Cuts its user agent to 512 bytes. Raises RingFull: refuse the request with RecordBlocked, or call `drop`.
        """
        if len(opening.user_agent) > USER_AGENT_BYTES:
            opening.user_agent = opening.user_agent[:USER_AGENT_BYTES]
        slot = self._ring_open(opening)
        self._openings[slot] = opening
        return slot

    def close(self, slot: int, closing: Closing) -> None:
        """Ends the record; it will be delivered. Raises ExeatError when the slot is not open."""
        if self._openings[slot] is None or self._closings[slot] is not None:
            raise ExeatError("the record is not open")
        self._ring_close(slot, closing)
        self._closings[slot] = closing
        pending = self._pending
        pending.append(slot)
        count = len(pending)
        if count == 1 or count == EAGER:  # noqa: PLR1714 - a set would be built for every request
            self._wake.set()

    def discard(self, slot: int) -> None:
        """Forgets an open record that turned out not to be needed. Raises ExeatError when the slot is not open."""
        if self._openings[slot] is None or self._closings[slot] is not None:
            raise ExeatError("the record is not open")
        self._openings[slot] = None
        self._ring_free(slot)

    def write(self, opening: Opening, closing: Closing) -> None:
        """A whole record at once, of a request that was refused before a byte went upstream. Raises RingFull."""
        self.close(self.open(opening), closing)

    def drop(self) -> None:
        """Counts a request that goes on without a record."""
        self.dropped += 1

    def start(self) -> None:
        """Begins to deliver, the leftovers first."""
        self._runner = spawn("records", self._run())

    async def stop(self, deadline: float = 5.0) -> int:
        """Delivers what is over, for at most `deadline` seconds, and lets go of ring and sink.

        Returns how many records stay in the ring for the next start, open ones included. A record that is
        opened afterwards is refused as by a full ring; one that is closed afterwards stays open in the ring.
        """
        self._stopping = True
        self._wake.set()
        if self._runner is None:
            self.start()
        if self._runner is not None:
            await asyncio.wait({self._runner}, timeout=deadline)
            self._runner.cancel()
        left = sum(opening is not None for opening in self._openings)
        left += sum(len(leftover.entries) for leftover in self._leftovers)
        if left:
            _log.warning("records wait for the next start", extra={"records": left})
        self._ring_open, self._ring_close, self._ring_free = _no_room, _ignore, _ignore
        for leftover in self._leftovers:
            leftover.release()
        self._ring.dispose()
        await self._sink.close()
        return left

    async def drain(self) -> None:
        """Delivers all that is over now. Raises what the sink raised; nothing is lost by that.

        Not to be called beside a `start`ed delivery, nor to be cancelled: what the sink made of the batch
        under way would not be known, and a second call would send it again.
        """
        while self._leftovers:
            await self._deliver_leftover(self._leftovers[0])
            del self._leftovers[0]
        remaining = len(self._pending)
        while remaining > 0:
            slots = self._pending[: min(BATCH, remaining)]
            lines, bad = await _encode([(slot, self._openings[slot], self._closings[slot]) for slot in slots])
            remaining -= len(bad)
            if bad:
                self._pending = [slot for slot in self._pending if slot not in bad]
                continue
            self._ring.mark(self._sink.mark())
            accepted = await self._sink.write(lines)
            for slot in slots[:accepted]:
                self._openings[slot] = self._closings[slot] = None
                self._ring_free(slot)
            del self._pending[:accepted]
            remaining -= accepted

    async def _deliver_leftover(self, leftover: Leftover) -> None:
        if not leftover.checked:
            ids = {entry.opening.request_id for entry in leftover.entries}
            known = await self._sink.known(ids, leftover.mark)
            leftover.delivered(
                {entry.slot for entry in leftover.entries if entry.opening.request_id in known}
            )
            leftover.checked = True
        while leftover.entries:
            batch = leftover.entries[:BATCH]
            lines, bad = await _encode(batch)
            if bad:
                leftover.withhold(bad)
                continue
            leftover.keep_mark(self._sink.mark())
            accepted = await self._sink.write(lines)
            leftover.delivered({entry.slot for entry in batch[:accepted]})
        leftover.done()

    async def _run(self) -> None:
        first, longest = self._retry
        delay = 0.0
        while not (self._stopping and delay == 0 and not self.depth):
            await self._gather()
            try:
                await self.drain()
            except Exception as error:  # noqa: BLE001 - whatever ails the sink, the records stay and we go on
                number = error.errno if isinstance(error, OSError) else None
                _log.warning(
                    "records not accepted",
                    extra={"error": type(error).__name__, "errno": number, "waiting": self.depth},
                )
                if self._stopping:
                    return
                delay = min(longest, max(first, delay * 2))
                await self._sleep(delay)
            else:
                if delay:
                    _log.info("records accepted again", extra={"waiting": self.depth})
                delay = 0.0

    async def _gather(self) -> None:
        """Waits until there is something to deliver, and then a little for more of it."""
        if not self._stopping and not self.depth:
            await self._wake.wait()
        self._wake.clear()
        if len(self._pending) < EAGER:
            await self._sleep(self._interval)

    async def _sleep(self, seconds: float) -> None:
        """At most `seconds`; less when there is much to deliver, or an end to come to."""
        if not self._stopping:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._wake.wait()


async def _encode(
    entries: Sequence[tuple[int, Opening | None, Closing | None]],
) -> tuple[list[bytes], set[int]]:
    """The lines of a batch, and the slots whose record cannot be encoded: a fault of ours must not stop the rest."""
    lines: list[bytes] = []
    bad: set[int] = set()
    for start in range(0, len(entries), SLICE):
        if start:
            await asyncio.sleep(0)
        for slot, opening, closing in entries[start : start + SLICE]:
            try:
                assert opening is not None
                lines.append(line(opening, closing))
            except Exception as error:  # noqa: BLE001 - whatever it is, it would be raised again for ever
                _log.error(
                    "a record cannot be encoded; it stays in the ring", extra={"error": type(error).__name__}
                )
                bad.add(slot)
    return lines, bad


def _no_room(_opening: Opening) -> int:
    raise RingFull


def _ignore(*_arguments: object) -> None:
    """After the end nothing is kept any more."""
