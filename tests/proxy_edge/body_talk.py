"""One caller of an edge in memory whose proxy has rules that look into bodies."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from proxy_edge.client import ClientConnection
from tests.kit.edge import policy
from tests.kit.memory import MemoryEdge, MemoryTransport, settle
from tests.kit.raw import get, request

NO_ADMINS: dict[str, Any] = {
    "ruleId": "no-admins",
    "effect": "deny",
    "methods": ["POST"],
    "bodyChecks": [{"jsonPath": {"pattern": r"\['role'\]$"}, "matchValue": {"pattern": "^admin$"}}],
}
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CAP = 1 << 20


class BodyTalk:
    """One caller of an edge in memory whose proxy has these rules and one call a minute."""

    def __init__(self, home: Path, *rules: dict[str, Any], **fields: Any) -> None:
        fields = {"proxyMaxRequestsPerMinute": 1, "proxyMaxBodyBytes": CAP, **fields}
        self.memory = MemoryEdge(home, policy("http://target.test", rules=list(rules), **fields))
        self.edge = self.memory.edge
        self.again()

    def again(self) -> None:
        """A new connection."""
        self.transport = MemoryTransport()
        self.caller = ClientConnection(self.edge)
        self.caller.connection_made(self.transport)

    async def send(self, *pieces: bytes) -> bytes:
        """What the caller has got after these pieces."""
        for piece in pieces:
            assert self.transport.reading, "the edge stopped reading for good"
            self.caller.data_received(piece)
        await settle()
        return self.transport.take()

    async def ends(self) -> bytes:
        """What the caller has got once its exchange is over, or waits for the target."""
        while True:
            exchange = self.caller.exchange
            if exchange is None or exchange.sent:
                return self.transport.take()
            await asyncio.sleep(0.001)

    def target(self) -> bytes:
        """All that targets have got."""
        return b"".join(bytes(transport.written) for _, transport in self.memory.dialler.connections)

    def answer(self, raw: bytes = OK) -> bytes:
        """The target answers; what the caller gets."""
        connection, _ = self.memory.dialler.connections[-1]
        connection.data_received(raw)
        return self.transport.take()

    async def record(self) -> dict[str, Any]:
        """The last one."""
        self.caller.connection_lost(None)
        await self.memory.drain()
        found: dict[str, Any] = json.loads(self.memory.records.read_bytes().splitlines()[-1])
        return found

    async def has_its_permit(self) -> bool:
        """Whether the one call of this minute is left: a GET, into which no rule looks, takes it."""
        self.again()
        await self.send(get("/api/api/x"))
        return b"GET /x HTTP/1.1\r\n" in self.target()

    def close(self) -> None:
        self.edge.pool.close()
        self.edge.aside.close()
        self.memory.permits.close()


def post(body: bytes, *lines: str) -> bytes:
    return request("POST", "/api/api/x", *lines, body=body)


def head(*lines: str) -> bytes:
    return request("POST", "/api/api/x", *lines)


def code(answer: bytes) -> tuple[int, str]:
    name = answer.partition(b"exeat-proxy-code: ")[2].partition(b"\r\n")[0]
    return int(answer[9:12]), name.decode()


ADMIN, USER = b'{"role":"admin"}', b'{"role": "user" , "n":1.50}'
