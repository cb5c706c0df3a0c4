"""Invariant 6: never over-admit.

Admitted calls stay within the limit for any number of workers and any crash; rejected calls consume nothing;
no policy change and no restart refills anything.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import PeerUnavailable, TargetUnreachable
from models.limits import window_of
from proxy_edge.client import ClientConnection
from proxy_edge.permits import SharedPermits
from proxy_edge.upstream.connection import UpstreamConnection
from tests.kit.edge import policy, running_edge, until
from tests.kit.limiter import MINUTE, Holder, Site, site
from tests.kit.load import Load, far_from_midnight
from tests.kit.memory import MemoryDialler, MemoryEdge, MemoryTransport, bundle, settle
from tests.kit.raw import get
from tests.kit.upstream import Answer, Upstream

LIMIT = 4
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def document(number: int = 0) -> dict[str, Any]:
    """The same limits in ever new policies."""
    return policy(
        "http://target.test",
        proxyName=f"Edit {number}",
        proxyMaxRequestsPerDay=LIMIT,
        proxyMaxRequestsPerMinute=None if number % 2 else 1000,
        rules=[{"ruleId": f"rule-{number}", "effect": "deny", "path": {"pattern": "^/denied"}}],
    )


class Dialler(MemoryDialler):
    """Refuses to connect while told to."""

    refusing = False

    async def open(
        self, _host: str, _port: int, factory: Callable[[], UpstreamConnection], _tls: object
    ) -> tuple[MemoryTransport, UpstreamConnection, str]:
        if self.refusing:
            raise TargetUnreachable("refused")
        return await super().open(_host, _port, factory, _tls)


class World:
    """An edge in memory, and how many calls of the day its callers have had."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.edits = 0
        self.memory = MemoryEdge(home, document())
        self.dialler = Dialler()
        self.memory.edge.pool._dialler = self.dialler  # type: ignore[assignment]  # as in the kit
        self.used = 0
        self.sent = 0

    async def ask(self, path: str) -> tuple[ClientConnection, MemoryTransport]:
        self.memory.edge.pool.close()  # so that every call dials
        self.memory.edge.pool._lanes.clear()
        client, transport = ClientConnection(self.memory.edge), MemoryTransport()
        client.connection_made(transport)
        client.data_received(get(f"/api/api{path}"))
        return client, transport

    async def call(self, *, leaves: bool = False) -> None:
        """One call that reaches its target, if there is one left; its caller waits for the answer, or leaves."""
        client, transport = await self.ask("/x")
        await settle()
        if self.used == LIMIT:
            assert transport.written.startswith(b"HTTP/1.1 429 ")
            return
        self.used += 1
        upstream, line = self.dialler.connections[-1]
        assert line.written.startswith(b"GET /x ")
        if leaves:
            client.connection_lost(None)
        else:
            upstream.data_received(OK)
            assert transport.written.startswith(b"HTTP/1.1 200 ")
            self.told(transport)

    async def aborted(self) -> None:
        """A caller that leaves while its connection is dialled."""
        client, _ = await self.ask("/x")
        client.connection_lost(None)
        await settle()

    async def unreachable(self) -> None:
        """A target that cannot be reached."""
        self.dialler.refusing = True
        _, transport = await self.ask("/x")
        await settle()
        self.dialler.refusing = False
        assert transport.written.startswith(b"HTTP/1.1 429 " if self.used == LIMIT else b"HTTP/1.1 502 ")
        self.told(transport)

    async def denied(self) -> None:
        _, transport = await self.ask("/denied")
        assert transport.written.startswith(b"HTTP/1.1 403 ")
        self.told(transport)

    async def edited(self) -> None:
        """Another policy, other limits beside this one."""
        self.edits += 1
        self.memory.edge.apply(bundle(self.home, document(self.edits)))

    async def edited_while_dialling(self) -> None:
        """A policy that comes while a call waits for its connection: the call is judged anew and counts once."""
        _, transport = await self.ask("/x")
        await self.edited()
        await settle()
        if self.used == LIMIT:
            assert transport.written.startswith(b"HTTP/1.1 429 ")
            return
        self.used += 1
        self.dialler.connections[-1][0].data_received(OK)
        assert transport.written.startswith(b"HTTP/1.1 200 ")
        self.told(transport)

    async def restarted(self) -> None:
        """Another process takes over the counts."""
        self.memory.permits.close()
        self.memory.permits = self.memory.edge.permits = SharedPermits(self.home / "limits.mmap", 1)

    def told(self, transport: MemoryTransport) -> None:
        """What the answer says is left is what is left."""
        [left] = re.findall(rb'"day";r=([0-9]+);', transport.written)
        assert int(left) == LIMIT - self.used

    def close(self) -> None:
        self.memory.permits.close()
        self.memory.edge.stats.close()


