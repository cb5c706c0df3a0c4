"""What is removed when: records and minutes with them, hours later, days never."""

from __future__ import annotations

import asyncio

import pytest

from control_api.records.intake import Intake
from control_api.records.layout import RECORDS
from control_api.records.retention import HOUR_DAYS, STEP, Retention
from control_api.records.rollups import GRAINS, Rollups
from models.errors import StoreUnavailable
from store.interface import Store
from tests.kit.plane import HandClock
from tests.kit.recorded import AT, US, batch, owned, record

DAY_MS = 86_400_000


async def fill(store: Store, days: int) -> None:
    """One record a day, the newest at AT."""
    records = [record(f"req_{n}", AT - n * DAY_MS) for n in range(days)]
    await Intake(store, owned()).take(US, [batch(1, records)])


async def left(store: Store) -> dict[str, int]:
    """How many records there are, and requests in cells of each grain."""
    page = await store.scan(RECORDS, limit=5_000)
    found = {"records": len(page.entries)}
    for grain in GRAINS:
        last = AT // grain.step_ms
        days = 500 * DAY_MS // grain.step_ms
        cells = await Rollups(store).read(grain, "cli_one", "prx_one", last - days, last)
        found[grain.name] = sum(counts.requests for counts in cells.values())
    return found


async def test_each_is_kept_for_its_time(store: Store) -> None:
    """To the day: what is exactly so old stays."""
    await fill(store, 450)
    retention = Retention(store, HandClock(AT), 30)
    assert await retention.trim() == 450 - 31
    kept = {"records": 31, "minute": 31, "hour": HOUR_DAYS + 1, "day": 450}
    assert await left(store) == kept
    assert await retention.trim() == 0
    assert await left(store) == kept


async def test_many_are_removed_in_steps(store: Store) -> None:
    """All that are due, however many."""
    intake = Intake(store, owned())
    for number in range(1, 4):
        await intake.take(US, [batch(number, [record(f"req_{number}_{n}", AT) for n in range(STEP - 1)])])
    assert await Retention(store, HandClock(AT + 2 * DAY_MS), 1).trim() == 3 * (STEP - 1)
    assert (await left(store))["records"] == 0


async def test_it_runs_by_itself_and_outlives_a_store_that_is_away(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """Once at the start; a failure is a line in the log and no end."""
    await fill(store, 40)
    retention = Retention(store, HandClock(AT), 30)
    retention.open()
    async with asyncio.timeout(10):
        while (await left(store))["minute"] != 31:  # noqa: ASYNC110 - there is nobody to tell
            await asyncio.sleep(0.005)
    await retention.close()
    await retention.close()
    await store.close()
    with pytest.raises(StoreUnavailable):
        await retention.trim()
    retention.open()
    async with asyncio.timeout(10):
        while "old records cannot be removed" not in caplog.text:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.005)
    await retention.close()
