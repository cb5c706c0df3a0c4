"""Workers that lease from one limiter, the real core over a real store: never more than the limit, whatever is lost."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import msgspec
import pytest

from models.errors import LimiterUnavailable
from models.limits import request_limits
from models.planes.permits import (
    Lease,
    ReserveAnswer,
)
from proxy_edge.permits import Exhausted, Permit, PermitSource, Wait
from proxy_edge.stats import Stats
from tests.kit.edge_region import until
from tests.kit.leases import SECOND
from tests.kit.memory import settle
from tests.proxy_edge.leased_world import LIMITS, MINUTE, World, decided, permits

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
    held = worker._plans[limits].renewed(world.clock.ns).pools[0].left
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


def test_a_lease_of_a_kind_can_be_read() -> None:
    """The values on the wire are those of the vocabulary."""
    lease = Lease(1, 2, 3, 4, 5, 6)
    answer = msgspec.msgpack.encode(ReserveAnswer(incarnation="i", leases=(lease,)))
    assert msgspec.msgpack.decode(answer, type=ReserveAnswer).leases == (lease,)
