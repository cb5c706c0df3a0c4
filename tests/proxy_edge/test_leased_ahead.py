"""Callers that come steadily outlive a limiter that is away for half a minute, whenever that begins.

Time is the loop's as well as the clock's here, and moved by hand, so that whole minutes take a moment.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, Self

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import LimiterUnavailable, LinkUnavailable
from models.limits import Limit, request_limits, window_of
from models.planes.frames import Surrender
from models.planes.permits import Recall, ReserveRequest, ReturnRequest
from proxy_edge.leased_permits import LEAD_SECONDS, LeasedPermits
from proxy_edge.permits import Outcome, Permit, Wait
from tests.kit.limiter import HandClock, Site

STEP = 0.05
"""Seconds of a step."""
SECOND = 1_000_000_000
HIGH = request_limits("prx_a", 100_000, None)


class Minutes:
    """Some workers and their limiter, over minutes that pass step by step.

    away: the limiter does not answer. takes: seconds until a call that is not answered is known to be lost. travel:
    seconds that question and answer are on their way.
    """

    def __init__(self, workers: int = 1, *, seed: int = 1) -> None:
        self.site = Site(patience=0.1)
        self.clock: HandClock = self.site.clock
        self.away, self.takes, self.travel = False, 0.0, 0.0
        self.asked: list[ReserveRequest] = []
        self.returned: list[ReturnRequest] = []
        self.admitted: Counter[int] = Counter()
        self.refused: Counter[type] = Counter()
        self.longest = 0.0
        chance = random.Random(seed).random
        self.workers = [
            LeasedPermits(self.call, self.clock, holder=f"h/{number}/x", chance=chance)
            for number in range(workers)
        ]
        self._began = self.clock.boot_ns()

    async def __aenter__(self) -> Self:
        asyncio.get_running_loop().time = lambda: self.clock.boot_ns() / 1e9  # type: ignore[method-assign]  # this loop's time is ours
        await self.site.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.away, self.takes = True, 0.0
        for one in self.workers:
            await self.stopped(one)
        await self.site.close()
        loop = asyncio.get_running_loop()
        loop.time = type(loop).time.__get__(loop)  # type: ignore[method-assign]  # as it was

    async def stopped(self, worker: LeasedPermits) -> None:
        """It ends in order."""
        closing = asyncio.create_task(worker.close())
        while not closing.done():
            await self.step()

    @property
    def seconds(self) -> float:
        """Since the beginning, which is that of a minute."""
        return (self.clock.boot_ns() - self._began) / 1e9

    async def call(self, _role: str, method: str, payload: bytes, _seconds: float, _shard: int) -> bytes:
        if method == "give_back":
            back = msgspec.msgpack.decode(payload, type=ReturnRequest)
            self.returned.append(back)
            if self.away:
                raise LinkUnavailable("away")
            await self.site.core.give_back(back)
            return b""
        request = msgspec.msgpack.decode(payload, type=ReserveRequest)
        self.asked.append(request)
        if self.away:
            await self.passing(self.takes)
            raise LinkUnavailable("away")
        await self.passing(self.travel)
        answer = await self.site.core.reserve(request)
        await self.passing(self.travel)
        return msgspec.msgpack.encode(answer)

    async def passing(self, seconds: float) -> None:
        """Returns when so much time has passed; at once for none."""
        if seconds:
            done = asyncio.Event()
            asyncio.get_running_loop().call_later(seconds, done.set)
            await done.wait()

    async def step(self, seconds: float = STEP) -> None:
        """A little time passes, and everybody does what there is to do."""
        self.clock.advance(seconds)
        for _ in range(25):
            await asyncio.sleep(0)

    async def until(self, second: float) -> None:
        """Up to a moment."""
        while self.seconds < second - STEP / 2:
            await self.step()

    def make(self, worker: LeasedPermits, limits: tuple[Limit, ...] = HIGH) -> None:
        """One call comes."""
        came = self.seconds
        outcome = worker.take(limits, self.clock.wall_ms())
        if isinstance(outcome, Wait):
            wait = outcome
            wait.on_ready(lambda: self._count(wait.outcome, self.seconds - came))
        else:
            self._count(outcome, 0.0)

    def _count(self, outcome: Outcome | None, waited: float) -> None:
        self.longest = max(self.longest, waited)
        if isinstance(outcome, Permit):
            self.admitted[window_of(self.clock.wall_ms(), 60)] += 1
        else:
            self.refused[type(outcome)] += 1

    async def calls(
        self, until: float, every: float = 0.25, limits: tuple[Limit, ...] = HIGH, *, spread: bool = True
    ) -> None:
        """Calls at even intervals up to a moment, in turn at all workers or at the first one."""
        turn = itertools.cycle(self.workers if spread else self.workers[:1])
        due = self.seconds
        while self.seconds < until - STEP / 2:
            while due <= self.seconds + STEP / 2:
                self.make(next(turn), limits)
                due += every
            await self.step()

    def ahead(self) -> list[tuple[int, int]]:
        """How many were asked for ahead, of which minute."""
        return [
            (want.count, one) for one, asked in enumerate(self.asked) for want in asked.wants if want.ahead
        ]


@pytest.fixture
async def minutes() -> AsyncIterator[Minutes]:
    async with Minutes() as found:
        yield found


@pytest.mark.parametrize("begins", range(60, 120, 6))
async def test_steady_callers_outlive_half_a_minute_without_a_limiter(begins: int) -> None:
    """Whenever it goes, at the window's turn, too: everybody is admitted, some after a wait."""
    async with Minutes(2, seed=begins) as minutes:
        await minutes.calls(begins)
        minutes.away = True
        await minutes.calls(begins + 30)
        minutes.away = False
        await minutes.calls(begins + 60)
        assert minutes.refused == {}
        assert sum(minutes.admitted.values()) == pytest.approx((begins + 60) * 4, abs=8)


