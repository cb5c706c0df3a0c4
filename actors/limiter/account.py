"""All counters of one proxy: what is loaded, written and waited for together.

Plain state on one event loop. It keeps the version under which the store has it, and who waits for returns; it
never decides to grant or to write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from actors.limiter.ceilings import Entry, Name
from actors.limiter.counters import Counter, Kept
from models.planes.permits import Want


class Account:
    """One proxy. version: of its document. users: calls under way for it. writing: its write under way, if any."""

    __slots__ = ("_waiting", "counters", "key", "users", "version", "writing")

    def __init__(self, entry: Entry) -> None:
        """entry: as the store has it."""
        self.key, self.version = entry.key, entry.version
        self.counters: dict[Name, Counter] = {
            (window, seconds): Counter(entry.key, window, seconds, kept)
            for (window, seconds), kept in entry.counters.items()
        }
        self.users = 0
        self.writing: asyncio.Task[None] | None = None
        self._waiting: list[asyncio.Future[None]] = []

    def counter(self, want: Want, first: int) -> Counter:
        """The one that is wanted, made when needed. first: the earliest window that a new one may be in."""
        name = want.window, want.window_seconds
        found = self.counters.get(name)
        if found is None:
            found = self.counters[name] = Counter(want.key, want.window, want.window_seconds, first=first)
        return found

    def windows(self) -> Iterator[tuple[Name, Kept]]:
        """What each counter would keep, which says in which windows it is."""
        return ((name, one.keep()) for name, one in self.counters.items())

    def keep(self) -> dict[Name, Kept]:
        """What to write now."""
        return {name: one.keep() for name, one in self.counters.items()}

    def saved(self, kept: dict[Name, Kept], version: int) -> None:
        """That was written, as `version`."""
        self.version = version
        for name, one in kept.items():
            self.counters[name].kept = one

    def answered(self, holder: str) -> None:
        """It was asked for what it has, and returned what it could."""
        for counter in self.counters.values():
            held = counter.running.held.get(holder)
            if held is not None and held.asked_ns is not None:
                held.answered, held.deaf = True, False
        self.wake()

    async def changed(self, until: float) -> None:
        """Returns once there is news, or at `until`, a time of the loop."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout_at(until):
                await waiter
        except TimeoutError:
            pass
        finally:
            self._waiting.remove(waiter)

    def wake(self) -> None:
        """There is news for everyone who waits."""
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
