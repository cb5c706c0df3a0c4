"""Leases of the window after the running one: they count in that window, whenever they were granted and whoever dies."""

from __future__ import annotations

import time
from collections import Counter as Tally

import pytest

from actors.limiter.ceilings import CEILINGS
from actors.limiter.counters import Kept
from models.errors import PeerUnavailable
from models.planes.permits import Lease, Recall, ReserveRequest, Return, ReturnRequest, Want
from tests.kit.limiter import DAY, MINUTE, NOON_MS, Holder, Site, drain, site
from tests.kit.link import until

TEN, HUNDRED = {MINUTE: 10}, {MINUTE: 100}
NOON = NOON_MS // 60_000
"""The running minute."""


def kept(place: Site) -> Kept:
    """What the store has of the one counter there is."""
    [row] = place.store.documents[CEILINGS.name, "p"].document["counters"]
    return Kept(*row[2:])


async def test_a_lease_of_the_coming_window_says_when_that_begins_and_ends() -> None:
    """From the running one's end for as long as it lasts; the running one stays as it was."""
    async with site() as place:
        one = Holder("a", place.clock)
        place.clock.advance(20)
        [lease] = await one.reserve(place.core, TEN, 3, ahead=True)
        assert lease == Lease(3, 1, NOON + 1, 100_000, 7, 1, 40_000)
        assert one.left(MINUTE) == 0
        [lease] = await one.reserve(place.core, TEN, 5)
        assert lease == Lease(5, 2, NOON, 40_000, 5, 1)


async def test_both_windows_of_a_counter_can_be_asked_for_at_once() -> None:
    """In one request and one write; twice the same is none."""
    async with site() as place:
        wants = tuple(Want("p", *MINUTE, 10, 1, 2, ahead) for ahead in (False, True))
        answer = await place.core.reserve(ReserveRequest(holder="a", wants=wants))
        assert [(one.granted, one.window_number) for one in answer.leases] == [(2, NOON), (2, NOON + 1)]
        assert place.store.writes == 1
        assert kept(place) == Kept(NOON, 3, 10, 1, 3)


async def test_what_was_granted_ahead_counts_when_its_window_runs() -> None:
    """Spent, unspent and returned: exactly the limit, in this window and the next."""
    async with site() as place:
        one, other = Holder("a", place.clock), Holder("b", place.clock)
        await place.attach("l1", one, other)
        await other.reserve(place.core, TEN, 5, ahead=True)
        assert await drain(place, one, TEN) == 10
        place.clock.advance(60)
        assert other.spend(MINUTE, 2) == 2
        assert await drain(place, one, TEN) == 8
        assert other.left(MINUTE) == 0
        assert one.spent == {(MINUTE, NOON): 10, (MINUTE, NOON + 1): 8}


async def test_workers_that_ask_ahead_leave_something_for_those_who_use_the_running_window() -> None:
    """A fair part is counted by both windows' holders."""
    async with site() as place:
        holders = [Holder(name, place.clock) for name in "abcd"]
        for one in holders:
            await one.reserve(place.core, HUNDRED, 1)
        granted = [(await one.reserve(place.core, HUNDRED, 100, ahead=True))[0].granted for one in holders]
        assert granted == [12, 11, 9, 8]


async def test_nobody_waits_or_is_asked_for_a_coming_window() -> None:
    """When nothing of it is left, or of the running one, the answer comes at once."""
    async with site(patience=30.0) as place:
        one, other = Holder("a", place.clock), Holder("b", place.clock)
        await place.attach("l1", one, other)
        while (await other.reserve(place.core, TEN, 10, ahead=True))[0].granted:
            pass
        await other.reserve(place.core, {DAY: 1}, 1)
        began = time.monotonic()
        [lease] = await one.reserve(place.core, TEN, 1, ahead=True)
        assert (lease.granted, lease.remaining) == (0, 0)
        [lease] = await one.reserve(place.core, {DAY: 1}, 1, ahead=True)
        assert lease.granted == 1
        assert time.monotonic() - began < 1
        assert other.recalled == []


async def test_a_recall_is_of_the_running_window_alone() -> None:
    """Nobody needs the other one yet."""
    async with site() as place:
        one, other = Holder("a", place.clock), Holder("b", place.clock)
        await place.attach("l1", one, other)
        await other.reserve(place.core, TEN, 5)
        await other.reserve(place.core, TEN, 5, ahead=True)
        assert await drain(place, one, TEN) == 10
        assert other.recalled == [Recall((("p", "minute"),))]
        place.clock.advance(60)
        assert other.left(MINUTE) == 5


async def test_a_lowered_limit_calls_back_both_windows() -> None:
    """Where more is out than it allows."""
    async with site() as place:
        one, other = Holder("a", place.clock), Holder("b", place.clock)
        await place.attach("l1", one, other)
        await other.reserve(place.core, HUNDRED, 40)
        await other.reserve(place.core, HUNDRED, 20, ahead=True)
        one.revision = 2
        await one.reserve(place.core, {MINUTE: 30}, 1)
        await until(lambda: other.recalled)
        assert other.recalled == [Recall((("p", "minute"),))]
        one.revision = 3
        await one.reserve(place.core, TEN, 1)
        await until(lambda: len(other.recalled) > 1)
        assert other.recalled[1:] == [Recall((), (("p", "minute"),))]
        place.clock.advance(60)
        assert await drain(place, one, TEN) == 10


