"""Roll-ups in the store: counts per minute, hour and day, for every proxy and for its client, each batch counted once.

A document holds the cells of one span (minutes of an hour, hours of a day, days of a month) and, per source, the
number of the newest batch that is in it. It is written with its expected version, so neither a batch that comes again
nor another process on the same store counts anything twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import date
from typing import Any, Final, NamedTuple

import msgspec

from control_api.records.counts import Counts
from control_api.records.layout import ROLLUPS
from models.planes.records import Rollup
from store.interface import ABSENT, Store, Stored, Write

AT_ONCE: Final = 128
"""Documents that are read and written in one go."""

_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_LAST_DAY: Final = date.max.toordinal()
_MINUTE_MS: Final = 60_000
_PER_HOUR: Final = 60
_PER_DAY: Final = 1440


class Grain(NamedTuple):
    """How finely something is counted. step_ms: length of a cell; per_span: cells in a document, 0 for months."""

    name: str
    step_ms: int
    per_span: int

    def span_of(self, cell: int) -> int:
        """The document that a cell is in: its number since 1970. A month is year * 12 + month - 1."""
        if self.per_span:
            return cell // self.per_span
        found = date.fromordinal(min(_EPOCH_DAY + cell, _LAST_DAY))
        return found.year * 12 + found.month - 1


MINUTE: Final = Grain("minute", _MINUTE_MS, 60)
HOUR: Final = Grain("hour", _MINUTE_MS * _PER_HOUR, 24)
DAY: Final = Grain("day", _MINUTE_MS * _PER_DAY, 0)
GRAINS: Final = (MINUTE, HOUR, DAY)

Cells = dict[int, Counts]
"""By number of the minute, hour or day since 1970."""


class Place(NamedTuple):
    """Which document. proxy_id: empty for the client as a whole. span: see Grain.span_of."""

    grain: Grain
    client_id: str
    proxy_id: str
    span: int

    @property
    def id(self) -> str:
        """In the order of time within a grain, so that the oldest are found first."""
        return f"{self.grain.name}/{self.span:08d}/{self.client_id}/{self.proxy_id}"

    @property
    def fields(self) -> dict[str, str]:
        """What lists select by."""
        found = {"of": f"{self.grain.name}/{self.client_id}/{self.proxy_id}"}
        if self.grain is DAY and self.proxy_id:
            found["month"] = f"{self.client_id}/{self.span}"
        return found


Additions = dict[Place, Cells]

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Cells).decode


def additions(rollups: Iterable[Rollup]) -> Additions:
    """What minutes of proxies add to which documents."""
    result: Additions = {}
    for one in rollups:
        minute = one.minute
        for grain, cell in ((MINUTE, minute), (HOUR, minute // _PER_HOUR), (DAY, minute // _PER_DAY)):
            span = grain.span_of(cell)
            for proxy_id in (one.proxy_id, ""):
                cells = result.setdefault(Place(grain, one.client_id, proxy_id, span), {})
                cells.setdefault(cell, Counts()).add(one)
    return result


class Rollups:
    """The documents of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def add(self, source: str, number: int, wanted: Additions) -> None:
        """Adds a batch, durable on return; safe to repeat, at any time and from any process.

        source: with its region; batches of one source come by rising number. Raises StoreUnavailable; then some
        documents may have it.
        """
        places = list(wanted)
        for start in range(0, len(places), AT_ONCE):
            left = places[start : start + AT_ONCE]
            while left:  # whoever was faster has written something, so this ends
                left = await self._try(source, number, wanted, left)

    async def _try(self, source: str, number: int, wanted: Additions, places: Sequence[Place]) -> list[Place]:
        """Those of `places` that another writer was faster at."""
        found = await asyncio.gather(*(self._store.get(ROLLUPS, place.id) for place in places))
        writes, tried = [], []
        for place, stored in zip(places, found, strict=True):
            sources = {} if stored is None else stored.document["sources"]
            if sources.get(source, 0) >= number:
                continue
            cells = {} if stored is None else cells_of(stored)
            _join(cells, wanted[place])
            document: dict[str, Any] = {
                **place.fields,
                "sources": {**sources, source: number},
                "cells": _pack(cells),
            }
            writes.append(Write(place.id, document, ABSENT if stored is None else stored.version))
            tried.append(place)
        versions = await self._store.put_many(ROLLUPS, writes)
        return [place for place, version in zip(tried, versions, strict=True) if version is None]

    async def read(self, grain: Grain, client_id: str, proxy_id: str, first: int, last: int) -> Cells:
        """The cells from `first` to `last` that have requests. proxy_id: empty for all of the client's."""
        place = Place(grain, client_id, proxy_id, grain.span_of(first))
        spans = grain.span_of(last) - place.span + 1
        page = await self._store.list(
            ROLLUPS, where={"of": place.fields["of"]}, after=f"{grain.name}/{place.span:08d}", limit=spans
        )
        found: Cells = {}
        for stored in page.items:
            found |= {cell: counts for cell, counts in cells_of(stored).items() if first <= cell <= last}
        return found

    async def month(self, client_id: str, month: int) -> AsyncIterator[tuple[str, Cells]]:
        """Per proxy with requests in a month (year * 12 + month - 1), by id: its days."""
        cursor: str | None = None
        while True:
            page = await self._store.list(ROLLUPS, where={"month": f"{client_id}/{month}"}, cursor=cursor)
            for stored in page.items:
                yield stored.id.rpartition("/")[2], cells_of(stored)
            cursor = page.cursor
            if cursor is None:
                return

    async def trim(self, grain: Grain, before_span: int, limit: int = AT_ONCE) -> int:
        """Removes the oldest documents of spans before this one, at most `limit`; returns how many."""
        page = await self._store.list(ROLLUPS, after=f"{grain.name}/", limit=limit)
        end = f"{grain.name}/{before_span:08d}"
        old = [stored.id for stored in page.items if stored.id < end]
        for one in old:
            await self._store.delete(ROLLUPS, one)
        return len(old)


def cells_of(stored: Stored) -> Cells:
    """What a document counts."""
    return _unpack(stored.document["cells"])


def _join(cells: Cells, more: Mapping[int, Counts]) -> None:
    for cell, counts in more.items():
        cells.setdefault(cell, Counts()).add(counts)
