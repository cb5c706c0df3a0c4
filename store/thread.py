"""One thread for one store's blocking work, in order, with a deadline for whoever waits.

A job that is not begun when its caller gives up is never run; one that is begun ends by itself, and its
outcome stays unknown. The loop never blocks here, however slow the disk.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from models.errors import StoreUnavailable

T = TypeVar("T")

MOST_WAITING: Final = 10_000
"""Jobs that may wait; behind a disk that hangs, more would only use up memory."""


class StoreThread:
    """A daemon thread, so that a disk that hangs cannot keep the process from ending."""

    def __init__(self, name: str, timeout: float) -> None:
        """timeout: seconds that a caller waits for its job."""
        self._timeout = timeout
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def run(self, job: Callable[[], T]) -> T:
        """What `job` returns or raises, called on the thread. Raises StoreUnavailable when that takes too long."""
        if self._jobs.qsize() >= MOST_WAITING:
            raise StoreUnavailable("too many calls wait for the store")
        future: Future[T] = Future()
        self._jobs.put((future, job))
        return await self._outcome(asyncio.wrap_future(future))

    async def stop(self, last: Callable[[], None]) -> None:
        """Ends the thread after what waits, with `last` as its last job, which runs however long that takes.

        Raises StoreUnavailable when it does not end in time.
        """
        future: Future[None] = Future()
        self._jobs.put((future, last))
        self._jobs.put(None)
        await self._outcome(asyncio.shield(asyncio.wrap_future(future)))

    async def _outcome(self, future: asyncio.Future[T]) -> T:
        try:
            async with asyncio.timeout(self._timeout):
                return await future
        except TimeoutError:
            raise StoreUnavailable(f"the store did not answer within {self._timeout:g} s") from None

    def _work(self) -> None:
        while (item := self._jobs.get()) is not None:
            future, job = item
            del item
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = job()
            except BaseException as error:  # noqa: BLE001 - it is the caller's, whatever it is
                future.set_exception(error)
            else:
                future.set_result(result)
                del result
            del future, job
