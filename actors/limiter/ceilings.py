"""The ceilings in the store: one document per proxy with all its counters, so that one write covers them all.

Written with the version expected, so that of two incarnations at most one goes on. A document whose windows are long
over is deleted; up to which window that was done stays known, so that a clock set back refills nothing by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from actors.limiter.counters import Kept
from models.errors import StoreUnavailable
from models.limits import window_of
from store.interface import ABSENT, Collection, Document, Layout, Store, Stored

CEILINGS: Final = Collection("ceilings")
"""By key: {"counters": [[window, seconds, number, ceiling, max, revision, ahead], ...]}; older ones lack `ahead`."""
FLOORS: Final = Collection("ceiling_floors")
"""By window length in seconds: {"number": the latest window of which a ceiling was deleted}."""
LAYOUT: Final = Layout(collections=(CEILINGS, FLOORS))

IDLE_SECONDS: Final = 3600
"""For how long a window has been over, at least, when its ceiling is deleted."""

Name = tuple[str, int]
"""A counter of a proxy: window name and length in seconds."""


class Entry(NamedTuple):
    """A document as it is. version: ABSENT for none."""

    key: str
    version: int
    counters: dict[Name, Kept]


class Ceilings:
    """Reads and writes ceilings. All methods raise StoreError as the store does."""

    def __init__(self, store: Store) -> None:
        """store: with LAYOUT."""
        self._store = store
        self._floors: dict[int, int] = {}

    async def open(self) -> None:
        """Opens the store and learns which windows are gone."""
        await self._store.open()
        cursor: str | None = None
        while True:
            page = await self._store.list(FLOORS, cursor=cursor)
            self._floors |= {int(one.id): _floor(one) for one in page.items}
            cursor = page.cursor
            if cursor is None:
                return

    async def close(self) -> None:
        """Lets go of the store."""
        await self._store.close()

    def first(self, seconds: int) -> int:
        """The earliest window that a counter may be in of which the store knows nothing."""
        return self._floors.get(seconds, -1) + 1

    async def load(self, key: str) -> Entry:
        """What is kept for a proxy."""
        found = await self._store.get(CEILINGS, key)
        return Entry(key, ABSENT, {}) if found is None else _entry(found)

    async def keep(self, key: str, counters: Mapping[Name, Kept], expected: int) -> int:
        """Writes what is kept for a proxy from now on; its version. Raises VersionConflict."""
        rows = [[*name, *kept] for name, kept in counters.items()]
        return await self._store.put(CEILINGS, key, {"counters": rows}, expected=expected)

    async def page(self, after: str | None, limit: int) -> list[Entry]:
        """Some of all that is kept, beyond key `after`; empty at the end."""
        page = await self._store.list(CEILINGS, after=after, limit=limit)
        return [_entry(one) for one in page.items]

    async def drop(self, entry: Entry) -> None:
        """Deletes what is kept for a proxy. Raises VersionConflict, and then it stays."""
        for (_, seconds), kept in entry.counters.items():
            await self._raise_floor(seconds, kept.last)
        await self._store.delete(CEILINGS, entry.key, expected=entry.version)

    async def _raise_floor(self, seconds: int, number: int) -> None:
        if self._floors.get(seconds, -1) >= number:
            return
        found = await self._store.get(FLOORS, str(seconds))  # another shard may have raised it
        if found is None or _floor(found) < number:
            version = ABSENT if found is None else found.version
            await self._store.put(FLOORS, str(seconds), {"number": number}, expected=version)
            self._floors[seconds] = number
        else:
            self._floors[seconds] = _floor(found)


def is_stale(counters: Iterable[tuple[Name, Kept]], now_ms: int) -> bool:
    """Whether all windows have long been over."""
    return all(
        kept.last + 1 + max(1, IDLE_SECONDS // seconds) <= window_of(now_ms, seconds)
        for (_, seconds), kept in counters
    )


def _entry(stored: Stored) -> Entry:
    return Entry(stored.id, stored.version, _counters(stored.document))


def _counters(document: Document) -> dict[Name, Kept]:
    try:
        return {
            (str(window), int(seconds)): Kept(*map(int, numbers))
            for window, seconds, *numbers in document["counters"]
        }
    except (KeyError, TypeError, ValueError):
        raise StoreUnavailable("a ceiling has another form") from None


def _floor(stored: Stored) -> int:
    return int(stored.document["number"])
