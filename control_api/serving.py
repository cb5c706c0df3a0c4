"""A Sanic application on a socket that is already ours, and its end: in-flight requests finish, idle callers go.

Sanic's own runner would take over process, signals and event loop; here it gets neither.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from sanic import Sanic

from control_api.protocol import DeadlineProtocol

BACKLOG = 1024
_LOOK_SECONDS = 0.02


class Serving:
    """An application that is being served; made by `serve`."""

    def __init__(self, server: Any) -> None:
        """server: Sanic's AsyncioServer, which has no types."""
        self._server = server

    async def stop(self, seconds: float) -> bool:
        """Accepts no more, waits at most `seconds` for what is in flight, then cuts it off; whether nothing was cut."""
        await self._server.before_stop()
        self._server.server.close()
        now = asyncio.get_running_loop().time
        deadline = now() + seconds
        connections = self._server.connections
        while True:
            for connection in list(connections):
                connection.close_if_idle()
            if not connections or now() >= deadline:
                break
            await asyncio.sleep(_LOOK_SECONDS)
        finished = not connections
        for connection in list(connections):
            connection.abort()
        await self._server.after_stop()
        return finished


async def serve(app: Sanic[Any, Any], sock: Any, tls: ssl.SSLContext | None = None) -> Serving:
    """Accepts connections on `sock`, a bound socket."""
    server: Any = await app.create_server(
        sock=sock,
        ssl=tls,
        protocol=DeadlineProtocol,
        backlog=BACKLOG,
        asyncio_server_kwargs={"start_serving": False},  # the routes are not ready before `startup`
    )
    await server.startup()
    await server.before_start()
    await server.start_serving()
    await server.after_start()
    return Serving(server)
