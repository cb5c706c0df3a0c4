"""What happens when an embedded store is opened: its sorts are registered, and old documents brought up to date.

Nothing is changed before every sort's schema is known to be one that this version can read. A sort is a
collection or a stream; its documents are rewritten some at a time, and a cut-off run is simply begun again.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from models.errors import SchemaTooNew
from store import sqlite_schema as sql
from store.codec import decode, encode, index_values
from store.interface import Collection, Layout, Stream
from store.migrations import Migrations, migrated
from store.sqlite_file import SqliteFile

Kind = Literal["collection", "stream"]

AT_ONCE: Final = 200
"""Documents in one transaction of upkeep."""

_encode: Final = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True, slots=True)
class Sort:
    """A collection or stream as it is registered. number: its key in the tables; due: whether upkeep is."""

    kind: Kind
    declared: Collection | Stream
    number: int
    due: bool


def slots(values: tuple[bytes | int | None, ...]) -> tuple[bytes | int | None, ...]:
    """Values for all slots, None in those that are not used."""
    return values + (None,) * (sql.SLOTS - len(values))


def register(file: SqliteFile, layout: Layout) -> tuple[Sort, ...]:
    """All sorts of the layout, added where they are new. Raises SchemaTooNew, StoreUnavailable."""
    declared: list[tuple[Kind, Collection | Stream]] = [
        *(("collection", collection) for collection in layout.collections),
        *(("stream", stream) for stream in layout.streams),
    ]
    with file.reading() as connection:
        found = _found(connection)
        as_wanted = all(
            (kind, sort.name) in found and found[kind, sort.name].schema == sort.schema
            for kind, sort in declared
        )
    if not as_wanted:
        with file.writing() as connection:
            _claim(connection, declared)
            found = _found(connection)
    _refuse_newer(found, declared)
    return tuple(
        Sort(kind, sort, row.number, due=row.settled < sort.schema or row.fields != _encode(sort.indexes))
        for kind, sort in declared
        for row in (found[kind, sort.name],)
    )


def keep_up(file: SqliteFile, sort: Sort, start: bytes, migrations: Migrations) -> bytes | None:
    """Brings some documents from id `start` on up to date; returns where to go on, None when all are."""
    declared = sort.declared
    with file.writing() as connection:
        rows = connection.execute(sql.SOME[sort.kind], (sort.number, start, AT_ONCE)).fetchall()
        for identifier, schema, body in rows:
            document = decode(body)
            step = int(schema < declared.schema)
            if step:
                document = migrated(declared, schema, document, migrations)
                body = encode(document)  # noqa: PLW2901 - the row's new body
            values = slots(index_values(document, declared.indexes))
            connection.execute(
                sql.REWRITE[sort.kind],
                (step, max(schema, declared.schema), body, *values, sort.number, identifier),
            )
        if len(rows) == AT_ONCE:
            return bytes(rows[-1][0]) + b"\0"
        connection.execute(sql.SETTLE_SORT, (declared.schema, _encode(declared.indexes), sort.number))
    return None


@dataclass(frozen=True, slots=True)
class _Row:
    number: int
    schema: int
    settled: int
    fields: bytes


def _found(connection: sqlite3.Connection) -> dict[tuple[str, str], _Row]:
    return {
        (kind, name): _Row(number, schema, settled, fields)
        for number, kind, name, schema, settled, fields in connection.execute(sql.SORTS)
    }


def _refuse_newer(
    found: dict[tuple[str, str], _Row], declared: list[tuple[Kind, Collection | Stream]]
) -> None:
    for kind, sort in declared:
        row = found.get((kind, sort.name))
        if row is not None and row.schema > sort.schema:
            raise SchemaTooNew(f"{sort.name} has schema {row.schema}, this version knows {sort.schema}")


def _claim(connection: sqlite3.Connection, declared: list[tuple[Kind, Collection | Stream]]) -> None:
    """Writes the schemas before any document is migrated, so that an older version is refused from then on."""
    found = _found(connection)
    _refuse_newer(found, declared)
    for kind, sort in declared:
        row = found.get((kind, sort.name))
        if row is None:
            fields = _encode(sort.indexes)
            connection.execute(sql.ADD_SORT, (kind, sort.name, sort.schema, sort.schema, fields))
        elif row.schema < sort.schema:
            connection.execute(sql.CLAIM_SORT, (sort.schema, row.number))
