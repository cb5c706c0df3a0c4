"""The audit list: what a client's changes did to each resource, newest change first, straight from the log.

One call looks at a bounded number of changes; its cursor goes on from there, also when nothing was found, and
inside a change that did more than fits.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import msgspec

from control_api.ledger.change import Change, Item
from control_api.ledger.log import Log
from models.errors import NotJson

MOST_READ: Final = 5_000
"""How many changes one call looks at before it answers with what it has."""

_CURSOR: Final = re.compile(r"([0-9]{1,18})-([0-9]{1,9})")


class Entry(NamedTuple):
    """What one change did to one resource: the item of the change at `position`."""

    change: Change
    position: int

    @property
    def item(self) -> Item:
        """The resource before and after."""
        return self.change.items[self.position]

    @property
    def place(self) -> str:
        """Where it stands in the log."""
        return f"{self.change.revision}-{self.position}"


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for; None is anything. after_ms, before_ms: wall milliseconds, exclusive."""

    resource_id: str | None = None
    actor: str | None = None
    after_ms: int | None = None
    before_ms: int | None = None

    def wanted(self, change: Change) -> list[Entry]:
        """What of a change is asked for, in its order."""
        if (
            (self.actor is not None and change.actor != self.actor)
            or (self.after_ms is not None and change.at_ms <= self.after_ms)
            or (self.before_ms is not None and change.at_ms >= self.before_ms)
        ):
            return []
        return [
            Entry(change, index)
            for index, item in enumerate(change.items)
            if self.resource_id in {None, item.id}
        ]

    def ends_before(self, change: Change) -> bool:
        """Whether neither this change nor any before it can be asked for; times never go back in the log."""
        return self.after_ms is not None and change.at_ms <= self.after_ms


async def history(
    log: Log, client_id: str, wanted: Filter, *, cursor: str | None, limit: int
) -> tuple[list[Entry], str | None]:
    """At most `limit` entries of a client and the cursor to go on with, None at the end.

    Raises NotJson for a cursor that is none of ours, StoreUnavailable.
    """
    revision, position = _place(cursor)
    before = None if revision is None else revision + 1  # the rest of that change comes first
    found: list[Entry] = []
    read, last = 0, ""
    async for change in log.backwards(before, {"clientId": client_id}):
        if wanted.ends_before(change):
            return found, None
        if len(found) == limit or read == MOST_READ:
            return found, last
        read += 1
        fresh = [
            entry
            for entry in wanted.wanted(change)
            if change.revision != revision or entry.position > position
        ]
        room = limit - len(found)
        found += fresh[:room]
        if len(fresh) > room:
            return found, found[-1].place
        last = f"{change.revision}-{len(change.items)}"  # beyond its end
    return found, None


def _place(cursor: str | None) -> tuple[int | None, int]:
    if cursor is None:
        return None, 0
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise NotJson("The cursor is not one that this list gave")
    return int(match[1]), int(match[2])
