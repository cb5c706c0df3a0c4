"""The RateLimiter actor: `LimiterCore` behind bytes, one process per shard of a region's counters.

When the core says that its incarnation is over the process ends at once, whatever it was doing, so that Ray starts
another one: nothing that is in its memory may be relied on any more.
"""

from __future__ import annotations

import logging
import os
import random
from pathlib import Path
from typing import NoReturn

from actors import logs
from actors.limiter.ceilings import LAYOUT
from actors.limiter.core import LimiterCore
from actors.names import LIMITER
from actors.shelling import decode, encode, guarded, ready_answer
from models.clock import SystemClock
from models.home import RegionHome
from models.planes.permits import RecallRequest, ReserveRequest, ReturnRequest
from store.sqlite import SqliteStore

EXIT_OVER = 75
"""Of the process: another one may help (sysexits.h EX_TEMPFAIL)."""

_log = logging.getLogger("exeat.actors")


class RateLimiter:
    """One shard of one region's counters."""

    @guarded
    async def __init__(self, region: str, home: str, log: str, shard: int = 0, shards: int = 1) -> None:  # type: ignore[misc]  # Ray awaits it
        """home: of the region; log: file, or empty for stderr. Raises StoreError."""
        part = f"limiter {region}" if shards == 1 else f"limiter {region} {shard}"
        logs.configure(file=Path(log) if log else None, part=part)
        self._region = region
        self._core = LimiterCore(
            SqliteStore(RegionHome(Path(home)).limiter_store, LAYOUT),
            clock=SystemClock(),
            incarnation=os.urandom(8).hex(),
            uniform=random.SystemRandom().uniform,
            on_end=_exit,
            shard=shard,
            shards=shards,
        )
        await self._core.open()
        _log.info("limiter open", extra={"detail": self._core.detail})

    @guarded
    async def ready(self, _payload: bytes = b"") -> bytes:
        """`Ready`."""
        return ready_answer(LIMITER, self._region, self._core.detail)

    @guarded
    async def reserve(self, payload: bytes) -> bytes:
        """`ReserveRequest` -> `ReserveAnswer`; see `LimiterCore.reserve`."""
        return encode(await self._core.reserve(decode(payload, ReserveRequest)))

    @guarded
    async def give_back(self, payload: bytes) -> bytes:
        """`ReturnRequest` -> nothing."""
        await self._core.give_back(decode(payload, ReturnRequest))
        return b""

    @guarded
    async def recalls(self, payload: bytes) -> bytes:
        """`RecallRequest` -> `RecallAnswer`: held until there is something to return, 9 s at most."""
        return encode(await self._core.recalls(decode(payload, RecallRequest)))


def _exit() -> NoReturn:
    try:
        logging.shutdown()
    finally:
        os._exit(EXIT_OVER)
