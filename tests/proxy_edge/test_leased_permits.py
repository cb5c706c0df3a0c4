"""Workers that lease from one limiter, the real core over a real store: never more than the limit, whatever is lost."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import LimiterUnavailable, LinkUnavailable, PeerUnavailable, Refused
from models.limits import Limit, request_limits, window_of
from models.planes.frames import Surrender
from models.planes.permits import (
    Lease,
    Recall,
    RecallRequest,
    ReserveAnswer,
    ReserveRequest,
    ReturnRequest,
    shard_of,
)
from proxy_edge.leased_permits import LeasedPermits
from proxy_edge.permits import Exhausted, Outcome, Permit, PermitSource, Wait
from proxy_edge.stats import Stats
from tests.kit.edge_region import until
from tests.kit.leases import SECOND, Clock
from tests.kit.limited import MortalLimiter
from tests.kit.memory import settle

MINUTE = 60 * SECOND
LIMITS = request_limits("prx_a", 5, None)


class World:
    """One limiter and workers around it; the link is a function here.

    away: nothing can be reached. deny: the limiter refuses. held: calls that wait for `go`, when not None.
    """

    def __init__(self, folder: Path, **options: Any) -> None:
        self.clock = Clock()
        self.clock.ns = 1_000_000 * MINUTE
        self.limiter = MortalLimiter(folder, self.clock, patience=0.05, **options)
        self.away = self.deny = False
        self.asked: list[ReserveRequest] = []
        self.returned: list[ReturnRequest] = []
        self.shards: list[int] = []
        self.held: deque[asyncio.Event] | None = None

    async def call(self, role: str, method: str, payload: bytes, _seconds: float, shard: int = 0) -> bytes:
        assert role == "limiter"
        self.shards.append(shard)
        if method == "reserve":
            self.asked.append(msgspec.msgpack.decode(payload, type=ReserveRequest))
        else:
            self.returned.append(msgspec.msgpack.decode(payload, type=ReturnRequest))
        if self.held is not None:
            event = asyncio.Event()
            self.held.append(event)
            await event.wait()
        if self.away:
            raise LinkUnavailable("away")
        if self.deny:
            raise Refused("counters are in 2 shards")
        try:
            answer: bytes = await getattr(self.limiter, method)(payload)
        except PeerUnavailable as error:
            raise LinkUnavailable(error.detail) from None
        return answer

    def worker(self, number: int = 0, **options: Any) -> LeasedPermits:
        told = {"first_pause": 0.001, "wait_seconds": 5.0, **options}
        return LeasedPermits(self.call, self.clock, holder=f"host/{number}/x", **told)

    async def had(self, source: LeasedPermits, limits: tuple[Limit, ...] = LIMITS) -> Outcome:
        """Takes one, and waits for it where it must."""
        outcome = source.take(limits, self.clock.wall_ms())
        return await decided(outcome) if isinstance(outcome, Wait) else outcome

    async def drained(self, source: LeasedPermits, limits: tuple[Limit, ...] = LIMITS) -> int:
        """How many calls are admitted before the first refusal."""
        admitted = 0
        while isinstance(await self.had(source, limits), Permit):
            admitted += 1
        return admitted


async def decided(wait: Wait) -> Outcome:
    await until(lambda: wait.outcome is not None)
    assert wait.outcome is not None
    return wait.outcome


@asynccontextmanager
async def a_world(folder: Path, **options: Any) -> AsyncIterator[World]:
    world = World(folder, **options)
    await world.limiter.start()
    try:
        yield world
    finally:
        await world.limiter.kill()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(tmp_path) as world:
        yield world


def permits(*outcomes: Outcome) -> list[Permit]:
    assert all(isinstance(one, Permit) for one in outcomes), outcomes
    return [one for one in outcomes if isinstance(one, Permit)]


# --- one worker --------------------------------------------------------------------------------------


async def test_the_first_caller_waits_and_the_limit_is_exact(world: World) -> None:
    """Five calls fit a minute of five; the sixth is told when to come back, and then gets in."""
    worker = world.worker()
    source: PermitSource = worker
    world.clock.ns += 30 * SECOND
    first = source.take(LIMITS, world.clock.wall_ms())
    assert isinstance(first, Wait)
    got = [await decided(first), *[await world.had(worker) for _ in range(4)]]
    assert [one.quota for one in permits(*got)] == [(left, 30) for left in (4, 3, 2, 1, 0)]
    refused = await world.had(worker)
    assert isinstance(refused, Exhausted)
    assert (refused.quota, refused.retry_after) == ((0, 30), 30)
    world.clock.ns += 29 * SECOND
    assert isinstance(await world.had(worker), Exhausted)
    world.clock.ns += SECOND
    assert await world.drained(worker) == 5


async def test_warm_calls_ask_nobody(world: World) -> None:
    """Once callers come often, their permits are there before them: few questions, hardly a wait."""
    limits = request_limits("prx_a", 100_000, 1_000_000)
    worker, waits = world.worker(), 0
    for _ in range(3000):
        outcome = worker.take(limits, world.clock.wall_ms())
        if isinstance(outcome, Wait):
            waits += 1
            outcome = await decided(outcome)
        assert isinstance(outcome, Permit)
        if worker._desks["prx_a"].task is not None:
            await settle()
        world.clock.ns += SECOND // 500
    assert len(world.asked) == worker.calls
    assert worker.calls < 3000 * 0.05
    assert waits < 20
    assert all(len(one.wants) <= 2 for one in world.asked)


async def test_one_question_serves_all_who_wait_in_their_order(world: World) -> None:
    """Also when there is not enough for all of them."""
    world.held = deque()
    worker = world.worker()
    waits = [worker.take(LIMITS, world.clock.wall_ms()) for _ in range(7)]
    order: list[int] = []
    for number, wait in enumerate(waits):
        assert isinstance(wait, Wait)
        wait.on_ready(lambda number=number: order.append(number))  # type: ignore[misc]  # a lambda's default has no type
    await until(lambda: len(world.held or ()) == 1)
    assert [want.count for want in world.asked[0].wants] == [7]
    held, world.held = world.held, None
    held[0].set()
    outcomes = [await decided(wait) for wait in waits if isinstance(wait, Wait)]
    assert [type(one) for one in outcomes] == [Permit] * 5 + [Exhausted] * 2
    assert order == list(range(7))


async def test_nothing_left_is_remembered_and_asked_for_once_a_second(world: World) -> None:
    """Callers are refused from memory meanwhile."""
    worker = world.worker()
    assert await world.drained(worker) == 5
    asked = worker.calls
    for _ in range(50):
        assert isinstance(worker.take(LIMITS, world.clock.wall_ms()), Exhausted)
    await settle()
    assert worker.calls == asked
    for more in (1, 2):
        world.clock.ns += SECOND
        for _ in range(5):
            assert isinstance(worker.take(LIMITS, world.clock.wall_ms()), Exhausted)
        await until(lambda more=more: worker.calls == asked + more and worker._desks["prx_a"].task is None)  # type: ignore[misc]  # a lambda's default has no type


async def test_no_permit_after_its_lease(world: World) -> None:
    """However late the loop is: the deadline counts from the sending of the question."""
    limits = request_limits("prx_a", 1000, None)
    worker = world.worker()
    world.clock.ns += 20 * SECOND
    world.held = deque()
    waits = [worker.take(limits, world.clock.wall_ms()) for _ in range(2)]
    await until(lambda: world.held)
    world.clock.ns += SECOND
    held, world.held = world.held, None
    held[0].set()
    permit, _ = permits(*[await decided(wait) for wait in waits if isinstance(wait, Wait)])
    worker.give_back(permit)
    world.clock.ns += 38 * SECOND - 1
    assert isinstance(worker.take(limits, world.clock.wall_ms()), Permit)
    worker.give_back(permits(*[await world.had(worker, limits)])[0])
    world.clock.ns += SECOND
    assert isinstance(worker.take(limits, world.clock.wall_ms()), Wait)
    await settle()


async def test_all_limits_or_none(world: World) -> None:
    """A call that the day refuses leaves the minute as it was; the last window to reset is told."""
    limits = request_limits("prx_a", 100, 3)
    worker = world.worker()
    assert await world.drained(worker, limits) == 3
    refused = await world.had(worker, limits)
    assert isinstance(refused, Exhausted)
    assert refused.quota[2] == 0
    assert refused.retry_after == refused.quota[3] > 60
    await worker.close()
    other = world.worker(1)
    assert await world.drained(other, request_limits("prx_a", 100, None)) == 97


async def test_a_returned_permit_can_be_taken_again_but_counts_once(world: World) -> None:
    """Returning twice, or after its window, frees nothing."""
    worker = world.worker()
    first, *_, last = permits(*[await world.had(worker) for _ in range(5)])
    worker.give_back(first)
    worker.give_back(first)
    assert await world.drained(worker) == 1
    world.clock.ns += MINUTE
    assert await world.drained(worker) == 5
    worker.give_back(last)
    assert await world.drained(worker) == 0


async def test_a_returned_permit_goes_to_who_waits(world: World) -> None:
    """At once, although the limiter is away."""
    worker = world.worker()
    permit = permits(await world.had(worker))[0]
    world.away = True
    wait = worker.take(LIMITS, world.clock.wall_ms())
    assert isinstance(wait, Wait)
    worker.give_back(permit)
    assert isinstance(wait.outcome, Permit)


async def test_an_abandoned_wait_costs_nothing(world: World) -> None:
    """Whoever left is passed over."""
    world.held = deque()
    worker = world.worker()
    left, stayed = (worker.take(LIMITS, world.clock.wall_ms()) for _ in range(2))
    assert isinstance(left, Wait)
    assert isinstance(stayed, Wait)
    left.abandon()
    await until(lambda: world.held)
    held, world.held = world.held, None
    held[0].set()
    permits(await decided(stayed))
    assert left.outcome is None
    assert await world.drained(worker) == 4


# --- what can go wrong -------------------------------------------------------------------------------


async def test_without_a_limiter_callers_wait_then_are_refused(world: World) -> None:
    """Each has a deadline of its own; it is asked again and again meanwhile."""
    world.away = True
    worker = world.worker(wait_seconds=0.3)
    loop = asyncio.get_running_loop()
    began = loop.time()
    first = worker.take(LIMITS, world.clock.wall_ms())
    await until(lambda: worker.calls > 3)
    later = loop.time()
    second = worker.take(LIMITS, world.clock.wall_ms())
    for wait, since in ((first, began), (second, later)):
        assert isinstance(wait, Wait)
        assert wait.outcome is None or since == later
        assert isinstance(await decided(wait), LimiterUnavailable)
        assert loop.time() - since >= 0.29
    assert not worker._desks["prx_a"].waiting
    world.away = False
    permits(await world.had(world.worker(1)))


async def test_pauses_grow_between_questions(world: World) -> None:
    """From the first pause up, doubling: a limiter that is away is not stormed."""
    world.away = True
    worker = world.worker(wait_seconds=0.4, first_pause=0.05, chance=lambda: 1.0)
    wait = worker.take(LIMITS, world.clock.wall_ms())
    assert isinstance(wait, Wait)
    await decided(wait)
    assert 3 <= worker.calls <= 5  # at 0, 50, 150 and 350 ms


async def test_a_refusal_is_told_once_a_minute_and_admits_nobody(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """As when the limiter counts in another number of shards."""
    world.deny = True
    worker = world.worker(wait_seconds=0.1)
    with caplog.at_level(logging.ERROR, "exeat.edge.permits"):
        assert isinstance(await world.had(worker), LimiterUnavailable)
        assert worker.calls > 2
        assert len(caplog.records) == 1
        world.clock.ns += MINUTE
        assert isinstance(await world.had(worker), LimiterUnavailable)
    assert [one.message for one in caplog.records] == ["limiter refuses"] * 2


async def test_a_limiter_of_another_division_refuses(world: World) -> None:
    """The real one, asked by a worker that believes in two of them."""
    assert isinstance(await world.had(world.worker(shards=2, wait_seconds=0.05)), LimiterUnavailable)


@pytest.mark.parametrize("answer", [b"", b"\x80", "short"], ids=["empty", "empty map", "short"])
async def test_an_answer_that_is_none_admits_nothing(world: World, answer: bytes | str) -> None:
    """It is asked again."""
    if isinstance(answer, str):
        answer = msgspec.msgpack.encode(ReserveAnswer(incarnation="i", leases=()))
    answers = [answer, answer]

    async def call(role: str, method: str, payload: bytes, seconds: float, shard: int) -> bytes:
        return answers.pop() if answers else await world.call(role, method, payload, seconds, shard)

    worker = LeasedPermits(call, world.clock, holder="host/0/x", first_pause=0.001)
    permits(await world.had(worker))
    assert worker.calls == 3


async def test_leases_outlive_their_limiter(world: World) -> None:
    """What was granted is good until its window ends; the next incarnation takes its ceiling as spent."""
    limits = request_limits("prx_a", 100, None)
    worker = world.worker()
    for _ in range(20):
        permits(await world.had(worker, limits))
    await until(lambda: worker._desks["prx_a"].task is None)
    left = worker.look(limits, world.clock.wall_ms())[0]
    await world.limiter.kill()
    held = worker._plans[limits].renewed().pools[0].left
    assert 0 < held <= left
    for _ in range(held):
        assert isinstance(worker.take(limits, world.clock.wall_ms()), Permit)
    await world.limiter.start()
    assert 20 + held + await world.drained(worker, limits) <= 100


async def test_a_renewal_that_fails_is_tried_again_before_anybody_waits(world: World) -> None:
    """While permits last, their callers notice nothing."""
    limits = request_limits("prx_a", 10_000, None)
    worker = world.worker()
    while worker._desks.get("prx_a") is None or worker._plans[limits].renewed().pools[0].left < 64:
        permits(await world.had(worker, limits))
        await settle()
    asked, world.away = worker.calls, True
    for _ in range(worker._plans[limits].renewed().pools[0].left):
        assert isinstance(worker.take(limits, world.clock.wall_ms()), Permit)
        await settle()
    assert 1 < worker.calls - asked < 10


# --- several workers ---------------------------------------------------------------------------------


async def test_workers_share_exactly_the_limit(world: World) -> None:
    """Four of them, callers at all of them, every permit used."""
    limits = request_limits("prx_a", 200, None)
    workers = [world.worker(number) for number in range(4)]
    admitted = await asyncio.gather(*(world.drained(worker, limits) for worker in workers))
    assert sum(admitted) == 200
    assert min(admitted) > 0


async def test_a_recall_moves_permits_to_who_needs_them(world: World) -> None:
    """What one holds and does not use another gets, within the question that found nothing."""
    limits = request_limits("prx_a", 8, None)
    idle, busy = world.worker(0), world.worker(1)
    for _ in range(3):
        permits(await world.had(idle, limits))
    await until(lambda: idle._desks["prx_a"].task is None)

    async def link() -> None:
        number = 0
        while True:
            answer = await world.limiter.ask(RecallRequest(link="l", holders=("host/0/x",), after=number))
            number = answer.number
            for recall in answer.recalls.values():
                idle.surrender(Surrender(recall))

    world.limiter._options["patience"] = 2.0
    world.limiter.core._patience = 2.0
    linked = asyncio.create_task(link())
    try:
        assert await world.drained(busy, limits) == 5
    finally:
        linked.cancel()
    assert isinstance(await world.had(idle, limits), Exhausted)


async def test_surrender_answers_although_nothing_is_held(world: World) -> None:
    """So that nobody waits for it; a counter it never heard of included."""
    worker = world.worker(shards=4)
    worker.surrender(Surrender(Recall((("prx_unknown", "minute"),))))
    await until(lambda: world.returned)
    assert world.returned == [ReturnRequest(holder="host/0/x", returns=())]
    assert world.shards == [shard_of("prx_unknown", 4)]


async def test_a_return_that_gets_lost_is_sent_again(world: World) -> None:
    """It counts once however often it comes."""
    worker = world.worker()
    permits(*[await world.had(worker) for _ in range(2)])
    await until(lambda: worker._desks["prx_a"].task is None)
    held = worker._plans[LIMITS].renewed().pools[0].left
    world.away = True
    worker.surrender(Surrender(Recall((("prx_a", "minute"),))))
    await until(lambda: world.returned)
    world.away = False
    await until(lambda: len(world.returned) == 2)
    await settle()
    assert sum(one.unspent for one in world.returned[0].returns) == held
    assert await world.drained(world.worker(1)) == 3


async def test_a_stop_returns_what_is_unspent(world: World) -> None:
    """Another worker has all of it at once."""
    worker = world.worker()
    permits(*[await world.had(worker) for _ in range(2)])
    await until(lambda: worker._desks["prx_a"].task is None)
    await worker.close()
    assert await world.drained(world.worker(1)) == 3


async def test_a_stop_returns_what_was_on_its_way(world: World) -> None:
    """The answer to a question under way is waited for."""
    world.held = deque()
    worker = world.worker()
    wait = worker.take(LIMITS, world.clock.wall_ms())
    assert isinstance(wait, Wait)
    await until(lambda: world.held)
    wait.abandon()
    closing = asyncio.create_task(worker.close())
    await settle()
    assert not closing.done()
    held, world.held = world.held, None
    held[0].set()
    await closing
    assert [one.unspent for request in world.returned for one in request.returns] == [1]
    assert await world.drained(world.worker(1)) == 5


async def test_questions_go_to_the_shard_of_the_proxy(tmp_path: Path) -> None:
    """All windows of a proxy to one of them."""
    async with a_world(tmp_path, shard=1, shards=2) as world:
        key = next(key for key in map(str, range(99)) if shard_of(key, 2) == 1)
        permits(await world.had(world.worker(shards=2), request_limits(key, 5, 5)))
        assert world.shards == [1]


# --- policy, header fields, numbers ------------------------------------------------------------------


async def test_an_edited_limit_keeps_its_count(world: World) -> None:
    """Raised, lowered, removed and put back, a limit never forgets the calls of its window."""
    worker = world.worker()
    for revision, (most, expected) in enumerate([(10, 10), (15, 5), (3, 0), (15, 0), (16, 1)], 1):
        worker.govern(revision)
        assert await world.drained(worker, request_limits("prx_a", most, 1000)) == expected
    worker.govern(6)
    assert await world.drained(worker, request_limits("prx_a", None, 20)) == 4
    worker.govern(7)
    assert await world.drained(worker, request_limits("prx_a", 17, None)) == 1


async def test_a_new_revision_drops_no_lease(world: World) -> None:
    """What is held serves on; the next question names the newer revision."""
    limits = request_limits("prx_a", 1000, None)
    worker = world.worker()
    worker.govern(4)
    for _ in range(20):
        permits(await world.had(worker, limits))
    await until(lambda: worker._desks["prx_a"].task is None)
    held = worker._plans[limits].renewed().pools[0].left
    asked = worker.calls
    worker.govern(5)
    raised = request_limits("prx_a", 2000, None)
    assert isinstance(worker.take(raised, world.clock.wall_ms()), Permit)
    assert worker._plans[raised].pools[0].left == held - 1
    assert {want.revision for one in world.asked[:asked] for want in one.wants} == {4}
    while worker.calls == asked:
        permits(await world.had(worker, raised))
    assert {(want.revision, want.max) for want in world.asked[-1].wants} == {(5, 2000)}


async def test_what_was_over_is_forgotten_with_a_new_revision(world: World) -> None:
    """A proxy that is gone leaves nothing behind."""
    worker = world.worker()
    permits(await world.had(worker))
    await until(lambda: worker._desks["prx_a"].task is None)
    worker.govern(1)
    assert list(worker._desks) == ["prx_a"]
    world.clock.ns += MINUTE
    worker.govern(2)
    assert not worker._desks


async def test_a_look_takes_nothing_and_claims_nothing(world: World) -> None:
    """Before anything is known there is nothing to show; then the quota, never more than is there."""
    worker = world.worker()
    with pytest.raises(LimiterUnavailable):
        worker.look(LIMITS, world.clock.wall_ms())
    permit = permits(await world.had(worker))[0]
    await until(lambda: worker._desks["prx_a"].task is None)
    looks = {worker.look(LIMITS, world.clock.wall_ms()) for _ in range(5)}
    assert looks == {permit.quota} == {(4, 60)}
    assert await world.drained(worker) == 4
    assert worker.look(LIMITS, world.clock.wall_ms()) == (0, 60)


async def test_numbers_count_calls_admitted_once(world: World, tmp_path: Path) -> None:
    """One that came back and is taken again is not counted twice."""
    stats = Stats(tmp_path / "stats", 0, 1, lambda: 0.0)
    worker = world.worker()
    worker.give_back(permits(await world.had(worker))[0])
    worker.tell(stats)
    assert await world.drained(worker) == 5
    worker.tell(stats)
    text = stats.render().decode()
    stats.close()
    assert "exeat_permits_total 5.0" in text
    assert f"exeat_limiter_calls_total {float(worker.calls)}" in text


# --- any history -------------------------------------------------------------------------------------

STEPS = st.one_of(
    st.tuples(st.just("take"), st.integers(0, 2)),
    st.tuples(st.just("take"), st.integers(0, 2)),
    st.tuples(st.just("give back"), st.integers(0, 9)),
    st.tuples(
        st.sampled_from(["answer", "answer", "lose question", "lose answer", "twice"]), st.integers(0, 9)
    ),
    st.tuples(st.just("recall"), st.integers(0, 2)),
    st.tuples(st.just("time"), st.sampled_from([1, 10, 999, 7_000, 29_000, 60_000])),
    st.tuples(st.just("restart"), st.just(0)),
    st.tuples(st.just("stop"), st.integers(0, 2)),
)


class Storm:
    """Three workers whose questions and answers are carried, lost and repeated as a test says.

    admitted: calls per window that were sent; those given back are not.
    """

    def __init__(self, world: World, limits: tuple[Limit, ...]) -> None:
        self.world, self.limits = world, limits
        self.open: list[tuple[str, bytes, asyncio.Future[bytes]]] = []
        self.workers = [self.fresh(number) for number in range(3)]
        self.lives = 3
        self.waits: list[Wait] = []
        self.permits: list[tuple[LeasedPermits, Permit, dict[str, int]]] = []
        self.admitted: Counter[tuple[str, int]] = Counter()

    def fresh(self, number: int) -> LeasedPermits:
        return LeasedPermits(
            self.call, self.world.clock, holder=f"h/{number}/x", wait_seconds=60.0, first_pause=0.0
        )

    async def call(self, _role: str, method: str, payload: bytes, _seconds: float, _shard: int) -> bytes:
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.open.append((method, payload, future))
        return await future

    def windows(self) -> dict[str, int]:
        now_ms = self.world.clock.wall_ms()
        return {limit.name: window_of(now_ms, limit.window_seconds) for limit in self.limits}

    def count(self, worker: LeasedPermits, outcome: object) -> None:
        if isinstance(outcome, Permit):
            windows = self.windows()
            self.admitted.update(windows.items())
            self.permits.append((worker, outcome, windows))

    def take(self, number: int) -> None:
        worker = self.workers[number]
        outcome = worker.take(self.limits, self.world.clock.wall_ms())
        if isinstance(outcome, Wait):
            outcome.on_ready(lambda: self.count(worker, outcome.outcome))
        else:
            self.count(worker, outcome)

    def give_back(self, number: int) -> None:
        if self.permits:
            worker, permit, windows = self.permits.pop(number % len(self.permits))
            worker.give_back(permit)
            self.admitted.subtract(windows.items())

    async def carry(self, how: str, number: int) -> None:
        if not self.open:
            return
        method, payload, future = self.open.pop(number % len(self.open))
        answer: bytes | None = None
        if how != "lose question":
            for _ in range(2 if how == "twice" else 1):
                answer = await getattr(self.world.limiter, method)(payload)
        if future.cancelled():
            return
        if how in {"lose question", "lose answer"} or answer is None:
            future.set_exception(LinkUnavailable("lost"))
        else:
            future.set_result(answer)

    async def step(self, what: str, number: int) -> None:
        match what:
            case "take":
                self.take(number)
            case "give back":
                self.give_back(number)
            case "recall":
                windows = tuple((limit.key, limit.name) for limit in self.limits)
                self.workers[number].surrender(Surrender(Recall(windows)))
            case "time":
                self.world.clock.ns += number * 1_000_000
            case "restart":
                await self.world.limiter.kill()
                await self.world.limiter.start()
            case "stop":
                self.workers[number] = self.fresh(self.lives)
                self.lives += 1
            case _:
                await self.carry(what, number)
        await settle()

    def end(self) -> None:
        for _, _, future in self.open:
            future.cancel()


@given(st.lists(STEPS, max_size=60), st.integers(0, 12), st.sampled_from([None, 15]))
@settings(max_examples=40, deadline=None)
def test_any_history_admits_the_limit_at_most(
    steps: list[tuple[str, int]], most: int, per_day: int | None
) -> None:
    """Whatever is lost, repeated, recalled or restarted in whatever order: no window has more calls than its limit."""
    limits = request_limits("prx_a", most, per_day)
    maximum = {limit.name: limit.max for limit in limits}

    async def live(folder: Path) -> None:
        async with a_world(folder) as world:
            world.limiter.core._patience = world.limiter._options["patience"] = 0.001
            storm = Storm(world, limits)
            for what, number in steps:
                await storm.step(what, number)
                for (window, _), admitted in storm.admitted.items():
                    assert admitted <= maximum[window]
            storm.end()
            await settle()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(live(Path(folder)))


def test_a_lease_of_a_kind_can_be_read() -> None:
    """The values on the wire are those of the vocabulary."""
    lease = Lease(1, 2, 3, 4, 5, 6)
    answer = msgspec.msgpack.encode(ReserveAnswer(incarnation="i", leases=(lease,)))
    assert msgspec.msgpack.decode(answer, type=ReserveAnswer).leases == (lease,)
