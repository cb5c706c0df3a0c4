"""Deadlines that a slow sender cannot move."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sanic import Request, Sanic
from sanic.response import HTTPResponse, text

from control_api.protocol import DeadlineProtocol
from control_api.serving import Serving, serve


@pytest.fixture
async def server() -> AsyncIterator[tuple[int, Serving]]:
    """A little application with short deadlines; its port."""
    app: Sanic[Any, Any] = Sanic("test-control-protocol", configure_logging=False)
    app.config.update(
        TOUCHUP=False, REQUEST_TIMEOUT=0.4, RESPONSE_TIMEOUT=0.4, KEEP_ALIVE_TIMEOUT=5, AUTO_EXTEND=False
    )

    async def echo(request: Request) -> HTTPResponse:
        return text(request.body.decode())

    app.add_route(echo, "/", methods=["GET", "POST"])
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    serving = await serve(app, sock)
    yield sock.getsockname()[1], serving
    await serving.stop(1)
    Sanic.unregister_app(app)
    sock.close()


async def trickle(port: int, start: bytes) -> bytes:
    """Sends `start`, then a byte every 50 ms until the other side answers or closes; what it said."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(start)
    answer = asyncio.get_running_loop().create_task(reader.read(65536))
    while not answer.done():
        await asyncio.wait([answer], timeout=0.05)
        if not answer.done():
            writer.write(b"x")
    writer.close()
    return answer.result()


@pytest.mark.parametrize(
    ("start", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ", b"408"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n", b"503"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nContent-Length: 1000\r\n\r\n", b"503"),
    ],
)
async def test_a_trickle_ends_at_the_deadline(
    server: tuple[int, Serving], start: bytes, status: bytes
) -> None:
    """In the head and in the body, also for who asks for a websocket."""
    async with asyncio.timeout(10):
        answer = await trickle(server[0], start)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert DeadlineProtocol.__doc__


async def test_a_kept_connection_has_a_deadline_per_request(server: tuple[int, Serving]) -> None:
    """Requests one after the other each have their own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server[0])
    for _ in range(3):
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert await reader.readexactly(2) == b"hi"
        done = asyncio.get_running_loop().create_task(reader.read(1))
        await asyncio.wait([done], timeout=0.3)  # idle, which is no request
        assert not done.done()
        done.cancel()
        await asyncio.gather(done, return_exceptions=True)
    writer.close()
