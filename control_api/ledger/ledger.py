"""The ledger: one conditional insert per write, and the projection that follows from it (DESIGN section 3).

A write is in the log or it did not happen; everything else here can be made again from the log. Nothing but
`write` adds to the log, and only `Log.erase_orders` ever alters an entry.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Final

from control_api.ledger.bell import Bell
from control_api.ledger.change import Change, Draft, Key, Replay, Written
from control_api.ledger.crash import Crash
from control_api.ledger.drafting import complete
from control_api.ledger.history import Entry, Filter, history
from control_api.ledger.kept import Kept
from control_api.ledger.log import PAGE, Log
from control_api.ledger.projection import REPLAY_MS, Projection, Remembered
from control_api.ledger.regions import RegionBook
from control_api.tasks import spawn, stop
from models.clock import Clock
from models.custody.signing import Signer
from models.errors import Conflict, StoreError, StoreUnavailable, Unavailable
from store.interface import Store

Decide = Callable[[Projection, int, int], Draft]
"""(projection, next revision, now in wall ms) -> what to do. Pure, may be asked again; raises ApiError to refuse."""

Listener = Callable[[Change, tuple[Key, ...]], None]
"""Hears every change right after the projection took it over, in order, with what it touched."""

ATTEMPTS: Final = 50
"""How many races with other processes one write may lose before it is given up."""
LOOK_SECONDS: Final = 0.25
"""How often the log is asked for other processes' changes while anyone waits for one."""
IDLE_SECONDS: Final = 2.0
"""How often when nobody does: a token that another process ended must not stay valid here."""
KEEP_SECONDS: Final = 0.1
"""How long writes are gathered before the projection is kept, so that keeping does not stand in their way."""
_LONGEST_PAUSE: Final = 0.05
_RETRY_SECONDS: Final = 1.0
_GAPS: Final = 20

_log = logging.getLogger("exeat.control.ledger")


