"""A real HTTP/1.1 server on loopback that tests start as the target, in a thread of its own.

`Upstream` speaks correct HTTP over h11 and remembers what it was asked; `RawUpstream` hands the socket to a
function, for servers that misbehave.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Self

import h11


@dataclass
class Seen:
    """One request as the upstream received it; names in lower case."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    complete: bool = False

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    def get(self, name: str) -> str | None:
        values = self.all(name)
        return values[0] if values else None


@dataclass
class Answer:
    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes | None = None


Session = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class RawUpstream:
    """Runs `session` for every connection until closed; counts connections."""

    def __init__(self, session: Session, *, tls: ssl.SSLContext | None = None) -> None:
        self._session = session
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.connections = 0
        self.open = 0

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._main())
        finally:
            self._loop.close()

    async def _main(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls, limit=1 << 20)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)  # not sooner: the end waits for its last breath, too
        self.connections += 1
        self.open += 1
        try:
            await self._session(reader, writer)
        except (
            ConnectionError,
            asyncio.IncompleteReadError,
            asyncio.CancelledError,
            h11.RemoteProtocolError,
        ):
            pass
        finally:
            self.open -= 1
            writer.close()
            with contextlib.suppress(Exception):
                await writer.wait_closed()


class Upstream(RawUpstream):
    """Answers with `answer(seen)`, by default an echo of what it got as JSON; `seen` lists every request."""

    def __init__(
        self, answer: Callable[[Seen], Answer] | None = None, *, tls: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(self._serve, tls=tls)
        self._answer = answer or echo
        self.seen: list[Seen] = []

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        while True:
            seen: Seen | None = None
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    data = await reader.read(65536)
                    if not data and seen is None:
                        return
                    connection.receive_data(data)
                elif isinstance(event, h11.Request):
                    seen = Seen(
                        event.method.decode(),
                        event.target.decode("latin-1"),
                        [(name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers],
                    )
                    self.seen.append(seen)
                elif isinstance(event, h11.Data):
                    assert seen is not None
                    seen.body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    break
                else:
                    return
            assert seen is not None
            seen.complete = True
            answer = self._answer(seen)
            body = answer.body or b""
            headers = list(answer.headers)
            names = {name.lower() for name, _ in headers}
            if "content-length" not in names and "transfer-encoding" not in names:
                headers.append(("content-length", str(len(body))))
            writer.write(connection.send(h11.Response(status_code=answer.status, headers=headers)) or b"")
            if seen.method != "HEAD" and body:
                writer.write(connection.send(h11.Data(data=body)) or b"")
            writer.write(connection.send(h11.EndOfMessage()) or b"")
            await writer.drain()
            if connection.our_state is h11.MUST_CLOSE:
                return
            connection.start_next_cycle()


def echo(seen: Seen) -> Answer:
    body = json.dumps(
        {"method": seen.method, "target": seen.target, "headers": seen.headers, "length": len(seen.body)}
    )
    return Answer(headers=[("content-type", "application/json")], body=body.encode())
