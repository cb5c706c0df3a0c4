"""A region that is away: the API goes on, says `pending`, and all is in force soon after the region's return, in order.

A process that is stopped (SIGSTOP) is away for as long as a test wants, without anybody replacing it. Edges of this
home have two workers, and each connection stays with one of them, so what one connection sees must never go back.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Self

import pytest

from models.secret import Secret
from sdk import ExeatClient
from tests.kit.edge import until
from tests.kit.governed import Governed, Workers, govern
from tests.kit.planes import RunningHome, running_home
from tests.kit.raw import RawAnswer, RawClient, get
from tests.kit.upstream import Upstream

HERE, THERE = "us-east-1", "eu-west-1"
ANSWERED = 2.5
"""Seconds within which a write is answered whatever its region does: it waits 2 s for it."""
RETURNED = 2.0
"""Seconds after the region's return in which everything is in force."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHome]:
    with running_home(tmp_path_factory.mktemp("away") / "home") as home:
        yield home


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


@pytest.fixture
def one(home: RunningHome, upstream: Upstream) -> Governed:
    """A tenant of its own, in force and with a lease taken."""
    governed = home.govern(upstream.url, region=HERE)
    with Workers(governed.port, home.workers) as workers:
        assert {answer.status for answer in workers.ask(ask(governed))} == {200}
    return governed


@contextlib.contextmanager
def stopped(home: RunningHome, part: str) -> Iterator[Callable[[], float]]:
    """The part of the first region does nothing inside; call what this gives to let it go on: the moment of that."""
    pid = home.kill(part, HERE, signal.SIGSTOP)

    def resume() -> float:
        os.kill(pid, signal.SIGCONT)
        return time.monotonic()

    try:
        yield resume
    finally:
        resume()


class Timed(NamedTuple):
    """A write's answer and how many seconds it took."""

    made: Any
    seconds: float

    @property
    def propagation(self) -> str:
        return str(self.made.change.propagation)


def timed(home: RunningHome, write: Callable[[ExeatClient], Any]) -> Timed:
    began = time.monotonic()
    made = home.do(write)
    return Timed(made, time.monotonic() - began)


def ask(governed: Governed, path: str = "/x", *, key: str | None = None) -> bytes:
    return get(governed.path + path, key=key or governed.key)


def is_status(status: int) -> Callable[[RawAnswer], bool]:
    return lambda answer: answer.status == status


class Watched:
    """Asks an edge for its revision without a pause, on several connections; `seen` has what each was told."""

    def __init__(self, port: int, connections: int = 4) -> None:
        self._port, self._stop = port, threading.Event()
        self.seen: list[list[int]] = [[] for _ in range(connections)]
        self._threads = [
            threading.Thread(target=self._watch, args=(seen,), daemon=True) for seen in self.seen
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _watch(self, seen: list[int]) -> None:
        with RawClient(self._port) as client:
            while not self._stop.wait(0.002):
                client.send(get("/ready", key=None))
                seen.append(json.loads(client.answer().body)["revision"])

    def went_back(self) -> list[tuple[int, int]]:
        """Every pair of answers on one connection of which the later one was older."""
        return [
            (before, after)
            for seen in self.seen
            for before, after in itertools.pairwise(seen)
            if after < before
        ]


def test_writes_are_pending_and_in_force_after_the_return(home: RunningHome, one: Governed) -> None:
    """Rules, a limit, a renewed secret and a new tenant, while the region's registry does nothing."""
    client, new_key = one.client_id, f"renewed-caller-key-{one.caller_id[-8:]}"
    writes: list[Callable[[ExeatClient], Any]] = [
        lambda api: api.proxies.rules.create(client, one.proxy_id, effect="deny", path={"pattern": "^/a"}),
        lambda api: api.proxies.patch(client, one.proxy_id, max_requests_per_minute=100),
        lambda api: api.credentials.patch(client, one.caller_id, secret={"key": Secret(new_key)}),
        lambda api: api.proxies.rules.create(client, one.proxy_id, effect="deny", path={"pattern": "^/b"}),
    ]
    with (
        Workers(one.port, home.workers) as workers,
        Watched(one.port) as watched,
        stopped(home, "registry") as resume,
    ):
        answers = [timed(home, write) for write in writes]
        assert [answer.propagation for answer in answers] == ["pending"] * len(writes)
        assert max(answer.seconds for answer in answers) <= ANSWERED
        revisions = [answer.made.change.revision for answer in answers]
        assert revisions == sorted(revisions)
        told = home.do(lambda api: api.revision(revisions[0]))
        assert (told.status, told.regions[0].status) == ("pending", "pending")
        # Nothing of it is in force, and what was goes on.
        assert {answer.status for answer in workers.ask(ask(one, "/a"))} == {200}
        back = resume()
        took = max(
            workers.since(back, ask(one, "/a", key=new_key), is_status(403)),
            workers.since(back, ask(one, "/b", key=new_key), is_status(403)),
            workers.since(back, ask(one), is_status(401)),
            workers.since(
                back, ask(one, key=new_key), lambda one: "q=100" in (one.get("ratelimit-policy") or "")
            ),
        )
        assert took <= RETURNED
        home.in_force(answers[-1].made.change)
    assert watched.went_back() == []
    assert all(max(seen) >= revisions[-1] for seen in watched.seen)


def test_the_last_of_many_writes_holds(home: RunningHome, one: Governed) -> None:
    """Switched off and on again at once, many times, by one writer: what is in force then is the last of it."""
    states = [bool(number % 2) for number in range(12)] + [False]
    with (
        Workers(one.port, home.workers) as workers,
        Watched(one.port) as watched,
        stopped(home, "registry") as resume,
    ):

        async def at_once(api: ExeatClient) -> list[Any]:
            """Sent one after the other without waiting for answers: their order is the log's to say."""
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(api.proxies.patch(one.client_id, one.proxy_id, active=active))
                    for active in states
                ]
            return [task.result() for task in tasks]

        made = sorted(home.do(at_once), key=lambda proxy: proxy.change.revision)
        assert {proxy.change.propagation for proxy in made} == {"pending"}
        last = made[-1]
        status = 200 if last.active else 403
        back = resume()
        home.in_force(last.change)
        assert workers.since(back, ask(one), is_status(status)) <= RETURNED
        assert {answer.status for answer in workers.ask(ask(one))} == {status}
    assert watched.went_back() == []


