"""Batches for the recorder's tests, and a control plane that is told what to say to them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from actors.recorder.core import Malformed
from models.planes.records import Batch, RecordBatch
from models.record import join, lines
from tests.proxy_edge.records.samples import closing, opening


def batch(number: int, source: str = "host-1/spool", records: int = 2, size: int = 0) -> Batch:
    """A batch of so many records; size: bytes of query of each."""
    found = [join(opening(f"{source}-{number}-{index}", size), closing()) for index in range(records)]
    return Batch(source=source, number=number, lines=lines(found))


class Control:
    """Keeps what it was sent. say: raises, or does not, for a report. hold: a report ends once it is set."""

    def __init__(self, say: Callable[[Sequence[RecordBatch]], None] = lambda _: None) -> None:
        self.say = say
        self.reports: list[list[tuple[str, int]]] = []
        self.stored: dict[tuple[str, int], RecordBatch] = {}
        self.hold = asyncio.Event()
        self.hold.set()

    async def send(self, batches: Sequence[RecordBatch]) -> None:
        """`actors.recorder.core.Uplink`."""
        self.reports.append([(one.source, one.number) for one in batches])
        await self.hold.wait()
        self.say(batches)
        self.stored |= {(one.source, one.number): one for one in batches}


def without(*refused: int, named: bool = True) -> Callable[[Sequence[RecordBatch]], None]:
    """A control plane that will not have batches of these numbers, and says which, or not."""

    def say(batches: Sequence[RecordBatch]) -> None:
        places = [place for place, one in enumerate(batches) if one.number in refused]
        if places:
            raise Malformed(places if named else ())

    return say
