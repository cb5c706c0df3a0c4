"""The pool in memory: which connection is reused, how many there are, who waits and what becomes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest

from models.errors import Refusal, TargetSaturated, TargetUnreachable
from models.policy import CompiledProxy, CompiledTarget
from proxy_edge.dialler import Dialler, TlsIdentity
from proxy_edge.upstream.connection import UpstreamConnection
from proxy_edge.upstream.pool import Lane, Pool
from tests.kit.edge import policy
from tests.kit.memory import ADDRESS, MemoryDialler, MemoryTransport, bundle, settle

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class FailingDialler(MemoryDialler):
    """Refuses so many connections first."""

    def __init__(self, failures: int, error: Exception) -> None:
        super().__init__()
        self.failures, self.error = failures, error

    async def open(
        self, host: str, port: int, factory: Callable[[], UpstreamConnection], tls: object
    ) -> tuple[MemoryTransport, UpstreamConnection, str]:
        if self.failures:
            self.failures -= 1
            raise self.error
        return await super().open(host, port, factory, tls)


class Waiter:
    """Remembers what it was given, in the order of all waiters of a test."""

    def __init__(self, order: list[Waiter] | None = None) -> None:
        self.order = [] if order is None else order
        self.connection: UpstreamConnection | None = None
        self.refusal: Refusal | None = None

    def connected(self, connection: UpstreamConnection) -> None:
        self.order.append(self)
        self.connection = connection

    def not_connected(self, refusal: Refusal) -> None:
        self.order.append(self)
        self.refusal = refusal

    def advance(self) -> None:
        """As an exchange: something arrived."""

    def upstream_writable(self) -> None:
        """As an exchange: the target reads again."""


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """One lane over a dialler in memory, with a clock that the test moves."""

    def __init__(self, proxy: CompiledProxy, dialler: MemoryDialler) -> None:
        self.clock = Clock()
        self.dialler = dialler
        self.pool = Pool(cast("Dialler", dialler), self.clock, 2.0)
        self.key = proxy.lane
        self.target: CompiledTarget = proxy.target
        self.lane: Lane = self.pool.lane(proxy.lane, proxy.target)

    async def connect(self, limit: int = 10) -> UpstreamConnection:
        """A fresh connection, busy."""
        waiter = Waiter()
        self.lane.request(waiter, limit=limit)
        await settle()
        assert waiter.connection is not None
        return waiter.connection

    def finish(self, connection: UpstreamConnection, answer: bytes = OK) -> None:
        """One exchange on the connection, from its beginning to its return."""
        connection.begin(Waiter(), head=False)
        connection.data_received(answer)
        self.lane.give_back(connection)

    def transport(self, connection: UpstreamConnection) -> MemoryTransport:
        return next(transport for one, transport in self.dialler.connections if one is connection)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> CompiledProxy:
    compiled = bundle(tmp_path_factory.mktemp("pool"), policy("http://target.test")).policy.proxies[b"api"]
    assert isinstance(compiled, CompiledProxy)
    return compiled


@pytest.fixture
def bench(proxy: CompiledProxy) -> Bench:
    return Bench(proxy, MemoryDialler())


async def test_last_one_back_is_reused_first(bench: Bench) -> None:
    """Idle connections are a stack: the warmest goes out first, and says that it is a reused one."""
    first, second = await bench.connect(), await bench.connect()
    bench.finish(first)
    bench.finish(second)
    assert bench.lane.take(safe=True) is second
    assert bench.lane.take(safe=True) is first
    assert bench.lane.take(safe=True) is None
    assert (first.reused, second.reused) == (True, True)
    assert repr(bench.pool) == "<Pool 2 busy, 0 idle, 0 queued>"


async def test_unsafe_requests_take_warm_connections_only(bench: Bench) -> None:
    """After half the target's keep-alive of idleness only a request that may be repeated takes the connection."""
    connection = await bench.connect()
    bench.finish(connection)
    bench.clock.now += 0.9
    assert bench.lane.take(safe=False) is connection
    bench.finish(connection)
    bench.clock.now += 1.1
    assert bench.lane.take(safe=False) is None
    assert bench.lane.take(safe=True) is connection


