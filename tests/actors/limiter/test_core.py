"""The limiter as workers and links see it: exact to the last call, prompt at the end, and safe over any restart."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from pathlib import Path

import pytest

from actors.limiter.ceilings import CEILINGS, LAYOUT
from actors.limiter.core import AGAIN_NS, LimiterCore
from actors.tasks import spawn
from models.errors import PeerUnavailable, Refused, StoreUnavailable
from models.planes.permits import (
    Lease,
    Recall,
    RecallRequest,
    ReserveRequest,
    Return,
    ReturnRequest,
    Want,
    shard_of,
)
from store.sqlite import SqliteStore
from tests.kit.limiter import DAY, MINUTE, NOON_MS, HandClock, Holder, Site, site
from tests.kit.link import until

TEN = {MINUTE: 10}


async def drain(place: Site, holder: Holder, maxima: dict[tuple[str, int], int]) -> int:
    """How many calls a holder that uses all it gets can make."""
    made = 0
    while await holder.call(place.core, maxima, 10**6):
        made += 1
    return made


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


# Holders that go, or do not answer


async def test_a_holder_that_has_gone_is_not_waited_for() -> None:
    """What it had is spent; it counts for nothing in what others may get."""
    async with site(patience=30.0) as place:
        one, gone = Holder("a", place.clock), Holder("gone", place.clock)
        await place.attach("l1", one, gone)
        await gone.reserve(place.core, TEN, 5)
        await place.detach("l1", gone)
        assert await drain(place, one, TEN) == 5
        assert gone.recalled == []
        [lease] = await one.reserve(place.core, TEN, 1)
        assert lease.holders == 1


async def test_a_holder_that_goes_while_it_is_waited_for_ends_the_wait() -> None:
    """Its link says so."""
    async with site(patience=30.0) as place:
        one, stuck = Holder("a", place.clock), Holder("stuck", place.clock)
        stuck.answers = False
        await place.attach("l1", one, stuck)
        await stuck.reserve(place.core, {MINUTE: 1}, 1)
        waiting = spawn("waiting", one.call(place.core, {MINUTE: 1}))
        await until(lambda: stuck.recalled)
        await place.detach("l1", stuck)
        assert not await waiting


async def test_the_holders_of_a_link_that_is_silent_have_gone() -> None:
    """After 15 s."""
    async with site(patience=30.0) as place:
        one, silent = Holder("a", place.clock), Holder("silent", place.clock)
        await place.attach("l1", one)
        await place.attach("l2", silent)
        await silent.reserve(place.core, {DAY: 1}, 1)
        await place.silence("l2")
        place.clock.advance(15.1)
        assert not await one.call(place.core, {DAY: 1})


async def test_a_holder_that_does_not_answer_is_waited_for_once() -> None:
    """Up to the patience; then what it has counts as spent, until it says something."""
    async with site(patience=0.05) as place:
        one, stuck = Holder("a", place.clock), Holder("stuck", place.clock)
        stuck.answers = False
        await place.attach("l1", one, stuck)
        await stuck.reserve(place.core, TEN, 5)
        began = time.monotonic()
        assert await drain(place, one, TEN) == 5
        assert time.monotonic() - began >= 0.05
        began = time.monotonic()
        for _ in range(100):
            assert not await one.call(place.core, TEN)
        assert time.monotonic() - began < 4
        stuck.answers = True
        place.clock.advance(AGAIN_NS / 1e9)  # then it is asked again
        assert not await one.call(place.core, TEN)
        await until(lambda: not stuck.left(MINUTE))
        assert await drain(place, one, TEN) == 5


async def test_a_holder_that_no_link_names_is_waited_for_no_longer_than_that() -> None:
    """Its link may be about to; when it does, the recall is there."""
    async with site(patience=0.05) as place:
        one, unknown = Holder("a", place.clock), Holder("unknown", place.clock)
        await place.attach("l1", one)
        await unknown.reserve(place.core, TEN, 5)
        assert await drain(place, one, TEN) == 5
        await place.attach("l2", unknown)
        await until(lambda: unknown.recalled)
        assert await drain(place, one, TEN) == 5


async def test_a_lease_whose_answer_was_lost_is_not_waited_for_twice() -> None:
    """Its holder says that it has nothing; that is an answer."""
    async with site(patience=30.0) as place:
        one, deaf = Holder("a", place.clock), Holder("b", place.clock)
        await place.attach("l1", one, deaf)
        await place.core.reserve(deaf.request(TEN, 5))  # never heard of
        assert await drain(place, one, TEN) == 5
        assert len(deaf.recalled) == 1
        assert not await one.call(place.core, TEN)


async def test_a_lease_on_its_way_while_its_holder_was_asked_is_asked_for_again() -> None:
    """So that it is not withheld for the rest of the window."""
    async with site(patience=0.05) as place:
        one, other = Holder("a", place.clock), Holder("b", place.clock)
        await place.attach("l1", one, other)
        request, sent = other.request(TEN, 5), place.clock.boot_ns()
        answer = await place.core.reserve(request)
        assert await drain(place, one, TEN) == 5
        other.take(request, answer, sent)
        assert not await one.call(place.core, TEN)
        place.clock.advance(1)
        assert await drain(place, one, TEN) == 5


async def test_a_return_of_somebody_elses_lease_or_of_another_incarnation_is_none() -> None:
    """Nothing becomes free by it."""
    async with site() as place:
        one = Holder("a", place.clock)
        await one.reserve(place.core, {MINUTE: 1}, 1)
        [loan] = one.loans[MINUTE]
        for holder, incarnation in (("b", loan.incarnation), ("a", "another")):
            returns = (Return(loan.number, incarnation, 1),)
            await place.core.give_back(ReturnRequest(holder=holder, returns=returns))
            assert not await Holder("c", place.clock).call(place.core, {MINUTE: 0})
        assert place.core._leases


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
