"""The projection as the store keeps it, so that a start need not replay the whole log.

It may lag behind the log, never lead to anything else than the log: every document says how far it is, an older
state never replaces a newer one, and what is missing is replayed. Losing all of it costs time only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from control_api.ledger.change import Key
from control_api.ledger.crash import Crash
from control_api.ledger.projection import Projection, Resource
from models.errors import VersionConflict
from store.interface import ABSENT, Collection, Store

RESOURCES: Final = Collection("resources", indexes=("kind",))
"""One document per resource; one that is gone leaves a mark of its last revision for `GONE_MS`."""
HEAD: Final = Collection("projection_head")
"""One document: the revision that all of RESOURCES has reached at least."""

HEAD_ID: Final = "head"
GONE_MS: Final = 24 * 3600 * 1000
_PAGE: Final = 500


class Head(msgspec.Struct, frozen=True, rename="camel"):
    """How far the kept resources are, at least. regions: `Projection.region_revisions`."""

    revision: int = 0
    at_ms: int = 0
    regions: dict[str, int] = {}


class Kept:
    """The one writer of RESOURCES and HEAD in this process; other processes may have theirs."""

    def __init__(self, store: Store, crash: Crash) -> None:
        self._store, self._crash = store, crash
        self._versions: dict[str, tuple[int, int]] = {}
        self._due: dict[Key, int] = {}
        self._flushing = asyncio.Lock()

    async def load(self) -> Projection:
        """What is kept, possibly ahead of its revision in places: replaying the log from there sets it right.

        Raises StoreUnavailable.
        """
        stored_head = await self._store.get(HEAD, HEAD_ID)
        head = Head() if stored_head is None else msgspec.convert(stored_head.document, Head)
        self._versions[HEAD_ID] = (0, 0) if stored_head is None else (stored_head.version, head.revision)
        found: list[Resource] = []
        cursor: str | None = None
        while True:
            page = await self._store.list(RESOURCES, cursor=cursor, limit=_PAGE)
            for stored in page.items:
                document = stored.document
                self._versions[stored.id] = (stored.version, document["touched"])
                if not document.get("gone"):
                    found.append(msgspec.convert(document, Resource))
                elif document["atMs"] < head.at_ms - GONE_MS:
                    await self._forget(stored.id, stored.version)
            cursor = page.cursor
            if cursor is None:
                break
        projection = Projection()
        projection.restore(found, revision=head.revision, at_ms=head.at_ms, region_revisions=head.regions)
        return projection

    async def _forget(self, document_id: str, version: int) -> None:
        try:
            await self._store.delete(RESOURCES, document_id, expected=version)
        except VersionConflict:
            return  # another process did something newer with it
        del self._versions[document_id]

    def mark(self, keys: Iterable[Key], revision: int) -> None:
        """Notes what a change touched, to be written with the next flush."""
        for key in keys:
            self._due[key] = revision

    async def flush(self, projection: Projection) -> None:
        """Writes everything that is due. Raises StoreUnavailable; then it stays due."""
        async with self._flushing:
            if not self._due:
                return
            due, self._due = self._due, {}
            # All of it is read before the first wait, so that head and resources are of one moment.
            head = Head(projection.revision, projection.at_ms, projection.region_revisions)
            now = {key: projection.get(*key) for key in due}
            try:
                self._crash.at("before-projection")
                for key, resource in now.items():
                    await self._write("/".join(key), *_document(key, due[key], resource, head.at_ms))
                await self._write_head(head)
            except BaseException:
                self._due = due | self._due
                raise
            self._crash.at("after-projection")

    async def _write(self, document_id: str, touched: int, document: Mapping[str, Any]) -> None:
        await self._raise_to(RESOURCES, document_id, touched, document, "touched")

    async def _write_head(self, head: Head) -> None:
        await self._raise_to(HEAD, HEAD_ID, head.revision, msgspec.to_builtins(head), "revision")

    async def _raise_to(
        self, collection: Collection, document_id: str, level: int, document: Mapping[str, Any], field: str
    ) -> None:
        """Writes unless what is there is as new; `field` holds how new it is."""
        version, reached = self._versions.get(document_id, (ABSENT, -1))
        while reached < level:
            try:
                version = await self._store.put(collection, document_id, document, expected=version)
                reached = level
            except VersionConflict:
                stored = await self._store.get(collection, document_id)
                version, reached = (
                    (ABSENT, -1) if stored is None else (stored.version, stored.document[field])
                )
        self._versions[document_id] = (version, reached)


def _document(key: Key, revision: int, resource: Resource | None, at_ms: int) -> tuple[int, dict[str, Any]]:
    """How new a resource is, and the document of it, or the mark that it is gone."""
    if resource is not None:
        return resource.touched, msgspec.to_builtins(resource)
    return revision, {"kind": key[0], "id": key[1], "gone": True, "touched": revision, "atMs": at_ms}