STEPS = [
    "call",
    "call_and_leave",
    "aborted",
    "unreachable",
    "denied",
    "edited",
    "edited_while_dialling",
    "restarted",
]


@given(st.lists(st.sampled_from(STEPS), max_size=30))
@settings(max_examples=60, deadline=None)
def test_any_history_counts_what_was_sent(steps: list[str]) -> None:
    """However calls, denials, failures, edits and restarts follow each other: what went to the target is counted, no more, no less."""
    far_from_midnight()

    async def live(world: World) -> None:
        for step in steps:
            await (world.call(leaves=True) if step == "call_and_leave" else getattr(world, step)())
            sent = sum(bool(line.written) for _, line in world.dialler.connections)
            assert sent == world.used <= LIMIT

    with tempfile.TemporaryDirectory() as home:
        world = World(Path(home))
        try:
            asyncio.run(live(world))
        finally:
            world.close()


EDGES = {"e1": 2, "e2": 2, "e3": 1}
NAMES = [edge for edge, count in EDGES.items() for _ in range(count)]
places, links = st.integers(0, len(NAMES) - 1), st.sampled_from(list(EDGES))
edge_steps = st.one_of(
    st.tuples(st.just("calls"), places, st.integers(1, 20)),
    st.tuples(st.just("calls"), places, st.integers(1, 20)),
    st.tuples(st.just("loses"), places, st.integers(1, 20)),
    st.tuples(st.just("plans"), places, st.integers(1, 20)),
    st.tuples(st.just("plans"), places, st.integers(1, 20)),
    st.tuples(st.just("dies"), places),
    st.tuples(st.just("time_passes"), st.integers(0, 70)),
    st.tuples(st.just("limiter_dies")),
    st.tuples(st.just("store_fails"), st.sampled_from(["before", "after"])),
    st.tuples(st.sampled_from(["parts", "joins"]), links),
)


