"""A bell: any number of tasks wait for its next ring, none is missed that began to wait before it.

It carries nothing; whoever wakes looks again at what he waits for.
"""

from __future__ import annotations

import asyncio


class Bell:
    """For tasks of one event loop."""

    __slots__ = ("_next",)

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def ring(self) -> None:
        """Wakes all who wait now."""
        rung, self._next = self._next, asyncio.Event()
        rung.set()

    async def wait(self, seconds: float) -> bool:
        """Whether it rang within `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._next.wait()
        except TimeoutError:
            return False
        return True
