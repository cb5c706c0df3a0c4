"""A control store of an earlier version: it is taken over as it is, and earlier programs stay out from then on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from control_api.layout import LAYOUT, MIGRATIONS
from control_api.ledger.change import CHANGES, SCHEMA, from_document
from control_api.ledger.ledger import rebuild
from control_api.ledger.projection import differences
from models.errors import SchemaTooNew
from store.interface import ABSENT, Document, Layout
from store.sqlite import SqliteStore
from tests.kit.plane import plane, target

FIRST = replace(CHANGES, schema=1)
FIRST_LAYOUT = Layout(collections=(FIRST, *(sort for sort in LAYOUT.collections if sort is not CHANGES)))
"""As it was before a change could hold filters."""


async def logged(store: SqliteStore) -> dict[str, Document]:
    """The log by id."""
    return {one.id: one.document for one in (await store.list(CHANGES)).items}


async def test_a_log_of_the_first_schema_is_taken_over(tmp_path: Path) -> None:
    """Every change is there, is marked and says what it said: the projection is the same."""
    async with plane(tmp_path / "new.db") as here:
        for number in range(3):
            await here.write("create", target(f"tgt_{number}"))
        changes, projection = await logged(here.store), await rebuild(here.store)
    old = SqliteStore(tmp_path / "control.db", FIRST_LAYOUT)
    await old.open()
    for name, document in changes.items():
        await old.put(FIRST, name, {**document, "schema": 1}, expected=ABSENT)
    await old.close()
    store = SqliteStore(tmp_path / "control.db", LAYOUT, migrations=MIGRATIONS)
    await store.open()
    assert await logged(store) == changes
    assert {from_document(document).schema for document in changes.values()} == {SCHEMA}
    assert differences(await rebuild(store), projection) == []
    await store.close()


async def test_an_earlier_program_is_refused(tmp_path: Path) -> None:
    """Once this version has opened a store, one that knows no filters cannot open it, and touches nothing."""
    async with plane(tmp_path / "control.db") as here:
        await here.write("create", target("tgt_1"))
        changes = await logged(here.store)
    with pytest.raises(SchemaTooNew, match="changes"):
        await SqliteStore(tmp_path / "control.db", FIRST_LAYOUT).open()
    async with plane(tmp_path / "control.db") as here:
        assert await logged(here.store) == changes
