"""Results of commands on their way up: a few tries each, in order, bounded; what cannot be delivered is dropped.

Whoever asked for the command has a deadline of its own, so a late result is worth nothing.
"""

from __future__ import annotations

import asyncio
import logging

from actors.link.ports import Actors
from models.errors import CustodyError, PeerUnavailable

MOST_WAITING = 64
TRIES = 3
PAUSE_SECONDS = 0.5

_log = logging.getLogger("exeat.link.results")


class Results:
    """Hands results to the registry."""

    def __init__(self, actors: Actors, *, pause: float = PAUSE_SECONDS) -> None:
        """pause: seconds between two tries."""
        self._actors, self._pause = actors, pause
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(MOST_WAITING)

    def offer(self, payload: bytes) -> None:
        """Takes a `CommandResult` as msgpack."""
        try:
            self._waiting.put_nowait(payload)
        except asyncio.QueueFull:
            _log.warning("result dropped", extra={"reason": "too many wait"})

    async def run(self) -> None:
        """Delivers until cancelled."""
        while True:
            await self._deliver(await self._waiting.get())

    async def _deliver(self, payload: bytes) -> None:
        for attempt in range(1, TRIES + 1):
            try:
                await self._actors.command_done(payload)
            except CustodyError as error:
                _log.warning("result dropped", extra={"reason": type(error).__name__})
                return
            except PeerUnavailable:
                if attempt < TRIES:
                    await asyncio.sleep(self._pause)
            else:
                return
        _log.warning("result dropped", extra={"reason": "the registry is away"})
