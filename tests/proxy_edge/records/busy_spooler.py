"""A keeper with spool and shipper that hardly ever pause, for the tests of their death: run as `busy_spooler.py HOME`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from proxy_edge.records.delivery import spool_directory
from proxy_edge.records.keeper import Keeper, ring_directory
from proxy_edge.records.mark import MarkFile
from proxy_edge.records.shipper import Shipper
from proxy_edge.records.spool import SpoolSink
from tests.proxy_edge.records.control import Control


async def main(home: Path) -> None:
    """Never returns by itself."""
    mark = MarkFile(home / "keeper.mark")
    spool = SpoolSink(spool_directory(home), "edge-1", most=1 << 30)
    keeper = Keeper(ring_directory(home), mark, spool, pause=(0.0, 0.001))
    keeper.start()
    await keeper.asked.wait()
    await Shipper(spool, Control(home).call, retry=(0.0001, 0.001)).run()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
