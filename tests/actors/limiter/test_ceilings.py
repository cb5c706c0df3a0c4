"""Ceilings in a real embedded store: kept with the version expected, deleted when old, and never refilled by that."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from actors.limiter.ceilings import CEILINGS, FLOORS, LAYOUT, Ceilings, Entry, is_stale
from actors.limiter.counters import Kept
from models.errors import StoreUnavailable, VersionConflict
from store.sqlite import SqliteStore
from tests.kit.limiter import DAY, MINUTE

HOUR_MS = 3_600_000
KEPT = {MINUTE: Kept(100, 7, 10, 3, 2), DAY: Kept(0, 70, 1000, 3)}


@pytest.fixture
async def ceilings(tmp_path: Path) -> AsyncIterator[Ceilings]:
    """Over a file of its own."""
    found = Ceilings(SqliteStore(tmp_path / "limiter.db", LAYOUT))
    await found.open()
    yield found
    await found.close()


async def test_what_is_kept_is_there_for_the_next_one(tmp_path: Path, ceilings: Ceilings) -> None:
    """All counters of a proxy, by one write; an unknown proxy has none."""
    assert await ceilings.load("p") == Entry("p", 0, {})
    assert await ceilings.keep("p", KEPT, 0) == 1
    other = Ceilings(SqliteStore(tmp_path / "limiter.db", LAYOUT))
    await other.open()
    assert await other.load("p") == Entry("p", 1, KEPT)
    assert await other.page(None, 10) == [Entry("p", 1, KEPT)]
    assert await other.page("p", 10) == []
    await other.close()


async def test_of_two_that_write_one_is_told(ceilings: Ceilings) -> None:
    """Whoever expects an older version writes nothing."""
    await ceilings.keep("p", KEPT, 0)
    with pytest.raises(VersionConflict):
        await ceilings.keep("p", {}, 0)
    assert (await ceilings.load("p")).counters == KEPT


async def test_a_deleted_window_never_begins_again(tmp_path: Path, ceilings: Ceilings) -> None:
    """Not in this process and not in the next; the store keeps one number for each length of windows."""
    assert (ceilings.first(60), ceilings.first(86_400)) == (0, 0)
    for key, number in (("p", 100), ("q", 90), ("r", 120)):
        await ceilings.keep(key, {MINUTE: Kept(number, 7, 10, 3)}, 0)
        await ceilings.drop(await ceilings.load(key))
    assert ceilings.first(60) == 121
    store = SqliteStore(tmp_path / "limiter.db", LAYOUT)
    other = Ceilings(store)
    await other.open()
    assert (other.first(60), other.first(86_400)) == (121, 0)
    assert (await store.list(CEILINGS)).items == ()
    assert len((await store.list(FLOORS)).items) == 1
    await other.close()


async def test_shards_of_one_file_never_lower_what_another_has_written(
    tmp_path: Path, ceilings: Ceilings
) -> None:
    """Each learns of it when it writes itself."""
    other = Ceilings(SqliteStore(tmp_path / "limiter.db", LAYOUT))
    await other.open()
    await ceilings.keep("p", {MINUTE: Kept(100, 7, 10, 3)}, 0)
    await ceilings.keep("q", {MINUTE: Kept(50, 7, 10, 3)}, 0)
    await ceilings.drop(await ceilings.load("p"))
    await other.drop(await other.load("q"))
    assert (ceilings.first(60), other.first(60)) == (101, 101)
    await other.close()


async def test_what_was_written_again_is_not_deleted(ceilings: Ceilings) -> None:
    """The version decides."""
    await ceilings.keep("p", KEPT, 0)
    old = await ceilings.load("p")
    await ceilings.keep("p", KEPT, 1)
    with pytest.raises(VersionConflict):
        await ceilings.drop(old)
    assert (await ceilings.load("p")).counters == KEPT


async def test_a_ceiling_of_another_form_is_an_error_and_never_nothing(tmp_path: Path) -> None:
    """It must not be taken for a proxy that was never used."""
    store = SqliteStore(tmp_path / "limiter.db", LAYOUT)
    ceilings = Ceilings(store)
    await ceilings.open()
    for number, document in enumerate([{}, {"counters": [["minute", 60]]}, {"counters": 3}]):
        await store.put(CEILINGS, f"p{number}", document)
        with pytest.raises(StoreUnavailable):
            await ceilings.load(f"p{number}")
    await ceilings.close()


async def test_a_row_without_a_coming_window_has_nothing_of_it(tmp_path: Path) -> None:
    """As an earlier version wrote it."""
    store = SqliteStore(tmp_path / "limiter.db", LAYOUT)
    ceilings = Ceilings(store)
    await ceilings.open()
    await store.put(CEILINGS, "p", {"counters": [[*MINUTE, 100, 7, 10, 3]]})
    assert (await ceilings.load("p")).counters == {MINUTE: Kept(100, 7, 10, 3, 0)}
    await ceilings.close()


async def test_a_deleted_coming_window_never_begins_again_either(ceilings: Ceilings) -> None:
    """Where anything of it may have been granted; and until it is long over nothing is deleted."""
    await ceilings.keep("p", {MINUTE: Kept(100, 7, 10, 3, 2)}, 0)
    await ceilings.drop(await ceilings.load("p"))
    assert ceilings.first(60) == 102
    minute = (MINUTE, Kept(100, 7, 10, 3, 2))
    assert not is_stale([minute], 101 * 60_000 + HOUR_MS)
    assert is_stale([minute], 102 * 60_000 + HOUR_MS)


def test_only_what_has_long_been_over_is_stale() -> None:
    """A minute for an hour, a day for a day; all windows of a proxy together."""
    minute, day = (MINUTE, Kept(100, 7, 10, 3)), (DAY, Kept(0, 7, 10, 3))
    assert not is_stale([minute], 100 * 60_000 + HOUR_MS)
    assert not is_stale([minute], 100 * 60_000 + HOUR_MS + 59_999)
    assert is_stale([minute], 101 * 60_000 + HOUR_MS)
    assert not is_stale([minute, day], 47 * HOUR_MS)
    assert is_stale([minute, day], 48 * HOUR_MS)
    assert not is_stale([minute], 0)
