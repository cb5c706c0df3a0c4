"""The RateLimiter without Ray: leases calls of this shard's counters, recalls what others hold when none is left.

An answer leaves only when the store has a ceiling over everything it grants; the next incarnation takes every ceiling
as spent. Nothing here may ever grant from a window that was left, or wait for a holder that has gone.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterable
from typing import Final

from actors.limiter.account import Account
from actors.limiter.audience import EXPIRY, Audience
from actors.limiter.counters import Counter, Promise, flaw, size_of_grant
from actors.limiter.shelf import Shelf
from actors.registry.pace import Uniform
from actors.tasks import spawn, stop
from models.clock import Clock
from models.errors import Refused, StoreError
from models.planes.permits import (
    Lease,
    RecallAnswer,
    RecallRequest,
    ReserveAnswer,
    ReserveRequest,
    Return,
    ReturnRequest,
    Want,
    shard_of,
)
from store.interface import Store

PATIENCE_SECONDS: Final = 1.0
"""How long an answer may wait for what was recalled."""
AGAIN_NS: Final = 1_000_000_000
"""A holder is asked for the same leases again after so long: some may have been on their way to it before."""
SWEEP_SECONDS: Final = 30.0

_Out = tuple[str, Account, Counter]
"""A lease that is out: its holder, and where it counts."""

_log = logging.getLogger("exeat.limiter")


class LimiterCore:
    """One incarnation of one shard. Lives on one event loop."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock,
        incarnation: str,
        uniform: Uniform,
        on_end: Callable[[], None],
        shard: int = 0,
        shards: int = 1,
        patience: float = PATIENCE_SECONDS,
        expiry: tuple[float, float] = EXPIRY,
    ) -> None:
        """store: with `ceilings.LAYOUT`. incarnation: a name that no other has. on_end: called once, when it is over
        and only another incarnation can help. patience: seconds to wait for recalled leases. expiry: seconds a
        link's question may stay open, from and to.
        """
        if not 0 <= shard < shards:
            raise ValueError("shards are counted from 0")
        self._shelf, self._clock = Shelf(store, on_end), clock
        self._incarnation, self._shard, self._shards, self._patience = incarnation, shard, shards, patience
        self._audience = Audience(clock, uniform, on_gone=self._wake_all, expiry=expiry)
        self._numbers = itertools.count(1)
        self._leases: dict[int, _Out] = {}  # by number
        self._sweeping: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Opens the store; from now on it may be called. Raises StoreError."""
        await self._shelf.open()
        self._sweeping = spawn("ceilings-sweep", self._sweep_on())

    async def close(self) -> None:
        """Ends it in order. What holders have stays good."""
        if self._sweeping is not None:
            await stop(self._sweeping)
        await self._shelf.close()

    @property
    def detail(self) -> str:
        """For the operator."""
        return f"shard {self._shard} of {self._shards}, {len(self._shelf)} proxies"

    # What workers and links call

    async def reserve(self, request: ReserveRequest) -> ReserveAnswer:
        """Leases for every want, in order; of 0 calls where none is left, without a wait where the want is `ahead`.

        Raises Refused for what is not this shard's or cannot be counted; PeerUnavailable when the store is away,
        and then nothing was granted that anybody could use.
        """
        self._shelf.check()
        key = self._accept(request)
        self._take_back(request.holder, request.returns)
        if key is None:
            return ReserveAnswer(incarnation=self._incarnation, leases=())
        async with self._shelf.using(key) as account:
            counters = [self._counter(account, want) for want in request.wants]
            running = [one for one, want in zip(counters, request.wants, strict=True) if not want.ahead]
            await self._make_room(account, running, request.holder)
            leases, promises = self._grant(account, counters, request)
            await self._shelf.keep(account, promises)
        return ReserveAnswer(incarnation=self._incarnation, leases=leases)

    async def give_back(self, request: ReturnRequest) -> None:
        """Ends leases. What no longer counts, or counted before, changes nothing. Also says that `holder` was told
        of what it was asked for: what it did not return of that is not waited for any more.
        """
        self._shelf.check()
        touched = self._take_back(request.holder, request.returns)
        for account in touched or self._shelf:
            account.answered(request.holder)

    async def recalls(self, request: RecallRequest) -> RecallAnswer:
        """Held until holders of this link have to return something, or until it expires. See `Audience.recalls`."""
        self._shelf.check()
        return await self._audience.recalls(request)

    # Taking in

    def _accept(self, request: ReserveRequest) -> str | None:
        """The one key of all wants; None without wants. Raises Refused."""
        if request.shards != self._shards:
            raise Refused(f"counters are in {self._shards} shards, not in {request.shards}")
        for want in request.wants:
            if (reason := flaw(want)) is not None:
                raise Refused(reason)
        names = {(want.window, want.window_seconds, want.ahead) for want in request.wants}
        keys = {want.key for want in request.wants}
        if len(names) != len(request.wants) or len(keys) > 1:
            raise Refused("a request is for different counters of one proxy")
        key = keys.pop() if keys else None
        if key is not None and shard_of(key, self._shards) != self._shard:
            raise Refused(f"its counters are not in shard {self._shard}")
        return key

    def _counter(self, account: Account, want: Want) -> Counter:
        counter = account.counter(want, self._shelf.first(want.window_seconds))
        self._forget(counter.roll(self._clock.wall_ms()))
        for window in counter.adopt(want.max, want.revision):
            for holder in window.held:
                self._audience.recall(holder, (counter.key, counter.name), ahead=window is counter.coming)
        return counter

    def _forget(self, leases: Iterable[int]) -> None:
        for lease in leases:
            self._leases.pop(lease, None)

    def _take_back(self, holder: str, returns: Iterable[Return]) -> list[Account]:
        """The accounts in which a lease was ended."""
        found = []
        now_ms = self._clock.wall_ms()
        for one in returns:
            known = self._leases.get(one.lease) if one.incarnation == self._incarnation else None
            if known is None or known[0] != holder:
                continue
            _, account, counter = known
            self._forget(counter.roll(now_ms))
            if counter.end(holder, one.lease, one.unspent):
                del self._leases[one.lease]
                found.append(account)
                account.wake()
        return found

    # Granting

    async def _make_room(self, account: Account, counters: list[Counter], holder: str) -> None:
        """Returns once every counter has a call left, or when waiting for one is of no use."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience
        while True:
            now_ms = self._clock.wall_ms()
            for counter in counters:
                self._forget(counter.roll(now_ms))
            short = [counter for counter in counters if not counter.available()]
            if not short or not all(self._others(counter, holder) for counter in short):
                return
            if not all(self._recall(counter, holder) for counter in short):
                return
            if loop.time() >= deadline:
                for counter in short:
                    counter.running.give_up(self._others(counter, holder))
                return
            # No longer than the window lasts: the next one is full.
            ends = loop.time() + min(counter.left_ms(now_ms) for counter in short) / 1000
            await account.changed(min(deadline, ends))
            self._shelf.check()

    def _others(self, counter: Counter, holder: str) -> list[str]:
        """Who could return enough for a call to be left."""
        running = counter.running
        others = [one for one in running.held if one != holder and not self._audience.is_gone(one)]
        out = sum(calls for one in others for calls in running.held[one].leases.values())
        return others if running.granted - out < counter.maximum else []

    def _recall(self, counter: Counter, holder: str) -> bool:
        """Asks the others; whether an answer of any may be waited for."""
        now, waits = self._clock.boot_ns(), False
        for one in self._others(counter, holder):
            held = counter.running.held[one]
            if held.asked_ns is None or now - held.asked_ns >= AGAIN_NS:
                held.asked_ns, held.answered = now, False
                self._audience.recall(one, (counter.key, counter.name))
            waits |= not held.answered and not held.deaf
        return waits

    def _grant(
        self, account: Account, counters: list[Counter], request: ReserveRequest
    ) -> tuple[tuple[Lease, ...], list[Promise]]:
        now_ms = self._clock.wall_ms()
        leases, promises = [], []
        for counter, want in zip(counters, request.wants, strict=True):
            self._forget(counter.roll(now_ms))
            window = counter.coming if want.ahead else counter.running
            # Whoever uses the running window is likely to want a part of the coming one.
            known = window.held.keys() | counter.running.held.keys()
            others = sum(one != request.holder and not self._audience.is_gone(one) for one in known)
            available = counter.available(ahead=want.ahead)
            if want.ahead and counter.is_set_back(now_ms):
                available = 0
            calls = size_of_grant(available, want.count, others + 1)
            number = 0
            if calls:
                number = next(self._numbers)
                window.lend(request.holder, number, calls)
                self._leases[number] = request.holder, account, counter
            left_ms = counter.left_ms(now_ms)
            leases.append(
                Lease(
                    granted=calls,
                    lease=number,
                    window_number=window.number,
                    milliseconds=left_ms + counter.seconds * 1000 if want.ahead else left_ms,
                    remaining=counter.available(ahead=want.ahead),
                    holders=others + 1,
                    starts_ms=left_ms if want.ahead else 0,
                )
            )
            promises.append(counter.promise(window, lent=calls > 0))
        return tuple(leases), promises

    # Inside

    def _wake_all(self) -> None:
        for account in self._shelf:
            account.wake()

    async def _sweep_on(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                await self.sweep()
            except StoreError as error:
                _log.warning("old ceilings stay", extra={"detail": error.detail})

    async def sweep(self) -> None:
        """Forgets what was not used for long. Raises StoreError."""
        now_ms, shards, shard = self._clock.wall_ms(), self._shards, self._shard
        for account in self._shelf.let_go(now_ms):
            for counter in account.counters.values():
                self._forget(counter.running.leases() + counter.coming.leases())
        self._audience.tidy({holder for holder, _, _ in self._leases.values()})
        await self._shelf.delete(now_ms, lambda key: shard_of(key, shards) == shard)
