"""Workers that share one limiter: permits go back to who needs them, and none is spent twice or lost for good."""

from __future__ import annotations

import asyncio
from collections import deque
from pathlib import Path

from models.limits import request_limits
from models.planes.frames import Surrender
from models.planes.permits import (
    Recall,
    RecallRequest,
    ReturnRequest,
    shard_of,
)
from proxy_edge.permits import Exhausted, Wait
from tests.kit.edge_region import until
from tests.kit.memory import settle
from tests.proxy_edge.leased_world import LIMITS, World, a_world, permits


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
    held = worker._plans[LIMITS].renewed(world.clock.ns).pools[0].left
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
