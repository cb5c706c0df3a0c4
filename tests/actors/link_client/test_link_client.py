"""A worker's end of the link's socket, against a link played by hand over a real Unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import link_client
from actors.link_client import pause_before_reconnect, peer_uid
from actors.tasks import spawn
from models.custody.signing import Signed
from models.errors import LinkUnavailable
from models.planes.frames import (
    PROTOCOL,
    Applied,
    Done,
    Hello,
    Run,
    Surrender,
    Update,
    Welcome,
    encode,
)
from models.planes.permits import Recall
from tests.kit.hand_link import HandLink, Start
from tests.kit.link import until

SIGNED = Signed(b"statement", b"signature")


async def test_says_hello_with_what_it_has_and_hands_over_updates_and_commands(
    link: HandLink, start: Start
) -> None:
    """The first frame says who it is and what it has; updates and commands arrive in order."""
    _, ears = await start(wait=False)
    ears.have = (7, 2)
    await until(lambda: link.of(Hello))
    assert link.frames == [Hello(protocol=PROTOCOL, worker=3, pid=os.getpid(), revision=7, sheet=2)]
    link.say(Update(None, SIGNED, None))
    link.say(Run(SIGNED))
    link.say(Update(None, None, SIGNED))
    await until(lambda: len(ears.updates) == 2)
    assert ears.updates == [Update(None, SIGNED, None), Update(None, None, SIGNED)]
    assert ears.runs == [Run(SIGNED)]
    assert ears.changes == [True]


async def test_a_holder_of_permits_says_so_and_hears_what_is_wanted_back(
    link: HandLink, start: Start
) -> None:
    """Its name is in the hello, a surrender reaches it; a client that holds none leaves a surrender alone."""
    asked: list[Surrender] = []
    await start(holder="host-1/3/0a1b2c3d", on_surrender=asked.append)
    assert [hello.holder for hello in link.of(Hello)] == ["host-1/3/0a1b2c3d"]
    surrender = Surrender(Recall((("prx_a", "minute"),)))
    link.say(surrender)
    await until(lambda: asked)
    assert asked == [surrender]
    client, ears = await start()
    link.say(surrender)
    link.say(Run(SIGNED))
    await until(lambda: ears.runs)
    assert client.connected


async def test_comes_back_when_the_link_does(link: HandLink, start: Start) -> None:
    """It connects again by itself, as often as needed, and says anew what it has by then."""
    client, ears = await start()
    for revision in (1, 2, 3):
        await link.close()
        await until(lambda: not client.connected)
        ears.have = (revision, 0)
        await link.open()
        await until(lambda: client.connected)
        await until(lambda revision=revision: len(link.of(Hello)) == revision + 1)  # type: ignore[misc]  # bound early
    assert [hello.revision for hello in link.of(Hello)] == [-1, 1, 2, 3]
    assert ears.changes == [True, False, True, False, True, False, True]


async def test_a_link_that_comes_later_is_found(link: HandLink, start: Start) -> None:
    """A worker may well be there before its link."""
    await link.close()
    link.path.unlink(missing_ok=True)
    client, _ = await start(wait=False)
    with pytest.raises(LinkUnavailable):
        await client.call("vault", "grant", b"", 1.0)
    await link.open()
    await until(lambda: client.connected)


async def test_another_protocol_is_refused_and_said(
    link: HandLink, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """No frame of such a link is taken; the log names both versions, and it is tried again later."""
    link.greet = encode(Welcome(PROTOCOL + 1)) + encode(Run(SIGNED))
    with caplog.at_level(logging.ERROR, "exeat.edge.link"):
        client, ears = await start(wait=False, mismatch_pause=0.1)
        await until(lambda: len(link.of(Hello)) >= 2)
        assert not client.connected
    reasons = [vars(record).get("reason") for record in caplog.records]
    assert f"it speaks protocol {PROTOCOL + 1}, this worker {PROTOCOL}" in reasons
    assert (ears.runs, ears.changes) == ([], [])
    link.greet = encode(Welcome(PROTOCOL))
    await until(lambda: client.connected)


@pytest.mark.parametrize(
    "greeting",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        encode(Welcome(PROTOCOL)) + b"\x00\x00\x00\x01\xc1",
        encode(Welcome(PROTOCOL)) + b"\xff\xff\xff\xff",
        encode(Welcome(PROTOCOL)) * 2,
        encode(Run(SIGNED)),
        encode(Applied(1, 1)),
    ],
    ids=["text", "garbage", "oversize", "twice", "unwelcome", "worker's"],
)
async def test_what_is_no_frame_of_a_link_ends_the_connection(
    link: HandLink, start: Start, greeting: bytes
) -> None:
    """Nothing of it is taken, and the next connection works."""
    link.greet = greeting
    client, ears = await start(wait=False)
    await until(lambda: len(link.of(Hello)) >= 2)
    assert (ears.updates, ears.runs) == ([], [])
    link.greet = encode(Welcome(PROTOCOL))
    await until(lambda: client.connected)


async def test_a_link_that_says_nothing_is_left(link: HandLink, start: Start) -> None:
    """A link that hangs is given up after a while, and tried again."""
    link.greet = None
    client, _ = await start(wait=False, connect_seconds=0.05)
    await until(lambda: len(link.of(Hello)) >= 2)
    assert not client.connected


async def test_what_its_worker_cannot_take_costs_the_connection(link: HandLink, start: Start) -> None:
    """The next one starts from what the worker has; the loop and the process go on."""

    def choke(_: Update) -> None:
        raise ZeroDivisionError

    client, _ = await start(on_update=choke)
    link.say(Update(None, SIGNED, None))
    await until(lambda: len(link.of(Hello)) == 2 and client.connected)


async def test_resync_says_hello_anew(link: HandLink, start: Start) -> None:
    """A worker that could not believe an update asks for everything that way."""
    client, ears = await start()
    ears.have = (-1, 4)
    client.resync()
    await until(lambda: len(link.of(Hello)) == 2 and client.connected)
    assert (link.of(Hello)[1].revision, link.of(Hello)[1].sheet) == (-1, 4)


async def test_applied_and_results_reach_the_link(link: HandLink, start: Start) -> None:
    """Both are sent without waiting for anything."""
    client, _ = await start()
    client.applied(5, 6)
    assert client.done(b"result")
    await until(lambda: link.of(Done))
    assert link.frames[1:] == [Applied(5, 6), Done(b"result")]


async def test_a_link_that_does_not_read_costs_bounded_memory(
    link: HandLink, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls fail once the bound is reached, at once; what must not be lost silently ends the connection."""
    link.reads = False
    client, _ = await start()
    payload = bytes(1024 * 1024)
    calls = [spawn("call", client.call("vault", "grant", payload, 60.0)) for _ in range(12)]
    await until(lambda: any(call.done() for call in calls))
    failed = [call for call in calls if call.done()]
    assert 0 < len(failed) < 12
    assert {type(call.exception()) for call in failed} == {LinkUnavailable}
    client.applied(1, 1)
    await asyncio.gather(*calls, return_exceptions=True)
    assert {type(call.exception()) for call in calls} == {LinkUnavailable}


