"""Targets that break HTTP as a test scripts it, in front of a real edge that other callers use meanwhile.

Every exchange has a word of its own, and what a target may not say holds `evil-` and that word. After each
breach, further calls on kept connections of two callers must get exactly their own words.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.kit.edge import EdgeProcess
from tests.kit.raw import RawAnswer, RawClient, get
from tests.kit.upstream import RawUpstream

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nok-@"
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nX-Evil: evil-@\r\n\r\nevil-@"
"""`@` stands for the word of the exchange, which always has five characters."""

GATE = "gate"
"""In a script: wait until the test has seen what came so far."""
CLOSE = "close"
RESET = "reset"
Script = tuple[bytes | str, ...]
TIMEOUT_MS = 400


@dataclass
class Request:
    """A request as the target read it."""

    method: str
    path: str
    word: str
    body: bytes
    connection: int


@dataclass
class Hostile:
    """What the target does: for `/ok/…` what is right, for others the scripts of that word, one per attempt."""

    scripts: dict[str, tuple[Script, ...]] = field(default_factory=dict)
    gate: threading.Event = field(default_factory=threading.Event)
    seen: list[Request] = field(default_factory=list)
    closed: set[int] = field(default_factory=set)
    _connections: Iterator[int] = field(default_factory=itertools.count)

    async def session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = next(self._connections)
        try:
            while await self._serve(connection, reader, writer):
                pass
            await reader.read()
        finally:
            self.closed.add(connection)

    async def _serve(
        self, connection: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, path, _ = head.split(" ", 2)
        _, kind, word = path.split("?")[0].split("/")[:3]
        lines = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:-2])
        one = Request(method, path, word, b"", connection)
        self.seen.append(one)
        early = kind == "early"
        if not early:
            one.body = await reader.readexactly(int(lines.get("content-length", 0)))
        scripts = self.scripts.get(word, ((OK,),))
        attempt = sum(known.word == word for known in self.seen) - 1
        for step in scripts[min(attempt, len(scripts) - 1)]:
            if isinstance(step, bytes):
                body = step.replace(b"@", word.encode())
                writer.write(body[:-8] if method == "HEAD" and kind == "ok" else body)
                await writer.drain()
            elif step == GATE:
                await asyncio.get_running_loop().run_in_executor(None, self.gate.wait, 20)
            elif step == RESET:
                raw = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
                return False
            else:
                writer.close()
                return False
        if early:  # what still comes of the body is counted until the edge lets go
            one.body = await reader.read()
            return False
        return True


@dataclass
class Bench:
    """One edge, its hostile target, and a caller that looks on over a connection it keeps."""

    edge: EdgeProcess
    hostile: Hostile
    upstream: RawUpstream
    onlooker: RawClient
    words: Iterator[str] = field(default_factory=lambda: (f"w{number:04}" for number in itertools.count()))

    def client(self) -> RawClient:
        return RawClient(self.edge.port, 20.0)

    def script(self, *steps: bytes | str) -> str:
        """A word whose exchange follows `steps`."""
        return self.attempts(steps)

    def attempts(self, *scripts: Script) -> str:
        """A word whose first request follows the first script, and so on; further ones the last."""
        word = next(self.words)
        self.hostile.gate.clear()
        self.hostile.scripts[word] = scripts
        return word

    def seen(self, word: str) -> list[Request]:
        return [one for one in self.hostile.seen if one.word == word]

    def expect_clean(self, client: RawClient | None) -> None:
        """Calls one by one, pipelined, and over another caller's connection: each gets its own answer, whole."""
        for caller in (client, self.onlooker):
            if caller is not None:
                for _ in range(2):
                    self._call(caller, next(self.words))
                words = [next(self.words) for _ in range(3)]
                caller.send(b"".join(get(f"/api/api/ok/{word}") for word in words))
                for word in words:
                    self._own(caller.answer(), word)

    def _call(self, caller: RawClient, word: str) -> None:
        caller.send(get(f"/api/api/ok/{word}"))
        self._own(caller.answer(), word)

    def _own(self, answer: RawAnswer, word: str) -> None:
        assert (answer.status, answer.body) == (200, f"ok-{word}".encode())
        assert b"evil" not in answer.raw_head


def code(answer: RawAnswer) -> str:
    assert json.loads(answer.body)["code"] == answer.get("exeat-proxy-code")
    return str(answer.get("exeat-proxy-code"))


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nok-@\r\n0\r\n\r\n"

BARE = b"HTTP/1.1 200 OK\r\n"

HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: evil-@\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
