"""One caller's connection to an edge in memory, and everything that its targets got."""

from __future__ import annotations

from proxy_edge.client import ClientConnection
from tests.kit.memory import MemoryEdge, MemoryTransport, settle


class Talk:
    """One caller's connection to an edge in memory."""

    def __init__(self, edge: MemoryEdge) -> None:
        self.edge = edge
        self.transport = MemoryTransport()
        self.connection = ClientConnection(edge.edge)
        self.connection.connection_made(self.transport)

    async def send(self, raw: bytes) -> bytes:
        self.connection.data_received(raw)
        await settle()
        return self.transport.take()

    @property
    def sent(self) -> bytes:
        """Everything that any target got."""
        return b"".join(bytes(transport.written) for _, transport in self.edge.dialler.connections)
