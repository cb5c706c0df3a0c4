"""Work that would hold up the loop, on a few threads of its own: large bodies parsed, judged, filtered.

Everything else in a worker runs on the loop. What runs here must be pure, because nothing waits for its end when
the exchange that asked for it is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

LARGE: Final = 16 * 1024
"""Bytes of a body from which on it goes to a thread: smaller ones cost the loop a few milliseconds at worst."""
_THREADS: Final = 2
"""So many large bodies are worked on at once; that also bounds what they take while they are."""

T = TypeVar("T")


class Aside:
    """The threads of one worker; started when they are first needed."""

    __slots__ = ("_pool",)

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None

    def run(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Runs `work` on a thread; the future ends on the loop. Cancelling it drops the result, not the work."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_THREADS, "exeat-aside")
        return asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """Starts nothing more."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
