"""A region's policy as the feed tells it: documents made of the projection, and what leads from a revision to now.

It looks at the projection when it is asked, without waiting in between, so that documents, root and revision are
always of one moment. It signs nothing.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

import msgspec

from control_api.ledger.change import DOCUMENT_KINDS, Key
from control_api.ledger.projection import Projection, Resource, region_of
from models.planes.documents import credential_document, proxy_document, target_document
from models.planes.state import Document, root

JOURNAL: Final = 4_096
"""How many changes back a delta may start; from further back the whole state is sent."""

_Parts = Iterable[Mapping[str, Any]]


class _Writer(Protocol):
    """How documents are written."""

    def __call__(
        self,
        one: str,
        client_id: str,
        revision: int,
        body: Mapping[str, Any],
        rules: _Parts,
        /,
        *,
        filters: _Parts,
    ) -> Document: ...


_WRITERS: Final[dict[str, _Writer]] = {
    "credential": credential_document,
    "target": target_document,
    "proxy": proxy_document,
}

_log = logging.getLogger("exeat.control.feed")


class Step(msgspec.Struct, frozen=True):
    """What leads to a revision. base: where it starts, 0 for nothing."""

    base: int
    upserts: tuple[Document, ...]
    deletes: tuple[Key, ...]


class RegionView:
    """projection: handed in with every question, because a ledger may begin a new one. floor: before the first change heard."""

    def __init__(self, region: str, floor: int) -> None:
        self.region = region
        self._floor = floor
        self._journal: deque[tuple[int, tuple[Key, ...]]] = deque()
        self._documents: dict[Key, Document] | None = None
        self._stale: set[Key] = set()
        self._root = ""

    def note(self, revision: int, keys: Iterable[Key]) -> None:
        """A change touched these documents of the region; called in order of revisions."""
        touched = tuple(key for key in keys if key[0] in DOCUMENT_KINDS)
        self._journal.append((revision, touched))
        if len(self._journal) > JOURNAL:
            self._floor, _ = self._journal.popleft()
        self._stale.update(touched)
        self._root = ""

    def root(self, projection: Projection) -> str:
        """The root of all documents."""
        documents = self._fresh(projection)
        if not self._root:
            self._root = root(documents.values())
        return self._root

    def step(self, after: int, projection: Projection) -> Step | None:
        """What leads from revision `after` to the region's present one; None when that is where it is.

        From nothing for -1, for 0, and for a revision too far back or unknown.
        """
        now = projection.region_revision(self.region)
        if after == now:
            return None
        documents = self._fresh(projection)
        if not max(self._floor, 1) <= after < now:
            return Step(0, tuple(documents.values()), ())
        touched = dict.fromkeys(key for revision, keys in self._journal if revision > after for key in keys)
        upserts = tuple(documents[key] for key in touched if key in documents)
        return Step(after, upserts, tuple(key for key in touched if key not in documents))

    def _fresh(self, projection: Projection) -> dict[Key, Document]:
        documents, stale = self._documents, self._stale
        if documents is None:
            documents, stale = {}, set(projection.documents_of(self.region))
        for key in stale:
            resource = projection.get(*key)
            if resource is None or region_of(resource.kind, resource.body) != self.region:
                documents.pop(key, None)
            else:
                documents[key] = document_of(resource, projection)
        self._documents, self._stale = documents, set()
        return documents


def document_of(resource: Resource, projection: Projection) -> Document:
    """A credential, target or proxy with its rules and filters, as edges get it.

    One that cannot be written is sent as a document that no edge can read: what needs it is refused there, and
    the rest of the region goes on.
    """
    key = (resource.kind, resource.id)
    rules = [{**rule.body, "ruleId": rule.id} for rule in projection.list("rule", parent=key)]
    filters = [{**one.body, "filterId": one.id} for one in projection.list("filter", parent=key)]
    try:
        return _WRITERS[resource.kind](
            resource.id, resource.client_id or "", resource.touched, resource.body, rules, filters=filters
        )
    except (ValueError, TypeError):
        _log.error("a resource cannot be written as policy", extra={"kind": resource.kind, "id": resource.id})
        return Document(resource.kind, resource.id, resource.touched, b"null")