def test_other_regions_are_not_held_up(home: RunningHome, upstream: Upstream) -> None:
    """A region that is there answers `applied` at once while another one is away."""
    there = home.govern(upstream.url, region=THERE)
    with stopped(home, "registry"), Workers(there.port, home.workers) as workers:
        write = timed(home, lambda api: api.proxies.patch(there.client_id, there.proxy_id, active=False))
        assert write.propagation == "applied"
        assert write.seconds < ANSWERED
        workers.since(time.monotonic(), ask(there), is_status(403))


def test_tenant_made_while_its_region_is_away_works_after_the_return(
    home: RunningHome, upstream: Upstream
) -> None:
    """Its secrets were sealed for a vault that nobody could reach, and reach it."""
    with stopped(home, "registry") as resume:
        made = home.do(lambda api: govern(api, upstream.url, region=HERE, name="later"))
        assert made.change.propagation == "pending"
        with Workers(made.port, home.workers) as workers:
            assert {answer.status for answer in workers.ask(ask(made))} == {404}
            back = resume()
            assert workers.since(back, ask(made), is_status(200)) <= RETURNED
    assert upstream.seen[-1].get("authorization") == f"Bearer {made.secret}"


def test_revocation_while_away_holds_from_the_return_on(
    home: RunningHome, upstream: Upstream, one: Governed
) -> None:
    """What is revoked meanwhile stays revoked, although an overlap was asked for before."""
    with stopped(home, "registry") as resume, Workers(one.port, home.workers) as workers:
        revoked = timed(home, lambda api: api.credentials.revoke(one.client_id, one.sender_id))
        assert (revoked.propagation, revoked.made.status) == ("pending", "revoked")
        assert revoked.seconds <= ANSWERED
        back = resume()
        assert workers.since(back, ask(one), is_status(503)) <= RETURNED
        before = len(upstream.seen)
        assert {answer.get("exeat-proxy-code") for answer in workers.ask(ask(one))} == {
            "credential-unavailable"
        }
        assert len(upstream.seen) == before


def test_edge_that_is_away_follows_its_region_in_time(home: RunningHome, one: Governed) -> None:
    """With its link stopped: the region has the change, the edge does not, and is said not to; then it has it."""
    with (
        Workers(one.port, home.workers) as workers,
        Watched(one.port) as watched,
        stopped(home, "link") as resume,
    ):
        write = timed(home, lambda api: api.proxies.patch(one.client_id, one.proxy_id, active=False))
        assert write.propagation == "applied"
        revision = write.made.change.revision
        told = home.do(lambda api: api.revision(revision))
        assert told.regions[0].status == "applied"
        assert [edge.status for edge in told.regions[0].edges] == ["pending"]
        assert not told.in_force()
        assert {answer.status for answer in workers.ask(ask(one))} == {200}
        back = resume()
        assert workers.since(back, ask(one), is_status(403)) <= RETURNED
        home.in_force(write.made.change)
    assert watched.went_back() == []


def test_killed_registry_loses_no_write(home: RunningHome, one: Governed) -> None:
    """Writes go on while it is replaced; afterwards every one of them is in force, the last one last."""
    with Workers(one.port, home.workers) as workers, Watched(one.port) as watched:
        home.kill("registry", HERE)
        made = [
            home.do(lambda api, active=active: api.proxies.patch(one.client_id, one.proxy_id, active=active))
            for active in (False, True, False)
        ]
        home.in_force(made[-1].change, 30)
        assert {answer.status for answer in workers.ask(ask(one))} == {403}
    assert watched.went_back() == []
    until(lambda: home.pids("registry", HERE), 30, "the registry in the status")
