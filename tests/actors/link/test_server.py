"""Link server and real clients on a real socket: updates to everybody, calls and commands to the right one."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.link import attachment, place
from actors.link.call_side import CallSide
from actors.link.held import Held
from actors.link.server import LinkServer
from actors.link_client import LinkClient
from actors.tasks import spawn, stop
from models.errors import LinkUnavailable, Refused
from models.planes.calls import ListenAnswer
from models.planes.frames import (
    KEEPER,
    PROTOCOL,
    Answer,
    Applied,
    Call,
    Done,
    Hello,
    Run,
    Update,
    Welcome,
    encode,
)
from models.planes.state import RegionState
from models.planes.wire import Splitter, read_from_link
from tests.kit.link import REGION, LocalActors, Region, Worker, until

AS_KEEPER = Hello(protocol=PROTOCOL, worker=0, pid=1, revision=-1, sheet=-1, part=KEEPER)


class Site:
    """A link server on a socket, without a registry behind it: tests publish themselves."""

    def __init__(
        self, path: Path, *, uid: int | None = None, most: int = 64, hello_seconds: float = 5.0
    ) -> None:
        self.path, self.region, self.actors = path, Region(), LocalActors()
        self.held = Held(REGION, self.region.control_key, self.region.vault_key)
        self.done: list[bytes] = []
        self.progress = 0
        self.server = LinkServer(
            self.held,
            CallSide(self.actors, seconds=5.0),
            uid=os.getuid() if uid is None else uid,
            on_progress=self._progressed,
            on_done=self.done.append,
            most=most,
            hello_seconds=hello_seconds,
        )
        self.tasks: list[asyncio.Task[None]] = []
        self.raws: list[Raw] = []

    def _progressed(self) -> None:
        self.progress += 1

    async def open(self) -> None:
        """Accepts from now on."""
        await self.server.open(place.bind(self.path))

    def publish(self, state: RegionState) -> None:
        """The whole state, as a registry's answer."""
        self.held.take(ListenAnswer(delta=state.full()))
        self.server.publish()

    async def worker(self, index: int, *, revision: int = -1) -> Worker:
        """A worker, attached."""
        one = Worker(self.path, self.region, index, revision)
        self.tasks.append(spawn("worker", one.client.run()))
        await until(lambda: one.client.connected)
        return one

    async def keeper(self) -> LinkClient:
        """A keeper, attached; the test fails when it is sent anything but answers."""
        one = LinkClient(
            self.path, worker=0, have=lambda: (-1, -1), on_update=pytest.fail, on_run=pytest.fail, part=KEEPER
        )
        self.tasks.append(spawn("keeper", one.run()))
        await until(lambda: one.connected)
        return one

    async def raw(self) -> Raw:
        """A connection by hand."""
        one = await Raw.open(self.path)
        self.raws.append(one)
        return one

    async def close(self) -> None:
        """Everything."""
        for one in self.raws:
            one.close()
        await stop(*self.tasks)
        self.server.close()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A server that accepts."""
    found = Site(tmp_path / "link.sock")
    await found.open()
    yield found
    await found.close()


class Raw:
    """A connection by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, path: Path) -> Raw:
        """Connects."""
        return cls(*await asyncio.open_unix_connection(path))

    def hello(self, *, protocol: int = PROTOCOL, index: int = 0, revision: int = -1) -> None:
        """Says who it is."""
        self.writer.write(
            encode(Hello(protocol=protocol, worker=index, pid=os.getpid(), revision=revision, sheet=-1))
        )

    async def rest(self) -> list[object]:
        """All frames up to the end of the connection."""
        splitter, found = Splitter(), []
        async with asyncio.timeout(10.0):
            try:
                while data := await self.reader.read(65536):
                    found += [read_from_link(body) for body in splitter.feed(data)]
            except ConnectionError:
                pass
        self.close()
        return found

    def close(self) -> None:
        """Ends it."""
        self.writer.transport.abort()


