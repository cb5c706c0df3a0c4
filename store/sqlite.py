"""The embedded store: one SQLite file, one thread, one connection (standard library only).

A write is synced to the disk before it is acknowledged. Several processes may open the same file. Nothing
of SQLite runs on the event loop, and no statement is built from input.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from models.errors import StoreUnavailable, VersionConflict
from store import sqlite_schema as sql
from store.codec import LEAST_INT, MOST_INT, decode, encode, index_value, index_values, name_bytes, whole
from store.cursors import Position, Question
from store.interface import (
    ABSENT,
    ANY,
    Collection,
    Document,
    Layout,
    Page,
    Stored,
    Stream,
    StreamEntry,
    StreamPage,
    Write,
)
from store.migrations import Migrations, check_migrations, migrated, sorts
from store.sqlite_file import SqliteFile
from store.sqlite_upkeep import Sort, keep_up, register, slots
from store.thread import StoreThread

T = TypeVar("T")

_NAME: Final = re.compile(r"[a-z_]{1,64}")
_BEYOND: Final = b"\xff"
"""Above every id: UTF-8 never holds this byte."""


class SqliteStore:
    """The Store of store/interface.py in one file.

    migrations: the steps between schemas, see store/migrations.py. timeout: seconds until a call raises
    StoreUnavailable. Raises ValueError for a layout that cannot be kept.
    """

    def __init__(
        self, path: Path, layout: Layout, *, timeout: float = 5.0, migrations: Migrations | None = None
    ) -> None:
        _check_layout(layout)
        self._migrations = migrations or {}
        check_migrations(layout, self._migrations)
        self._layout, self._timeout = layout, timeout
        self._file = SqliteFile(Path(path).absolute(), timeout)
        self._changing = asyncio.Lock()
        self._thread: StoreThread | None = None
        self._sorts: dict[Collection | Stream, Sort] = {}

    async def open(self) -> None:
        """Makes or opens the file and migrates it; does nothing when it is open. Raises SchemaTooNew, StoreUnavailable."""
        async with self._changing:
            if self._thread is not None:
                return
            thread = StoreThread("sqlite-store", self._timeout)
            try:
                await thread.run(self._file.open)
                registered = await thread.run(lambda: register(self._file, self._layout))
                for sort in registered:
                    if sort.due:
                        await self._keep_up(thread, sort)
            except BaseException:
                await self._stop(thread)
                raise
            self._sorts = {sort.declared: sort for sort in registered}
            self._thread = thread

    async def _keep_up(self, thread: StoreThread, sort: Sort) -> None:
        """Each part is a call of its own, so that a large store has as long as it needs."""
        start: bytes | None = b""
        while start is not None:
            begin = start
            start = await thread.run(lambda: keep_up(self._file, sort, begin, self._migrations))  # noqa: B023 - run before the loop goes on

    async def close(self) -> None:
        """Ends what waits, then lets go of the file; twice is fine. Never raises for a disk that hangs."""
        async with self._changing:
            thread, self._thread = self._thread, None
            if thread is not None:
                await self._stop(thread)

    async def _stop(self, thread: StoreThread) -> None:
        try:
            await thread.stop(self._file.close)
        except StoreUnavailable:
            # The thread hangs in a call; should that ever return, the thread closes its file and ends.
            self._file = SqliteFile(self._file.path, self._timeout)

    async def put(
        self, collection: Collection, document_id: str, document: Mapping[str, Any], *, expected: int = ANY
    ) -> int:
        """See Store.put. Raises ValueError for a document or id that cannot be kept."""
        write = self._written(collection, Write(document_id, document, expected))

        def job() -> int:
            with self._file.writing() as connection:
                there, version = write(connection)
                if version is None:
                    raise VersionConflict(f"{collection.name}: expected version {expected}, there is {there}")
                return version

        return await self._run(job)

    async def put_many(self, collection: Collection, writes: Sequence[Write]) -> list[int | None]:
        """See Store.put_many. Here all or none are written when it raises."""
        if len({write.id for write in writes}) != len(writes):
            raise ValueError("one call writes a document once")
        prepared = [self._written(collection, write) for write in writes]
        if not prepared:
            self._opened()
            return []

        def job() -> list[int | None]:
            with self._file.writing() as connection:
                return [write(connection)[1] for write in prepared]

        return await self._run(job)

    def _written(
        self, collection: Collection, write: Write
    ) -> Callable[[sqlite3.Connection], tuple[int, int | None]]:
        """Checks and encodes now; what it returns writes: the version that was there, and the new one if it fits."""
        sort = self._sort(collection)
        identifier = name_bytes(write.id, "id")
        expected = _expected(write.expected)
        body = encode(write.document)
        values = slots(index_values(write.document, collection.indexes))

        def apply(connection: sqlite3.Connection) -> tuple[int, int | None]:
            row = connection.execute(sql.VERSION, (sort.number, identifier)).fetchone()
            version = int(row[0]) if row else ABSENT
            if expected not in {ANY, version}:
                return version, None
            connection.execute(
                sql.UPDATE if row else sql.INSERT,
                (version + 1, collection.schema, body, *values, sort.number, identifier),
            )
            return version, version + 1

        return apply

    async def get(self, collection: Collection, document_id: str) -> Stored | None:
        """See Store.get."""
        sort = self._sort(collection)
        identifier = name_bytes(document_id, "id")

        def job() -> Stored | None:
            with self._file.reading() as connection:
                row = connection.execute(sql.GET, (sort.number, identifier)).fetchone()
            return Stored(document_id, row[0], self._read(collection, row[1], row[2])) if row else None

        return await self._run(job)

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
        """See Store.list. `after` counts in the list's own direction: with descending, ids below it."""
        sort = self._sort(collection)
        slot, wanted = _selected(collection, where)
        limit = _limit(limit)
        begins = [] if after is None else [name_bytes(after, "after")]
        question = Question("list", collection.name, after, descending, where=where)
        position = question.position(cursor)
        low, high = b"", _BEYOND
        begins += [position[1]] if position else []
        for begin in begins:
            low, high = (low, min(high, begin)) if descending else (max(low, begin + b"\0"), high)
        statement = sql.LIST[slot][descending]

        def job() -> Page:
            with self._file.reading() as connection:
                rows = connection.execute(statement, (sort.number, *wanted, low, high, limit + 1)).fetchall()
            items = tuple(
                Stored(identifier.decode(), version, self._read(collection, schema, body))
                for identifier, version, schema, body in rows[:limit]
            )
            return Page(items, question.cursor((0, rows[limit - 1][0])) if len(rows) > limit else None)

        return await self._run(job)

    async def delete(self, collection: Collection, document_id: str, *, expected: int = ANY) -> bool:
        """See Store.delete. False when there is none, whatever version is expected."""
        sort = self._sort(collection)
        identifier = name_bytes(document_id, "id")
        expected = _expected(expected)

        def job() -> bool:
            with self._file.writing() as connection:
                row = connection.execute(sql.VERSION, (sort.number, identifier)).fetchone()
                if row is None:
                    return False
                if expected not in {ANY, row[0]}:
                    raise VersionConflict(
                        f"{collection.name}: expected version {expected}, there is {row[0]}"
                    )
                connection.execute(sql.DELETE, (sort.number, identifier))
                return True

        return await self._run(job)

    async def append(self, stream: Stream, entries: Iterable[StreamEntry]) -> int:
        """See Store.append. Of two entries with one id in the same call, the first counts."""
        sort = self._sort(stream)
        rows = [
            (
                sort.number,
                name_bytes(entry.id, "id"),
                name_bytes(entry.key, "key"),
                whole(entry.at_ms, "at_ms"),
                stream.schema,
                encode(entry.document),
                *slots(index_values(entry.document, stream.indexes)),
            )
            for entry in entries
        ]
        if not rows:
            self._opened()
            return 0

        def job() -> int:
            with self._file.writing() as connection:
                return connection.executemany(sql.APPEND, rows).rowcount

        return await self._run(job)

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
        """See Store.scan."""
        sort = self._sort(stream)
        slot, wanted = _selected(stream, where)
        limit = _limit(limit)
        low: Position = (LEAST_INT if from_ms is None else whole(from_ms, "from_ms"), b"")
        high: Position = (MOST_INT, _BEYOND) if until_ms is None else (whole(until_ms, "until_ms"), b"")
        by_key = () if key is None else (name_bytes(key, "key"),)
        question = Question("scan", stream.name, key, from_ms, until_ms, descending, where=where)
        position = question.position(cursor)
        if position is not None and descending:
            high = min(high, position)
        elif position is not None:
            low = max(low, (position[0], position[1] + b"\0"))
        statement = (sql.SCAN if key is None else sql.SCAN_KEY)[slot][descending]

        def job() -> StreamPage:
            asked = (sort.number, *by_key, *wanted, *low, *high, limit + 1)
            with self._file.reading() as connection:
                rows = connection.execute(statement, asked).fetchall()
            entries = tuple(self._entry(stream, row) for row in rows[:limit])
            if len(rows) <= limit:
                return StreamPage(entries)
            return StreamPage(entries, question.cursor((rows[limit - 1][2], rows[limit - 1][0])))

        return await self._run(job)

    async def fetch(self, stream: Stream, entry_ids: Sequence[str]) -> Sequence[StreamEntry]:
        """See Store.fetch."""
        sort = self._sort(stream)
        asked = [(sort.number, name_bytes(one, "id")) for one in dict.fromkeys(entry_ids)]

        def job() -> list[StreamEntry]:
            with self._file.reading() as connection:
                rows = [connection.execute(sql.FETCH, one).fetchone() for one in asked]
            return [self._entry(stream, row) for row in rows if row is not None]

        return await self._run(job)

    async def trim(self, stream: Stream, *, before_ms: int, limit: int = 10_000) -> int:
        """See Store.trim."""
        sort = self._sort(stream)
        asked = (sort.number, whole(before_ms, "before_ms"), _limit(limit))

        def job() -> int:
            with self._file.writing() as connection:
                return connection.execute(sql.TRIM, asked).rowcount

        return await self._run(job)

    def _opened(self) -> StoreThread:
        if self._thread is None:
            raise StoreUnavailable("the store is not open")
        return self._thread

    async def _run(self, job: Callable[[], T]) -> T:
        return await self._opened().run(job)

    def _sort(self, declared: Collection | Stream) -> Sort:
        self._opened()
        sort = self._sorts.get(declared)
        if sort is None:
            raise ValueError(f"{declared.name} is not in this store's layout")
        return sort

    def _entry(self, stream: Stream, row: tuple[bytes, bytes, int, int, bytes]) -> StreamEntry:
        identifier, key, at_ms, schema, body = row
        return StreamEntry(identifier.decode(), key.decode(), at_ms, self._read(stream, schema, body))

    def _read(self, declared: Collection | Stream, schema: int, body: bytes) -> Document:
        document = decode(body)
        if schema == declared.schema:
            return document
        return migrated(declared, schema, document, self._migrations)


