"""One caller of an edge in memory whose proxy has filters, and redactors that find two names."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.filters.compiled import CompiledFilters, compile_filters
from models.planes.texts import Span
from models.policy import CompiledProxy
from models.resources import Filter
from proxy_edge.client import ClientConnection
from tests.kit.edge import policy
from tests.kit.memory import MemoryEdge, MemoryTransport, settle
from tests.kit.raw import get

MASK = {"filterId": "mask-names", "action": "mask", "paths": ["$..name"]}
REDACT = {"filterId": "redact-all", "action": "redact", "paths": ["$"]}
BODY = b'{"id": 1.50, "name": "Ann", "notes": ["Ann met Bob"]}'
MASKED = b'{"id":1.50,"name":"***","notes":["Ann met Bob"]}'
REDACTED = b'{"id":1.50,"name":"<PERSON>","notes":["<PERSON> met <PERSON>"]}'
ETAG = (
    b'ETag: "1"\r\nAccept-Ranges: bytes\r\nContent-Range: bytes */52\r\nContent-MD5: x\r\nDigest: y\r\nRepr-Digest: z\r\n'
    b'Signature-Input: s=("content-digest" "@status")\r\nSignature: s=:eA==:\r\nLast-Modified: then\r\n'
)


class Redactors:
    """Find two names. hold: they answer once it is set. fails: what they raise instead."""

    def __init__(self) -> None:
        self.hold = asyncio.Event()
        self.hold.set()
        self.fails: BaseException | None = None
        self.wrong = False
        self.asked: list[list[str]] = []
        self.was_asked = asyncio.Event()
        self.left = 0

    async def find(self, texts: Sequence[str]) -> list[tuple[Span, ...]]:
        self.asked.append(list(texts))
        self.was_asked.set()
        try:
            await self.hold.wait()
        except asyncio.CancelledError:
            self.left += 1
            raise
        if self.fails is not None:
            raise self.fails
        if self.wrong:
            return [(Span(0, 999, "PERSON", 1.0),) for _ in texts]
        return [
            tuple(Span(one.start(), one.end(), "PERSON", 0.9) for one in re.finditer("Ann|Bob", text))
            for text in texts
        ]


class FilteredTalk:
    """One caller of an edge in memory whose proxy has these filters."""

    def __init__(self, home: Path, *filters: dict[str, Any], **fields: Any) -> None:
        self.memory = MemoryEdge(home, policy("http://target.test", **fields))
        self.edge = self.memory.edge
        proxy = self.edge.policy.proxies[b"api"]
        assert isinstance(proxy, CompiledProxy)
        made = compile_filters("proxy", [Filter.model_validate(one) for one in filters])
        filtered = dataclasses.replace(proxy, filters={"caller": CompiledFilters([(), (), (), made])})
        self.edge.policy = dataclasses.replace(self.edge.policy, proxies={b"api": filtered})
        self.redactors = Redactors()
        self.edge.redaction = self.redactors
        self.transport = MemoryTransport()
        self.caller = ClientConnection(self.edge)
        self.caller.connection_made(self.transport)

    async def ask(self, raw: bytes = b"") -> None:
        """Sends a request; it is with the target afterwards."""
        self.caller.data_received(raw or get("/api/api/x"))
        await settle()

    def target(self) -> Any:
        """The target's connection."""
        return self.memory.dialler.connections[-1][0]

    async def over(self) -> bytes:
        """All that the caller got, once the exchange is over."""
        while True:
            if self.caller.exchange is None:
                return self.transport.take()
            await asyncio.sleep(0.001)

    async def record(self) -> dict[str, Any]:
        """The last one."""
        self.caller.connection_lost(None)
        await self.memory.drain()
        found: dict[str, Any] = json.loads(self.memory.records.read_bytes().splitlines()[-1])
        return found

    def close(self) -> None:
        self.edge.pool.close()
        self.edge.aside.close()
        self.memory.permits.close()


def answer(body: bytes = BODY, fields: bytes = b"", status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (status, fields, len(body), body)


def parts(got: bytes) -> tuple[int, list[bytes], bytes]:
    """Status, lines of the head, body."""
    head, _, body = got.partition(b"\r\n\r\n")
    return int(head[9:12]), head.split(b"\r\n")[1:], body


def code(got: bytes) -> tuple[int, str]:
    status, lines, _ = parts(got)
    return status, next(
        line.partition(b": ")[2].decode() for line in lines if line.startswith(b"exeat-proxy-code")
    )
