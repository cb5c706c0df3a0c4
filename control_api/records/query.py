"""Finding records again: a client's or a proxy's, newest first, by any combination of what may be asked for.

One condition besides the proxy is answered from an index alone. Several are answered by going through the sparsest of
their indexes; one request looks at a bounded number of records and then says where to go on, also with an empty page.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Final

import msgspec

from control_api.records.layout import RECORDS, mark
from control_api.records.lines import entry_id
from store.interface import Document, Store, StreamEntry, StreamPage

MOST_READ: Final = 2_000
"""Records that one request looks at when no index answers it alone."""
READ_AT_ONCE: Final = 500
PROBED: Final = 50
"""Records of each index that are looked at to find the sparsest."""

Where = Mapping[str, str]

_encode = msgspec.msgpack.Encoder().encode


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for; None is anything. from_ms: inclusive, until_ms: exclusive; wall milliseconds of `receivedAt`."""

    client_id: str
    proxy_id: str | None = None
    status: int | str | None = None
    code: str | None = None
    credential_id: str | None = None
    from_ms: int | None = None
    until_ms: int | None = None

    @property
    def indexes(self) -> tuple[Where, ...]:
        """What each index that helps is asked: all of them must hold, and together they are all that is asked for."""
        given = (
            ("credential", self.credential_id),
            ("code", self.code),
            ("status", self.status),
        )
        found = [{field: mark(self.client_id, value)} for field, value in given if value is not None]
        return tuple(found) or ({} if self.key else {"client": mark(self.client_id)},)

    @property
    def key(self) -> str | None:
        """Of the proxy's records, None where all of the client's are asked for."""
        return None if self.proxy_id is None else mark(self.client_id, self.proxy_id)

    @property
    def digest(self) -> bytes:
        """Tells the cursor of one question from that of another."""
        return blake2b(_encode(self), digest_size=12).digest()


class _Place(msgspec.Struct, frozen=True, array_like=True):
    """Where a question with several conditions goes on: after `at_ms`, `last` on the page of `index` at `cursor`."""

    digest: bytes
    index: int
    cursor: str | None
    at_ms: int
    last: str


_read_place = msgspec.msgpack.Decoder(_Place).decode


class Found(msgspec.Struct, frozen=True):
    """Records as JSON, newest first. cursor: where they go on, None at the end."""

    lines: tuple[bytes, ...]
    cursor: str | None


async def find(store: Store, wanted: Wanted, *, cursor: str | None, limit: int) -> Found:
    """At most `limit` records. Raises ValueError for a cursor that is not of this question, StoreUnavailable."""
    indexes = wanted.indexes
    if len(indexes) > 1:
        return await _through(store, wanted, indexes, cursor, limit)
    page = await _scan(store, wanted, indexes[0], cursor, limit)
    return Found(tuple(entry.document["line"] for entry in page.entries), page.cursor)


async def get(
    store: Store, regions: Sequence[str], client_id: str, proxy_id: str | None, request_id: str
) -> bytes | None:
    """One record of a client, or of one of its proxies, as JSON. regions: all there are. Raises StoreUnavailable."""
    wanted = Wanted(client_id=client_id, proxy_id=proxy_id)
    for entry in await store.fetch(RECORDS, [entry_id(region, request_id) for region in regions]):
        if wanted.key in {None, entry.key} and entry.document["client"] == mark(client_id):
            line: bytes = entry.document["line"]
            return line
    return None


async def _through(
    store: Store, wanted: Wanted, indexes: Sequence[Where], cursor: str | None, limit: int
) -> Found:
    """Goes through one index and leaves out what the others do not have."""
    if cursor is None:
        place = _Place(wanted.digest, await _sparsest(store, wanted, indexes), None, 0, "")
    else:
        place = _place(cursor, wanted, len(indexes))
    lines: list[bytes] = []
    for _ in range(MOST_READ // READ_AT_ONCE):
        page = await _scan(store, wanted, indexes[place.index], place.cursor, READ_AT_ONCE)
        for entry in page.entries:
            if _given_before(entry, place) or not _fits(entry.document, indexes):
                continue
            if len(lines) == limit:
                return Found(tuple(lines), _text(place))
            lines.append(entry.document["line"])
            place = msgspec.structs.replace(place, at_ms=entry.at_ms, last=entry.id)
        if page.cursor is None:
            return Found(tuple(lines), None)
        place = _Place(place.digest, place.index, page.cursor, 0, "")
    return Found(tuple(lines), _text(place))


async def _sparsest(store: Store, wanted: Wanted, indexes: Sequence[Where]) -> int:
    """The index whose newest records reach back furthest, or of which there are few at all."""
    reach = []
    for number, index in enumerate(indexes):
        page = await _scan(store, wanted, index, None, PROBED)
        oldest = page.entries[-1].at_ms if page.cursor is not None else -1
        reach.append((oldest, number))
    return min(reach)[1]


async def _scan(store: Store, wanted: Wanted, index: Where, cursor: str | None, limit: int) -> StreamPage:
    return await store.scan(
        RECORDS,
        key=wanted.key,
        where=index or None,
        from_ms=wanted.from_ms,
        until_ms=wanted.until_ms,
        cursor=cursor,
        limit=limit,
    )


def _fits(document: Document, indexes: Sequence[Where]) -> bool:
    return all(document.get(field) == value for index in indexes for field, value in index.items())


def _given_before(entry: StreamEntry, place: _Place) -> bool:
    """Whether a page that is read again begins with this one, which was given already, or with one before it."""
    return bool(place.last) and (entry.at_ms, entry.id.encode()) >= (place.at_ms, place.last.encode())


def _text(place: _Place) -> str:
    return base64.urlsafe_b64encode(_encode(place)).rstrip(b"=").decode()


def _place(cursor: str, wanted: Wanted, indexes: int) -> _Place:
    try:
        raw = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), b"-_", validate=True)
        found = _read_place(raw)
    except (UnicodeEncodeError, binascii.Error, msgspec.MsgspecError):
        raise ValueError("the cursor cannot be read") from None
    if found.digest != wanted.digest or not 0 <= found.index < indexes:
        raise ValueError("the cursor belongs to another question")
    return found