async def test_two_workers_get_every_update_in_order(site: Site) -> None:
    """Each verifies every step for itself and ends where the link is."""
    first, second = await site.worker(0), await site.worker(1)
    for revision in range(1, 41):
        site.publish(site.region.change(revision, **{f"t{revision % 7}": str(revision)}))
        await asyncio.sleep(0)
    await until(lambda: first.revision == second.revision == 40)
    for one in (first, second):
        assert one.revisions == list(range(1, 41))
        assert one.state.documents == site.region.state.documents
    assert [update.delta.base for update in first.updates if update.delta] == list(range(40))
    await until(lambda: site.server.workers == ((0, 40), (1, 40)))


async def test_a_new_worker_gets_what_it_misses_at_once(site: Site) -> None:
    """Everything for one that has nothing, the manifest alone for one that is up to date."""
    site.publish(site.region.change(3, a="1", b="1"))
    site.publish(site.region.change(6, b="2"))
    whole = await site.worker(0)
    await until(lambda: whole.updates)
    assert whole.updates[0].delta is not None
    assert (whole.updates[0].delta.base, len(whole.updates[0].delta.upserts)) == (0, 2)
    current = await site.raw()
    current.hello(index=1, revision=6)
    await until(lambda: len(site.server.workers) == 2)
    site.server.close()
    welcome, update = await current.rest()
    assert welcome == Welcome(PROTOCOL)
    assert update == Update(None, None, site.region.state.signed)


async def test_a_worker_from_a_snapshot_gets_the_difference(site: Site) -> None:
    """From the revision in its hello, when the link has seen that."""
    site.publish(site.region.change(3, a="1", b="1"))
    site.publish(site.region.change(6, b="2"))
    raw = await site.raw()
    raw.hello(revision=3)
    await until(lambda: site.server.workers)
    site.server.close()
    _, update = await raw.rest()
    assert isinstance(update, Update)
    assert update.delta is not None
    assert (update.delta.base, [one.id for one in update.delta.upserts]) == (3, ["b"])


async def test_calls_of_many_workers_come_back_to_the_right_ones(site: Site) -> None:
    """Concurrent calls of several workers, each with its own numbers."""
    workers = [await site.worker(index) for index in range(4)]
    asked = [(one, f"{index}-{number}".encode()) for index, one in enumerate(workers) for number in range(50)]
    answers = await asyncio.gather(*(one.client.call("vault", "grant", text, 5.0) for one, text in asked))
    assert answers == [text[::-1] for _, text in asked]


async def test_refused_and_unavailable_reach_the_caller(site: Site) -> None:
    """Each as its own error."""
    one = await site.worker(0)
    with pytest.raises(Refused):
        await one.client.call("vault", "grant", b"refuse", 5.0)
    with pytest.raises(Refused):
        await one.client.call("vault", "obey", b"", 5.0)
    site.actors.away = True
    with pytest.raises(LinkUnavailable):
        await one.client.call("vault", "grant", b"", 5.0)


