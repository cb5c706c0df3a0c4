"""The door: Sanic's protocol class on the edge, which decides by the first request line who owns a connection.

GET or HEAD of one of Sanic's own routes stays with Sanic, which closes after one answer; everything else,
unparsable lines included, goes to the proxy protocol. A connection never changes its owner afterwards.
"""

from __future__ import annotations

from asyncio import BaseTransport
from typing import Any, cast

from sanic import Sanic
from sanic.server.protocols.http_protocol import HttpProtocol

from proxy_edge.client import NEVER, ClientConnection
from proxy_edge.edge import Edge

SANIC_PATHS = (b"/metrics",)
_LINES = tuple(
    method + path + end
    for path in SANIC_PATHS
    for method in (b"GET ", b"HEAD ")
    for end in (b" HTTP/1.", b"?")
)
_LONGEST = max(len(line) for line in _LINES)


class Door(HttpProtocol):
    """Holds a new connection until its first bytes tell whose it is."""

    __slots__ = ("_edge", "_raw", "_seen", "_waiting", "deadline")

    def __init__(self, *, app: Sanic[Any, Any], **options: Any) -> None:
        super().__init__(app=app, **options)
        self._edge: Edge = app.ctx.edge
        self._seen = b""
        self._waiting: BaseTransport | None = None
        self._raw: BaseTransport | None = None
        self.deadline = NEVER

    def connection_made(self, transport: BaseTransport) -> None:
        """A caller connected; its first byte has a deadline from here on."""
        self._waiting = self._raw = transport
        edge = self._edge
        self.deadline = edge.now + edge.settings.first_byte_seconds
        edge.clients.add(self)

    def data_received(self, data: bytes) -> None:
        """The first bytes, or, once Sanic owns the connection, everything."""
        transport = self._waiting
        if transport is None:
            super().data_received(data)
            return
        seen = self._seen = self._seen + data
        if seen.startswith(_LINES):
            # Sanic's own deadlines measure silence; this one ends it whatever happens.
            self._waiting = None
            edge = self._edge
            self.deadline = edge.now + 3 * edge.settings.head_seconds
            super().connection_made(transport)  # type: ignore[no-untyped-call]  # Sanic's own
            super().data_received(seen)
        elif len(seen) < _LONGEST and any(line.startswith(seen) for line in _LINES):
            edge = self._edge
            if seen == data:
                self.deadline = edge.now + edge.settings.head_seconds
        else:
            self._decided()
            client = ClientConnection(self._edge)
            cast("Any", transport).set_protocol(client)
            client.connection_made(transport)
            client.data_received(seen)

    def eof_received(self) -> None:
        """The caller left before it said anything that matters."""
        if self._waiting is not None:
            cast("Any", self._waiting).close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        sanic = self._waiting is None
        self._decided()
        if sanic:
            super().connection_lost(exc)  # type: ignore[no-untyped-call]  # Sanic's own

    def deadline_passed(self) -> None:
        """No first byte in time, a first line that came too slowly, or a page that never ends."""
        self.deadline = NEVER
        self.cut_off()

    def drain(self) -> None:
        """The edge stops, and this connection carries no request yet."""
        if self._waiting is not None:
            cast("Any", self._waiting).close()

    def cut_off(self) -> None:
        """Ends the connection, whoever has it."""
        if self._raw is not None:
            cast("Any", self._raw).abort()

    def pause_writing(self) -> None:
        """Only Sanic writes through the door."""
        if self._waiting is None:
            super().pause_writing()  # type: ignore[no-untyped-call]  # Sanic's own

    def resume_writing(self) -> None:
        """Only Sanic writes through the door."""
        if self._waiting is None:
            super().resume_writing()  # type: ignore[no-untyped-call]  # Sanic's own

    def _decided(self) -> None:
        self._waiting = None
        self.deadline = NEVER
        self._edge.clients.discard(self)
