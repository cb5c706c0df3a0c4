"""The shipper over a real link: every batch arrives, in order, whatever link, recorder and control plane do."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.link_client import LinkClient
from actors.tasks import spawn, stop
from models.errors import LinkUnavailable, Refused
from models.home import link_socket
from models.planes.frames import KEEPER
from models.planes.records import Batch, Taken
from proxy_edge.records import shipper as module
from proxy_edge.records.shipper import Shipper
from proxy_edge.records.spool import SpoolSink
from tests.kit.edge_region import EdgeRegion, until
from tests.proxy_edge.records.spools import Recorder, make, text

QUICK = (0.001, 0.01)


class Site:
    """A spool, its shipper, and a region whose recorder is told what to say."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.region = EdgeRegion(folder)
        self.recorder = Recorder()
        self.region.others["Recorder", "take"] = self.recorder.take
        self.spool: SpoolSink = make(folder, most=1 << 30)
        self.client = LinkClient(
            link_socket(self.region.edge_root.absolute(), os.getuid()),
            worker=0,
            have=lambda: (-1, -1),
            on_update=pytest.fail,
            on_run=pytest.fail,
            on_change=self._changed,
            part=KEEPER,
        )
        self.shipper = Shipper(self.spool, self._call, **{"retry": QUICK, "chance": lambda: 1.0, **options})
        self._link = AsyncExitStack()

    def _changed(self, there: bool) -> None:
        self.shipper.link_changed(there)

    async def _call(self, role: str, method: str, payload: bytes, timeout: float) -> bytes:
        return await self.client.call(role, method, payload, timeout)

    async def attend(self) -> None:
        """A link is there from now on."""
        await self._link.enter_async_context(self.region.attended())

    async def leave(self) -> None:
        """The link has gone."""
        await self._link.aclose()

    async def write(self, *names: str) -> None:
        """One sweep of the keeper."""
        assert await self.spool.write(text(*names), len(names)) == len(names)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Site]:
        """While the block runs, the shipper does."""
        async with self.region.started():
            tasks = [spawn("client", self.client.run()), spawn("shipper", self.shipper.run())]
            try:
                yield self
            finally:
                await stop(*tasks)
                await self.leave()


async def test_records_arrive_at_once_and_in_order(tmp_path: Path) -> None:
    """What gathers while a batch is under way goes with the next one."""
    async with Site(tmp_path).running() as site:
        await site.attend()
        for number in range(50):
            await site.write(f"r{number}")
            await asyncio.sleep(0)
        await until(lambda: not site.spool.depth)
        assert site.recorder.records == [f"r{number}" for number in range(50)]
        assert site.recorder.got == sorted(set(site.recorder.got))


async def test_what_gathered_while_there_was_no_link_is_sent_as_soon_as_there_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The wait after the last attempt, however long, ends with the link's coming; said is it once."""
    caplog.set_level("INFO")
    async with Site(tmp_path, retry=(300.0, 300.0)).running() as site:
        await site.write("a")
        await until(lambda: "records not delivered" in caplog.text)
        for number in range(40):
            await site.write(f"r{number}")
        await site.attend()
        await until(lambda: not site.spool.depth)
        assert site.recorder.records == ["a", *(f"r{number}" for number in range(40))]
        assert len(site.recorder.kept) == 2
        await site.leave()
        await site.write("later")
        await until(lambda: site.spool.depth == 1)
        await site.attend()
        await until(lambda: not site.spool.depth)
    assert caplog.text.count("records delivered again") == caplog.text.count("records not delivered") == 2


@pytest.mark.parametrize("word", ["away", "garbage", "other", "older", "lost"])
async def test_a_batch_is_sent_again_until_it_is_said_to_be_there(tmp_path: Path, word: str) -> None:
    """With the same number and the same lines, whatever else was answered; the next one waits for it."""
    async with Site(tmp_path).running() as site:
        site.recorder.say = [word] * 3
        await site.write("a")
        await site.attend()
        await until(lambda: site.recorder.got)
        await site.write("b")
        await until(lambda: not site.spool.depth)
        assert site.recorder.got == [1, 1, 1, 1, 2]
        assert site.recorder.records == ["a", "b"]


async def test_an_answer_that_does_not_come_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    """The batch is sent again."""
    async with Site(tmp_path, seconds=0.05).running() as site:
        take, held = site.recorder.take, asyncio.Event()

        async def hold_once(payload: bytes) -> bytes:
            if not site.recorder.got:
                site.recorder.got.append(0)
                await held.wait()
            return await take(payload)

        site.region.others["Recorder", "take"] = hold_once
        await site.write("a")
        await site.attend()
        await until(lambda: not site.spool.depth)
        assert site.recorder.got == [0, 1]


