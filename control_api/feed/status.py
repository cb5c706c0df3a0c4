"""How a region is, for whoever asks the Core API. Values only."""

from __future__ import annotations

from typing import Final

import msgspec

from models.planes.feed import EdgeReport

CONNECTED, AWAY = "connected", "away"
AWAY_MS: Final = 25_000
"""Without a poll for longer than this a region counts as away; a poll waits at most 20 s."""
EDGE_KEPT_MS: Final = 60_000
"""How long an edge counts that its region does not speak of any more; the region itself forgets it so late."""


class RegionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """revision: of the last change that touched the region; acknowledged: what it has made durable, -1 for nothing.

    seen_ms: wall time of its last poll, 0 for never. state: `connected` or `away`. certified: whether its vault
    has announced its key. failing: why its vault could not take a credential, by credential id.
    """

    region: str
    revision: int
    acknowledged: int
    seen_ms: int
    state: str
    certified: bool
    edges: tuple[EdgeReport, ...]
    failing: dict[str, str]


def known_edges(
    before: tuple[EdgeReport, ...], said: tuple[EdgeReport, ...], now_ms: int
) -> tuple[EdgeReport, ...]:
    """The edges of a region after it `said` which it hears. now_ms: wall time.

    A registry that was just started has heard none yet: what was known `before` stays for a while, so that nobody
    takes a change for enforced because an edge is not in the list. `seen_ms` is the region's word: no edge was seen
    after now, or one would stay for as long as the region's clock is ahead.
    """
    named = {one.edge for one in said}
    oldest = now_ms - EDGE_KEPT_MS
    seen = (msgspec.structs.replace(one, seen_ms=min(one.seen_ms, now_ms)) for one in said)
    return (*seen, *(one for one in before if one.edge not in named and one.seen_ms > oldest))
