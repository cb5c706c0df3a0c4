"""Any history of workers, limiter and link: never more calls than the limit are admitted."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import LinkUnavailable
from models.limits import Limit, request_limits, window_of
from models.planes.frames import Surrender
from models.planes.permits import (
    Recall,
)
from proxy_edge.leased_permits import LeasedPermits
from proxy_edge.permits import Permit, Wait
from tests.kit.memory import settle
from tests.proxy_edge.leased_world import World, a_world

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
