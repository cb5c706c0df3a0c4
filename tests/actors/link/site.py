"""A link server on a socket for tests, and connections to it: workers, keepers, and some by hand."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from actors.link import place
from actors.link.call_side import CallSide
from actors.link.held import Held
from actors.link.server import LinkServer
from actors.link_client import LinkClient
from actors.tasks import spawn, stop
from models.planes.calls import ListenAnswer
from models.planes.frames import (
    KEEPER,
    PROTOCOL,
    Hello,
    encode,
)
from models.planes.state import RegionState
from models.planes.wire import Splitter, read_from_link
from tests.kit.link import REGION, LocalActors, Region, Worker, until


class Site:
    """A link server on a socket, without a registry behind it: tests publish themselves."""

    def __init__(
        self, path: Path, *, uid: int | None = None, most: int = 64, hello_seconds: float = 5.0
    ) -> None:
        self.path, self.region, self.actors = path, Region(), LocalActors()
        self.held = Held(REGION, self.region.control_key, self.region.vault_key)
        self.done: list[bytes] = []
        self.progress = 0
        self.server = LinkServer(
            self.held,
            CallSide(self.actors, seconds=5.0),
            uid=os.getuid() if uid is None else uid,
            on_progress=self._progressed,
            on_done=self.done.append,
            most=most,
            hello_seconds=hello_seconds,
        )
        self.tasks: list[asyncio.Task[None]] = []
        self.raws: list[Raw] = []

    def _progressed(self) -> None:
        self.progress += 1

    async def open(self) -> None:
        """Accepts from now on."""
        await self.server.open(place.bind(self.path))

    def publish(self, state: RegionState) -> None:
        """The whole state, as a registry's answer."""
        self.held.take(ListenAnswer(delta=state.full()))
        self.server.publish()

    async def worker(self, index: int, *, revision: int = -1) -> Worker:
        """A worker, attached."""
        one = Worker(self.path, self.region, index, revision)
        self.tasks.append(spawn("worker", one.client.run()))
        await until(lambda: one.client.connected)
        return one

    async def keeper(self) -> LinkClient:
        """A keeper, attached; the test fails when it is sent anything but answers."""
        one = LinkClient(
            self.path, worker=0, have=lambda: (-1, -1), on_update=pytest.fail, on_run=pytest.fail, part=KEEPER
        )
        self.tasks.append(spawn("keeper", one.run()))
        await until(lambda: one.connected)
        return one

    async def raw(self) -> Raw:
        """A connection by hand."""
        one = await Raw.open(self.path)
        self.raws.append(one)
        return one

    async def close(self) -> None:
        """Everything."""
        for one in self.raws:
            one.close()
        await stop(*self.tasks)
        self.server.close()


class Raw:
    """A connection by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, path: Path) -> Raw:
        """Connects."""
        return cls(*await asyncio.open_unix_connection(path))

    def hello(self, *, protocol: int = PROTOCOL, index: int = 0, revision: int = -1) -> None:
        """Says who it is."""
        self.writer.write(
            encode(Hello(protocol=protocol, worker=index, pid=os.getpid(), revision=revision, sheet=-1))
        )

    async def rest(self) -> list[object]:
        """All frames up to the end of the connection."""
        splitter, found = Splitter(), []
        async with asyncio.timeout(10.0):
            try:
                while data := await self.reader.read(65536):
                    found += [read_from_link(body) for body in splitter.feed(data)]
            except ConnectionError:
                pass
        self.close()
        return found

    def close(self) -> None:
        """Ends it."""
        self.writer.transport.abort()
