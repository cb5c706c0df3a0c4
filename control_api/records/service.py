"""The records of all clients in one store: taken in, found again, counted, removed when they are old.

Opened with its store and closed before it. Nothing here knows HTTP or who may see what.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from control_api.ledger.ledger import Ledger
from control_api.records import query, telemetry, usage
from control_api.records.intake import Intake
from control_api.records.query import Found, Wanted
from control_api.records.retention import Retention
from control_api.records.rollups import Rollups
from control_api.records.telemetry import Span
from models.clock import Clock
from models.planes.records import RecordBatch
from store.interface import Store


class Records:
    """Serves one store, opened with RECORDS_LAYOUT. days: how long records are kept."""

    def __init__(self, store: Store, ledger: Ledger, clock: Clock, *, days: int) -> None:
        self._store, self._ledger = store, ledger
        self._intake = Intake(store, self._owner)
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

    def _owner(self, proxy_id: str) -> tuple[str, str] | None:
        found = self._ledger.projection.get("proxy", proxy_id)
        return None if found is None else (found.client_id or "", found.body["proxyRegion"])
