"""Holders that go, do not answer, or were asked in vain: nobody waits for them longer than it is of use."""

from __future__ import annotations

import time

from actors.limiter.core import AGAIN_NS
from actors.tasks import spawn
from models.planes.permits import (
    Return,
    ReturnRequest,
)
from tests.kit.limiter import DAY, MINUTE, Holder, drain, site
from tests.kit.link import until

TEN = {MINUTE: 10}


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
