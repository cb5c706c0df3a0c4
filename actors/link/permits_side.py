"""Follows the region's limiters: one question outstanding to each, and every recall handed to the worker it is for.

It says which workers are attached, at once when that changes, because a holder that is not named counts as gone. A
limiter that is away is asked again and again; nothing here may ever end the link or hold up what else it does.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

import msgspec

from actors.link.ports import Actors
from actors.names import LIMITER
from actors.registry.pace import Backoff, Uniform
from actors.tasks import spawn, stop
from models.errors import ExeatError
from models.planes.permits import Recall, RecallAnswer, RecallRequest

LISTEN_SECONDS = 20.0
"""Until a question counts as lost; a limiter answers within 9 s."""

_log = logging.getLogger("exeat.link.permits")
_encode = msgspec.msgpack.Encoder().encode
_answer = msgspec.msgpack.Decoder(RecallAnswer)


class Workers(Protocol):
    """What this needs of the link's server."""

    @property
    def holders(self) -> tuple[str, ...]:
        """Of all attached workers."""
        ...

    def surrender(self, holder: str, recall: Recall) -> bool:
        """Hands a recall to a worker; False when there is none of that name."""
        ...


class PermitsSide:
    """The link's questions to all limiters of its region."""

    def __init__(
        self, actors: Actors, *, link: str, shards: int, uniform: Uniform, seconds: float = LISTEN_SECONDS
    ) -> None:
        """link: names this process, anew each start. seconds: until a question counts as lost."""
        self._shards = [_Shard(actors, link, shard, uniform, seconds) for shard in range(shards)]

    def progress(self) -> None:
        """Workers may have come or gone."""
        for shard in self._shards:
            shard.look()

    async def run(self, workers: Workers) -> None:
        """Follows until cancelled."""
        following = [spawn(f"limiter-{shard.number}", shard.follow(workers)) for shard in self._shards]
        try:
            await asyncio.Event().wait()
        finally:
            await stop(*following)


class _Shard:
    """The questions to one limiter."""

    def __init__(self, actors: Actors, link: str, number: int, uniform: Uniform, seconds: float) -> None:
        self.number = number
        self._actors, self._link, self._seconds = actors, link, seconds
        self._away = Backoff(uniform, first=0.05, most=1.0)
        self._answers = True
        self._after = 0
        self._named: tuple[str, ...] = ()
        self._workers: Workers | None = None
        self._moved = asyncio.Event()

    def look(self) -> None:
        """Asks anew when other workers are attached than the last question named."""
        if self._workers is not None and self._workers.holders != self._named:
            self._moved.set()

    async def follow(self, workers: Workers) -> None:
        """Asks until cancelled."""
        self._workers = workers
        questions: list[asyncio.Task[bool]] = []
        moved = spawn("holders", self._moved.wait())
        try:
            while True:
                questions.append(self._start(workers))
                # A second question ends the first one at the limiter. Both answers count: a recall is in one of them.
                while len(questions) > 1:
                    await questions.pop(0)
                if moved.done():
                    moved = spawn("holders", self._moved.wait())
                await asyncio.wait({moved, questions[0]}, return_when=asyncio.FIRST_COMPLETED)
                if questions[0].done() and not await questions.pop():
                    await asyncio.sleep(self._away.after_failure())
        finally:
            await stop(moved, *questions)

    def _start(self, workers: Workers) -> asyncio.Task[bool]:
        self._moved.clear()
        self._named = workers.holders
        request = RecallRequest(link=self._link, holders=self._named, after=self._after)
        return spawn(f"recalls-{self.number}", self._ask(request, workers))

    async def _ask(self, request: RecallRequest, workers: Workers) -> bool:
        """Whether there was an answer; what it recalls is handed on."""
        try:
            async with asyncio.timeout(self._seconds):
                said = await self._actors.ask(
                    LIMITER, "recalls", _encode(request), shard=self.number, seconds=self._seconds
                )
            answer = _answer.decode(said)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the limiter's and must not end the link
            if self._answers:  # said once, not every second
                detail = error.detail if isinstance(error, ExeatError) else type(error).__name__
                _log.warning("limiter does not answer", extra={"shard": self.number, "detail": detail})
            self._answers = False
            return False
        if not self._answers:
            _log.info("limiter answers", extra={"shard": self.number})
        self._answers = True
        self._away.reset()
        self._after = answer.number
        for holder, recall in answer.recalls.items():
            workers.surrender(holder, recall)
        return True
