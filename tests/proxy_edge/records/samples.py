"""Openings and closings for the tests of the records, what a ring holds, and a sink that does what it is told."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import msgspec

from models.record import Closing, Opening
from proxy_edge.records.ring import Ring
from proxy_edge.records.view import RingView


def opening(request_id: str, size: int = 0) -> Opening:
    """An opening as the exchange makes it; size: bytes of query."""
    return Opening(
        request_id,
        "cli_1",
        "prx_1",
        "us-east-1",
        "cred_1",
        1_700_000_000_000,
        b"GET",
        b"/v1/things",
        b"q" * size,
        ["allow", [["proxyCredential", "allow", "default", [], []]]],
        (("meter_1", "minute"),),
        (59, 12),
        "127.0.0.1",
        b"agent/1.0",
        7,
    )


def closing(size: int = 0) -> Closing:
    """A closing with status 200; size: bytes of host name."""
    return Closing(
        200,
        "proxy-access-granted",
        (0, 10_000, 30_000, 60_000, 100_000, 150_000, 3_150_000, 3_500_000),
        ("h" * size, 200),
        10,
        20,
    )


def records(path: Path) -> list[dict[str, Any]]:
    """Every line of a sink's file; a line that is not a whole record fails the test."""
    return [json.loads(text) for text in path.read_text().splitlines()]


def files(directory: Path) -> list[str]:
    """The names of what is in a directory."""
    return sorted(path.name for path in directory.iterdir())


def contents(path: Path) -> tuple[dict[int, tuple[Opening, Closing | None]], int]:
    """What a ring's file holds at this moment, open records included, by slot; and how many slots are damaged."""
    view = RingView(path)
    view.orphaned = True  # so that it shows what is open, although the worker may be alive
    entries = view.entries(view.slots)
    damaged = len(view.withheld)
    view.close()
    found = {}
    for entry in entries:
        opened = msgspec.msgpack.decode(msgspec.msgpack.encode(entry.opening), type=Opening)
        found[entry.slot] = opened, entry.closing
    return found, damaged


def held(path: Path) -> dict[int, tuple[Opening, Closing | None]]:
    """`contents` of a ring without damage."""
    found, damaged = contents(path)
    assert damaged == 0
    return found


def acknowledge(path: Path, *slots: int) -> None:
    """What the keeper does once the sink has these records."""
    view = RingView(path)
    for slot in slots:
        view.acknowledge(slot)
    view.close()


def die(ring: Ring) -> None:
    """What the kernel does for a killed worker: the map and the lock go, the file stays."""
    ring._map.close()
    os.close(ring._descriptor)


async def until(condition: Callable[[], object]) -> None:
    """Lets the loop go on until `condition()` is true; the test's own timeout is the limit."""
    while True:
        if condition():
            return
        await asyncio.sleep(0.001)


class ScriptedSink:
    """Keeps lines in memory. script: per write an error to raise or how many lines to take; then it takes all."""

    def __init__(self, *script: OSError | int) -> None:
        self.lines: list[bytes] = []
        self.script = list(script)
        self.writes: list[int] = []
        self.marks = 0
        self.asked: list[bytes | None] = []
        self.closed = False

    @property
    def ids(self) -> list[str]:
        """Ids of the accepted records, in order."""
        return [json.loads(text)["requestId"] for text in self.lines]

    def mark(self) -> bytes:
        self.marks += 1
        return len(self.lines).to_bytes(8, "little")

    async def write(self, lines: bytes, count: int) -> int:
        await asyncio.sleep(0)
        texts = lines.splitlines()
        assert len(texts) == count
        step = self.script.pop(0) if self.script else count
        if isinstance(step, OSError):
            raise step
        step = min(step, count)
        self.lines += texts[:step]
        self.writes.append(step)
        return step

    async def known(self, ids: Collection[str], mark: bytes | None) -> set[str]:
        self.asked.append(mark)
        return set(ids) & set(self.ids[int.from_bytes(mark or b"", "little") :])

    async def close(self) -> None:
        self.closed = True