async def test_calls_over_the_bound_are_answered_at_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that floods is told to come again; others are not held up."""
    monkeypatch.setattr(attachment, "MOST_CALLS", 4)
    flood, other = await site.worker(0), await site.worker(1)
    site.actors.hold.clear()
    calls = [spawn("call", flood.client.call("vault", "grant", b"x", 10.0)) for _ in range(6)]
    await until(lambda: sum(call.done() for call in calls) == 2)
    waiting = spawn("call", other.client.call("vault", "grant", b"ab", 10.0))
    await until(lambda: site.actors.grants == 5)
    site.actors.hold.set()
    assert await waiting == b"ba"
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(one) for one in outcomes] == [bytes] * 4 + [LinkUnavailable] * 2


async def test_commands_go_to_one_worker_in_turn_and_results_come_back(site: Site) -> None:
    """Each command runs once; without a worker it is dropped."""
    _, signed = site.region.command("c")
    assert site.server.run_command(signed) is False
    first, second = await site.worker(0), await site.worker(1)
    assert all(site.server.run_command(signed) for _ in range(4))
    await until(lambda: len(first.runs) == len(second.runs) == 2)
    assert first.runs[0] == Run(signed)
    first.client.done(b"result")
    await until(lambda: site.done)
    assert site.done == [b"result"]


async def test_a_keeper_delivers_records_and_is_nobody_else(site: Site) -> None:
    """It is no worker, hears of no policy and no command; its large batches go to the recorder and nowhere else."""
    keeper, worker = await site.keeper(), await site.worker(1)
    site.publish(site.region.change(1, a="1"))
    await until(lambda: site.server.workers == ((1, 1),))
    _, signed = site.region.command("c")
    assert all(site.server.run_command(signed) for _ in range(3))
    await until(lambda: len(worker.runs) == 3)
    batch = bytes(900_000)
    assert (await keeper.call("recorder", "take", batch, 5.0)).endswith(b".take(30) " + batch)
    for role, method in (("vault", "grant"), ("limiter", "reserve"), ("recorder", "ready")):
        with pytest.raises(Refused):
            await keeper.call(role, method, b"", 5.0)
    with pytest.raises(Refused):
        await worker.client.call("recorder", "take", b"", 5.0)
    assert site.actors.grants == 0


async def test_a_worker_that_does_not_read_holds_nobody_up_and_costs_little(site: Site) -> None:
    """It is sent no more than a bound; what it missed comes as one update once it reads again."""
    reader = await site.worker(0)
    stuck = await site.raw()
    stuck.hello(index=1)
    stuck.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport has it
    await until(lambda: len(site.server.workers) == 2)
    text = "x" * 400_000
    for revision in range(1, 31):
        site.publish(site.region.change(revision, big=f"{revision}{text}"))
        await until(lambda revision=revision: reader.revision == revision)  # type: ignore[misc]  # bound early
    assert reader.revisions == list(range(1, 31))
    unread = [one._transport.get_write_buffer_size() for one in site.server._all if one._transport]
    assert max(unread) < attachment.MOST_UNREAD + len(text) + 10_000
    stuck.writer.transport.resume_reading()  # type: ignore[attr-defined]  # as above
    state, splitter, taken = RegionState.empty(REGION), Splitter(), 0
    async with asyncio.timeout(10.0):
        while state.revision != 30:
            for body in splitter.feed(await stuck.reader.read(65536)):
                frame = read_from_link(body)
                if isinstance(frame, Update) and frame.delta is not None:
                    taken += 1
                    state = state.apply(frame.delta, site.region.control_key)
    assert taken < 30
    assert state.documents == site.region.state.documents
    stuck.close()


async def test_a_worker_that_asks_without_reading_is_not_read_either(site: Site) -> None:
    """Its answers would pile up in the link."""
    raw = await site.raw()
    raw.hello()
    raw.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport has it
    await until(lambda: site.server.workers)
    for number in range(64):
        raw.writer.write(encode(Call(number, "vault", "grant", bytes(200_000))))
    (one,) = site.server._all
    await until(lambda: not one.reads)
    asked = site.actors.grants
    assert asked < 64
    raw.writer.transport.resume_reading()  # type: ignore[attr-defined]  # as above
    found = 0
    splitter = Splitter()
    async with asyncio.timeout(10.0):
        while found < 64:
            data = await raw.reader.read(65536)
            found += sum(isinstance(read_from_link(body), Answer) for body in splitter.feed(data))
    raw.close()


async def test_another_protocol_is_told_ours_and_let_go(site: Site) -> None:
    """It learns from the welcome why; it gets nothing else."""
    site.publish(site.region.change(1, a="1"))
    raw = await site.raw()
    raw.hello(protocol=PROTOCOL + 1)
    assert await raw.rest() == [Welcome(PROTOCOL)]
    assert site.server.workers == ()


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        encode(Call(1, "vault", "grant", b"")),
        (2 * 1024 * 1024).to_bytes(4, "big"),
        b"\x00\x00\x00\x02\xc1\xc1",
        encode(Welcome(1)),
        encode(Hello(protocol=PROTOCOL, worker=0, pid=1, revision=-1, sheet=-1)) * 2,
        encode(Hello(protocol=PROTOCOL, worker=0, pid=1, revision=-1, sheet=-1, part="other")),
        encode(AS_KEEPER) + encode(Applied(4, 2)),
        encode(AS_KEEPER) + encode(Done(b"result")),
    ],
    ids=[
        "text",
        "no hello",
        "oversize",
        "garbage",
        "link's",
        "hello twice",
        "neither worker nor keeper",
        "a keeper's policy",
        "a keeper's result",
    ],
)
async def test_what_is_no_frame_of_a_worker_ends_its_connection_only(site: Site, said: bytes) -> None:
    """Others go on as if nothing had been."""
    other = await site.worker(1)
    raw = await site.raw()
    raw.writer.write(said)
    assert [frame for frame in await raw.rest() if not isinstance(frame, Welcome)] == []
    assert (site.actors.grants, site.done) == (0, [])
    assert await other.client.call("vault", "grant", b"ab", 5.0) == b"ba"
    assert site.server.workers == ((1, -1),)


async def test_whoever_does_not_say_hello_is_let_go(tmp_path: Path) -> None:
    """A silent connection does not keep its place."""
    site = Site(tmp_path / "link.sock", hello_seconds=0.02)
    await site.open()
    raw = await site.raw()
    assert await raw.rest() == []
    await site.close()


async def test_another_users_process_is_let_go_unheard(tmp_path: Path) -> None:
    """Only the verdict is tested, with a link that belongs to somebody else: a test cannot be two users."""
    site = Site(tmp_path / "link.sock", uid=os.getuid() + 1)
    await site.open()
    site.publish(site.region.change(1, a="1"))
    raw = await site.raw()
    raw.hello()
    assert await raw.rest() == []
    assert site.server.workers == ()
    await site.close()


async def test_connections_are_bounded(tmp_path: Path) -> None:
    """One too many is let go; a place that becomes free can be taken."""
    site = Site(tmp_path / "link.sock", most=2)
    await site.open()
    first = await site.raw()
    await site.raw()
    await until(lambda: len(site.server._all) == 2)
    third = await site.raw()
    assert await third.rest() == []
    first.close()
    await until(lambda: len(site.server._all) == 1)
    again = await site.worker(0)
    assert again.client.connected
    await site.close()


async def test_calls_of_a_worker_that_leaves_are_forgotten(site: Site) -> None:
    """Nothing waits for an answer that nobody reads."""
    raw = await site.raw()
    raw.hello()
    raw.writer.write(encode(Call(1, "vault", "grant", b"")))
    site.actors.hold.clear()
    await until(lambda: site.actors.grants)
    (one,) = site.server._all
    raw.close()
    await until(lambda: not one._calls)
    assert site.server.workers == ()


async def test_of_two_workers_with_one_index_both_must_enforce(site: Site) -> None:
    """A worker being replaced and its successor count as one, at what both have."""
    for revision in (7, 5):
        raw = await site.raw()
        raw.hello(index=2, revision=revision)
    await until(lambda: len(site.server._all) == 2 and site.progress >= 2)
    assert site.server.workers == ((2, 5),)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(1, 200), min_size=1, max_size=30))
async def test_any_split_of_a_workers_frames_is_understood(tmp_path: Path, cuts: list[int]) -> None:
    """However the bytes arrive over the socket, every call is answered once."""
    site = Site(tmp_path / "link.sock")
    await site.open()
    reader, writer = await asyncio.open_unix_connection(site.path)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    stream = encode(Hello(protocol=PROTOCOL, worker=0, pid=1, revision=-1, sheet=-1)) + b"".join(
        encode(Call(number, "vault", "grant", bytes([number]) * number)) for number in range(20)
    )
    place_in = 0
    for cut in cuts:
        writer.write(stream[place_in : place_in + cut])
        await writer.drain()
        await asyncio.sleep(0)
        place_in += cut
    writer.write(stream[place_in:])
    splitter, answers = Splitter(), {}
    async with asyncio.timeout(10.0):
        while len(answers) < 20:
            for body in splitter.feed(await reader.read(65536)):
                frame = read_from_link(body)
                if isinstance(frame, Answer):
                    answers[frame.number] = frame.payload
    assert answers == {number: bytes([number]) * number for number in range(20)}
    writer.transport.abort()
    await site.close()