@pytest.mark.parametrize("begins", range(62, 120, 12))
async def test_they_do_so_when_each_question_hangs(begins: int) -> None:
    """Four seconds each, as when Ray does not say that an actor has gone; then it is known later that it is back."""
    async with Minutes(2, seed=begins) as minutes:
        minutes.takes = 4.0
        await minutes.calls(begins)
        minutes.away = True
        await minutes.calls(begins + 25)
        minutes.away = False
        await minutes.calls(begins + 60)
        assert minutes.refused == {}


async def test_a_window_turns_without_a_question_and_without_a_wait(minutes: Minutes) -> None:
    """The calls of the next one are there before it begins, for what is used of this one."""
    await minutes.calls(45)
    [(count, _)] = minutes.ahead()
    assert 90 < count <= 120
    asked = len(minutes.asked)
    minutes.away = True
    minutes.longest = 0.0
    await minutes.calls(65)
    assert minutes.longest <= 2 * STEP
    assert len(minutes.asked) > asked
    assert minutes.refused == {}
    assert minutes.admitted[window_of(minutes.clock.wall_ms(), 60)] == 20


async def test_it_is_asked_for_between_forty_and_thirty_seconds_before_the_end(minutes: Minutes) -> None:
    """Once, at a moment that differs; sooner than that nobody is asked."""
    await minutes.calls(60 - LEAD_SECONDS[1] - STEP)
    assert minutes.ahead() == []
    await minutes.calls(60 - LEAD_SECONDS[0] + 2 * STEP)
    assert len(minutes.ahead()) == 1
    await minutes.calls(60)
    assert len(minutes.ahead()) == 1


async def test_the_moment_comes_although_nobody_is_short(minutes: Minutes) -> None:
    """By a timer."""
    await minutes.calls(15, every=0.05)
    asked = len(minutes.asked)
    await minutes.calls(31, every=5.0)
    assert len(minutes.asked) == asked + 1
    assert len(minutes.ahead()) == 1


async def test_who_comes_late_in_a_window_asks_at_once(minutes: Minutes) -> None:
    """As soon as callers come often; and for more while they come ever more often, without a question for that alone."""
    await minutes.until(50)
    await minutes.calls(51)
    assert minutes.ahead()
    await minutes.calls(55)
    asked = minutes.ahead()
    assert sum(count for count, _ in asked) >= 30
    assert all(len(minutes.asked[one].wants) == 2 for _, one in asked)
    minutes.away = True
    await minutes.calls(70)
    assert minutes.refused == {}


