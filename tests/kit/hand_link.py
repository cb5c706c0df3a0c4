"""A link played by a test over a real Unix socket, and what a worker's end of it heard."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from actors.link_client import LinkClient
from models.planes.frames import (
    FromLink,
    FromWorker,
    Run,
    Update,
    encode,
)
from models.planes.wire import Splitter, read_from_worker


class HandLink:
    """A link played by a test: keeps what workers sent, says what it is told."""

    def __init__(self, path: Path, greet: bytes | None) -> None:
        self.path, self.greet = path, greet
        self.frames: list[FromWorker] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.reads = True
        self._server: asyncio.AbstractServer | None = None

    async def open(self) -> None:
        """Accepts from now on."""
        self.path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, self.path)

    async def close(self) -> None:
        """Ends as a killed process would: every connection with it."""
        if self._server is not None:
            self._server.close()
        for writer in self.writers:
            writer.transport.abort()
        self.writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        if self.greet is not None:
            writer.write(self.greet)
        splitter = Splitter()
        while self.reads and (data := await reader.read(65536)):
            self.frames += [read_from_worker(body) for body in splitter.feed(data)]

    def say(self, frame: FromLink) -> None:
        """To the worker that connected last."""
        self.writers[-1].write(encode(frame))

    def of(self, kind: type[Any]) -> list[Any]:
        """What workers sent of one kind."""
        return [frame for frame in self.frames if isinstance(frame, kind)]


class Ears:
    """What a client told its worker."""

    def __init__(self) -> None:
        self.updates: list[Update] = []
        self.runs: list[Run] = []
        self.changes: list[bool] = []
        self.have = (-1, -1)


Start = Callable[..., Awaitable[tuple[LinkClient, Ears]]]