async def test_a_return_of_a_coming_windows_lease_counts_once() -> None:
    """Before its window and in it; after it no more."""
    async with site() as place:
        one = Holder("a", place.clock)
        for when in (0, 60, 120):
            [lease] = await one.reserve(place.core, TEN, 5, ahead=True)
            returns = (Return(lease.lease, "i1", 5),)
            place.clock.advance(when)
            for _ in range(2):
                await place.core.give_back(ReturnRequest(holder="a", returns=returns))
            counter = place.core._shelf._accounts["p"].counters[MINUTE]
            assert (counter.running.granted, counter.coming.granted) == (0, 0)
            assert place.core._leases == {}


async def test_a_window_that_is_left_out_ends_what_was_granted_ahead() -> None:
    """The clock went on by two."""
    async with site() as place:
        one = Holder("a", place.clock)
        await one.reserve(place.core, TEN, 5, ahead=True)
        place.clock.advance(120)
        assert await drain(place, one, TEN) == 10
        assert one.spent == Tally({(MINUTE, NOON + 2): 10})


async def test_a_restart_takes_both_ceilings_as_spent() -> None:
    """Of either window at most a step is lost, and what was granted stays good."""
    async with site() as place:
        one = Holder("a", place.clock)
        await one.reserve(place.core, HUNDRED, 10)
        await one.reserve(place.core, HUNDRED, 20, ahead=True)
        await place.start()
        assert await drain(place, Holder("b", place.clock), HUNDRED) == 85
        place.clock.advance(60)
        assert one.spend(MINUTE, 100) == 20
        assert await drain(place, Holder("c", place.clock), HUNDRED) == 75


async def test_a_restart_after_the_turn_takes_the_kept_ceiling_for_the_window_that_runs_now() -> None:
    """Although nothing was written since."""
    async with site() as place:
        one = Holder("a", place.clock)
        await one.reserve(place.core, HUNDRED, 20, ahead=True)
        place.clock.advance(60)
        await place.start()
        assert one.spend(MINUTE, 100) == 20
        assert await drain(place, Holder("b", place.clock), HUNDRED) == 75


@pytest.mark.parametrize("fault", ["before", "after"])
async def test_nothing_is_granted_ahead_that_is_not_kept(fault: str) -> None:
    """A write that fails ends the incarnation; the next begins with what the store has."""
    async with site() as place:
        one = Holder("a", place.clock)
        place.store.fault = fault
        with pytest.raises(PeerUnavailable):
            await one.reserve(place.core, TEN, 2, ahead=True)
        await place.start()
        place.clock.advance(60)
        assert await drain(place, one, TEN) == (10 if fault == "before" else 7)


async def test_a_clock_set_back_refills_nothing_that_was_granted_ahead() -> None:
    """Neither for this incarnation nor for the next; and nothing is granted ahead until it has caught up."""
    for restart in (False, True):
        async with site() as place:
            one = Holder("a", place.clock)
            await one.reserve(place.core, TEN, 5, ahead=True)
            place.clock.advance(60)
            assert await drain(place, one, TEN) == 10
            place.clock.jump(-70)
            if restart:
                await place.start()
            assert await drain(place, one, TEN) == 0
            [lease] = await one.reserve(place.core, TEN, 1, ahead=True)
            assert lease.granted == 0
            place.clock.advance(70)
            [lease] = await one.reserve(place.core, TEN, 1, ahead=True)
            assert lease.granted == 1


async def test_the_first_call_of_a_window_is_kept_as_such() -> None:
    """Also where its ceiling was kept before: else a clock set back would go on with the window before."""
    async with site() as place:
        one = Holder("a", place.clock)
        await one.reserve(place.core, TEN, 3)
        await one.reserve(place.core, TEN, 3, ahead=True)
        place.clock.advance(60)
        await one.reserve(place.core, TEN, 1)
        assert kept(place) == Kept(NOON + 1, 5, 10, 1)
        await place.start()
        place.clock.jump(-60)
        [lease] = await Holder("b", place.clock).reserve(place.core, TEN, 1)
        assert lease.window_number == NOON + 1


async def test_old_rows_have_nothing_of_the_coming_window() -> None:
    """As an earlier version wrote them."""
    async with site() as place:
        rows = [[*MINUTE, NOON, 4, 10, 1]]
        await place.store.put(CEILINGS, "p", {"counters": rows})
        one = Holder("a", place.clock)
        assert await drain(place, one, TEN) == 6
        place.clock.advance(60)
        assert await drain(place, one, TEN) == 10


async def test_a_deleted_ceiling_of_a_coming_window_never_begins_again() -> None:
    """The clock is set back to it after its proxy was forgotten."""
    async with site() as place:
        one = Holder("a", place.clock)
        await one.reserve(place.core, TEN, 5, ahead=True)
        place.clock.advance(2 * 3600)
        for _ in range(2):
            await place.core.sweep()
        assert place.store.ids(CEILINGS) == []
        assert place.core._leases == {}
        place.clock.jump(-2 * 3600 + 60)
        [lease] = await one.reserve(place.core, TEN, 1)
        assert lease.window_number == NOON + 2