def _check_layout(layout: Layout) -> None:
    for declared in (layout.collections, layout.streams):
        if len({sort.name for sort in declared}) != len(declared):
            raise ValueError("a layout names each collection and stream once")
    for sort in sorts(layout):
        if not _NAME.fullmatch(sort.name):
            raise ValueError(f"{sort.name!r}: a name has 1 to 64 of a to z and _")
        if sort.schema < 1:
            raise ValueError(f"{sort.name}: schemas are counted from 1")
        if len(sort.indexes) > sql.SLOTS or len(set(sort.indexes)) != len(sort.indexes):
            raise ValueError(f"{sort.name}: at most {sql.SLOTS} indexed fields, each once")


def _selected(
    declared: Collection | Stream, where: Mapping[str, str | int] | None
) -> tuple[int, tuple[bytes | int, ...]]:
    """The slot that `where` names and the value it must have."""
    if not where:
        return sql.NO_SLOT, ()
    if len(where) > 1:
        raise ValueError("where names at most one field")
    ((field, value),) = where.items()
    if field not in declared.indexes:
        raise ValueError(f"{declared.name} has no such indexed field")
    return declared.indexes.index(field), (index_value(value, field),)


def _expected(version: int) -> int:
    if whole(version, "expected") < ANY:
        raise ValueError("expected is a version, ABSENT or ANY")
    return version


def _limit(limit: int) -> int:
    if not 1 <= whole(limit, "limit") < MOST_INT:
        raise ValueError("limit must be at least 1")
    return limit