async def test_callers_that_have_stopped_ask_for_nothing() -> None:
    """But once, where the last of them came since the limiter was asked; nothing in later windows."""
    async with Minutes() as minutes:
        await minutes.calls(15)
        await minutes.until(60)
        assert len(minutes.ahead()) <= 1
        asked = len(minutes.asked)
        await minutes.until(200)
        assert len(minutes.asked) == asked


async def test_a_failed_question_is_repeated_until_the_turn(minutes: Minutes) -> None:
    """After a pause of one to four seconds each time; the first answer is enough."""
    await minutes.calls(18)
    minutes.away = True
    await minutes.calls(40)
    before = len(minutes.ahead())
    assert 22 / 5 <= before <= 22
    minutes.away = False
    await minutes.calls(60)
    assert len(minutes.ahead()) == before + 1


async def test_who_comes_between_two_windows_waits_for_the_second_and_asks_nobody(minutes: Minutes) -> None:
    """Where the round trip leaves open when it begins, and nothing of the first may be spent any more."""
    minutes.travel = 0.1
    await minutes.calls(59.5)
    asked = len(minutes.asked)
    await minutes.until(59.95)
    minutes.make(minutes.workers[0])
    assert minutes.longest > 0
    minutes.longest = 0.0
    await minutes.until(60.3)
    assert 0 < minutes.longest <= 0.3
    assert len(minutes.asked) == asked
    assert minutes.admitted[window_of(minutes.clock.wall_ms(), 60)] == 1


async def test_a_worker_that_stops_leaves_its_coming_window_to_others(minutes: Minutes) -> None:
    """All that it holds goes back."""
    await minutes.calls(40)
    [worker] = minutes.workers
    counter = minutes.site.core._shelf._accounts["prx_a"].counters["minute", 60]
    assert counter.coming.granted > 0
    await minutes.stopped(worker)
    assert counter.coming.granted == 0
    assert counter.running.granted == sum(minutes.admitted.values())
    assert all(desk.timer is None for desk in worker._desks.values())


async def test_a_recall_of_the_coming_window_returns_that_alone(minutes: Minutes) -> None:
    """As when a limit was lowered, of which this worker has not heard."""
    await minutes.calls(40)
    [worker] = minutes.workers
    worker.surrender(Surrender(Recall((), (("prx_a", "minute"),))))
    await minutes.step()
    counter = minutes.site.core._shelf._accounts["prx_a"].counters["minute", 60]
    assert counter.coming.granted == 0
    assert counter.running.granted > sum(minutes.admitted.values())
    worker.surrender(Surrender(Recall((), (("prx_a", "minute"),))))
    await minutes.step()
    assert len(minutes.returned) == 1


@given(
    st.integers(1, 60),
    st.integers(1, 3),
    st.lists(
        st.tuples(st.integers(0, 25), st.sampled_from([0.1, 0.5, 3.0]), st.sampled_from([0.0, 0.1, 0.7])),
        max_size=12,
    ),
    st.integers(0, 99),
)
@settings(max_examples=25, deadline=None)
def test_any_traffic_over_any_turns_admits_the_limit_at_most(
    most: int, workers: int, phases: list[tuple[int, float, float]], seed: int
) -> None:
    """With a limiter that comes and goes and answers that take their time: no minute ever has more calls."""

    async def live() -> None:
        limits = request_limits("prx_a", most, None)
        async with Minutes(workers, seed=seed) as minutes:
            chance = random.Random(seed)
            for seconds, every, travel in phases:
                minutes.away, minutes.travel = chance.random() < 0.2, travel
                await minutes.calls(minutes.seconds + seconds, every, limits, spread=chance.random() < 0.7)
                assert max(minutes.admitted.values(), default=0) <= most

    asyncio.run(live())


def test_refusals_for_want_of_a_limiter_are_what_is_counted() -> None:
    """Should the tests above ever count nothing."""

    async def live() -> Any:
        async with Minutes() as minutes:
            minutes.away = True
            await minutes.calls(15)
            return minutes.refused

    assert asyncio.run(live())[LimiterUnavailable] > 0
