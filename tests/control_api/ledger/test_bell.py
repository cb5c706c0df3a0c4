"""A bell that wakes everybody who waited before it rang."""

from __future__ import annotations

import asyncio

from control_api.ledger.bell import Bell


async def test_all_who_wait_are_woken() -> None:
    """By one ring; those who begin to wait later need another."""
    bell = Bell()
    waiting = [asyncio.ensure_future(bell.wait(5.0)) for _ in range(3)]
    await asyncio.sleep(0)
    bell.ring()
    assert await asyncio.gather(*waiting) == [True] * 3
    assert not await bell.wait(0.001)
