"""Roll-ups: which documents a record is in, batches that count once, ranges, months, and what is removed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from control_api.records.layout import RECORDS_LAYOUT, ROLLUPS
from control_api.records.rollups import (
    AT_ONCE,
    DAY,
    GRAINS,
    HOUR,
    MINUTE,
    Additions,
    Grain,
    Rollups,
    additions,
)
from models.record import lines
from models.rollups import rollups
from store.interface import Store
from store.sqlite import SqliteStore
from tests.kit.recorded import AT, record
from tests.kit.stores import opened

MINUTE_OF = AT // 60_000


def some(count: int, *, every_ms: int = 0, proxies: int = 1, client: str = "cli_one") -> Additions:
    """What records in a row add."""
    made = [
        record(f"req_{n}", AT + n * every_ms, proxy_id=f"prx_{n % proxies}", client_id=client)
        for n in range(count)
    ]
    return additions(rollups(lines(made)))


def ms(*moment: int) -> int:
    """Wall milliseconds of a UTC date and time."""
    return int(datetime(*moment, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc]  # year, month, day first


@pytest.mark.parametrize(
    ("grain", "at", "span"),
    [
        (MINUTE, (1970, 1, 1, 0, 59), 0),
        (MINUTE, (1970, 1, 1, 1, 0), 1),
        (HOUR, (1970, 1, 1, 23, 59), 0),
        (HOUR, (1970, 1, 2), 1),
        (DAY, (2028, 2, 29), 2028 * 12 + 1),
        (DAY, (2028, 3, 1), 2028 * 12 + 2),
        (DAY, (9999, 12, 31), 9999 * 12 + 11),
    ],
    ids=lambda value: value.name if isinstance(value, Grain) else None,
)
def test_spans_are_those_of_the_calendar(grain: Grain, at: tuple[int, ...], span: int) -> None:
    """Minutes are kept by the hour, hours by the day, days by the month."""
    assert grain.span_of(ms(*at) // grain.step_ms) == span


def test_a_record_is_counted_for_its_proxy_and_its_client() -> None:
    """In every grain, in the cell of `receivedAt`."""
    found = some(4, every_ms=30_000, proxies=2)
    by_place = {
        (place.grain.name, place.proxy_id): {cell: counts.requests for cell, counts in cells.items()}
        for place, cells in found.items()
    }
    assert by_place["minute", ""] == {MINUTE_OF: 2, MINUTE_OF + 1: 2}
    assert by_place["minute", "prx_0"] == by_place["minute", "prx_1"] == {MINUTE_OF: 1, MINUTE_OF + 1: 1}
    assert by_place["day", "prx_1"] == {AT // DAY.step_ms: 2}
    assert len(by_place) == len(found) == 9


async def test_a_batch_counts_once_however_often_it_comes(store: Store) -> None:
    """By source and number; an older number of the same source changes nothing, another source counts."""
    rollups = Rollups(store)
    wanted = some(3)
    for _ in range(2):
        await rollups.add("us/a", 2, wanted)
    await rollups.add("us/a", 1, wanted)
    await rollups.add("us/b", 1, wanted)
    for grain in GRAINS:
        for proxy in ("", "prx_0"):
            cell = AT // grain.step_ms
            found = await rollups.read(grain, "cli_one", proxy, cell, cell)
            assert found[cell].requests == 6


async def test_more_documents_than_go_at_once(store: Store) -> None:
    """Every proxy has its own."""
    rollups = Rollups(store)
    proxies = AT_ONCE
    await rollups.add("us/a", 1, some(2 * proxies, proxies=proxies))
    found = {
        proxy: sum(c.requests for c in cells.values())
        async for proxy, cells in rollups.month("cli_one", month())
    }
    assert found == {f"prx_{n}": 2 for n in range(proxies)}


def month() -> int:
    """The month of AT."""
    return DAY.span_of(AT // DAY.step_ms)


async def test_stores_side_by_side_lose_nothing(store: Store, tmp_path: Path) -> None:
    """Many sources over two stores of one file at once: every batch is in every sum."""
    async with opened(SqliteStore(tmp_path / "records.db", RECORDS_LAYOUT)) as second:
        wanted = some(2)
        await asyncio.gather(
            *(Rollups(one).add(f"us/{n}", 1, wanted) for n in range(10) for one in (store, second))
        )
    found = await Rollups(store).read(MINUTE, "cli_one", "", MINUTE_OF, MINUTE_OF)
    assert found[MINUTE_OF].requests == 20


async def test_a_range_is_read_to_the_cell(store: Store) -> None:
    """Both ends included, over any number of documents, and of the right client and proxy only."""
    rollups = Rollups(store)
    await rollups.add("us/a", 1, some(300, every_ms=60_000))
    await rollups.add("us/b", 1, some(300, every_ms=60_000, client="cli_two"))
    first, last = MINUTE_OF + 7, MINUTE_OF + 251
    found = await rollups.read(MINUTE, "cli_one", "prx_0", first, last)
    assert sorted(found) == list(range(first, last + 1))
    assert {counts.requests for counts in found.values()} == {1}
    assert await rollups.read(MINUTE, "cli_one", "prx_other", first, last) == {}
    assert await rollups.read(MINUTE, "cli_one", "", MINUTE_OF - 600, MINUTE_OF - 1) == {}


async def test_the_oldest_spans_are_removed(store: Store) -> None:
    """Of their grain only, oldest first, at most as many as told."""
    rollups = Rollups(store)
    await rollups.add("us/a", 1, some(5, every_ms=3_600_000))
    end = MINUTE_OF // 60 + 3
    assert await rollups.trim(MINUTE, end, limit=4) == 4
    assert await rollups.trim(MINUTE, end, limit=4) == 2
    assert await rollups.trim(MINUTE, end) == 0
    found = await rollups.read(MINUTE, "cli_one", "", MINUTE_OF - 60, MINUTE_OF + 600)
    assert sorted(found) == [MINUTE_OF + 180, MINUTE_OF + 240]
    assert len(await rollups.read(HOUR, "cli_one", "", AT // HOUR.step_ms, AT // HOUR.step_ms + 9)) == 5
    assert await rollups.trim(HOUR, 0) == await rollups.trim(DAY, 0) == 0
    assert (await store.list(ROLLUPS)).items
