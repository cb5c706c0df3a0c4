"""A control plane as a directory, for the tests of a keeper's death: it keeps every batch once, and survives as a file does."""

from __future__ import annotations

import os
import random
import secrets
from pathlib import Path

import msgspec

from models.errors import LinkUnavailable, Refused
from models.planes.records import Batch, Taken


class Control:
    """`call` is a shipper's way to it, with every mishap; it is killed together with whoever calls it."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "control"
        self._folder.mkdir(exist_ok=True)
        self._progress = home / "progress"
        self._choose = random.Random()

    async def call(self, role: str, method: str, payload: bytes, _timeout: float) -> bytes:
        """`recorder.take`: mostly taken; else away, refused before, or forgotten after.

        It never refuses a batch that it has: the real one judges a batch by its bytes alone, and takes again what it
        took. The parts of a refused batch come under numbers of their own, and would be there beside the whole.
        """
        assert (role, method) == ("recorder", "take")
        batch = msgspec.msgpack.decode(payload, type=Batch)
        chance = self._choose.randrange(40)
        if chance == 0:
            raise LinkUnavailable("away")
        if chance < 3 and batch.lines.count(b"\n") > 1 and not self._path(batch).exists():
            raise Refused("malformed")
        self.keep(payload)
        if chance == 5:
            raise LinkUnavailable("its answer was lost")
        return msgspec.msgpack.encode(Taken(source=batch.source, number=batch.number))

    def keep(self, payload: bytes) -> None:
        """Stores a batch once; says so when it came again and was another one."""
        batch = msgspec.msgpack.decode(payload, type=Batch)
        path = self._path(batch)
        fresh = self._folder / f"new-{secrets.token_hex(8)}"
        fresh.write_bytes(payload)
        try:
            os.link(fresh, path)
        except FileExistsError:
            if path.read_bytes() != payload:
                path.with_name(f"contradiction-{path.name}").write_bytes(payload)
            return
        with self._progress.open("ab") as progress:
            progress.write(batch.lines)

    def size(self) -> int:
        """Bytes of records so far, roughly."""
        return self._progress.stat().st_size if self._progress.exists() else 0

    def batches(self) -> list[bytes]:
        """Every batch once."""
        return [path.read_bytes() for path in self._folder.iterdir() if "+" in path.name]

    def contradictions(self) -> list[str]:
        """Batches that came again as others."""
        return [path.name for path in self._folder.iterdir() if path.name.startswith("contradiction")]

    def _path(self, batch: Batch) -> Path:
        return self._folder / f"{batch.source.replace('/', '+')}-{batch.number}"