async def test_a_refused_record_is_set_aside_and_the_others_arrive(tmp_path: Path) -> None:
    """The batches after it first, then its neighbours."""
    async with Site(tmp_path).running() as site:
        take = site.recorder.take

        async def picky(payload: bytes) -> bytes:
            if b'"bad"' in msgspec.msgpack.decode(payload, type=Batch).lines:
                raise Refused("malformed")
            return await take(payload)

        site.region.others["Recorder", "take"] = picky
        await site.write("a", "bad", "b", "c", "d")
        await site.attend()
        await until(lambda: not site.spool.depth)
        assert sorted(site.recorder.records) == ["a", "b", "c", "d"]
        assert site.spool.refused == 1


async def test_when_everything_is_refused_batches_are_set_aside_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Splitting them would only make many small files; with the first that is taken things are as before."""
    monkeypatch.setattr(module, "MOST_IN_A_ROW", 3)
    async with Site(tmp_path).running() as site:
        site.recorder.say = ["refused"] * 7
        await site.write(*"abcdefgh")
        await site.attend()
        await until(lambda: not site.spool.depth)
        assert (len(site.recorder.got), site.spool.refused) == (7, 8)
        site.recorder.say = ["taken", "refused"]
        for one in ("i", "jk"):
            await site.write(*one)
            await until(lambda: not site.spool.depth)
        assert site.recorder.records == ["i", "j", "k"]


async def test_a_record_that_no_link_carries_is_set_aside(tmp_path: Path) -> None:
    """It would otherwise be tried for ever."""
    async with Site(tmp_path).running() as site:
        await site.attend()
        huge = text("huge", size=1_100_000)
        await site.spool.write(huge, 1)
        await site.write("a")
        await until(lambda: not site.spool.depth)
        assert (site.recorder.records, site.spool.refused) == (["a"], 1)


async def test_a_spool_that_cannot_be_read_is_tried_again(tmp_path: Path) -> None:
    """And nothing of it is lost."""
    async with Site(tmp_path).running() as site:
        await site.write("a")
        (tmp_path / "spool").rename(tmp_path / "aside")
        await site.attend()
        await until(lambda: site.shipper._failures)
        (tmp_path / "aside").rename(tmp_path / "spool")
        await until(lambda: not site.spool.depth)
        assert site.recorder.records == ["a"]


async def test_a_failure_that_nobody_foresaw_does_not_end_it(tmp_path: Path) -> None:
    """An edge whose shipper has gone would fill its spool unseen."""
    said = [ZeroDivisionError(), LinkUnavailable("away"), None]

    async def call(_role: str, _method: str, payload: bytes, _timeout: float) -> bytes:
        error = said.pop(0)
        if error is not None:
            raise error
        batch = msgspec.msgpack.decode(payload, type=Batch)
        return msgspec.msgpack.encode(Taken(source=batch.source, number=batch.number + 3))

    spool = make(tmp_path)
    await spool.write(text("a"), 1)
    shipper = Shipper(spool, call, retry=QUICK)
    task = spawn("shipper", shipper.run())
    await until(lambda: not spool.depth)
    await stop(task)


async def test_the_end_waits_for_what_can_be_sent_and_no_longer(tmp_path: Path) -> None:
    """Until the spool is empty; not at all when there is no way; never longer than it is told."""
    async with Site(tmp_path).running() as site:
        await site.write("a")
        await site.shipper.finish(10.0)
        assert site.spool.depth == 1  # nobody there
        await site.attend()
        await until(lambda: not site.spool.depth)
        for name in ("b", "c"):
            await site.write(name)
            await site.shipper.finish(10.0)
        assert site.recorder.records == ["a", "b", "c"]

        async def never(_payload: bytes) -> bytes:
            await asyncio.Event().wait()
            return b""

        site.region.others["Recorder", "take"] = never
        await site.write("d")
        await site.shipper.finish(0.05)
        assert site.spool.depth == 1


async def test_it_rests_after_a_batch_as_long_as_that_deserves(tmp_path: Path) -> None:
    """The slower the machine the longer, within a bound; not while much waits, and not at the end."""
    now, took = 0.0, 0.05
    shipper: Shipper

    async def call(_role: str, _method: str, payload: bytes, _timeout: float) -> bytes:
        nonlocal now
        now += took
        batch = msgspec.msgpack.decode(payload, type=Batch)
        return msgspec.msgpack.encode(Taken(source=batch.source, number=batch.number))

    async def turn(spool: SpoolSink, *names: str) -> float:
        assert await spool.write(text(*names), len(names)) == len(names)
        return await shipper._turn()

    spool = make(tmp_path, most=1 << 30)
    shipper = Shipper(spool, call, now=lambda: now)
    assert await turn(spool, "a") == pytest.approx(module.REST * 0.05)
    took = 30.0
    assert await turn(spool, "b") == module.LONGEST_REST_SECONDS
    small = make(tmp_path / "small", most=10 * len(text("c")))
    shipper = Shipper(small, call, now=lambda: now)
    await small.write(text("c"), 1)
    await small.next()  # fixed, so that the next line begins another batch
    assert await turn(small, "d") == 0.0
    assert await shipper._turn() == module.LONGEST_REST_SECONDS
    await shipper.finish(0)
    assert await turn(small, "e") == 0.0
