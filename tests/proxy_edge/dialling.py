"""What a dialler meets in tests: listeners on loopback, names of scripted answers, a clock moved by hand."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from typing import Any, Self

from models.egress import EgressAllow, EgressPolicy

Run = Callable[[Coroutine[Any, Any, Any]], Any]

LOOPBACK = EgressPolicy(EgressAllow.parse("127.0.0.0/8,::1"))


class Recorder(asyncio.Protocol):
    """Keeps what a connection brought; closed once the peer has gone."""

    def __init__(self) -> None:
        self.data = b""
        self.seen = asyncio.Event()
        self.gone = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.seen.set()

    def connection_lost(self, _exc: Exception | None) -> None:
        self.gone.set()


class Greeter(asyncio.Protocol):
    """Says its own address to whoever connects, and keeps the transport for the end of the test."""

    def __init__(self, kept: list[asyncio.Transport]) -> None:
        self.kept = kept

    def connection_made(self, transport: Any) -> None:  # uvloop's are not of asyncio's type
        self.kept.append(transport)
        transport.write(str(transport.get_extra_info("sockname")[0]).encode())


class Listener:
    """A server on the given loopback addresses, all at one port, that counts its connections."""

    def __init__(self, *addresses: str, tls: ssl.SSLContext | None = None) -> None:
        self.addresses, self.tls = addresses, tls
        self.port = 0
        self.kept: list[asyncio.Transport] = []
        self.servers: list[asyncio.Server] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for address in self.addresses:
            server = await loop.create_server(lambda: Greeter(self.kept), address, self.port, ssl=self.tls)
            self.port = server.sockets[0].getsockname()[1]
            self.servers.append(server)
        return self

    async def __aexit__(self, *exc: object) -> None:
        for server in self.servers:
            server.close()
        for transport in self.kept:
            transport.abort()
        for server in self.servers:
            await server.wait_closed()


class Names:
    """A resolver of scripted answers, the last one for ever; counts and holds resolutions."""

    def __init__(self, *answers: list[str] | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []
        self.entered: asyncio.Queue[int] = asyncio.Queue()
        self.released = asyncio.Event()
        self.released.set()

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append((host, port))
        self.entered.put_nowait(port)
        await self.released.wait()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


async def finished(transport: asyncio.Transport, protocol: Recorder) -> bytes:
    """Waits for the greeting, closes, waits for the end, and gives the greeting."""
    await protocol.seen.wait()
    transport.close()
    await protocol.gone.wait()
    return protocol.data
