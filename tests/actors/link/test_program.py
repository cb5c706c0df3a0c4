"""The whole link but for Ray: a registry's audience on one side, real workers on a real socket on the other."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from actors.link import place
from actors.link.program import Pinned, run
from actors.link.watch import Detached, Epoch, Patience
from actors.link_client import LinkClient
from actors.names import LIMITER
from actors.tasks import spawn, stop
from models.errors import ConfigurationError, LinkUnavailable
from models.home import link_socket
from models.planes.calls import ListenAnswer
from models.planes.feed import CommandResult
from models.planes.frames import Run, Surrender
from models.planes.permits import Recall, RecallAnswer, RecallRequest
from tests.kit.link import REGION, LocalActors, Region, Worker, until


class Link:
    """A link in this process, with everything around it."""

    def __init__(self, root: Path, actors: LocalActors) -> None:
        self.region, self.actors = Region(), actors
        self.pinned = Pinned(self.region.edge_home(root / "edge"))
        self.pinned.socket = root / "s" / "link.sock"
        self.epoch = root / "epoch"
        self.task: asyncio.Task[None] | None = None
        self.tasks: list[asyncio.Task[None]] = []

    async def open(
        self, *, patience: Patience | None = None, listen_seconds: float = 20.0, shards: int = 1
    ) -> None:
        """Serves from now on."""
        ready = asyncio.Event()

        async def serve() -> None:
            with place.taken(self.pinned.socket, os.getuid()):
                await run(
                    self.actors,
                    self.pinned,
                    REGION,
                    Epoch(self.epoch),
                    patience=patience,
                    listen_seconds=listen_seconds,
                    shards=shards,
                    announce=ready.set,
                )

        self.task = spawn("link", serve())
        await ready.wait()

    async def kill(self) -> None:
        """Ends it as its process's death would."""
        assert self.task is not None
        await stop(self.task)

    def worker(self, index: int = 0) -> Worker:
        """A worker, running."""
        one = Worker(self.pinned.socket, self.region, index)
        self.tasks.append(spawn("worker", one.client.run()))
        return one

    async def close(self) -> None:
        """Everything."""
        await stop(*self.tasks)
        await self.kill()


@pytest.fixture
async def link(tmp_path: Path) -> AsyncIterator[Link]:
    """A link that a test opens."""
    found = Link(tmp_path, LocalActors())
    yield found
    await found.close()


async def test_what_the_registry_publishes_is_at_every_worker_and_reported(link: Link) -> None:
    """Policy, sheet and later issues reach both workers; what they enforce reaches the registry."""
    link.actors.listeners.publish(link.region.change(0))
    await link.open()
    workers = [link.worker(0), link.worker(1)]
    for revision in range(1, 6):
        link.actors.listeners.publish(link.region.change(revision, a=str(revision)))
        await until(lambda revision=revision: all(one.revision == revision for one in workers))  # type: ignore[misc]  # bound early
    link.actors.listeners.publish_sheet(*link.region.sheet(3))
    link.actors.listeners.publish(link.region.reissue())
    await until(lambda: all(one.sheet == 3 for one in workers))
    await until(lambda: all(one.state.issued_ms == link.region.state.issued_ms for one in workers))
    await until(lambda: link.actors.reported and link.actors.reported[-1].workers == ((0, 5), (1, 5)))
    assert {request.edge for request in link.actors.asked} == {"edge-1"}
    assert len({request.link for request in link.actors.asked}) == 1


