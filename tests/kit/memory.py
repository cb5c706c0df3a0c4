"""An edge without sockets: its real parts over transports that only remember what was written to them.

For tests that decide in which pieces bytes arrive on both sides. Nothing here reads a clock or waits.
"""

from __future__ import annotations

import asyncio
import json
import os
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from models.clock import SystemClock
from models.secret import Secret
from proxy_edge.dialler import Dialler
from proxy_edge.edge import Bundle, Edge
from proxy_edge.permits import SharedPermits
from proxy_edge.policy_source import FilePolicySource
from proxy_edge.records.keeper import Keeper
from proxy_edge.records.mark import MarkFile
from proxy_edge.records.recorder import Recorder
from proxy_edge.records.recovery import make_ring
from proxy_edge.records.ring import Ring
from proxy_edge.records.sink import NdjsonSink
from proxy_edge.settings import EdgeSettings
from proxy_edge.stats import Stats
from proxy_edge.upstream.connection import UpstreamConnection
from proxy_edge.upstream.pool import Pool
from tests.kit.edge import CALLER_KEY, TARGET_TOKEN

ENVIRONMENT = {"TEST_CALLER_KEY": CALLER_KEY, "TEST_TARGET_TOKEN": TARGET_TOKEN}
ADDRESS = "192.0.2.1"
VIA = b"exeat-00000000000000aa"


class MemoryTransport(asyncio.Transport):
    """Keeps what is written; `taken` bytes of it were looked at by the test."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.taken = 0
        self.reading = True
        self.closing = self.aborted = self.ended = False

    def take(self) -> bytes:
        """What was written since the last call."""
        new = bytes(self.written[self.taken :])
        self.taken = len(self.written)
        return new

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.ended, "written after the end"
        if not self.closing:
            self.written += data

    def write_eof(self) -> None:
        self.ended = True

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = self.aborted = True

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_reading(self) -> bool:
        return self.reading

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("203.0.113.7", 4711) if name == "peername" else default


class MemoryDialler:
    """Opens connections in memory; `connections` lists them with their transports, oldest first."""

    def __init__(self) -> None:
        self.connections: list[tuple[UpstreamConnection, MemoryTransport]] = []

    def cached(self, *_: object) -> tuple[str, ...]:
        return (ADDRESS,)

    async def open(
        self, _host: str, _port: int, factory: Callable[[], UpstreamConnection], _tls: object
    ) -> tuple[MemoryTransport, UpstreamConnection, str]:
        transport, connection = MemoryTransport(), factory()
        connection.connection_made(transport)
        self.connections.append((connection, transport))
        return transport, connection, ADDRESS


def bundle(home: Path, document: dict[str, Any]) -> Bundle:
    """A policy document as the edge enforces it; `tests.kit.edge.policy` makes one."""
    home.mkdir(parents=True, exist_ok=True)
    path = home / "policy.yaml"
    path.write_text(json.dumps(document))  # JSON is YAML, without anchors
    return FilePolicySource(path, ENVIRONMENT, SystemClock(), 1, Secret(os.urandom(32))).first()


class MemoryEdge:
    """One worker's edge over `dialler`, with a ring and sink below `home`. Its files are closed when its edge is forgotten."""

    def __init__(self, home: Path, document: dict[str, Any], **settings: Any) -> None:
        self.dialler = MemoryDialler()
        enforced = bundle(home, document)
        self.records = home / "requests.ndjson"
        self.permits = SharedPermits(home / "limits.mmap", 1)
        ring, mark, sink = (
            make_ring(home / "ring", 0),
            MarkFile(home / "keeper.mark"),
            NdjsonSink(self.records),
        )
        self.recorder = Recorder(ring)
        self.keeper = Keeper(home / "ring", mark, sink)
        self.edge = Edge(
            EdgeSettings.load(**settings),
            clock=SystemClock(),
            now=lambda: 1000.0,
            pool=Pool(cast("Dialler", self.dialler), lambda: 1000.0, 2.0),
            permits=self.permits,
            recorder=self.recorder,
            stats=Stats(home / "stats.mmap", 0, 1, lambda: 1000.0),
            via_name=VIA,
            region="local",
        )
        self.edge.apply(enforced)
        # Thousands are made in one process of tests, whose descriptors `select` stops counting at 1,024.
        weakref.finalize(self.edge, _close, ring, self.keeper, mark, sink, self.permits).atexit = False

    async def drain(self) -> None:
        """Delivers every record that is over to `records`."""
        await self.keeper.sweep()


def _close(ring: Ring, keeper: Keeper, mark: MarkFile, sink: NdjsonSink, permits: SharedPermits) -> None:
    """Lets go of the files that a test did not close itself. A keeper that was stopped has closed all of its own."""
    if not mark._map.closed:
        for view in keeper._views:
            view.close()
        mark.close()
        os.close(sink._descriptor)
    if not permits._map.closed:
        permits.close()
    if not ring._map.closed:
        ring._map.close()
        os.close(ring._descriptor)


async def settle() -> None:
    """Lets tasks that wait for nothing finish."""
    for _ in range(4):
        await asyncio.sleep(0)
