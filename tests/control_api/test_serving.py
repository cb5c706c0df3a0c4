"""Starting and stopping an application on a socket of ours."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import httpx
from sanic import Request, Sanic
from sanic.response import HTTPResponse, text

from control_api.serving import serve


async def test_what_is_in_flight_finishes_and_idle_connections_go() -> None:
    """Then nobody is let in any more; what takes too long is cut off."""
    app: Sanic[Any, Any] = Sanic("test-control-serving", configure_logging=False)
    app.config.update(TOUCHUP=False, AUTO_EXTEND=False, FALLBACK_ERROR_FORMAT="json")
    reached, finish = asyncio.Event(), asyncio.Event()

    async def slow(request: Request) -> HTTPResponse:
        reached.set()
        await finish.wait()
        return text("done")

    async def fast(request: Request) -> HTTPResponse:
        return text("fast")

    app.add_route(slow, "/slow")
    app.add_route(fast, "/fast")
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    serving = await serve(app, sock)
    loop = asyncio.get_running_loop()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
        assert (await http.get("/fast")).text == "fast"
        asked = loop.create_task(http.get("/slow"))
        await reached.wait()
        stopping = loop.create_task(serving.stop(10))
        loop.call_soon(finish.set)
        assert (await asked).text == "done"
        assert await stopping
    Sanic.unregister_app(app)
    sock.close()