async def test_a_link_that_dies_is_replaced_without_loss(link: Link) -> None:
    """Workers keep what they have, calls fail fast meanwhile, the next link sends what was missed."""
    link.actors.listeners.publish(link.region.change(1, a="1"))
    await link.open()
    one = link.worker()
    await until(lambda: one.revision == 1)
    link.actors.hold.clear()
    call = spawn("call", one.client.call("vault", "grant", b"x", 60.0))
    await until(lambda: link.actors.grants)
    await link.kill()
    with pytest.raises(LinkUnavailable):
        await call
    with pytest.raises(LinkUnavailable):
        await one.client.call("vault", "grant", b"x", 60.0)
    link.actors.listeners.publish(link.region.change(2, b="2"))
    link.actors.hold.set()
    await link.open()
    await until(lambda: one.revision == 2)
    assert one.state.documents == link.region.state.documents
    assert await one.client.call("vault", "grant", b"xy", 5.0) == b"yx"


async def test_a_command_offered_while_no_worker_was_attached_runs_once_one_is(link: Link) -> None:
    """The registry gives commands only to links with workers; the first worker is told of at once."""
    link.actors.listeners.publish(link.region.change(1))
    await link.open()
    await until(lambda: len(link.actors.asked) >= 2)
    command, signed = link.region.command("c1")
    link.actors.listeners.offer(command, signed)
    one = link.worker()
    await until(lambda: one.runs, 3.0)
    assert one.runs == [Run(signed)]
    one.client.done(msgspec.msgpack.encode(CommandResult(id="c1", edge="edge-1", status=204)))
    await until(lambda: link.actors.results)
    assert [(result.id, result.status) for result in link.actors.results] == [("c1", 204)]


async def test_a_registry_that_comes_back_is_followed_again(link: Link) -> None:
    """Failures are retried with a growing pause; nothing that was held is lost."""
    link.actors.listeners.publish(link.region.change(1, a="1"))
    await link.open()
    one = link.worker()
    await until(lambda: one.revision == 1)
    link.actors.away = True
    link.actors.listeners.publish(link.region.change(2, a="2"))
    await until(lambda: len(link.actors.asked) >= 2)
    link.actors.away = False
    await until(lambda: one.revision == 2)


async def test_what_is_not_signed_reaches_no_worker(link: Link, caplog: pytest.LogCaptureFixture) -> None:
    """The link asks for everything instead; a registry that is honest again is believed again."""
    link.actors.listeners.publish(link.region.change(1, a="1"))
    await link.open()
    one = link.worker()
    await until(lambda: one.revision == 1)
    stranger = Region()
    with caplog.at_level(logging.ERROR, "exeat.link.registry"):
        link.actors.listeners.publish(stranger.change(2, a="evil"))
        await until(lambda: any(request.revision == -1 for request in link.actors.asked[2:]))
    assert "registry not believed" in [record.message for record in caplog.records]
    assert [document.text for document in one.state.documents.values()] == [b"1"]
    link.actors.listeners.publish(link.region.change(3, a="3"))
    await until(lambda: one.revision == 3)
    assert one.revisions == [1, 3]


async def test_recalls_of_every_limiter_reach_the_worker_and_none_of_them_is_missed(tmp_path: Path) -> None:
    """Each is asked, and told who is attached; one that never answers changes nothing for anybody."""

    class Limited(LocalActors):
        def __init__(self) -> None:
            super().__init__()
            self.named: dict[int, tuple[str, ...]] = {}

        async def ask(
            self,
            role: str,
            method: str,
            payload: bytes,
            *,
            shard: int = 0,
            seconds: float,  # noqa: ARG002 - as the port has it
        ) -> bytes:
            assert (role, method) == (LIMITER, "recalls")
            request = msgspec.msgpack.decode(payload, type=RecallRequest)
            self.named[shard] = request.holders
            if shard == 0 or not request.holders or request.after:
                await asyncio.Event().wait()
            recalls = {name: Recall((("p", "day"),)) for name in request.holders}
            return msgspec.msgpack.encode(RecallAnswer(number=1, recalls=recalls))

    actors = Limited()
    link = Link(tmp_path, actors)
    await link.open(shards=2)
    surrenders: list[Surrender] = []
    client = LinkClient(
        link.pinned.socket,
        worker=0,
        have=lambda: (-1, -1),
        on_update=lambda _: None,
        on_run=lambda _: None,
        on_surrender=surrenders.append,
        holder="edge-1/0/aa",
    )
    link.tasks.append(spawn("worker", client.run()))
    one = link.worker(1)
    await until(lambda: surrenders)
    assert surrenders == [Surrender(Recall((("p", "day"),)))]
    await until(lambda: actors.named == {0: ("edge-1/0/aa",), 1: ("edge-1/0/aa",)})
    actors.listeners.publish(link.region.change(1, a="1"))
    await until(lambda: one.revision == 1)
    await link.close()


