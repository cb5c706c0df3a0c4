"""Openings and closings for the tests of the records, and a sink that does what it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from models.record import Closing, Opening


def opening(request_id: str, size: int = 0, received_at: int = 1_700_000_000_000) -> Opening:
    """An opening as the exchange makes it; size: bytes of query."""
    return Opening(
        request_id,
        "cli_1",
        "prx_1",
        "us-east-1",
        "cred_1",
        received_at,
        b"GET",
        b"/v1/things",
        b"q" * size,
        ["allow", [["proxyCredential", "allow", "default", [], []]]],
        (("meter_1", "minute", 59),),
        "127.0.0.1",
        b"agent/1.0",
        7,
        (0.01, 0.02),
    )


def closing(size: int = 0, duration_ms: float = 3.5) -> Closing:
    """A closing with status 200; size: bytes of host name."""
    return Closing(
        200,
        "proxy-access-granted",
        duration_ms,
        (0.01, 0.02, 0.03, 0.04, 0.05, 3.0, 0.1),
        ("h" * size, 200, 3.0),
        10,
        20,
    )


def records(path: Path) -> list[dict[str, Any]]:
    """Every line of a sink's file; a line that is not a whole record fails the test."""
    return [json.loads(text) for text in path.read_text().splitlines()]


def files(directory: Path) -> list[str]:
    """The names of what is in a directory."""
    return sorted(path.name for path in directory.iterdir())


class ScriptedSink:
    """Keeps lines in memory. script: per write an error to raise or how many lines to take; then it takes all."""

    def __init__(self, *script: OSError | int) -> None:
        self.lines: list[bytes] = []
        self.script = list(script)
        self.writes: list[int] = []
        self.marks = 0
        self.closed = False

    @property
    def ids(self) -> list[str]:
        """Ids of the accepted records, in order."""
        return [json.loads(text)["requestId"] for text in self.lines]

    def mark(self) -> bytes:
        self.marks += 1
        return len(self.lines).to_bytes(8, "little")

    async def write(self, lines: Sequence[bytes]) -> int:
        await asyncio.sleep(0)
        step = self.script.pop(0) if self.script else len(lines)
        if isinstance(step, OSError):
            raise step
        self.lines += lines[:step]
        self.writes.append(step)
        return step

    async def known(self, ids: Collection[str], mark: bytes | None) -> set[str]:
        return set(ids) & set(self.ids[int.from_bytes(mark or b"", "little") :])

    async def close(self) -> None:
        self.closed = True
