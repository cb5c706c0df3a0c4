"""The records of all clients in one store: taken in, found again, counted, removed when they are old.

Opened with its store and closed before it. Nothing here knows HTTP or who may see what.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from control_api.ledger.ledger import Ledger
from control_api.records import query, telemetry, usage
from control_api.records.intake import Owners
from control_api.records.query import Found, Wanted
from control_api.records.retention import Retention
from control_api.records.rollups import Rollups
from control_api.records.telemetry import Span
from models.clock import Clock
from models.planes.records import RecordBatch
from store.interface import Store


class Taker(Protocol):
    """Takes batches over: an `Intake`, here or in a process of its own."""

    async def take(self, region: str, batches: Sequence[RecordBatch]) -> None:
        """See Intake.take."""
        ...


def owners_in(ledger: Ledger) -> Owners:
    """Who owns a proxy, as the projection has it when it is asked."""

    async def owners(proxy_ids: Collection[str]) -> Mapping[str, tuple[str, str]]:
        known = ((one, ledger.projection.get("proxy", one)) for one in proxy_ids)
        return {
            proxy_id: (found.client_id or "", found.body["proxyRegion"])
            for proxy_id, found in known
            if found is not None
        }

    return owners


class Records:
    """Serves one store, opened with RECORDS_LAYOUT. intake: into the same. days: how long records are kept."""

    def __init__(self, store: Store, intake: Taker, ledger: Ledger, clock: Clock, *, days: int) -> None:
        self._store, self._intake, self._ledger = store, intake, ledger
        self._rollups = Rollups(store)
        self._retention = Retention(store, clock, days)

    def open(self) -> None:
        """Begins to remove what is old."""
        self._retention.open()

    async def close(self) -> None:
        """Ends that; twice is fine."""
        await self._retention.close()

    async def take(self, region: str, batches: Sequence[RecordBatch]) -> None:
        """See Intake.take."""
        await self._intake.take(region, batches)

    async def find(self, wanted: Wanted, *, cursor: str | None, limit: int) -> Found:
        """See query.find."""
        return await query.find(self._store, wanted, cursor=cursor, limit=limit)

    async def get(self, client_id: str, proxy_id: str | None, request_id: str) -> bytes | None:
        """See query.get."""
        regions = [region.id for region in self._ledger.projection.regions()]
        return await query.get(self._store, regions, client_id, proxy_id, request_id)

    async def telemetry(self, client_id: str, proxy_id: str | None, span: Span) -> list[dict[str, Any]]:
        """The buckets of a proxy, or of all the client's. Raises StoreUnavailable."""
        cells = await self._rollups.read(span.grain, client_id, proxy_id or "", span.first, span.last)
        return telemetry.shown(span.grain, cells)

    async def usage(self, client_id: str, month: int) -> list[dict[str, Any]]:
        """A month of a client, its total first. Raises StoreUnavailable."""
        return usage.shown(
            month, {proxy: cells async for proxy, cells in self._rollups.month(client_id, month)}
        )
