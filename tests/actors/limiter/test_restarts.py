"""Limits that change and limiters that end: nothing is refilled, and no more is lost than a step."""

from __future__ import annotations

import asyncio
import contextlib
import random
from pathlib import Path

import pytest

from actors.limiter.ceilings import CEILINGS, LAYOUT
from actors.limiter.core import LimiterCore
from actors.tasks import spawn
from models.errors import PeerUnavailable, StoreUnavailable
from models.planes.permits import (
    RecallRequest,
    ReturnRequest,
    shard_of,
)
from store.sqlite import SqliteStore
from tests.kit.limiter import DAY, MINUTE, NOON_MS, HandClock, Holder, drain, site

TEN = {MINUTE: 10}


# Policies


async def test_a_changed_limit_refills_nothing() -> None:
    """Raised, the difference is there; lowered below what is out, nothing is."""
    async with site() as place:
        one = Holder("a", place.clock)
        await place.attach("l1", one)
        assert await drain(place, one, TEN) == 10
        one.revision = 2
        assert await drain(place, one, {MINUTE: 15}) == 5
        one.revision = 3
        assert await drain(place, one, {MINUTE: 5}) == 0
        one.revision = 4
        assert await drain(place, one, {MINUTE: 15}) == 0


async def test_a_lowered_limit_calls_back_what_is_out() -> None:
    """So that it holds as soon as it can."""
    async with site() as place:
        one, other = Holder("a", place.clock), Holder("b", place.clock)
        await place.attach("l1", one, other)
        await other.reserve(place.core, {MINUTE: 100}, 50)
        assert other.spend(MINUTE, 3) == 3
        one.revision = 2
        assert await drain(place, one, TEN) == 7
        assert other.left(MINUTE) == 0


async def test_a_worker_with_an_older_policy_gets_what_the_newer_one_allows() -> None:
    """Also after a restart, whoever asks first."""
    async with site() as place:
        new, old = Holder("new", place.clock, revision=5), Holder("old", place.clock, revision=4)
        await place.attach("l1", new, old)
        assert await drain(place, new, {MINUTE: 0}) == 0
        assert await drain(place, old, {MINUTE: 100}) == 0
        await place.start()
        assert await drain(place, old, {MINUTE: 100}) == 0


# Restarts


async def test_a_restart_takes_every_ceiling_as_spent_and_loses_no_more_than_a_step() -> None:
    """Leases from before stay good; their returns count for nothing."""
    async with site() as place:
        one = Holder("a", place.clock)
        await one.reserve(place.core, {MINUTE: 100}, 20)
        await place.start()
        assert one.left(MINUTE) == 20
        returns = one.give_up([("p", "minute")])
        await place.core.give_back(ReturnRequest(holder="a", returns=returns))
        assert await drain(place, Holder("b", place.clock), {MINUTE: 100}) == 75


async def test_writes_are_rare() -> None:
    """One for each step of 5 %, at most, and none for what is refused."""
    async with site() as place:
        one = Holder("a", place.clock)
        for _ in range(1000):
            assert await one.call(place.core, {MINUTE: 1000})
        assert place.store.writes <= 20
        for _ in range(100):
            assert not await one.call(place.core, {MINUTE: 1000})
        assert place.store.writes <= 20


@pytest.mark.parametrize("fault", ["before", "after"])
async def test_a_failed_write_ends_the_incarnation_and_grants_nothing(fault: str) -> None:
    """The next one starts from what the store has, whichever that is."""
    async with site() as place:
        one = Holder("a", place.clock)
        place.store.fault = fault
        with pytest.raises(PeerUnavailable):
            await one.reserve(place.core, TEN, 2)
        assert place.over == 1
        for call in (
            place.core.reserve(one.request(TEN, 1)),
            place.core.give_back(ReturnRequest(holder="a", returns=())),
            place.core.recalls(RecallRequest(link="l", holders=())),
        ):
            with pytest.raises(PeerUnavailable):
                await call
        await place.start()
        assert await drain(place, one, TEN) == (10 if fault == "before" else 7)


