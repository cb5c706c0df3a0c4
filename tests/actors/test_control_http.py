"""Calls of the control API: who calls, what is bounded, and what is never said. `FeedClient`'s tests have the rest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from actors.control_http import ControlHttp
from models.errors import PeerUnavailable
from models.secret import Secret


class Site:
    """Answers every request with the same bytes and keeps what it was asked."""

    def __init__(self) -> None:
        self.said = b"HTTP/1.1 204 X\r\n\r\n"
        self.asked: list[bytes] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head)
        writer.write(self.said)
        writer.close()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    found = Site()
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield found
    server.close()
    await server.wait_closed()


async def test_a_call_says_who_calls_and_the_key_may_change(site: Site) -> None:
    """It is read for every call."""
    keys = iter((b"r-one", b"r-two"))
    http = ControlHttp(site.url, "us-east-1", lambda: Secret(next(keys)), timeout=2.0)
    assert await http.post("uplink", b"{}", longest=10, seconds=2.0) == (204, b"")
    assert await http.get("feed", {"after": "7"}, longest=10, seconds=2.0, silence=2.0) == (204, b"")
    await http.close()
    post, get = site.asked
    assert post.startswith(b"POST /v1/regions/us-east-1/uplink HTTP/1.1\r\n")
    assert b"\r\nauthorization: r-one\r\n" in post.replace(b"A", b"a")
    assert get.startswith(b"GET /v1/regions/us-east-1/feed?after=7 HTTP/1.1\r\n")
    assert b"\r\nauthorization: r-two\r\n" in get.replace(b"A", b"a")


@pytest.mark.parametrize(
    "said",
    [
        b"no HTTP\r\n\r\n",
        b"HTTP/1.1 200 X\r\ncontent-length: 11\r\n\r\n" + b"x" * 11,
        b"HTTP/1.1 200 X\r\ncon",
    ],
    ids=["no HTTP", "too long", "cut off"],
)
async def test_what_is_no_answer_is_a_peer_that_is_away(site: Site, said: bytes) -> None:
    """The error says neither what came nor who asked."""
    site.said = said
    http = ControlHttp(site.url, "us-east-1", lambda: Secret(b"r-key-of-the-test"), timeout=2.0)
    with pytest.raises(PeerUnavailable) as caught:
        await http.post("uplink", b"{}", longest=10, seconds=2.0)
    await http.close()
    assert "r-key" not in repr(caught.value)
    assert caught.value.__cause__ is None