class Edges:
    """Three edges with their workers and links, and a limiter; every call is counted in the minute in which it is made.

    delays: seconds that a question and its answer take.
    """

    def __init__(self, place: Site, most: int, delays: tuple[int, int]) -> None:
        self.place, self.most, self.delays, self.clock = place, most, delays, place.clock
        self.calls_made: Counter[int] = Counter()
        self.spoilt: set[int] = set()
        self.born = 0
        self.workers = [Holder(f"{edge}/{number}", self.clock) for number, edge in enumerate(NAMES)]

    @property
    def minute(self) -> int:
        return window_of(self.clock.wall_ms(), 60)

    async def ask(self, worker: Holder, count: int, *, lost: bool = False, ahead: bool = False) -> int:
        """Asks, and hears the answer unless it is lost; how much was granted. ahead: of the coming minute."""
        going, coming = self.delays
        request = worker.request({MINUTE: self.most}, count, ahead=ahead)
        sent = self.clock.boot_ns()
        self.clock.advance(going)
        try:
            answer = await self.place.core.reserve(request)
        except PeerUnavailable:
            await self.limiter_dies()
            return 0
        self.clock.advance(coming)
        if lost or going + coming:  # what a worker may not use at either end of the minute is lost, too
            self.spoilt.add(answer.leases[0].window_number)
        if not lost:
            worker.take(request, answer, sent)
        return answer.leases[0].granted

    async def calls(self, number: int, count: int, *, lost: bool = False) -> None:
        worker = self.workers[number]
        if not worker.left(MINUTE):
            await self.ask(worker, count, lost=lost)
        self.calls_made[self.minute] += worker.spend(MINUTE, count // 2 + 1)

    async def loses(self, number: int, count: int) -> None:
        await self.calls(number, count, lost=True)

    async def plans(self, number: int, count: int) -> None:
        """Leases of the coming minute; what there is of the running one is used meanwhile."""
        await self.ask(self.workers[number], count, ahead=True)
        self.calls_made[self.minute] += self.workers[number].spend(MINUTE, count // 2)

    async def dies(self, number: int) -> None:
        old, edge = self.workers[number], NAMES[number]
        self.spoilt |= {loan.window for loan in old.loans.get(MINUTE, ()) if loan.left}
        self.born += 1
        new = self.workers[number] = Holder(f"{edge}/new{self.born}", self.clock)
        await self.place.detach(edge, old)
        await self.place.attach(edge, new)

    async def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)

    async def limiter_dies(self) -> None:
        self.spoilt |= {self.minute, self.minute + 1}
        await self.place.core.close()
        await self.place.start()

    async def store_fails(self, fault: str) -> None:
        self.place.store.fault = fault

    async def parts(self, edge: str) -> None:
        """Its workers cannot be asked for what they have."""
        for one, of in zip(self.workers, NAMES, strict=True):
            one.answers = one.answers and edge != of

    async def joins(self, edge: str) -> None:
        for one, of in zip(self.workers, NAMES, strict=True):
            one.answers = one.answers or edge == of

    async def ends(self) -> None:
        """All is well again, and in this minute and the next everybody calls, then one to the end of what there is."""
        self.place.store.fault, self.delays = "", (0, 0)
        for edge in EDGES:
            await self.joins(edge)
        if self.clock.wall_ms() % 60_000 > 50_000:
            self.clock.advance(10)
        await self.uses_all()
        self.clock.advance(60 - self.clock.wall_ms() % 60_000 / 1000)
        await self.uses_all()

    async def uses_all(self) -> None:
        """Of this minute: never more than the limit, and no fewer where nothing was lost."""
        for worker in self.workers:
            self.calls_made[self.minute] += worker.spend(MINUTE, 1000)
        for _ in range(3):
            self.clock.advance(1.1)  # whoever was asked before is asked again
            while await self.ask(self.workers[0], 1000):
                self.calls_made[self.minute] += self.workers[0].spend(MINUTE, 1000)
            await settle()
        self.calls_made[self.minute] += self.workers[0].spend(MINUTE, 1000)
        assert max(self.calls_made.values()) <= self.most
        assert self.minute in self.spoilt or self.calls_made[self.minute] == self.most


@given(
    st.integers(1, 60),
    st.lists(edge_steps, min_size=10, max_size=60),
    st.just((0, 0)) | st.tuples(st.integers(0, 4), st.integers(0, 4)),
)
@settings(max_examples=80, deadline=None)
def test_across_edges_no_minute_has_more_calls_than_its_limit(
    most: int, steps: list[tuple[Any, ...]], delays: tuple[int, int]
) -> None:
    """Edges, links and limiter come and go, minutes are planned ahead: none has more calls than its limit, and where nothing was lost no fewer."""

    async def live() -> None:
        async with site(patience=0.01) as place:
            edges = Edges(place, most, delays)
            for edge in EDGES:
                members = (one for one, of in zip(edges.workers, NAMES, strict=True) if of == edge)
                await place.attach(edge, *members)
            for what, *values in steps:
                await getattr(edges, what)(*values)
                assert max(edges.calls_made.values(), default=0) <= most
            await edges.ends()

    asyncio.run(live())


def test_no_crash_edit_or_restart_admits_one_call_more(tmp_path: Path) -> None:
    """Two workers under load, killed again and again, edited, stopped, killed as a whole: the target sees the limit at most."""
    far_from_midnight(90)
    most = 1000

    def limited(number: int, limit: int = most) -> dict[str, Any]:
        return policy(upstream.url, proxyName=f"Edit {number}", proxyMaxRequestsPerDay=limit)

    with (
        Upstream(lambda _: Answer(body=b"ok")) as upstream,
        running_edge(tmp_path, limited(0), workers=2) as edge,
    ):
        granted = lost = 0

        def count(load: Load) -> None:
            nonlocal granted, lost
            assert load.statuses().keys() <= {200, 429, 0}
            granted += load.statuses()[200]
            lost += load.statuses()[0]

        with Load(edge.port, keepalive=16, fresh=4) as load:
            for number in range(3):
                load.wait(60)
                victim = edge.worker_pids()[number % 2]
                os.kill(victim, signal.SIGKILL)
                until(lambda gone=victim: gone not in edge.worker_pids(), 5, "its end")  # type: ignore[misc]  # a lambda's default has no type
                edge.write_policy(limited(number, most - number))
                until(lambda: len(edge.worker_pids()) == 2, 5, "its successor")
        count(load)
        for number, ending in ((10, signal.SIGTERM), (11, signal.SIGKILL)):
            edge.write_policy(limited(number))
            with Load(edge.port, keepalive=8) as load:
                load.wait(60)
                edge.stop(ending)
            count(load)
            edge.output.unlink()
            edge.start()
        assert granted < most, "the test used up its limit too early"
        with Load(edge.port, keepalive=8, fresh=2, limit=most + 50) as load:
            load.finished()
        count(load)
        assert load.statuses()[429] >= 50
        assert len(upstream.seen) <= most
        assert most - lost <= granted <= most
