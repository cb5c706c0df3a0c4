"""Workers' and the keeper's questions, carried to actors as they are, and the answers carried back.

The link reads none of them but texts, which it puts together: capabilities are signed by the host, leases sealed to
the worker. It must never keep one, repeat one other than texts, or ask on its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from actors.link.ports import Actors
from actors.link.texts_side import TextsSide
from actors.names import LIMITER, RECORDER
from models.errors import CustodyError, PeerUnavailable, Refused
from models.planes.frames import Answer, Call

ANSWER_SECONDS: Final = 4.0
SLACK_SECONDS: Final = 0.5
"""How much later than the texts' own deadline a call of theirs is given up from here."""
DELIVERY_SECONDS: Final = 30.0
"""Records are acknowledged when the control store has them, which may take its time."""

_log = logging.getLogger("exeat.link.calls")


class CallSide:
    """Answers calls; what no actor offers is refused."""

    def __init__(self, actors: Actors, *, redactors: int = 1, seconds: float = ANSWER_SECONDS) -> None:
        """redactors: how many the region has. seconds: until an actor counts as away."""
        ask = actors.ask
        texts = TextsSide(ask, redactors, seconds=seconds)
        self._offered: dict[tuple[str, str], tuple[Callable[[Call], Awaitable[bytes]], float]] = {
            ("vault", "grant"): (lambda call: actors.grant(call.payload), seconds),
            ("limiter", "reserve"): (partial(_ask, ask, LIMITER, "reserve", seconds), seconds),
            ("limiter", "give_back"): (partial(_ask, ask, LIMITER, "give_back", seconds), seconds),
            ("recorder", "take"): (partial(_ask, ask, RECORDER, "take", DELIVERY_SECONDS), DELIVERY_SECONDS),
            ("redactor", "find"): (lambda call: texts.find(call.payload), seconds + SLACK_SECONDS),
        }

    async def answer(self, call: Call) -> Answer:
        """The actor's answer; never raises but when cancelled."""
        offered = self._offered.get((call.role, call.method))
        if offered is None:
            return Answer(call.number, b"", "refused")
        method, seconds = offered
        try:
            async with asyncio.timeout(seconds):
                return Answer(call.number, await method(call))
        except (CustodyError, Refused) as error:
            _log.warning("call refused", extra={"method": call.method, "reason": type(error).__name__})
            return Answer(call.number, b"", "refused")
        except (PeerUnavailable, TimeoutError):
            return Answer(call.number, b"", "unavailable")
        except Exception as error:  # noqa: BLE001 - one call's failure must not end the worker's connection
            _log.error("call failed", extra={"method": call.method, "error": type(error).__name__})
            return Answer(call.number, b"", "unavailable")


async def _ask(
    ask: Callable[..., Awaitable[bytes]], role: str, method: str, seconds: float, call: Call
) -> bytes:
    return await ask(role, method, call.payload, shard=call.shard, seconds=seconds)
