"""One limiter, the real core over a real store, and workers around it; the link is a function."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from models.errors import LinkUnavailable, PeerUnavailable, Refused
from models.limits import Limit, request_limits
from models.planes.permits import (
    ReserveRequest,
    ReturnRequest,
)
from proxy_edge.leased_permits import LeasedPermits
from proxy_edge.permits import Outcome, Permit, Wait
from tests.kit.edge_region import until
from tests.kit.leases import SECOND, Clock
from tests.kit.limited import MortalLimiter

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


def permits(*outcomes: Outcome) -> list[Permit]:
    assert all(isinstance(one, Permit) for one in outcomes), outcomes
    return [one for one in outcomes if isinstance(one, Permit)]
