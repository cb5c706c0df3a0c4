"""The way to the control API: bounded, impatient, and silent about its key."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from actors.registry.feed_client import FeedClient
from models.errors import PeerUnavailable
from models.planes.feed import Uplink
from models.secret import Secret
from tests.kit.feed import KEY, REGION


@pytest.fixture
async def client(bench):
    client = FeedClient(
        bench.url, REGION, lambda: Secret(KEY), timeout=0.3, wait=0, longest=10_000, whole=0.5
    )
    yield client
    await client.close()


async def test_polls_and_says_who_it_is(bench, client) -> None:
    """The revision is in the query, the key in the header."""
    bench.plane.put("proxy", "p1")
    answer = await client.poll(-1)
    assert answer.delta is not None
    assert [one.id for one in answer.delta.upserts] == ["p1"]
    assert (bench.server.polls, bench.server.keys) == ([-1], [KEY])


async def test_uplink_arrives(bench, client) -> None:
    """What was sent is what is read, and the connection is used again."""
    await client.uplink(Uplink(failing={"cred_1": "why"}))
    await client.uplink(Uplink())
    assert [one.failing for one in bench.server.uplinks] == [{"cred_1": "why"}, {}]
    assert len(bench.server._connections) == 1


@pytest.mark.parametrize("said", [401, 500, 302, b"{", b"null", b'{"manifest": 1}', b" " * 20_000])
async def test_anything_else_is_a_feed_that_is_away(bench, client, said) -> None:
    """Statuses, other forms and answers without end are all one error, which quotes nothing."""
    bench.server.say = lambda _after: said
    with pytest.raises(PeerUnavailable) as caught:
        await client.poll(0)
    assert KEY not in repr(caught.value) + str(caught.value)
    assert caught.value.__cause__ is None


async def test_nobody_there_and_silence_end_in_time(bench, client) -> None:
    """A refused connection at once, a silent server after the time-out."""
    writers: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(lambda _reader, writer: writers.append(writer), "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    mute = FeedClient(f"http://127.0.0.1:{port}", REGION, lambda: Secret(KEY), timeout=0.2, wait=0)
    with pytest.raises(PeerUnavailable, match="ReadTimeout"):
        await mute.poll(0)
    await mute.close()
    for writer in writers:
        writer.close()
        await writer.wait_closed()
    silent.close()
    await bench.server.stop()
    with pytest.raises(PeerUnavailable, match="ConnectError"):
        await client.poll(0)
    await bench.server.start()


async def test_the_first_answer_and_the_first_after_a_failure_are_not_waited_for(bench) -> None:
    """A region that was away hears at once how things are, and only then begins to wait for news."""
    client = FeedClient(bench.url, REGION, lambda: Secret(KEY), wait=1)
    bench.server.hold = False
    await client.poll(-1)
    await client.poll(0)
    bench.server.say = lambda _after: 503
    with pytest.raises(PeerUnavailable):
        await client.poll(0)
    bench.server.honest()

    await client.poll(0)

    assert bench.server.waits == [0, 1, 1, 0]
    await client.close()


async def test_an_answer_that_trickles_ends_in_time() -> None:
    """Time bounds the whole answer, not only each of its silences."""

    async def trickle(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n")
        try:
            while not writer.is_closing():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.02)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(trickle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = FeedClient(
        f"http://127.0.0.1:{port}", REGION, lambda: Secret(KEY), timeout=0.3, wait=0, whole=0.3
    )
    with pytest.raises(PeerUnavailable, match="TimeoutError"):
        await client.poll(0)
    await client.close()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("key", [b"r-bad\nkey", b"r-\xff"])
async def test_a_key_that_cannot_be_sent_shows_nowhere(bench, key, caplog) -> None:
    """Neither the error nor the log quotes it."""
    caplog.set_level(logging.DEBUG)
    client = FeedClient(bench.url, REGION, lambda: Secret(key))
    with pytest.raises(PeerUnavailable) as caught:
        await client.poll(0)
    await client.close()
    assert "bad" not in repr(caught.value)
    assert "r-" not in caplog.text


async def test_a_missing_key_file_is_an_error_of_ours(bench) -> None:
    """The registry waits for it, because it may be put there later."""
    client = FeedClient(bench.url, REGION, lambda: Secret(Path("/nowhere/key").read_bytes()))
    with pytest.raises(PeerUnavailable, match="region key"):
        await client.poll(0)
    await client.close()
