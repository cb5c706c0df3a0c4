"""A region's limiter without Ray: the real core over a real store, behind bytes as the link calls it, and mortal.

`kill` takes what is in memory away, as the end of its process would; `start` begins the next incarnation over the
same store.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from actors.limiter.ceilings import LAYOUT
from actors.limiter.core import LimiterCore
from models.clock import Clock
from models.errors import PeerUnavailable
from models.planes.permits import RecallAnswer, RecallRequest, ReserveRequest, ReturnRequest
from store.sqlite import SqliteStore


class MortalLimiter:
    """One shard. asked: every reserve request that reached it. calls: how often each method was called."""

    def __init__(self, folder: Path, clock: Clock, **options: Any) -> None:
        """options: of `LimiterCore`."""
        self._path, self._clock = folder / "limiter.db", clock
        self._options = {"expiry": (1.0, 2.0), **options}
        self._core: LimiterCore | None = None
        self.asked: list[ReserveRequest] = []
        self.calls: Counter[str] = Counter()

    @property
    def core(self) -> LimiterCore:
        """The running incarnation."""
        if self._core is None:
            raise PeerUnavailable("away")
        return self._core

    async def start(self) -> None:
        """Begins an incarnation."""
        core = LimiterCore(
            SqliteStore(self._path, LAYOUT),
            clock=self._clock,
            incarnation=os.urandom(4).hex(),
            uniform=random.uniform,
            on_end=lambda: None,
            **self._options,
        )
        await core.open()
        self._core = core

    async def kill(self) -> None:
        """Ends the incarnation: whoever waits for it hears nothing, and nothing more is written."""
        core, self._core = self._core, None
        if core is not None:
            await core.close()

    async def reserve(self, payload: bytes) -> bytes:
        """`ReserveRequest` -> `ReserveAnswer`."""
        self.calls["reserve"] += 1
        request = msgspec.msgpack.decode(payload, type=ReserveRequest)
        self.asked.append(request)
        core = self.core
        answer = await core.reserve(request)
        self._still(core)
        return msgspec.msgpack.encode(answer)

    async def give_back(self, payload: bytes) -> bytes:
        """`ReturnRequest` -> nothing."""
        self.calls["give_back"] += 1
        await self.core.give_back(msgspec.msgpack.decode(payload, type=ReturnRequest))
        return b""

    async def recalls(self, payload: bytes) -> bytes:
        """`RecallRequest` -> `RecallAnswer`."""
        return msgspec.msgpack.encode(await self.ask(msgspec.msgpack.decode(payload, type=RecallRequest)))

    async def ask(self, request: RecallRequest) -> RecallAnswer:
        """What a link asks."""
        core = self.core
        answer = await core.recalls(request)
        self._still(core)
        return answer

    def _still(self, core: LimiterCore) -> None:
        if core is not self._core:
            raise PeerUnavailable("it has ended")
