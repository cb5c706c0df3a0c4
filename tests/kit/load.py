"""Load on a running edge: many connections in an event loop of their own, every call and its end remembered.

A call that gets no answer is an outcome here, not an error: tests decide which ones may.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Self

from tests.kit.edge import CALLER_KEY, until
from tests.kit.raw import get


@dataclass(slots=True)
class Call:
    """One request and how it ended. status 0: no answer, `error` says how. Times are monotonic seconds.

    connection: which of the load's connections carried it. worker: the part of the request id that
    all requests of one worker process share, empty without an answer.
    """

    path: str
    connection: int
    sent: float
    status: int = 0
    code: str = ""
    worker: str = ""
    error: str = ""
    ended: float = 0.0
    leaked: bool = False
    """Whether its body held the load's canary."""


class Load:
    """Calls `path/{number}` until the block ends, on `keepalive` connections and on ever new ones.

    fresh: how many callers open a connection for each call. calls: those that ended, in that order.
    refused: connections that nobody accepted. limit: stop by itself after so many calls. key: the caller's.
    pace: the least seconds from one call to the next on a connection. canary: bytes that no body may hold.
    """

    def __init__(
        self,
        port: int,
        path: str = "/api/api/load",
        *,
        keepalive: int = 8,
        fresh: int = 0,
        limit: int = 1 << 60,
        key: str = CALLER_KEY,
        pace: float = 0.0,
        canary: bytes = b"",
    ) -> None:
        self._port, self._path, self._key, self._pace = port, path, key, pace
        self._canary = canary
        self._keepalive, self._fresh = keepalive, fresh
        self._numbers = iter(range(limit))
        self._connections = itertools.count()
        self._stopping = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self.calls: list[Call] = []
        self.refused = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopping = True
        self._thread.join(30)
        assert not self._thread.is_alive(), "the load does not end"

    def wait(self, more: int, seconds: float = 20.0) -> None:
        """Returns once so many further calls have ended."""
        goal = len(self.calls) + more
        until(lambda: len(self.calls) >= goal, seconds, f"{more} more calls")

    def finished(self, seconds: float = 60.0) -> None:
        """Returns once the limit is reached and every call has ended."""
        until(lambda: not self._thread.is_alive(), seconds, "the end of the load")

    def statuses(self) -> Counter[int]:
        """How many calls ended with which status."""
        return Counter(call.status for call in self.calls)

    async def _run(self) -> None:
        callers = [self._caller(keep=True) for _ in range(self._keepalive)]
        callers += [self._caller(keep=False) for _ in range(self._fresh)]
        await asyncio.gather(*callers)

    async def _caller(self, *, keep: bool) -> None:
        while not self._stopping:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                self.refused += 1
                await asyncio.sleep(0.01)
                continue
            connection = next(self._connections)
            try:
                while not self._stopping:
                    number = next(self._numbers, None)
                    if number is None:
                        self._stopping = True
                        return
                    call = Call(f"{self._path}/{number}", connection, time.monotonic())
                    close = await self._call(call, reader, writer)
                    call.ended = time.monotonic()
                    self.calls.append(call)
                    if close or not keep:
                        break
                    if (rest := call.sent + self._pace - call.ended) > 0:
                        await asyncio.sleep(rest)
            finally:
                writer.close()

    async def _call(self, call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Sends and reads one call; whether the connection is of no further use."""
        writer.write(get(call.path, key=self._key))
        try:
            async with asyncio.timeout(20):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                first, *lines = head.split("\r\n")
                fields = dict(line.split(": ", 1) for line in lines if line)
                body = await reader.readexactly(int(fields["content-length"]))
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            call.error = type(error).__name__
            return True
        call.leaked = bool(self._canary) and self._canary in body
        call.status = int(first.split(" ")[1])
        call.code = fields["exeat-proxy-code"]
        call.worker = fields["exeat-request-id"][:-8]
        return fields.get("connection") == "close"


def far_from_midnight(seconds: int = 60) -> None:
    """Waits, where it must, until the UTC day has so many seconds left: a day's window must not end in a test."""
    until(lambda: time.time() % 86_400 < 86_400 - seconds, seconds + 10, "the next day")
