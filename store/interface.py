"""The store: durable documents and streams behind one narrow interface (DESIGN section 8).

Both adapters, embedded SQLite and MongoDB, promise the same and pass one contract suite. No transaction, change
stream or aggregation: one document is written at a time, and what must be one write is one document.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

Document = dict[str, Any]
"""JSON values and bytes, by field name. Any string is a field name or value, `$` and dots included, and stays data."""

ANY: Final = -1
"""For `expected`: whatever version is there, or none."""
ABSENT: Final = 0
"""For `expected`: there must be none."""


@dataclass(frozen=True, slots=True)
class Collection:
    """Documents of one sort, declared beside the code that needs them.

    name: `[a-z_]+`. indexes: top-level fields that `list` may select by; their values are strings, integers
    or absent. schema: version of the documents' shape; see `migrate`.
    """

    name: str
    indexes: tuple[str, ...] = ()
    schema: int = 1


@dataclass(frozen=True, slots=True)
class Stream:
    """Entries of one sort in order of time, grouped by key (a proxy, a client), deduplicated by entry id.

    indexes: top-level fields that `scan` may select by, as in Collection.
    """

    name: str
    indexes: tuple[str, ...] = ()
    schema: int = 1


@dataclass(frozen=True, slots=True)
class Stored:
    """A document as it is. version: 1 at first, one more with every write."""

    id: str
    version: int
    document: Document


@dataclass(frozen=True, slots=True)
class Write:
    """One document for `put_many`. expected: as for `put`."""

    id: str
    document: Mapping[str, Any]
    expected: int = ANY


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """One entry. id: unique within its stream. at_ms: wall milliseconds."""

    id: str
    key: str
    at_ms: int
    document: Document


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a list. cursor: where it goes on, None at the end; opaque, and only for the same question."""

    items: Sequence[Stored]
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class StreamPage:
    """Part of a scan. cursor: as in Page."""

    entries: Sequence[StreamEntry]
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """Everything a store holds; a collection or stream that is not in it does not exist for its user."""

    collections: tuple[Collection, ...] = ()
    streams: tuple[Stream, ...] = field(default=())


class Store(Protocol):
    """Durable when a writing method returns; unknown when it raises StoreUnavailable; safe to repeat.

    All methods raise StoreUnavailable when the store is away or too slow, never hang; `list` and `scan` raise
    ValueError for a cursor that is not theirs.
    """

    async def open(self) -> None:
        """Connects, makes collections, streams and indexes, migrates. Raises SchemaTooNew, StoreUnavailable."""
        ...

    async def close(self) -> None:
        """Lets go; twice is fine."""
        ...

    async def put(
        self, collection: Collection, document_id: str, document: Mapping[str, Any], *, expected: int = ANY
    ) -> int:
        """Writes the whole document and returns its new version. Raises VersionConflict, and then nothing changed."""
        ...

    async def put_many(self, collection: Collection, writes: Sequence[Write]) -> list[int | None]:
        """Writes documents of different ids, each on its own as by `put`, in one call because that is faster.

        The new version of each, None where it was at another than expected. All or some may be written when it
        raises StoreUnavailable; none is when it raises ValueError.
        """
        ...

    async def get(self, collection: Collection, document_id: str) -> Stored | None:
        """The document, or None."""
        ...

    async def list(
        self,
        collection: Collection,
        *,
        where: Mapping[str, str | int] | None = None,
        after: str | None = None,
        descending: bool = False,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page:
        """Documents in order of id (bytewise), those beyond id `after` when given.

        where: at most one indexed field and the value it must equal. Documents written meanwhile may or may
        not show; no document shows twice and none that stays is left out.
        """
        ...

    async def delete(self, collection: Collection, document_id: str, *, expected: int = ANY) -> bool:
        """Whether there was one. Raises VersionConflict when it is at another version than `expected`."""
        ...

    async def append(self, stream: Stream, entries: Iterable[StreamEntry]) -> int:
        """Adds entries all or none, in one write; returns how many were new: an id that is there stays as it is."""
        ...

    async def scan(
        self,
        stream: Stream,
        *,
        key: str | None = None,
        where: Mapping[str, str | int] | None = None,
        from_ms: int | None = None,
        until_ms: int | None = None,
        descending: bool = True,
        cursor: str | None = None,
        limit: int = 100,
    ) -> StreamPage:
        """Entries in order of (at_ms, id), newest first unless told; from_ms inclusive, until_ms exclusive.

        where: at most one indexed field.
        """
        ...

    async def fetch(self, stream: Stream, entry_ids: Sequence[str]) -> Sequence[StreamEntry]:
        """Those of the entries that are there, in any order."""
        ...

    async def trim(self, stream: Stream, *, before_ms: int, limit: int = 10_000) -> int:
        """Removes the oldest entries before a time, at most `limit`; returns how many."""
        ...
