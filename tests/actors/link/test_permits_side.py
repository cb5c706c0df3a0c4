"""The link's questions to its limiters, over a real socket: who is attached, and each recall to the worker it is for."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import msgspec
import pytest

from actors.limiter.core import LimiterCore
from actors.link import place
from actors.link.call_side import CallSide
from actors.link.held import Held
from actors.link.permits_side import PermitsSide
from actors.link.server import LinkServer
from actors.link_client import LinkClient
from actors.names import LIMITER
from actors.tasks import spawn, stop
from models.errors import PeerUnavailable
from models.planes.frames import KEEPER, Surrender
from models.planes.permits import (
    Recall,
    RecallAnswer,
    RecallRequest,
    ReserveAnswer,
    ReserveRequest,
    ReturnRequest,
)
from tests.kit.limiter import MINUTE, HandClock, Holder, MemoryStore
from tests.kit.link import REGION, LocalActors, Region, until

MINUTE_OF_P = Recall((("p", "minute"),))


class Limiters(LocalActors):
    """A region whose limiters answer what a test hands in; `cores`, where there are any, answer in their stead."""

    def __init__(self) -> None:
        super().__init__()
        self.questions: list[tuple[int, RecallRequest]] = []
        self.answers: dict[int, asyncio.Queue[RecallAnswer]] = {0: asyncio.Queue(), 1: asyncio.Queue()}
        self.garbage: set[int] = set()
        self.core: LimiterCore | None = None

    async def ask(self, role: str, method: str, payload: bytes, *, shard: int = 0, seconds: float) -> bytes:  # noqa: ARG002 - as the port has it
        assert role == LIMITER
        self._check()
        if method == "recalls":
            request = msgspec.msgpack.decode(payload, type=RecallRequest)
            self.questions.append((shard, request))
            if shard in self.garbage:
                return b"\xc1"
            answer = self.core.recalls(request) if self.core else self.answers[shard].get()
            return msgspec.msgpack.encode(await answer)
        assert self.core is not None
        if method == "give_back":
            await self.core.give_back(msgspec.msgpack.decode(payload, type=ReturnRequest))
            return b""
        return msgspec.msgpack.encode(
            await self.core.reserve(msgspec.msgpack.decode(payload, type=ReserveRequest))
        )

    def named(self, shard: int = 0) -> tuple[str, ...]:
        """The holders that the last question named."""
        return [request.holders for asked, request in self.questions if asked == shard][-1]


class Site:
    """A link server and its permits side."""

    def __init__(self, path: Path, shards: int = 1) -> None:
        region, self.path, self.actors = Region(), path, Limiters()
        self.side = PermitsSide(
            self.actors, link="l1", shards=shards, uniform=lambda low, _high: low, seconds=5.0
        )
        self.server = LinkServer(
            Held(REGION, region.control_key, region.vault_key),
            CallSide(self.actors),
            uid=os.getuid(),
            on_progress=self.side.progress,
            on_done=lambda _: None,
        )
        self.tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Accepts and asks from now on."""
        await self.server.open(place.bind(self.path))
        self.tasks.append(spawn("permits", self.side.run(self.server)))
        await until(lambda: self.actors.questions)

    async def worker(self, holder: str, part: str = "worker") -> Client:
        """One that is attached."""
        one = Client(self.path, holder, part)
        self.tasks.append(spawn(holder, one.client.run()))
        one.task = self.tasks[-1]
        await until(lambda: one.client.connected)
        return one

    async def close(self) -> None:
        """Everything."""
        await stop(*self.tasks)
        self.server.close()


class Client:
    """A worker's end."""

    def __init__(self, path: Path, holder: str, part: str) -> None:
        self.surrenders: list[Surrender] = []
        self.task: asyncio.Task[None] | None = None
        self.client = LinkClient(
            path,
            worker=0,
            have=lambda: (-1, -1),
            on_update=lambda _: None,
            on_run=lambda _: None,
            on_surrender=self.surrenders.append,
            part=part,
            holder=holder,
        )


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A link with one limiter that has asked its first question."""
    found = Site(tmp_path / "s")
    await found.open()
    yield found
    await found.close()


async def test_whoever_comes_or_goes_is_told_at_once(site: Site) -> None:
    """By a second question, while the first one is outstanding; keepers and workers without a name hold nothing."""
    assert site.actors.questions == [(0, RecallRequest(link="l1", holders=()))]
    first = await site.worker("e/0/aa")
    await until(lambda: site.actors.named() == ("e/0/aa",))
    site.actors.answers[0].put_nowait(RecallAnswer(number=0))  # which ends the first question
    await site.worker("", KEEPER)
    await site.worker("")
    await site.worker("e/1/bb")
    await until(lambda: site.actors.named() == ("e/0/aa", "e/1/bb"))
    site.actors.answers[0].put_nowait(RecallAnswer(number=0))
    assert first.task is not None
    await stop(first.task)
    await until(lambda: site.actors.named() == ("e/1/bb",))
    assert len(site.actors.questions) == 4


async def test_a_recall_reaches_the_worker_it_is_for_and_no_other(site: Site) -> None:
    """And the next question says that it was acted on."""
    first, second = await site.worker("a"), await site.worker("b")
    site.actors.answers[0].put_nowait(RecallAnswer(number=0))
    await until(lambda: site.actors.named() == ("a", "b"))
    site.actors.answers[0].put_nowait(RecallAnswer(number=0))
    site.actors.answers[0].put_nowait(RecallAnswer(number=3, recalls={"b": MINUTE_OF_P, "gone": MINUTE_OF_P}))
    await until(lambda: second.surrenders)
    assert second.surrenders == [Surrender(MINUTE_OF_P)]
    await until(lambda: site.actors.questions[-1][1].after == 3)
    assert first.surrenders == []


async def test_a_recall_in_the_answer_to_the_question_before_counts_too(site: Site) -> None:
    """A second question may cross an answer."""
    worker = await site.worker("a")
    await until(lambda: len(site.actors.questions) == 2)
    site.actors.answers[0].put_nowait(RecallAnswer(number=1, recalls={"a": MINUTE_OF_P}))
    await until(lambda: worker.surrenders)


async def test_each_limiter_is_asked_for_itself(tmp_path: Path) -> None:
    """One that is away or mad keeps the others from nothing, and numbers are each one's own."""
    site = Site(tmp_path / "s", shards=2)
    site.actors.garbage = {0}
    await site.open()
    worker = await site.worker("a")
    site.actors.answers[1].put_nowait(RecallAnswer(number=0))
    site.actors.answers[1].put_nowait(RecallAnswer(number=7, recalls={"a": MINUTE_OF_P}))
    await until(lambda: worker.surrenders)
    await until(lambda: site.actors.questions[-1][1].after == 7)
    assert {request.after for shard, request in site.actors.questions if shard == 0} == {0}
    await site.close()


