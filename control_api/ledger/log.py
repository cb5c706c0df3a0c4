"""The log as the store holds it: reading it forwards, backwards, by client, and the one insert that is a write.

It knows nothing of projections. Failures of the store come out as they are; whoever answers callers turns them
into answers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from control_api.ledger.change import CHANGES, Change, change_id, from_document, to_document
from models.errors import StoreUnavailable, VersionConflict
from store.interface import ABSENT, Store

PAGE: Final = 500


class Log:
    """The changes of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def read(self, revision: int) -> Change | None:
        """One change, or None. Raises StoreUnavailable."""
        stored = await self._store.get(CHANGES, change_id(revision))
        return None if stored is None else from_document(stored.document)

    async def after(self, revision: int, limit: int = PAGE) -> list[Change]:
        """Changes beyond `revision`, oldest first, at most `limit`. Raises StoreUnavailable.

        One that was inserted during the reading may be missing before one that is there.
        """
        page = await self._store.list(CHANGES, after=change_id(revision), limit=limit)
        return [from_document(stored.document) for stored in page.items]

    async def backwards(
        self, before: int | None = None, where: dict[str, str | int] | None = None, page: int = PAGE
    ) -> AsyncIterator[Change]:
        """Changes below `before` (all when None), newest first. Raises StoreUnavailable."""
        while True:
            after = None if before is None else change_id(before)
            found = await self._store.list(CHANGES, where=where, after=after, descending=True, limit=page)
            for stored in found.items:
                change = from_document(stored.document)
                before = change.revision
                yield change
            if len(found.items) < page:
                return

    async def insert(self, change: Change) -> bool:
        """Whether `change` is the one at its revision now; False when another one is.

        Raises StoreUnavailable when that cannot be told, or when it is not there although the store failed.
        """
        try:
            await self._store.put(CHANGES, change_id(change.revision), to_document(change), expected=ABSENT)
        except VersionConflict:
            # An adapter that repeats a write may meet its own first attempt.
            there = await self.read(change.revision)
            return there is not None and there.id == change.id
        except StoreUnavailable:
            there = await self.read(change.revision)
            if there is None:
                raise
            return there.id == change.id
        return True

    async def erase_orders(self, revision: int) -> bool:
        """Takes the sealed orders out of a change; whether they were there. Raises StoreUnavailable."""
        stored = await self._store.get(CHANGES, change_id(revision))
        if stored is None or not stored.document.get("orders"):
            return False
        document = {name: value for name, value in stored.document.items() if name != "holdsOrders"}
        document["orders"] = {}
        try:
            await self._store.put(CHANGES, stored.id, document, expected=stored.version)
        except VersionConflict:
            return False  # another process erased them: nothing else is ever changed in the log
        return True
