"""Workers whose limiter is away, refuses or talks nonsense: callers wait, then are refused; nothing is admitted twice."""

from __future__ import annotations

import asyncio
import logging

import msgspec
import pytest

from models.errors import LimiterUnavailable
from models.limits import request_limits
from models.planes.permits import (
    ReserveAnswer,
)
from proxy_edge.leased_permits import LeasedPermits
from proxy_edge.permits import Permit, Wait
from tests.kit.edge_region import until
from tests.kit.memory import settle
from tests.proxy_edge.leased_world import LIMITS, MINUTE, World, decided, permits


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
        await until(lambda: len(caplog.records) > 1)  # the pause between two questions may outlast a caller
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
    held = worker._plans[limits].renewed(world.clock.ns).pools[0].left
    assert 0 < held <= left
    for _ in range(held):
        assert isinstance(worker.take(limits, world.clock.wall_ms()), Permit)
    await world.limiter.start()
    assert 20 + held + await world.drained(worker, limits) <= 100


async def test_a_renewal_that_fails_is_tried_again_before_anybody_waits(world: World) -> None:
    """While permits last, their callers notice nothing."""
    limits = request_limits("prx_a", 10_000, None)
    worker = world.worker()
    while (
        worker._desks.get("prx_a") is None or worker._plans[limits].renewed(world.clock.ns).pools[0].left < 64
    ):
        permits(await world.had(worker, limits))
        await settle()
    asked, world.away = worker.calls, True
    for _ in range(worker._plans[limits].renewed(world.clock.ns).pools[0].left):
        assert isinstance(worker.take(limits, world.clock.wall_ms()), Permit)
        await settle()
    assert 1 < worker.calls - asked < 10
