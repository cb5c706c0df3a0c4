"""The control plane's end of the intake process: starts it, hands it what a region reports, starts another when it dies.

What is reported is taken over one report at a time. A report whose outcome nobody knows is answered as such, and comes
again: taking over is safe to repeat. It must never keep a caller waiting without end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from control_api.records.intake import Owners
from control_api.records.intake_frames import (
    Away,
    Done,
    FromControl,
    FromIntake,
    Known,
    Open,
    Take,
    Who,
    Wrong,
    from_intake,
    receive,
    send,
)
from control_api.tasks import spawn
from models.errors import ExeatError, Invalid, StoreUnavailable
from models.planes.records import RecordBatch

PATIENCE_SECONDS: Final = 20.0
"""For a report; a region waits a little longer for its answer."""
MOST_WAITING: Final = 32
"""Reports that wait for their turn; regions repeat what they got no answer to."""
PAUSE_SECONDS: Final = (0.1, 5.0)
"""The first and the longest wait after a process that did not come up; it doubles in between."""
END_SECONDS: Final = 5.0
_PROGRAM: Final = "control_api.records.intake_program"
_GONE: Final = (OSError, asyncio.IncompleteReadError, msgspec.DecodeError)

_log = logging.getLogger("exeat.control.records")


class _Child(NamedTuple):
    """A running intake process."""

    process: asyncio.subprocess.Process
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, frame: FromControl) -> FromIntake:
        """Raises what `_GONE` says."""
        await send(self.writer, frame)
        return from_intake.decode(await receive(self.reader))


class IntakeProcess:
    """A Taker (`control_api.records.service`) in a process of its own, of one store."""

    def __init__(
        self,
        place: str | Path,
        owners: Owners,
        *,
        patience: float = PATIENCE_SECONDS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """place: of a store that was opened before, as for `open_store`. patience: seconds for one report.

        now: monotonic seconds.
        """
        self._place, self._owners, self._patience, self._now = str(place), owners, patience, now
        self._turn = asyncio.Lock()
        self.waiting = 0
        """Reports that are being taken over, or wait for that."""
        self._child: _Child | None = None
        self._closed = False
        self._pause, self._not_before = 0.0, 0.0

    @property
    def pid(self) -> int:
        """Of the living process; 0 when there is none."""
        return 0 if self._child is None else self._child.process.pid

    async def open(self) -> None:
        """Starts the process. Raises StoreUnavailable; then the next report tries again."""
        async with self._turn:
            await self._running()

    async def close(self) -> None:
        """Ends the process, after the report under way. Twice is fine."""
        self._closed = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS), self._turn:
                pass
        await self._drop()

    async def take(self, region: str, batches: Sequence[RecordBatch]) -> None:
        """See Intake.take."""
        if self.waiting >= MOST_WAITING:
            raise StoreUnavailable("too many reports wait to be taken over")
        # Who gives up does not end it: the next frame would be the answer to this one.
        working = spawn("records-intake", self._take(region, tuple(batches)))
        try:
            async with asyncio.timeout(self._patience):
                error = await asyncio.shield(working)
        except TimeoutError:
            raise StoreUnavailable(f"records were not taken over within {self._patience:g} s") from None
        if error is not None:
            raise error

    async def _take(self, region: str, batches: tuple[RecordBatch, ...]) -> ExeatError | None:
        self.waiting += 1
        try:
            async with self._turn:
                return await self._answer(Take(region, batches))
        finally:
            self.waiting -= 1

    async def _answer(self, asked: Take) -> ExeatError | None:
        try:
            child = await self._running()
            answer = await child.ask(asked)
            while isinstance(answer, Who):
                answer = await child.ask(Known(dict(await self._owners(answer.proxy_ids))))
        except StoreUnavailable as error:
            return error
        except _GONE:
            await self._drop()
            if not self._closed:
                _log.warning("the process that takes records over has ended")
            return StoreUnavailable("the process that takes records over has ended")
        if isinstance(answer, Wrong):
            return Invalid(answer.detail, errors=answer.errors)
        return None if isinstance(answer, Done) else StoreUnavailable(answer.detail)

    async def _running(self) -> _Child:
        """The process, started when there is none. Raises StoreUnavailable."""
        if self._child is not None:
            return self._child
        if self._closed or self._now() < self._not_before:
            raise StoreUnavailable("the process that takes records over is not running")
        try:
            child = self._child = await self._started()
            answer = await child.ask(Open(self._place))
        except _GONE as error:
            answer = Away(f"the process that takes records over did not start: {type(error).__name__}")
        except BaseException:
            await self._drop()
            raise
        if not isinstance(answer, Done):
            await self._drop()
            first, longest = PAUSE_SECONDS
            self._pause = min(longest, max(first, 2 * self._pause))
            self._not_before = self._now() + self._pause
            raise StoreUnavailable(
                answer.detail if isinstance(answer, Away) else "no answer of a new process"
            )
        self._pause = self._not_before = 0.0
        return child

    async def _started(self) -> _Child:
        """A new process, in a session of its own: with that it can be given less of the processor than we have.

        Raises OSError.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            command = (sys.executable, "-P", "-m", _PROGRAM, str(theirs.fileno()))
            try:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
            except BaseException:
                ours.close()
                raise
        ours.setblocking(False)
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        return _Child(process, reader, writer)

    async def _drop(self) -> None:
        """Lets go of the process and sees that it ends."""
        child, self._child = self._child, None
        if child is None:
            return
        child.writer.close()
        with contextlib.suppress(OSError):
            await child.writer.wait_closed()
        try:
            async with asyncio.timeout(END_SECONDS):
                await child.process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                child.process.kill()
            await child.process.wait()
