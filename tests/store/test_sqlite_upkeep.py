"""Upkeep of an embedded store when it is opened: due only where something is old, some documents at a time."""

from __future__ import annotations

from pathlib import Path

from store.interface import Collection, Layout
from store.sqlite import SqliteStore
from store.sqlite_file import SqliteFile
from store.sqlite_upkeep import AT_ONCE, keep_up, register, slots
from tests.kit.stores import opened


async def test_upkeep_is_due_until_every_document_was_seen(tmp_path: Path) -> None:
    """Each call brings at most AT_ONCE documents up to date; the last one settles the sort."""
    plain = Collection("cars")
    path = tmp_path / "a.db"
    async with opened(SqliteStore(path, Layout((plain,)))) as store:
        for number in range(AT_ONCE + 1):
            await store.put(plain, f"{number:04d}", {"a": 1})
    file = SqliteFile(path, 5)
    file.open()
    (sort,) = register(file, Layout((Collection("cars", ("a",)),)))
    assert sort.due
    on = keep_up(file, sort, b"", {})
    assert on == f"{AT_ONCE - 1:04d}".encode() + b"\0"
    (sort,) = register(file, Layout((Collection("cars", ("a",)),)))
    assert sort.due
    assert keep_up(file, sort, on, {}) is None
    (sort,) = register(file, Layout((Collection("cars", ("a",)),)))
    assert not sort.due
    file.close()


def test_unused_slots_are_empty() -> None:
    """Every row has all slots."""
    assert slots((b"a", 1)) == (b"a", 1, None, None, None, None, None, None)
