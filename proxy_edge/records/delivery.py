"""What takes an edge's records to its region, put together: the spool, the shipper, and the keeper's own line to the link.

The line carries batches and nothing else: no policy comes over it, and no key is read for it.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from actors.link_client import LinkClient
from models.home import EdgeHome, link_socket
from models.planes.frames import KEEPER
from proxy_edge.identity import read_host_id
from proxy_edge.records.depth import SpoolDepth
from proxy_edge.records.shipper import Shipper
from proxy_edge.records.spool import SpoolSink
from proxy_edge.settings import EdgeSettings
from proxy_edge.tasks import spawn

FINISH_SECONDS = 1.5
"""How long a keeper that ends goes on sending, if anything can be sent."""


def spool_directory(home: Path) -> Path:
    """Where batches of records wait."""
    return home / "spool"


def depth_file(home: Path) -> Path:
    """Where a keeper tells workers how many."""
    return home / "run" / "spool.mmap"


class Delivery:
    """spool: the keeper's sink. Made inside the loop in which everything runs, from `start` to `finish`."""

    def __init__(self, settings: EdgeSettings) -> None:
        """Raises ConfigurationError when the host has no id, or the spool no place."""
        root = settings.home.absolute()
        self._depth = SpoolDepth(depth_file(root))
        self.spool = SpoolSink(
            spool_directory(root),
            read_host_id(EdgeHome(root)),
            most=settings.spool_bytes,
            tell=self._depth.tell,
        )
        self._client = LinkClient(
            link_socket(root, os.getuid()),
            worker=0,
            have=lambda: (-1, -1),
            on_update=_ignore,
            on_run=_ignore,
            on_change=self._link_changed,
            part=KEEPER,
        )
        self._shipper = Shipper(self.spool, self._call)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, allowed: asyncio.Event) -> None:
        """Begins to send once it is allowed, which is when `Keeper.asked` is set."""
        self._tasks += [spawn("link", self._client.run()), spawn("shipper", self._ship(allowed))]

    async def finish(self, seconds: float = FINISH_SECONDS) -> None:
        """Ends, with nothing left or when the time is over; what is left the next keeper sends."""
        await self._shipper.finish(seconds)
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    async def _ship(self, allowed: asyncio.Event) -> None:
        await allowed.wait()
        await self._shipper.run()

    def _link_changed(self, connected: bool) -> None:
        self._shipper.link_changed(connected)

    async def _call(self, role: str, method: str, payload: bytes, timeout: float) -> bytes:
        return await self._client.call(role, method, payload, timeout)


def _ignore(_frame: object) -> None:
    """A link sends a keeper neither policy nor commands."""
