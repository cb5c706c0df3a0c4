"""Readiness: a write, asked for by many and made once."""

from __future__ import annotations

import asyncio
from pathlib import Path

from control_api.layout import LAYOUT, MIGRATIONS
from control_api.readiness import PROBE, Readiness
from models.clock import SystemClock
from store.sqlite import SqliteStore


async def test_many_questions_are_one_write(tmp_path: Path) -> None:
    """Within a second; and a store that is gone takes none."""
    store = SqliteStore(tmp_path / "c.db", LAYOUT, migrations=MIGRATIONS)
    await store.open()
    readiness = Readiness(store, SystemClock())
    assert all(await asyncio.gather(*(readiness.writes_work() for _ in range(50))))
    stored = await store.get(PROBE, "probe")
    assert stored is not None
    assert stored.version == 1
    await store.close()
    assert not await Readiness(store, SystemClock()).writes_work()
