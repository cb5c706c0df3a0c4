"""The limiter as workers see it: exact to the last call, prompt at the end, each shard for itself."""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from actors.limiter.core import LimiterCore
from models.errors import Refused
from models.planes.permits import (
    Lease,
    Recall,
    ReserveRequest,
    ReturnRequest,
    Want,
    shard_of,
)
from tests.kit.limiter import DAY, MINUTE, NOON_MS, HandClock, Holder, drain, site

TEN = {MINUTE: 10}


# Granting


async def test_a_lease_says_what_the_worker_needs_to_know() -> None:
    """Window, how much of it is left, and what others may still get."""
    async with site() as place:
        one, other = Holder("a", place.clock), Holder("b", place.clock)
        place.clock.advance(20)
        [lease] = await one.reserve(place.core, TEN, 3)
        assert lease == Lease(3, 1, NOON_MS // 60_000, 40_000, 7, 1)
        [lease] = await other.reserve(place.core, TEN, 100)
        assert lease == Lease(1, 2, NOON_MS // 60_000, 40_000, 6, 2)


async def test_all_windows_of_a_proxy_are_leased_together() -> None:
    """One answer per want, in order, each for itself; all of it in one write."""
    async with site() as place:
        one = Holder("a", place.clock)
        leases = await one.reserve(place.core, {DAY: 1000, MINUTE: 0}, 5)
        assert [lease.granted for lease in leases] == [5, 0]
        assert [lease.window_number for lease in leases] == [NOON_MS // 86_400_000, NOON_MS // 60_000]
        assert place.store.writes == 1


async def test_another_proxy_another_count() -> None:
    """What one uses up the other has."""
    async with site() as place:
        assert await drain(place, Holder("a", place.clock, key="p"), TEN) == 10
        assert await drain(place, Holder("a", place.clock, key="q"), TEN) == 10


async def test_the_next_window_is_full_again() -> None:
    """And old leases are neither spent nor returned in it."""
    async with site() as place:
        one, other = Holder("a", place.clock), Holder("b", place.clock)
        await other.reserve(place.core, TEN, 5)
        old = other.give_up([("p", "minute")])
        place.clock.advance(60)
        assert await drain(place, one, TEN) == 10
        await place.core.give_back(ReturnRequest(holder="b", returns=old))
        assert not await one.call(place.core, TEN)
        assert one.spent == {(MINUTE, NOON_MS // 60_000 + 1): 10}


@pytest.mark.parametrize(
    "request_",
    [
        ReserveRequest(holder="a", wants=(Want("p", "minute", 60, 1, 1, 1),), shards=2),
        ReserveRequest(holder="a", wants=(Want("p", "minute", 60, 1, 1, 0),)),
        ReserveRequest(holder="a", wants=(Want("p", *MINUTE, 1, 1, 1), Want("q", *DAY, 1, 1, 1))),
        ReserveRequest(holder="a", wants=(Want("p", *MINUTE, 1, 1, 1), Want("p", *MINUTE, 1, 1, 1))),
    ],
    ids=["another-division", "no-count", "two-proxies", "twice-the-same"],
)
async def test_what_cannot_be_counted_exactly_is_refused(request_: ReserveRequest) -> None:
    """Nothing is counted for it."""
    async with site() as place:
        with pytest.raises(Refused):
            await place.core.reserve(request_)
        assert place.store.writes == 0


async def test_each_shard_takes_its_own_counters_only() -> None:
    """So that two of them never count the same."""
    keys = {shard_of(f"p{number}", 2): f"p{number}" for number in range(20)}
    async with site(shard=1, shards=2) as place:
        own, foreign = Holder("h", place.clock, key=keys[1]), Holder("h", place.clock, key=keys[0])
        assert (await place.core.reserve(own.request(TEN, 1, shards=2))).leases[0].granted == 1
        with pytest.raises(Refused):
            await place.core.reserve(foreign.request(TEN, 1, shards=2))
    with pytest.raises(ValueError, match="shards"):
        LimiterCore(
            place.store, clock=HandClock(), incarnation="", uniform=random.uniform, on_end=int, shard=1
        )


async def test_a_request_without_wants_only_returns() -> None:
    """It is a return."""
    async with site() as place:
        one = Holder("a", place.clock)
        await one.reserve(place.core, {MINUTE: 2}, 1)
        returns = one.give_up([("p", "minute")])
        answer = await place.core.reserve(ReserveRequest(holder="a", wants=(), returns=returns))
        assert answer.leases == ()
        assert await drain(place, Holder("b", place.clock), {MINUTE: 2}) == 2


# Few calls, several holders


async def test_two_workers_in_turn_get_all_of_a_low_limit_and_the_next_call_is_refused_at_once() -> None:
    """Ten a minute, one worker that hoards and one that does not: ten are admitted, the eleventh is not, nobody waits."""
    for hoard in (1, 3, 10):
        async with site() as place:
            workers = [Holder("a", place.clock), Holder("b", place.clock)]
            await place.attach("l1", *workers)
            began = time.monotonic()
            admitted = [
                await workers[number % 2].call(place.core, TEN, hoard if number % 2 else 1)
                for number in range(11)
            ]
            assert admitted == [True] * 10 + [False]
            assert time.monotonic() - began < 0.5


async def test_what_others_hold_and_do_not_use_is_got_back_to_the_last_call() -> None:
    """One worker has all the traffic after another had some."""
    async with site() as place:
        busy, idle = Holder("busy", place.clock), Holder("idle", place.clock)
        await place.attach("l1", busy)
        await place.attach("l2", idle)
        await idle.reserve(place.core, {MINUTE: 100}, 40)
        assert idle.spend(MINUTE, 5) == 5
        began = time.monotonic()
        assert await drain(place, busy, {MINUTE: 100}) == 95
        assert time.monotonic() - began < 0.9
        assert idle.left(MINUTE) == 0
        assert idle.recalled == [Recall((("p", "minute"),))]


async def test_four_busy_workers_share_a_thousand_exactly_in_each_of_three_windows() -> None:
    """However their calls fall; leases shrink to one at the end, and most calls ask nobody."""
    async with site() as place:
        workers = [Holder(f"w{number}", place.clock) for number in range(4)]
        await place.attach("l1", *workers[:2])
        await place.attach("l2", *workers[2:])
        chance = random.Random(7)
        asked: list[int] = []
        for window in range(3):
            admitted = 0

            async def work(worker: Holder) -> None:
                nonlocal admitted
                while True:
                    while worker.left(MINUTE):
                        worker.spend(MINUTE)
                        admitted += 1
                        if not chance.randrange(8):
                            await asyncio.sleep(0)
                    [lease] = await worker.reserve(place.core, {MINUTE: 1000}, 60)
                    asked.append(lease.granted)
                    if not lease.granted:
                        return

            await asyncio.gather(*(work(worker) for worker in workers))
            for worker in workers:  # what came too late for those who had given up already
                admitted += await drain(place, worker, {MINUTE: 1000})
            assert admitted == 1000, f"window {window}"
            assert asked[-1] == 0
            place.clock.advance(60)
        assert 1 in asked
        assert len(asked) < 600
        assert sum(sum(worker.spent.values()) for worker in workers) == 3000


async def test_nobody_waits_where_there_is_nothing_to_get() -> None:
    """Own leases, a limit of nothing, and what was spent for certain are no reason to wait."""
    async with site(patience=30.0) as place:
        one = Holder("a", place.clock)
        await place.attach("l1", one)
        assert not await one.call(place.core, {DAY: 0})
        assert await drain(place, one, TEN) == 10
        assert not await Holder("b", place.clock).call(place.core, {MINUTE: 10})


async def test_a_day_that_is_over_is_not_waited_for_because_of_a_minute() -> None:
    """One counter without hope is enough to refuse."""
    async with site(patience=30.0) as place:
        one, other = Holder("a", place.clock), Holder("b", place.clock)
        assert await drain(place, one, {DAY: 5}) == 5
        await other.reserve(place.core, {MINUTE: 1}, 1)
        assert [lease.granted for lease in await one.reserve(place.core, {MINUTE: 1, DAY: 5}, 1)] == [0, 0]


async def test_a_waiting_call_goes_on_with_the_next_window() -> None:
    """The end of the window ends the wait."""

    class Real(HandClock):
        """Moves by itself from here on."""

        def wall_ms(self) -> int:
            return NOON_MS + 59_950 + int((time.monotonic() - self.began) * 1000)

        began = time.monotonic()

    async with site(patience=30.0) as place:
        place.core._clock = Real()
        one, other = Holder("a", place.clock), Holder("b", place.clock)
        [lease] = await one.reserve(place.core, {MINUTE: 1}, 1)
        [later] = await other.reserve(place.core, {MINUTE: 1}, 1)
        assert (lease.granted, later.granted) == (1, 1)
        assert later.window_number == lease.window_number + 1
