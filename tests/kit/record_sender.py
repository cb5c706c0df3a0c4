"""A control process's intake of records, for tests: `record_sender PLACE SOURCE FIRST LAST` takes batches over, in order.

Prints `open` when it begins. Each batch has one record of its own for each of three proxies, and one that all sources
share.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from control_api.records.intake import Intake
from control_api.records.layout import RECORDS_LAYOUT
from models.planes.records import RecordBatch
from store.choose import open_store
from tests.kit.recorded import AT, US, batch, owned, record


def numbered(source: str, number: int) -> RecordBatch:
    """The batch of this number."""
    records = [
        record(f"req_{source}_{number}_{n}", AT + number * 1000, proxy_id=f"prx_{n}") for n in range(3)
    ]
    return batch(number, [*records, record(f"req_shared_{number}", AT + number * 1000)], source)


async def main(place: str, source: str, first: str, last: str) -> None:
    """As the arguments say."""
    store = await open_store(Path(place), RECORDS_LAYOUT, timeout=30)
    intake = Intake(store, owned())
    print("open", flush=True)  # noqa: T201 - how this program answers
    for number in range(int(first), int(last) + 1):
        await intake.take(US, [numbered(source, number)])
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
