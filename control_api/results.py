"""What POSTs that change nothing answered, by `Idempotency-Key`: kept 24 h in this process, bounded.

What changes something is remembered in the change log instead; a restart forgets these, and asking again is harmless.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

from control_api.ledger.change import Replay
from control_api.ledger.projection import REPLAY_MS
from models.errors import Conflict

MOST: Final = 10_000


class Results:
    """Answers by token and key, the oldest first."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._kept: OrderedDict[tuple[str, str], tuple[str, int, Mapping[str, Any]]] = OrderedDict()

    def get(self, replay: Replay, now_ms: int) -> Mapping[str, Any] | None:
        """What the same request was answered with. Raises Conflict when the key was another request's."""
        kept = self._kept.get((replay.token_id, replay.key))
        if kept is None or kept[1] <= now_ms - REPLAY_MS:
            return None
        if kept[0] != replay.digest:
            raise Conflict("This Idempotency-Key was used for another request")
        return kept[2]

    def keep(self, replay: Replay, now_ms: int, element: Mapping[str, Any]) -> None:
        """Remembers an answer; the oldest one goes when there are too many."""
        key = (replay.token_id, replay.key)
        self._kept.pop(key, None)
        self._kept[key] = (replay.digest, now_ms, element)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
