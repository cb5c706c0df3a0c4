"""The migration rule of store/migrations.py, for every adapter: step by step, resumable, and never backwards."""

from __future__ import annotations

from typing import Any

import pytest

from models.errors import SchemaTooNew
from store.interface import ABSENT, Collection, Document, Layout, Stored, Stream, StreamEntry
from store.migrations import Migrations, check_migrations, migrated
from tests.kit.stores import StoreKit, opened

COUNT = 450
"""More documents than an adapter brings up to date at once."""


def layout(schema: int, *, index: str = "colour") -> Layout:
    """One collection and one stream at a schema."""
    indexes = (index,) if schema > 1 else ()
    return Layout((Collection("cars", indexes, schema),), (Stream("trips", indexes, schema),))


def cars(schema: int) -> Collection:
    """The collection at a schema."""
    return layout(schema).collections[0]


def trips(schema: int) -> Stream:
    """The stream at a schema."""
    return layout(schema).streams[0]


def to_two(document: Document) -> Document:
    """`color` becomes `colour`."""
    return {"colour": document["color"], "steps": [2]}


def to_three(document: Document) -> Document:
    """Another step, which needs the first."""
    return document | {"steps": [*document["steps"], 3]}


STEPS: Migrations = {
    (name, schema): step for name in ("cars", "trips") for schema, step in ((1, to_two), (2, to_three))
}


async def fill(kit: StoreKit) -> None:
    """Documents and entries of schema 1."""
    async with opened(kit.store(layout(1))) as store:
        for number in range(3):
            await store.put(cars(1), f"{number:03d}", {"color": f"c{number % 2}"}, expected=ABSENT)
        entries = [StreamEntry(f"{n:03d}", "k", n, {"color": f"c{n % 2}"}) for n in range(COUNT)]
        await store.append(trips(1), entries)


async def check_all(kit: StoreKit) -> None:
    """Everything is at schema 3, found by its new index, and at one version more than it was."""
    async with opened(kit.store(layout(3), migrations=STEPS)) as store:
        page = await store.list(cars(3), where={"colour": "c0"})
        wanted = {"colour": "c0", "steps": [2, 3]}
        assert page.items == (Stored("000", 2, wanted), Stored("002", 2, wanted))
        scan = await store.scan(trips(3), where={"colour": "c1"}, descending=False, limit=1000)
        assert [entry.id for entry in scan.entries] == [f"{n:03d}" for n in range(1, COUNT, 2)]
        assert all(entry.document == {"colour": "c1", "steps": [2, 3]} for entry in scan.entries)


async def test_documents_go_through_every_step(kit: StoreKit) -> None:
    """From schema 1 to 3, with an index that is new, and again without any change."""
    await fill(kit)
    await check_all(kit)
    await check_all(kit)


async def test_a_migration_that_was_cut_off_goes_on(kit: StoreKit) -> None:
    """A step that fails in the middle leaves what was done; the next open does the rest, each document once."""
    await fill(kit)
    calls = 0

    def fails(document: Document) -> Document:
        nonlocal calls
        calls += 1
        if calls > COUNT // 2 + 50:
            raise RuntimeError("the lights went out")
        return to_two(document)

    broken = {**STEPS, ("trips", 1): fails, ("cars", 1): fails}
    with pytest.raises(RuntimeError, match="lights"):
        async with opened(kit.store(layout(3), migrations=broken)):
            pass
    await check_all(kit)


async def test_a_newer_schema_is_refused(kit: StoreKit) -> None:
    """An older version does not open what a newer one has claimed, even where that one was cut off; nothing changes."""
    await fill(kit)

    def never(document: Document) -> Document:
        raise RuntimeError("at once")

    with pytest.raises(RuntimeError, match="at once"):
        async with opened(kit.store(layout(3), migrations=dict.fromkeys(STEPS, never))):
            pass
    for schema in (1, 2):
        with pytest.raises(SchemaTooNew, match="cars has schema 3"):
            async with opened(kit.store(layout(schema), migrations=STEPS)):
                pass
    await check_all(kit)


async def test_one_newer_sort_refuses_the_whole_store(kit: StoreKit) -> None:
    """When only the stream is ahead, the collection is not migrated either."""
    await fill(kit)
    mixed = Layout(layout(1).collections, layout(3).streams)
    async with opened(kit.store(mixed, migrations=STEPS)):
        pass
    with pytest.raises(SchemaTooNew, match="trips"):
        async with opened(kit.store(layout(2), migrations=STEPS)):
            pass
    async with opened(kit.store(mixed, migrations=STEPS)) as store:
        assert await store.get(cars(1), "000") == Stored("000", 1, {"color": "c0"})


async def test_two_versions_side_by_side(kit: StoreKit) -> None:
    """What an older version, still running, writes after the migration is read in the new schema and a read never loses it."""
    await fill(kit)
    async with (
        opened(kit.store(layout(1))) as older,
        opened(kit.store(layout(3), migrations=STEPS)) as newer,
    ):
        await older.put(cars(1), "new", {"color": "red"})
        assert await newer.get(cars(3), "new") == Stored("new", 1, {"colour": "red", "steps": [2, 3]})
        with pytest.raises(SchemaTooNew):
            await older.get(cars(1), "000")


async def test_a_new_index_finds_old_documents(kit: StoreKit) -> None:
    """Indexed fields may change without a new schema: documents keep version and content."""
    plain = Collection("cars")
    async with opened(kit.store(Layout((plain,)))) as store:
        for number in range(COUNT):
            await store.put(plain, f"{number:03d}", {"a": number % 2, "b": "x"})
    for indexes, where in ((("b", "a"), {"a": 1}), (("a",), {"a": 1})):
        indexed = Collection("cars", indexes)
        async with opened(kit.store(Layout((indexed,)))) as store:
            page = await store.list(indexed, where=where, limit=1000)
            assert [item.id for item in page.items] == [f"{number:03d}" for number in range(1, COUNT, 2)]
            assert {item.version for item in page.items} == {1}


@pytest.mark.parametrize("missing", STEPS)
def test_a_missing_step_is_found_before_anything_is_opened(kit: StoreKit, missing: tuple[str, int]) -> None:
    """A layout at schema 3 needs both steps of both."""
    steps: dict[tuple[str, int], Any] = {key: step for key, step in STEPS.items() if key != missing}
    with pytest.raises(ValueError, match=f"no migration of {missing[0]} from schema {missing[1]}"):
        kit.store(layout(3), migrations=steps)
    check_migrations(layout(3), STEPS)


def test_a_document_ahead_is_refused() -> None:
    """Alone as well as in a store."""
    assert migrated(cars(3), 2, {"steps": []}, STEPS) == {"steps": [3]}
    assert migrated(cars(3), 3, {"a": 1}, STEPS) == {"a": 1}
    with pytest.raises(SchemaTooNew):
        migrated(cars(3), 4, {}, STEPS)
