"""Our own load generator: one connection on a blocking socket, many on uvloop.

One connection is always measured here, since the difference between two peers is a few dozen
microseconds: no event loop, nanosecond clock, the latency of every call. It must never keep more than
one request in flight on a connection.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from time import perf_counter_ns
from typing import cast

import uvloop

from scripts.bench.errors import LoadError
from scripts.bench.load import Sample, from_latencies
from scripts.bench.load.answers import AnswerReader

_PATIENCE_SECONDS = 5.0


def one_connection(port: int, request: bytes, body_bytes: int, seconds: float) -> Sample:
    """Call after call on one connection for `seconds`. Errors: LoadError."""
    latencies: list[int] = []
    reader = AnswerReader(body_bytes)
    try:
        with socket.create_connection(("127.0.0.1", port), _PATIENCE_SECONDS) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            begun = perf_counter_ns()
            end = begun + int(seconds * 1e9)
            now = begun
            while now < end:
                sent, wanted = now, reader.complete + 1
                connection.sendall(request)
                while reader.complete < wanted:
                    data = connection.recv(65536)
                    if not data:
                        raise LoadError(f"connection closed after {len(latencies)} answers")
                    reader.feed(data)
                now = perf_counter_ns()
                latencies.append(now - sent)
    except OSError as error:
        raise LoadError(f"no answer ({type(error).__name__})") from error
    return from_latencies(latencies, (now - begun) / 1e9)


def many_connections(port: int, request: bytes, body_bytes: int, connections: int, seconds: float) -> Sample:
    """`connections` callers in parallel, each with one call in flight. Errors: LoadError."""
    return uvloop.run(_drive(port, request, body_bytes, connections, seconds))


async def _drive(port: int, request: bytes, body_bytes: int, connections: int, seconds: float) -> Sample:
    loop = asyncio.get_running_loop()
    failed: asyncio.Future[None] = loop.create_future()
    # Looked at also where nobody waits for it any more, so that nothing is reported as never retrieved.
    failed.add_done_callback(lambda future: future.cancelled() or future.exception())

    def fail(error: LoadError) -> None:
        if not failed.done():
            failed.set_exception(error)

    callers: list[_Caller] = []
    try:
        for _ in range(connections):
            _, caller = await loop.create_connection(
                lambda: _Caller(request, AnswerReader(body_bytes), fail), "127.0.0.1", port
            )
            callers.append(caller)
        begun = perf_counter_ns()
        for caller in callers:
            caller.begin()
        done, _ = await asyncio.wait([failed], timeout=seconds)
        measured = (perf_counter_ns() - begun) / 1e9
        if done:
            failed.result()
    except OSError as error:
        raise LoadError(f"no answer ({type(error).__name__})") from error
    finally:
        for caller in callers:
            caller.end()
        if callers:
            # A loop that is closed over open connections reports each of them.
            await asyncio.wait([caller.closed for caller in callers])
    return from_latencies([latency for caller in callers for latency in caller.latencies], measured)


class _Caller(asyncio.Protocol):
    """One connection that sends the next request when the answer to the last is complete."""

    def __init__(self, request: bytes, reader: AnswerReader, fail: Callable[[LoadError], None]) -> None:
        self.latencies: list[int] = []
        self._request, self._reader, self._fail = request, reader, fail
        self._transport: asyncio.Transport | None = None
        self._sent = 0
        self._ending = False
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's; only the first has a stub.
        self._transport = cast("asyncio.Transport", transport)

    def begin(self) -> None:
        """Send the first request, or the next one."""
        if self._transport is not None:
            self._sent = perf_counter_ns()
            self._transport.write(self._request)

    def end(self) -> None:
        """Stop; what is in flight does not count."""
        self._ending = True
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._ending:
            return
        before = self._reader.complete
        try:
            self._reader.feed(data)
        except LoadError as error:
            self._fail(error)
            return
        if self._reader.complete > before:
            self.latencies.append(perf_counter_ns() - self._sent)
            self.begin()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set_result(None)
        if not self._ending:
            reason = "" if exc is None else f" ({type(exc).__name__})"
            self._fail(LoadError(f"connection closed after {len(self.latencies)} answers{reason}"))
