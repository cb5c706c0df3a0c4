"""What is removed from the store of records, and when: a task that looks once an hour and takes little steps.

Records and minutes go after EXEAT_RECORD_DAYS, hours after HOUR_DAYS; days stay, for usage and long views. What a
source was acknowledged stays for ever.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from control_api.records.layout import RECORDS
from control_api.records.rollups import AT_ONCE, HOUR, MINUTE, Grain, Rollups
from control_api.tasks import spawn, stop
from models.clock import Clock
from models.errors import StoreError
from store.interface import Store

HOUR_DAYS: Final = 400
STEP: Final = 500
"""Records that one write removes, so that batches never wait long behind it."""

_EVERY_SECONDS: Final = 3600.0
_DAY_MS: Final = 86_400_000
_log = logging.getLogger("exeat.control.records")


class Retention:
    """Removes what is older than `days` from a store of records."""

    def __init__(self, store: Store, clock: Clock, days: int) -> None:
        self._store, self._clock, self._days = store, clock, days
        self._rollups = Rollups(store)
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begins."""
        self._task = spawn("records-trim", self._run())

    async def close(self) -> None:
        """Ends; twice is fine."""
        task, self._task = self._task, None
        await stop(task)

    async def trim(self) -> int:
        """Removes everything that is due; returns how many records. Raises StoreError."""
        now = self._clock.wall_ms()
        removed = 0
        while (some := await self._store.trim(RECORDS, before_ms=now - self._days * _DAY_MS, limit=STEP)) > 0:
            removed += some
        for grain, days in ((MINUTE, self._days), (HOUR, max(self._days, HOUR_DAYS))):
            end = _first_span(grain, now - days * _DAY_MS)
            while await self._rollups.trim(grain, end) == AT_ONCE:
                pass
        return removed

    async def _run(self) -> None:
        while True:
            try:
                removed = await self.trim()
                if removed:
                    _log.info("old records removed", extra={"records": removed})
            except StoreError as error:
                _log.warning("old records cannot be removed", extra={"reason": error.detail})
            await asyncio.sleep(_EVERY_SECONDS)


def _first_span(grain: Grain, at_ms: int) -> int:
    """The first span that holds anything from `at_ms` on."""
    return grain.span_of(max(0, at_ms) // grain.step_ms)
