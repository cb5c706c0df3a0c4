"""The audit list: a client's changes, newest first, straight from the log, so that it cannot miss any.

One call looks at a bounded number of changes; its cursor goes on from there, also when nothing was found.
"""

from __future__ import annotations

from typing import Final

import msgspec

from control_api.ledger.change import Change
from control_api.ledger.log import Log
from models.errors import NotJson

MOST_READ: Final = 5_000
"""How many changes one call looks at before it answers with what it has."""


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for; None is anything. after_ms, before_ms: wall milliseconds, exclusive."""

    resource_id: str | None = None
    actor: str | None = None
    after_ms: int | None = None
    before_ms: int | None = None

    def wants(self, change: Change) -> bool:
        """Whether a change is asked for."""
        return (
            (self.actor is None or change.actor == self.actor)
            and (self.after_ms is None or change.at_ms > self.after_ms)
            and (self.before_ms is None or change.at_ms < self.before_ms)
            and (self.resource_id is None or any(item.id == self.resource_id for item in change.items))
        )

    def ends_before(self, change: Change) -> bool:
        """Whether neither this change nor any before it can be asked for; times never go back in the log."""
        return self.after_ms is not None and change.at_ms <= self.after_ms


async def history(
    log: Log, client_id: str, wanted: Filter, *, cursor: str | None, limit: int
) -> tuple[list[Change], str | None]:
    """Changes of a client and the cursor to go on with, None at the end.

    Raises NotJson for a cursor that is none of ours, StoreUnavailable.
    """
    found: list[Change] = []
    read, last = 0, 0
    async for change in log.backwards(_revision(cursor), {"clientId": client_id}):
        if wanted.ends_before(change):
            return found, None
        if len(found) == limit or read == MOST_READ:
            return found, str(last)
        last, read = change.revision, read + 1
        if wanted.wants(change):
            found.append(change)
    return found, None


def _revision(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18):
        raise NotJson("The cursor is not one that this list gave")
    return int(cursor)
