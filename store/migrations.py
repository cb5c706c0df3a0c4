"""The one migration rule: a function per step takes one document from a schema to the next.

Each stored document carries its schema, so a migration that was cut off goes on where it stopped, and one
read before its turn is migrated as it is read. No step sees more than one document or any I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from models.errors import SchemaTooNew
from store.interface import Collection, Document, Layout, Stream

Migration = Callable[[Document], Document]
"""Takes a document of one schema and returns it in the next one; pure, and right for every such document."""

Migrations = Mapping[tuple[str, int], Migration]
"""By name of the collection or stream, and the schema that the migration starts from."""


def sorts(layout: Layout) -> tuple[Collection | Stream, ...]:
    """Everything in a layout, collections first."""
    return (*layout.collections, *layout.streams)


def check_migrations(layout: Layout, migrations: Migrations) -> None:
    """Raises ValueError unless every schema before the present one has its step."""
    missing = [
        f"{sort.name} from schema {schema}"
        for sort in sorts(layout)
        for schema in range(1, sort.schema)
        if (sort.name, schema) not in migrations
    ]
    if missing:
        raise ValueError(f"no migration of {', '.join(missing)}")


def migrated(sort: Collection | Stream, schema: int, document: Document, migrations: Migrations) -> Document:
    """A document of `schema` in the present one. Raises SchemaTooNew for one that is ahead."""
    if schema > sort.schema:
        raise SchemaTooNew(
            f"{sort.name} holds a document of schema {schema}, this version knows {sort.schema}"
        )
    for step in range(schema, sort.schema):
        document = migrations[sort.name, step](document)
    return document
