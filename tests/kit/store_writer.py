"""A process that writes to a store: `count PLACE TIMES` adds to one counter, `write PLACE` never ends.

`write` prints a number once its document and its entries are acknowledged, and waits for nothing else, so
that whoever reads the numbers may kill it at any moment.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from typing import Never

from models.errors import VersionConflict
from store.choose import open_store
from store.interface import ABSENT, Store, StreamEntry
from tests.kit.stores import EVENTS, LAYOUT, THINGS


async def count(store: Store, times: int) -> None:
    """Adds one to the counter, `times` times, with expected versions only."""
    done = 0
    while done < times:
        found = await store.get(THINGS, "counter")
        value, version = (found.document["value"], found.version) if found else (0, ABSENT)
        try:
            await store.put(THINGS, "counter", {"value": value + 1}, expected=version)
        except VersionConflict:
            continue
        done += 1


async def write(store: Store) -> Never:
    """Documents and batches of entries without end."""
    for number in itertools.count():
        name = f"{number:08d}"
        document = {"owner": f"owner-{number % 3}", "rank": number, "text": "x" * 500}
        await store.put(THINGS, name, document, expected=ABSENT)
        await store.put(THINGS, "last", {"rank": number})
        entries = [
            StreamEntry(f"{name}-{part}", f"key-{number % 2}", number, {"status": part}) for part in range(5)
        ]
        await store.append(EVENTS, entries)
        print(number, flush=True)  # noqa: T201 - how this program answers
    raise AssertionError


async def main(command: str, place: str, *rest: str) -> None:
    """Opens the store and does as the command says."""
    store = await open_store(place, LAYOUT, timeout=30)
    print("open", flush=True)  # noqa: T201 - how this program answers
    if command == "count":
        await count(store, int(rest[0]))
    else:
        await write(store)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
