"""Whether writes work, found out by one: a document of its own, outside the change log.

Many may ask at once and nobody needs a token for it, so one write answers for everyone within a second.
"""

from __future__ import annotations

import asyncio
from typing import Final

from models.clock import Clock
from models.errors import StoreError
from store.interface import Collection, Store

PROBE: Final = Collection("readiness")
FRESH_SECONDS: Final = 1.0
PROBE_SECONDS: Final = 2.0


class Readiness:
    """Asks a store whether it takes writes."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._asking = asyncio.Lock()
        self._asked = -FRESH_SECONDS
        self._works = False

    async def writes_work(self) -> bool:
        """Whether a write went through within the last second, or does now, within two."""
        now = asyncio.get_running_loop().time
        async with self._asking:
            if now() - self._asked >= FRESH_SECONDS:
                self._works = await self._try()
                self._asked = now()
            return self._works

    async def _try(self) -> bool:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await self._store.put(PROBE, "probe", {"at": self._clock.wall_ms()})
        except (StoreError, TimeoutError):
            return False
        return True