async def test_connection_that_ended_is_not_given_out(bench: Bench) -> None:
    """What the target closed or spoke on while idle is skipped, and forgotten."""
    good, closed, spoken = [await bench.connect() for _ in range(3)]
    for connection in (good, closed, spoken):
        bench.finish(connection)
    closed.connection_lost(None)
    spoken.data_received(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    assert bench.lane.take(safe=True) is good
    assert bench.lane.take(safe=True) is None
    assert bench.transport(spoken).aborted


async def test_address_that_is_no_longer_approved(bench: Bench) -> None:
    """A connection to an address that the name no longer has, or that is not judged at present, stays unused."""
    bench.finish(await bench.connect())

    class Moved(MemoryDialler):
        answer: tuple[str, ...] | None = None

        def cached(self, *_: object) -> tuple[str, ...]:
            return cast("tuple[str, ...]", self.answer)

    moved = Moved()
    bench.lane._dialler = cast("Dialler", moved)
    assert bench.lane.take(safe=True) is None
    moved.answer = ("192.0.2.99",)
    assert bench.lane.take(safe=True) is None
    moved.answer = ("192.0.2.99", ADDRESS)
    assert bench.lane.take(safe=True) is not None


async def test_clients_share_no_connection(bench: Bench) -> None:
    """Another client, another target, another CA: another lane, whatever the address."""
    bench.finish(await bench.connect())
    for place, value in ((0, "other"), (1, "other"), (2, "https"), (4, 8443), (5, "PEM")):
        key = list(bench.key)
        key[place] = value
        assert bench.pool.lane(tuple(key), bench.target).take(safe=True) is None  # type: ignore[arg-type]
    assert bench.pool.lane(bench.key, bench.target).take(safe=True) is not None


async def test_paused_connection_is_resumed_before_it_is_kept(bench: Bench) -> None:
    """A connection whose reading was paused for a slow caller reads again once it is idle, or its end would go unseen."""
    connection = await bench.connect()
    connection.begin(Waiter(), head=False)
    connection.pause()
    assert not bench.transport(connection).reading
    connection.data_received(OK)
    bench.lane.give_back(connection)
    assert bench.transport(connection).reading
    assert bench.lane.take(safe=True) is connection


async def test_no_more_connections_than_the_limit(bench: Bench) -> None:
    """Busy and idle together stay within the limit: a fresh one pushes out the one that idled longest."""
    first = await bench.connect(limit=2)
    second = await bench.connect(limit=2)
    bench.finish(second)
    bench.clock.now += 1
    bench.finish(first)
    third = await bench.connect(limit=2)
    assert bench.transport(second).aborted
    assert not bench.transport(first).aborted
    assert not bench.transport(third).aborted
    bench.finish(third)
    fourth = await bench.connect(limit=1)
    assert bench.transport(first).aborted
    assert bench.transport(third).aborted
    assert not bench.transport(fourth).aborted


async def test_waiters_are_served_in_order(bench: Bench) -> None:
    """Who came first is served first, with the connections of those that finish, reused or fresh."""
    order: list[Waiter] = []
    first, second = await bench.connect(2), await bench.connect(2)
    waiters = [Waiter(order) for _ in range(4)]
    for waiter in waiters:
        bench.lane.request(waiter, limit=2)
    bench.finish(first)
    assert (order, waiters[0].connection, first.reused) == (waiters[:1], first, True)
    bench.finish(second, b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    assert bench.transport(second).aborted
    await settle()
    assert order == waiters[:2]
    assert waiters[1].connection not in {None, first, second}
    assert waiters[1].connection is not None
    bench.lane.unused(waiters[1].connection)
    bench.finish(first)
    assert order == waiters
    assert bench.lane.busy == 2


async def test_queue_is_bounded(bench: Bench) -> None:
    """Four may wait for each connection; the next is refused at once."""
    await bench.connect(2)
    await bench.connect(2)
    for _ in range(8):
        bench.lane.request(Waiter(), limit=2)
    with pytest.raises(TargetSaturated):
        bench.lane.request(Waiter(), limit=2)
    assert repr(bench.pool) == "<Pool 2 busy, 0 idle, 8 queued>"


async def test_who_left_is_not_served(bench: Bench) -> None:
    """A waiter that gave up gets no connection; the next one does."""
    order: list[Waiter] = []
    connection = await bench.connect(1)
    left, stays = Waiter(order), Waiter(order)
    bench.lane.request(left, limit=1)
    bench.lane.request(stays, limit=1)
    bench.lane.forget(left)
    bench.lane.forget(left)
    bench.finish(connection)
    assert order == [stays]


async def test_any_number_of_waiters_that_refuse(bench: Bench) -> None:
    """Two thousand who all hand the connection back at once are served in turn, without depth; the connection stays."""
    order: list[Waiter] = []

    class Refusing(Waiter):
        def connected(self, connection: UpstreamConnection) -> None:
            super().connected(connection)
            bench.lane.unused(connection)

    connections = [await bench.connect(500) for _ in range(500)]
    waiters = [Refusing(order) for _ in range(2000)]
    for waiter in waiters:
        bench.lane.request(waiter, limit=500)
    bench.finish(connections[0])
    assert order == waiters
    assert (bench.lane.busy, bench.lane.take(safe=True)) == (499, connections[0])


async def test_failed_dial_gives_the_next_its_chance(proxy: CompiledProxy) -> None:
    """Each of those who wait behind failed dials is told or connected, and no place stays taken."""
    bench = Bench(proxy, FailingDialler(2, TargetUnreachable("refused")))
    order: list[Waiter] = []
    waiters = [Waiter(order) for _ in range(3)]
    for waiter in waiters:
        bench.lane.request(waiter, limit=1)
    for _ in waiters:
        await settle()
    assert order == waiters
    assert [type(waiter.refusal) for waiter in waiters] == [TargetUnreachable, TargetUnreachable, type(None)]
    assert bench.lane.busy == 1
    assert waiters[2].connection is not None
    bench.finish(waiters[2].connection)
    assert bench.lane.busy == 0


async def test_fault_in_a_dial_is_an_unreachable_target(
    proxy: CompiledProxy, caplog: pytest.LogCaptureFixture
) -> None:
    """An error nobody thought of frees the place, answers the waiter, and is logged by its type."""
    bench = Bench(proxy, FailingDialler(1, ZeroDivisionError("secret text")))
    waiter = Waiter()
    bench.lane.request(waiter, limit=1)
    await settle()
    assert isinstance(waiter.refusal, TargetUnreachable)
    assert (waiter.refusal.detail, bench.lane.busy) == ("ZeroDivisionError", 0)
    assert [record.message for record in caplog.records] == ["task failed"]
    assert "secret text" not in caplog.text


async def test_reap_closes_what_idled_too_long(bench: Bench) -> None:
    """After a minute idle connections are closed; a lane is forgotten when nothing is left of it."""
    busy, idle = await bench.connect(), await bench.connect()
    bench.finish(idle)
    bench.clock.now += 59
    bench.pool.reap()
    assert not bench.transport(idle).closing
    bench.clock.now += 2
    bench.pool.reap()
    assert bench.transport(idle).closing
    assert bench.pool.lane(bench.key, bench.target) is bench.lane
    bench.finish(busy)
    bench.clock.now += 61
    bench.pool.reap()
    assert bench.transport(busy).closing
    assert bench.pool.lane(bench.key, bench.target) is not bench.lane


async def test_close_ends_idle_connections(bench: Bench) -> None:
    """At the worker's end no idle connection stays open."""
    connection = await bench.connect()
    bench.finish(connection)
    bench.pool.close()
    assert bench.transport(connection).closing
    assert bench.lane.take(safe=True) is None


async def test_tls_lane_dials_with_the_targets_identity(proxy: CompiledProxy) -> None:
    """The name that is verified is the target's host, with its own CA."""
    seen: list[object] = []

    class Asked(MemoryDialler):
        async def open(
            self, host: str, port: int, factory: Callable[[], UpstreamConnection], tls: object
        ) -> tuple[MemoryTransport, UpstreamConnection, str]:
            seen.extend((host, port, tls))
            return await super().open(host, port, factory, tls)

    target = replace(proxy.target, scheme="https", host="api.test", port=443, ca="PEM")
    lane = Lane(target, cast("Dialler", Asked()), asyncio.get_running_loop().time, 1.0)
    lane.request(Waiter(), limit=1)
    await settle()
    assert seen == ["api.test", 443, TlsIdentity("api.test", "PEM")]