async def test_a_socket_of_another_user_is_not_spoken_to(
    link: HandLink, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the verdict is tested: a test cannot be two users."""
    monkeypatch.setattr(link_client.os, "getuid", lambda: 4242)
    await start(wait=False)
    await until(lambda: link.writers)
    with contextlib.suppress(ConnectionError):
        await link.writers[0].wait_closed()
    assert link.frames == []


async def test_the_kernel_says_whose_the_other_end_is() -> None:
    """SO_PEERCRED names the user of the process that made the socket; -1 once it is closed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    transport, _ = await asyncio.get_running_loop().create_unix_connection(asyncio.Protocol, sock=ours)
    assert peer_uid(transport) == os.getuid()
    pid, *_ = struct.unpack("3i", theirs.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    assert pid == os.getpid()
    transport.abort()
    assert peer_uid(transport) == -1
    theirs.close()


@given(st.integers(0, 10_000), st.floats(0.0, 1.0))
def test_pauses_grow_and_stay_within_bounds(attempt: int, chance: float) -> None:
    """From 0.05 s to 1 s, whatever the attempt and the chance, and never shorter after one more attempt."""
    pause = pause_before_reconnect(attempt, chance)
    assert 0.05 <= pause <= 1.0
    assert pause <= pause_before_reconnect(attempt + 1, chance)
