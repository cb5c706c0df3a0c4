"""What workers may cost a link server: no frame of theirs, no silence and no number of them harms the others."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.link import attachment
from actors.tasks import spawn
from models.errors import LinkUnavailable
from models.planes.frames import (
    KEEPER,
    PROTOCOL,
    Answer,
    Applied,
    Call,
    Done,
    Hello,
    Update,
    Welcome,
    encode,
)
from models.planes.state import RegionState
from models.planes.wire import Splitter, read_from_link
from tests.actors.link.site import Site
from tests.kit.link import REGION, until

AS_KEEPER = Hello(protocol=PROTOCOL, worker=0, pid=1, revision=-1, sheet=-1, part=KEEPER)


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


async def test_who_comes_in_with_the_end_is_let_go(site: Site) -> None:
    """Its connection was taken before the server ended, and reached us after it: nobody would ever close it."""
    came = attachment.Attachment(site.server, os.getuid(), 5.0)
    site.server.close()
    ours, theirs = socket.socketpair()
    with theirs:
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(lambda: came, ours)
        await until(transport.is_closing)
    assert not site.server.workers


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
