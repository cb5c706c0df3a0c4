"""A program that records as fast as it can until it is killed, for the tests of a worker's death.

Run as `busy_worker.py HOME INDEX NAME`: ring in HOME/ring. In HOME/NAME one byte per request, stored when the
call has returned, says what became of it: 1 opened, 2 closed, 3 about to be discarded. Request n has the id
`NAME-n`.
"""

from __future__ import annotations

import mmap
import os
import random
import sys
from pathlib import Path

from models.errors import RingFull
from proxy_edge.records.keeper import ring_directory
from proxy_edge.records.recorder import Recorder
from proxy_edge.records.recovery import make_ring
from tests.proxy_edge.records.samples import closing, opening

REQUESTS = 1 << 20
SIZES = (0, 0, 0, 0, 200, 700, 3000)


def main(home: Path, index: int, name: str) -> None:
    """Never returns by itself."""
    with (home / name).open("w+b") as file:
        file.truncate(REQUESTS)
        said = mmap.mmap(file.fileno(), REQUESTS)
    choose = random.Random(name)
    recorder = Recorder(make_ring(ring_directory(home), index, slots=512, slot_bytes=1024))
    in_flight: list[tuple[int, int]] = []
    number = 0
    while number < REQUESTS:
        if len(in_flight) < choose.randrange(40):
            try:
                slot = recorder.open(opening(f"{name}-{number}", choose.choice(SIZES)))
            except RingFull:
                os.sched_yield()
                continue
            said[number] = 1
            in_flight.append((number, slot))
            number += 1
        elif in_flight:
            ended, slot = in_flight.pop(choose.randrange(len(in_flight)))
            if choose.randrange(20):
                recorder.close(slot, closing(choose.choice((10, 10, 250))))
                said[ended] = 2
            else:
                said[ended] = 3
                recorder.discard(slot)
        if not choose.randrange(60):
            recorder.reclaim()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
