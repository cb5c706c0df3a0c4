"""Spools, lines for them, and a region's recorder that is told what to say, for the tests of spool, shipper and delivery."""

from __future__ import annotations

from pathlib import Path

import msgspec

from models.errors import PeerUnavailable, Refused
from models.planes.records import Batch, Taken
from models.record import join, lines
from proxy_edge.records.spool import SpoolSink
from tests.proxy_edge.records.samples import closing, files, opening

HOST = "edge-1"


def text(*ids: str, size: int = 0) -> bytes:
    """Lines of requests with these ids; size: bytes of query of each."""
    return lines([join(opening(one, size), closing()) for one in ids])


def ids(data: bytes) -> list[str]:
    """Of the requests in these lines."""
    return [line.split(b'"')[3].decode() for line in data.splitlines()]


def make(folder: Path, *, most: int = 1 << 20, **options: object) -> SpoolSink:
    """A spool in `folder`, as of a new life of the keeper."""
    return SpoolSink(folder / "spool", HOST, most=most, **options)  # type: ignore[arg-type]  # keyword arguments


class Recorder:
    """A region's recorder as the link sees it. say: `taken`, or what goes wrong with the next batches, in order.

    got: the number of every batch that arrived, also again; kept: those that it has.
    """

    def __init__(self) -> None:
        self.say: list[str] = []
        self.got: list[int] = []
        self.kept: list[Batch] = []

    @property
    def records(self) -> list[str]:
        """Of the batches that it has."""
        return [one for batch in self.kept for one in ids(batch.lines)]

    async def take(self, payload: bytes) -> bytes:
        batch = msgspec.msgpack.decode(payload, type=Batch)
        self.got.append(batch.number)
        word = self.say.pop(0) if self.say else "taken"
        if word == "away":
            raise PeerUnavailable("away")
        if word == "refused":
            raise Refused("malformed")
        if word == "garbage":
            return b"garbage"
        if word == "other":
            return msgspec.msgpack.encode(Taken(source="other/spool", number=batch.number))
        if word == "older":
            return msgspec.msgpack.encode(Taken(source=batch.source, number=batch.number - 1))
        if batch not in self.kept:
            self.kept.append(batch)
        if word == "lost":
            raise PeerUnavailable("its answer was lost")
        return msgspec.msgpack.encode(Taken(source=batch.source, number=batch.number))


class Told:
    """What the spool says of its depth: how many wait, are set aside, were removed."""

    last = (-1, -1, -1)

    def __call__(self, waiting: int, refused: int, removed: int) -> None:
        self.last = waiting, refused, removed


def batches(folder: Path) -> list[str]:
    """The files of the spool but its numbering."""
    return [name for name in files(folder / "spool") if name != "numbering"]


async def drained(spool: SpoolSink) -> list[Batch]:
    """Every batch, delivered."""
    found = []
    while spool.depth:
        found.append(await spool.next())
        spool.delivered()
    return found