async def test_a_limiter_that_is_away_is_asked_again_and_disturbs_nothing(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """Said once, not at every attempt; calls to other actors are answered meanwhile, as fast as ever."""
    worker = await site.worker("a")
    with caplog.at_level(logging.INFO, "exeat.link.permits"):
        site.actors.garbage = {0}
        site.actors.answers[0].put_nowait(RecallAnswer(number=0))
        site.actors.answers[0].put_nowait(RecallAnswer(number=0))
        before = len(site.actors.questions)
        await until(lambda: len(site.actors.questions) >= before + 4)
        assert await worker.client.call("vault", "grant", b"abc", 5.0) == b"cba"
        site.actors.garbage = set()
        site.actors.answers[0].put_nowait(RecallAnswer(number=4, recalls={"a": MINUTE_OF_P}))
        await until(lambda: worker.surrenders)
    said = [record.message for record in caplog.records]
    assert said == ["limiter does not answer", "limiter answers"]
    assert not site.tasks[0].done()


async def test_no_failure_whatever_ends_it(site: Site) -> None:
    """Away, broken, too slow: it goes on."""
    for failure in (PeerUnavailable("away"), ZeroDivisionError(), TimeoutError()):

        def fail(error: BaseException) -> None:
            raise error

        site.actors._check = partial(fail, failure)  # type: ignore[method-assign]  # whatever it raises
        site.actors.answers[0].put_nowait(RecallAnswer(number=0))
        await until(lambda: not site.side._shards[0]._answers)
        assert not site.tasks[0].done()
        del site.actors._check
        site.actors.answers[0].put_nowait(RecallAnswer(number=0))
        await until(lambda: site.side._shards[0]._answers)


async def test_a_low_limit_goes_to_the_last_call_over_a_real_link_in_no_time(tmp_path: Path) -> None:
    """Ten a minute and two workers, one of which hoards: ten are admitted, the eleventh is refused, all of it at once."""
    site, clock = Site(tmp_path / "s"), HandClock()
    core = site.actors.core = LimiterCore(
        MemoryStore(),
        clock=clock,
        incarnation="i1",
        uniform=random.uniform,
        on_end=pytest.fail,
        patience=30.0,
    )
    await core.open()
    await site.open()
    holders = {name: Holder(name, clock) for name in ("a", "b")}
    clients = {name: await site.worker(name) for name in holders}
    await until(lambda: site.actors.named() == ("a", "b"))
    returning: list[asyncio.Task[bytes]] = []

    def surrender(name: str, frame: Surrender) -> None:
        request = ReturnRequest(holder=name, returns=holders[name].give_up(list(frame.recall.counters)))
        call = clients[name].client.call("limiter", "give_back", msgspec.msgpack.encode(request), 5.0)
        returning.append(spawn("return", call))

    async def admitted(name: str, count: int) -> bool:
        holder, client = holders[name], clients[name].client
        if not holder.left(MINUTE):
            request = holder.request({MINUTE: 10}, count)
            said = await client.call("limiter", "reserve", msgspec.msgpack.encode(request), 5.0)
            holder.take(request, msgspec.msgpack.decode(said, type=ReserveAnswer), clock.boot_ns())
        return holder.spend(MINUTE) == 1

    for name, one in clients.items():
        one.client._on_surrender = partial(surrender, name)
    began = time.monotonic()
    found = [await admitted("a", 10)]
    found += [await admitted("b", 1) for _ in range(10)]
    took = time.monotonic() - began
    assert found == [True] * 10 + [False]
    assert took < 1.0
    assert holders["a"].left(MINUTE) == 0
    await asyncio.gather(*returning)
    await site.close()
    await core.close()