class Ledger:
    """The change log of one store, and its projection in this process.

    The store is opened before `open` and closed after `close`, by its owner. signer: the policy key, for the
    orders that follow from a change. regions: what regions said. bell: rings at every change and acknowledgement.
    """

    def __init__(
        self,
        store: Store,
        signer: Signer,
        clock: Clock,
        crash: Crash | None = None,
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.projection = Projection()
        self.bell = Bell()
        self.regions = RegionBook(store, self.bell)
        self.log = Log(store)
        self.crash = crash or Crash()
        self._signer, self._clock, self._jitter = signer, clock, jitter
        self._kept = Kept(store, self.crash)
        self._writing = asyncio.Lock()
        self._listeners: list[Listener] = []
        self._waiting = 0
        self._wanted, self._due = asyncio.Event(), asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Loads what is kept, replays the log from there, starts to follow. Raises StoreUnavailable, SchemaTooNew.

        StoreError: the log has a hole.
        """
        self.projection = await self._kept.load()
        await self.regions.load()
        await self._remember_replays()
        await self._follow()
        self._tasks = [spawn("ledger-watch", self._watch()), spawn("ledger-keep", self._keep())]

    async def close(self) -> None:
        """Stops following and keeps the projection; twice is fine. What cannot be kept is replayed next time."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            await stop(task)
        if tasks:
            with contextlib.suppress(StoreUnavailable):
                await self._flush()

    # Writing.

    async def write(self, decide: Decide, *, actor: str, replay: Replay | None = None) -> Written:
        """Asks `decide` for a draft and puts it into the log, whole.

        A `replay` that was used within 24 h for the same request gives that write again, and Conflict for
        another request. Raises what `decide` raises; Unavailable when the store is away: then it is unknown
        whether the write is there, and asking again with the same `Idempotency-Key` does it once.
        """
        async with self._writing:
            for attempt in range(ATTEMPTS):
                now_ms = max(self._clock.wall_ms(), self.projection.at_ms)
                if replay is not None:
                    used = self.projection.replay(replay.token_id, replay.key, now_ms)
                    if used is not None:
                        return await self._again(replay, used)
                draft = decide(self.projection, self.projection.revision + 1, now_ms)
                change = complete(
                    draft,
                    self.projection,
                    self._signer,
                    change_id=secrets.token_hex(16),
                    at_ms=now_ms,
                    actor=actor,
                    replay=replay,
                )
                if await self._insert(change):
                    self._take(change)
                    self.crash.at("before-answer")
                    return Written(revision=change.revision, change=change, regions=change.regions)
                await asyncio.sleep(min(_LONGEST_PAUSE, 0.002 * attempt) * self._jitter())
                await self.catch_up()
        raise Unavailable("Too many writes at once; ask again")

    async def _insert(self, change: Change) -> bool:
        self.crash.at("before-insert")
        try:
            inserted = await self.log.insert(change)
        except StoreUnavailable as error:
            raise Unavailable(
                "The store is away; whether this was done is not known", detail=error.detail
            ) from None
        if inserted:
            self.crash.at("after-insert")
        return inserted

    async def _again(self, replay: Replay, used: Remembered) -> Written:
        if used.replay.digest != replay.digest:
            raise Conflict("This Idempotency-Key was used for another request")
        change = await self.change(used.revision)
        if change is None:
            raise StoreError(f"change {used.revision} is remembered but not in the log")
        return Written(revision=change.revision, change=change, regions=change.regions, replayed=True)

    # Following the log.

    async def catch_up(self) -> int:
        """Takes over what other processes wrote; answers the revision reached. Raises Unavailable."""
        async with _answering():
            return await self._follow()

    async def _follow(self) -> int:
        gaps = 0
        while True:
            found = await self.log.after(self.projection.revision)
            gap = False
            for change in found:
                gap = change.revision > self.projection.revision + 1
                if gap:
                    break
                self._take(change)
            if not gap and len(found) < PAGE:
                return self.projection.revision
            if gap:
                # An insert during the reading may show before the one it followed; a second look finds both.
                gaps += 1
                if gaps == _GAPS:
                    raise StoreError(f"the change log has a hole after {self.projection.revision}")
                await asyncio.sleep(0.01)

    def _take(self, change: Change) -> None:
        if change.revision <= self.projection.revision:
            return  # the watch was faster
        touched = self.projection.apply(change)
        self._kept.mark(touched, change.revision)
        for listener in self._listeners:
            listener(change, touched)
        self.bell.ring()
        self._due.set()

    def listen(self, listener: Listener) -> None:
        """Tells `listener` of every change from now on. It must not raise."""
        self._listeners.append(listener)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """While inside, changes of other processes are noticed within `LOOK_SECONDS`, and ring the bell."""
        self._waiting += 1
        self._wanted.set()
        try:
            yield
        finally:
            self._waiting -= 1

    async def _watch(self) -> None:
        while True:
            if not self._waiting:
                self._wanted.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(IDLE_SECONDS):
                    await self._wanted.wait()
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self._follow()
            except StoreError as error:
                _log.warning("the log cannot be followed", extra={"reason": error.detail})
                await asyncio.sleep(_RETRY_SECONDS)

    def keep_soon(self) -> None:
        """Has projection and region records written to the store when there is time."""
        self._due.set()

    async def _keep(self) -> None:
        while True:
            await self._due.wait()
            await asyncio.sleep(KEEP_SECONDS)
            self._due.clear()
            try:
                await self._flush()
            except StoreError as error:
                _log.warning("the projection cannot be kept", extra={"reason": error.detail})
                await asyncio.sleep(_RETRY_SECONDS)
                self._due.set()

    async def _flush(self) -> None:
        await self.regions.flush()
        await self._kept.flush(self.projection)

    async def _remember_replays(self) -> None:
        """Finds the `Idempotency-Key`s of the last 24 h; later ones come with the replay of the log."""
        oldest = self._clock.wall_ms() - REPLAY_MS
        found = []
        async for change in self.log.backwards(where={"holdsReplay": 1}):
            if change.at_ms <= oldest:
                break
            if change.replay is not None and change.revision <= self.projection.revision:
                found.append(Remembered(change.replay, change.revision, change.at_ms))
        for used in reversed(found):
            self.projection.remember(used)

    # Reading.

    async def change(self, revision: int) -> Change | None:
        """One entry of the log, or None. Raises Unavailable."""
        async with _answering():
            return await self.log.read(revision)

    async def history(
        self,
        client_id: str,
        *,
        resource_id: str | None = None,
        actor: str | None = None,
        after_ms: int | None = None,
        before_ms: int | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> tuple[list[Entry], str | None]:
        """What a client's changes did, newest first, and the cursor to go on with. Raises Unavailable, NotJson."""
        wanted = Filter(resource_id=resource_id, actor=actor, after_ms=after_ms, before_ms=before_ms)
        async with _answering():
            return await history(self.log, client_id, wanted, cursor=cursor, limit=limit)

    # Regions.

    def acknowledged(self, region: str) -> int:
        """The greatest revision that a region has made durable, as far as this process knows; -1 for none."""
        return self.regions.get(region).acknowledged

    async def propagated(self, revision: int, regions: Iterable[str], seconds: float = 2.0) -> bool:
        """Whether all regions have acknowledged `revision` within `seconds`. True for no regions."""
        behind = set(regions)
        now = asyncio.get_running_loop().time
        deadline = now() + seconds
        while True:
            behind = {region for region in behind if self.acknowledged(region) < revision}
            left = deadline - now()
            if not behind:
                return True
            if left <= 0:
                return False
            if not await self.bell.wait(min(left, LOOK_SECONDS)):
                # Another process may have heard the region.
                with contextlib.suppress(StoreUnavailable):
                    await self.regions.refresh(behind)


@contextlib.asynccontextmanager
async def _answering() -> AsyncIterator[None]:
    """Turns a store that is away into the answer for it."""
    try:
        yield
    except StoreUnavailable as error:
        raise Unavailable("The store is away", detail=error.detail) from None


async def rebuild(store: Store) -> Projection:
    """The projection that the log alone gives. Raises StoreUnavailable, StoreError for a hole."""
    log, projection = Log(store), Projection()
    while True:
        found = await log.after(projection.revision)
        for change in found:
            if change.revision != projection.revision + 1:
                raise StoreError(f"the change log has a hole after {projection.revision}")
            projection.apply(change)
        if len(found) < PAGE:
            return projection
