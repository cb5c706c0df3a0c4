"""Commands: something an edge does once, now. Each is handed to its region once, and waits for its result.

They are in the memory of the process that was asked; a command that meets no poll of its region here in time is
dropped, never repeated.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

import msgspec

from models.custody.signing import Signed, Signer
from models.planes.feed import COMMAND, Command, CommandResult


class Commands:
    """wake: called when there is a command to fetch."""

    def __init__(self, signer: Signer, wake: Callable[[], None]) -> None:
        self._signer, self._wake = signer, wake
        self._queues: dict[str, deque[tuple[str, Signed]]] = {}
        self._results: dict[str, asyncio.Future[CommandResult]] = {}

    async def run(self, command: Command, seconds: float) -> CommandResult | None:
        """The result, or None when there is none within `seconds`."""
        signed = self._signer.sign(COMMAND, msgspec.msgpack.encode(command))
        waiting: asyncio.Future[CommandResult] = asyncio.get_running_loop().create_future()
        self._results[command.id] = waiting
        queue = self._queues.setdefault(command.region, deque())
        entry = (command.id, signed)
        queue.append(entry)
        self._wake()
        try:
            async with asyncio.timeout(seconds):
                return await waiting
        except TimeoutError:
            return None
        finally:
            del self._results[command.id]
            if entry in queue:
                queue.remove(entry)

    def are_due(self, region: str) -> bool:
        """Whether `take` has any."""
        return bool(self._queues.get(region))

    def take(self, region: str) -> tuple[Signed, ...]:
        """What the region has not been given yet."""
        queue = self._queues.get(region)
        if not queue:
            return ()
        taken = tuple(signed for _, signed in queue)
        queue.clear()
        return taken

    def finish(self, results: Iterable[CommandResult]) -> None:
        """Hands results to those who wait; others' are nobody's any more."""
        for result in results:
            waiting = self._results.get(result.id)
            if waiting is not None and not waiting.done():
                waiting.set_result(result)
