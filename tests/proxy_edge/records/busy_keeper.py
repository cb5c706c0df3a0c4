"""A keeper that hardly ever pauses, for the tests of its death: run as `busy_keeper.py HOME`, ended by a signal."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from proxy_edge.records.keeper import Keeper, records_file, ring_directory
from proxy_edge.records.mark import MarkFile
from proxy_edge.records.sink import NdjsonSink


async def main(home: Path) -> None:
    """Never returns by itself."""
    sink = NdjsonSink(records_file(home))
    keeper = Keeper(ring_directory(home), MarkFile(home / "keeper.mark"), sink, pause=(0.0, 0.001))
    keeper.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
