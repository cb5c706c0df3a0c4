"""Worker's questions, carried to the vault as they are, and its answers carried back.

The link cannot read either: capabilities are signed by the host, leases sealed to the worker. It must never keep
one, repeat one, or ask on its own.
"""

from __future__ import annotations

import asyncio
import logging

from actors.link.ports import Actors
from models.errors import CustodyError, PeerUnavailable
from models.planes.frames import Answer, Call

ANSWER_SECONDS = 4.0

_log = logging.getLogger("exeat.link.vault")


class VaultSide:
    """Answers calls of workers; what no actor offers is refused."""

    def __init__(self, actors: Actors, *, seconds: float = ANSWER_SECONDS) -> None:
        """seconds: until the actor counts as away."""
        self._offered = {("vault", "grant"): actors.grant}
        self._seconds = seconds

    async def answer(self, call: Call) -> Answer:
        """The actor's answer; never raises but when cancelled."""
        method = self._offered.get((call.role, call.method))
        if method is None:
            return Answer(call.number, b"", "refused")
        try:
            async with asyncio.timeout(self._seconds):
                return Answer(call.number, await method(call.payload))
        except CustodyError as error:
            _log.warning("call refused", extra={"method": call.method, "reason": type(error).__name__})
            return Answer(call.number, b"", "refused")
        except (PeerUnavailable, TimeoutError):
            return Answer(call.number, b"", "unavailable")
        except Exception as error:  # noqa: BLE001 - one call's failure must not end the worker's connection
            _log.error("call failed", extra={"method": call.method, "error": type(error).__name__})
            return Answer(call.number, b"", "unavailable")