async def test_leaves_when_the_registry_does_not_answer_for_too_long(link: Link) -> None:
    """Only a new process can help then; the socket is gone with it."""
    link.actors.listeners.publish(link.region.change(1, a="1"))
    loop = asyncio.get_running_loop()
    await link.open(patience=Patience(loop.time, seconds=0.2, first=30.0))
    one = link.worker()
    await until(lambda: one.revision == 1)
    link.actors.away = True
    link.actors.listeners.publish(link.region.change(2, a="2"))
    assert link.task is not None
    with pytest.raises(Detached):
        await link.task
    assert not link.pinned.socket.exists()
    await until(lambda: not one.client.connected)
    assert one.revision == 1


async def test_a_question_that_hangs_or_is_answered_with_garbage_counts_as_failed(tmp_path: Path) -> None:
    """Silence and nonsense are no answers."""

    class Odd(LocalActors):
        garbage = False

        async def listen(self, payload: bytes) -> bytes:
            self.asked.append(msgspec.msgpack.decode(payload))
            if self.garbage:
                return b"\xc1"
            await asyncio.Event().wait()
            return b""

    for garbage in (False, True):
        actors = Odd()
        actors.garbage = garbage
        link = Link(tmp_path / str(garbage), actors)
        (tmp_path / str(garbage)).mkdir(exist_ok=True)
        await link.open(
            patience=Patience(asyncio.get_running_loop().time, seconds=0.1, first=0.1), listen_seconds=0.01
        )
        assert link.task is not None
        with pytest.raises(Detached):
            await link.task
        assert len(actors.asked) >= 2
        await link.close()


async def test_leaves_when_the_cluster_is_a_new_one(link: Link) -> None:
    """Without waiting for anything to fail."""
    link.epoch.write_text("one")
    await link.open()
    link.epoch.write_text("two")
    assert link.task is not None
    with pytest.raises(Detached):
        await link.task


async def test_ends_in_order_on_sigterm(link: Link) -> None:
    """Workers are let go, the socket is removed."""
    await link.open()
    one = link.worker()
    await until(lambda: one.client.connected)
    os.kill(os.getpid(), signal.SIGTERM)
    assert link.task is not None
    await link.task
    assert not link.pinned.socket.exists()
    await until(lambda: not one.client.connected)


def test_reads_only_what_is_public(tmp_path: Path) -> None:
    """Two public keys and the host's name; the socket's place follows from the home."""
    region = Region()
    home = region.edge_home(tmp_path / "edge")
    pinned = Pinned(home)
    assert (pinned.control.public, pinned.vault.public) == (region.control.public, region.vault.public)
    assert pinned.edge == "edge-1"
    assert pinned.socket == link_socket(home.root, os.getuid())


@pytest.mark.parametrize("content", [None, b"", b"zz", b"00" * 31, b"\xff\xfe"])
def test_a_pinned_key_that_cannot_be_used_is_said(tmp_path: Path, content: bytes | None) -> None:
    """The message names the file."""
    home = Region().edge_home(tmp_path / "edge")
    home.vault_public.unlink()
    if content is not None:
        home.vault_public.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"vault\.pub"):
        Pinned(home)


def test_an_empty_answer_is_small() -> None:
    """What a poll that expired costs on the wire."""
    assert len(msgspec.msgpack.encode(ListenAnswer())) < 64
