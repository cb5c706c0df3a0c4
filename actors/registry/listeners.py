"""The registry's audience: links that each keep one question outstanding, answered when there is something new.

The shape is that of Ray Serve's long poll, with ids from the change log instead of a process, so that they survive
restarts. A question expires after a jittered while, so that waiting ones never pile up nor come back all at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from actors.registry.pace import Uniform
from models.clock import Clock
from models.custody.sheet import Sheet
from models.custody.signing import Signed
from models.planes.calls import ListenAnswer, ListenRequest
from models.planes.feed import Command
from models.planes.state import Delta, RegionState

EXPIRY: Final = (5.0, 9.0)
"""Seconds a question may stay open; below 10 s, so that every worker hears a fresh manifest that often."""
HISTORY: Final = 256
"""How many revisions back a link may be and still get a delta instead of everything."""
FRESHER_MS: Final = 5_000
"""A manifest issued so much later than the one a link has is worth an answer of its own."""

Keys = frozenset[tuple[str, str]]


class _Turn:
    """One outstanding question."""

    __slots__ = ("event", "over")

    def __init__(self) -> None:
        self.event, self.over = asyncio.Event(), False


class Listeners:
    """Hands the newest state, sheet, manifest and commands to links. Lives on one event loop."""

    def __init__(
        self,
        region: str,
        *,
        clock: Clock,
        uniform: Uniform,
        expiry: tuple[float, float] = EXPIRY,
        history: int = HISTORY,
    ) -> None:
        self._clock, self._uniform, self._expiry = clock, uniform, expiry
        self._state = RegionState.empty(region)
        self._steps: deque[tuple[int, Keys]] = deque(maxlen=history)  # (revision left, what changed then)
        self._sheet: tuple[Signed, int] | None = None
        self._commands: dict[str, tuple[Command, Signed]] = {}
        self._turns: dict[str, _Turn] = {}

    def publish(self, state: RegionState) -> None:
        """Tells everyone of `state`; one that is at the same revision brings a newer issue of its manifest."""
        before, self._state = self._state, state
        if state.revision != before.revision:
            if before.revision < 0:
                self._steps.clear()
            else:
                self._steps.append((before.revision, _changed(before, state)))
        self._wake()

    def publish_sheet(self, signed: Signed, sheet: Sheet) -> None:
        """Tells everyone of a verifier sheet."""
        self._sheet = signed, sheet.number
        self._wake()

    def offer(self, command: Command, signed: Signed) -> None:
        """Holds a command for the first link that asks with a worker attached, until its time has passed."""
        now = self._clock.wall_ms()
        self._commands = {name: one for name, one in self._commands.items() if one[0].expires_ms > now}
        self._commands[command.id] = command, signed
        self._wake()

    async def listen(self, request: ListenRequest) -> ListenAnswer:
        """What is new for this link, at once or as soon as there is; all None when the question expired.

        A second question of the same link ends the first one empty.
        """
        turn = _Turn()
        if (earlier := self._turns.get(request.link)) is not None:
            earlier.over = True
            earlier.event.set()
        self._turns[request.link] = turn
        try:
            async with asyncio.timeout(self._uniform(*self._expiry)):
                while not turn.over:
                    if (answer := self._news(request)) is not None:
                        return answer
                    turn.event.clear()
                    await turn.event.wait()
            return ListenAnswer()
        except TimeoutError:
            return ListenAnswer(manifest=self._issue(request, 0))
        finally:
            if self._turns.get(request.link) is turn:
                del self._turns[request.link]

    def _news(self, request: ListenRequest) -> ListenAnswer | None:
        state = self._state
        delta = self.delta_from(request.revision) if state.revision > request.revision else None
        sheet = self._sheet[0] if self._sheet is not None and self._sheet[1] > request.sheet else None
        commands = self._take_commands() if request.workers else ()
        due = self._issue(request, FRESHER_MS) is not None
        if delta is None and sheet is None and not commands and not due:
            return None
        manifest = self._issue(request, 0) if delta is None else delta.manifest
        return ListenAnswer(delta=delta, sheet=sheet, manifest=manifest, commands=commands)

    def _issue(self, request: ListenRequest, ahead_ms: int) -> Signed | None:
        # A manifest alone is of use only to a link whose documents it vouches for.
        state = self._state
        same = state.revision == request.revision and state.signed is not None
        return state.signed if same and state.issued_ms > request.issued_ms + ahead_ms else None

    def delta_from(self, revision: int) -> Delta:
        """What leads from the state at `revision` to the newest one; everything when that is too long ago."""
        state = self._state
        keys: set[tuple[str, str]] = set()
        for left, changed in reversed(self._steps):
            keys |= changed
            if left == revision:
                break
        else:
            return state.full()
        assert state.signed is not None
        upserts = tuple(state.documents[key] for key in sorted(keys) if key in state.documents)
        deletes = tuple(key for key in sorted(keys) if key not in state.documents)
        return Delta(revision, upserts, deletes, state.signed)

    def _take_commands(self) -> tuple[Signed, ...]:
        now = self._clock.wall_ms()
        alive = tuple(signed for command, signed in self._commands.values() if command.expires_ms > now)
        self._commands.clear()
        return alive

    def _wake(self) -> None:
        for turn in self._turns.values():
            turn.event.set()


def _changed(before: RegionState, after: RegionState) -> Keys:
    """Keys of the documents that differ. Comparing identities first makes the unchanged ones cheap."""
    old, new = before.documents, after.documents
    gone = {key for key in old if key not in new}
    return frozenset(
        gone | {key for key, one in new.items() if (was := old.get(key)) is not one and was != one}
    )
