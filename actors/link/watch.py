"""When a link must leave: the actors do not answer for too long, or the cluster is another one.

A link that leaves is started anew and attaches to whatever cluster there is; staying on a dead one helps nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from models.errors import ExeatError

PATIENCE_SECONDS = 10.0
FIRST_PATIENCE_SECONDS = 60.0
POLL_SECONDS = 0.5


class Detached(ExeatError):
    """The actors cannot be reached from this process any more; only a new one can."""


class Patience:
    """How long calls may go on failing: less once there was a success, because actors may still be starting."""

    def __init__(
        self,
        now: Callable[[], float],
        *,
        seconds: float = PATIENCE_SECONDS,
        first: float = FIRST_PATIENCE_SECONDS,
    ) -> None:
        """now: monotonic seconds. seconds: of failures only, after a success; first: before any."""
        self._now, self._seconds, self._left = now, seconds, first
        self._since: float | None = None

    def success(self) -> bool:
        """A call was answered; whether others had failed before it."""
        back = self._since is not None
        self._since, self._left = None, self._seconds
        return back

    def failure(self) -> bool:
        """One more call failed; whether it is the first in a row."""
        first = self._since is None
        if self._since is None:
            self._since = self._now()
        return first

    def check(self) -> None:
        """Raises Detached when patience is at its end."""
        if self._since is not None and (waited := self._now() - self._since) >= self._left:
            raise Detached(f"no actor answered for {waited:.0f} s")


class Epoch:
    """A file whose content names the cluster; None for no such file."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._first = self._read()

    def changed(self) -> bool:
        """Whether it names another cluster now. A file that is gone or empty names none, so nothing changed."""
        found = self._read()
        self._first = self._first or found
        return bool(found) and found != self._first

    async def watch(self, seconds: float = POLL_SECONDS) -> None:
        """Returns never. seconds: between two looks. Raises Detached when it changed."""
        while True:
            await asyncio.sleep(seconds)
            if self.changed():
                raise Detached("the cluster is a new one")

    def _read(self) -> bytes:
        if self._path is None:
            return b""
        try:
            return self._path.read_bytes()
        except OSError:
            return b""