async def test_whoever_waits_when_it_ends_is_told() -> None:
    """At once, not at the end of their patience."""
    async with site(patience=30.0) as place:
        one, other = Holder("a", place.clock), Holder("b", place.clock)
        await other.reserve(place.core, {MINUTE: 1}, 1)
        waiting = spawn("waiting", one.call(place.core, {MINUTE: 1}))
        await asyncio.sleep(0)
        place.store.fault = "before"
        with pytest.raises(PeerUnavailable):
            await Holder("c", place.clock, key="q").reserve(place.core, TEN, 1)
        with pytest.raises(PeerUnavailable):
            await waiting


async def test_two_incarnations_at_once_never_grant_more_than_one() -> None:
    """One that was thought dead goes on until it has to write, and ends."""
    async with site() as place:
        first, one = place.core, Holder("a", place.clock)
        await one.reserve(first, {MINUTE: 100}, 20)
        await place.start()
        second, other = place.core, Holder("b", place.clock)
        assert await drain(place, other, {MINUTE: 100}) == 75
        got = one.spend(MINUTE, 20)
        with contextlib.suppress(PeerUnavailable):
            while await one.call(first, {MINUTE: 100}):
                got += 1
        assert got == 25
        assert place.over == 1
        await first.close()
        assert second is place.core


async def test_over_a_real_store(tmp_path: Path) -> None:
    """Restarts, several shards in one file, and old windows that leave it."""
    keys = {shard_of(f"p{number}", 2): f"p{number}" for number in range(20)}
    clock = HandClock()

    async def core(shard: int, name: str) -> LimiterCore:
        made = LimiterCore(
            SqliteStore(tmp_path / "limiter.db", LAYOUT),
            clock=clock,
            incarnation=name,
            uniform=random.uniform,
            on_end=pytest.fail,
            shard=shard,
            shards=2,
        )
        await made.open()
        return made

    async def take(place: LimiterCore, shard: int) -> int:
        holder = Holder("h", clock, key=keys[shard])
        return (await place.reserve(holder.request({MINUTE: 100, DAY: 100}, 20, shards=2))).leases[0].granted

    first = [await core(0, "i1"), await core(1, "i2")]
    assert [await take(one, shard) for shard, one in enumerate(first)] == [20, 20]
    await first[0].close()
    again = await core(0, "i3")
    assert again.detail == "shard 0 of 2, 0 proxies"
    assert [await take(again, 0), await take(again, 0)] == [20, 20]
    clock.advance(3 * 86_400)
    for one in (again, first[1]):
        await one.sweep()
        await one.sweep()
        assert "0 proxies" in one.detail
    clock.jump(-3 * 86_400)
    holder = Holder("h", clock, key=keys[0])
    [lease] = (await again.reserve(holder.request({MINUTE: 10}, 1, shards=2))).leases
    assert lease.window_number == NOON_MS // 60_000 + 1  # not the one that was used and deleted
    for one in (again, first[1]):
        await one.close()


async def test_sweeping_forgets_leases_and_says_when_it_cannot() -> None:
    """Memory does not grow with every proxy that ever was; a store that is away is tried again later."""
    async with site() as place:
        one = Holder("a", place.clock)
        await one.reserve(place.core, TEN, 3)
        place.clock.advance(2 * 3600)
        await place.core.sweep()
        assert place.core._leases == {}
        assert place.store.ids(CEILINGS) == []
        await one.reserve(place.core, TEN, 3)
        place.clock.advance(2 * 3600)
        place.store.fault = "before"
        with pytest.raises(StoreUnavailable):
            await place.core.sweep()
        assert place.over == 0
        await place.core.sweep()
        assert place.store.ids(CEILINGS) == []
