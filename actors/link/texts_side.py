"""Workers' texts on their way to the redactors: those of many calls put together, each redactor given one batch at a time.

Finding changes nothing, so a batch whose redactor died goes to another one, once, and then each call by itself: no
other call suffers twice from a text that ends redactors. A text is kept for as long as its call waits, and is in no
log and no error.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Sequence
from typing import Final, Protocol

import msgspec

from actors.names import REDACTOR
from actors.tasks import spawn
from models.errors import ExeatError, PeerUnavailable, Refused
from models.planes.texts import MOST_BYTES, MOST_TEXTS, Find, Found, Span

GATHER_SECONDS: Final = 0.001
"""How long the first text of an idle redactor waits for others. While redactors are busy, texts gather by themselves."""
MOST_TRIES: Final = 2
LEAST_SECONDS: Final = 0.05
"""A batch is not sent for less."""
PROBE_SECONDS: Final = 0.25
READY_SECONDS: Final = 2.0
SMALL_BYTES: Final = 4_000
"""Of a call that does not wait for large ones."""
LARGE_BYTES: Final = 32_000
"""Of a batch that large calls still join: what a redactor reads in well under a second or two."""

_log = logging.getLogger("exeat.link.texts")
_find = msgspec.msgpack.Decoder(Find)
_found = msgspec.msgpack.Decoder(Found)
_encode = msgspec.msgpack.Encoder().encode


class Ask(Protocol):
    """`actors.link.ports.Actors.ask`."""

    def __call__(  # noqa: D102 - see the class
        self, role: str, method: str, payload: bytes, *, shard: int = 0, seconds: float
    ) -> Awaitable[bytes]: ...


class _Wish:
    """One call's texts, and where its answer goes."""

    __slots__ = ("answer", "bytes", "deadline", "texts", "tries")

    def __init__(self, texts: tuple[str, ...], size: int, deadline: float) -> None:
        self.texts, self.bytes, self.deadline = texts, size, deadline
        self.tries = 0
        self.answer: asyncio.Future[tuple[tuple[Span, ...], ...]] = asyncio.get_running_loop().create_future()


class TextsSide:
    """A region's redactors as one. Belongs to one event loop."""

    def __init__(
        self, ask: Ask, redactors: int, *, seconds: float, gather_seconds: float = GATHER_SECONDS
    ) -> None:
        """redactors: how many there are, numbered from 0. seconds: that one call may take in all."""
        self._ask, self._seconds, self._gather = ask, seconds, gather_seconds
        self._free = deque(range(redactors))
        self._waiting: deque[_Wish] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def find(self, payload: bytes) -> bytes:
        """`Find` -> `Found`. Raises Refused for what is no `Find` or too much; PeerUnavailable without an answer."""
        wish = self._wish(payload)
        if not wish.texts:
            return _encode(Found(()))
        self._waiting.append(wish)
        self._soon()
        try:
            async with asyncio.timeout_at(wish.deadline):
                return _encode(Found(await wish.answer))
        except TimeoutError:
            raise PeerUnavailable("no redactor answers") from None

    def _wish(self, payload: bytes) -> _Wish:
        try:
            texts = _find.decode(payload).texts
        except (msgspec.DecodeError, UnicodeError):
            raise Refused("not texts") from None
        size = sum(len(text.encode()) for text in texts)
        if len(texts) > MOST_TEXTS or size > MOST_BYTES:
            raise Refused("too many texts")
        return _Wish(texts, size, asyncio.get_running_loop().time() + self._seconds)

    def _soon(self) -> None:
        """Sends what waits, a moment from now unless there is a whole batch already."""
        if self._timer is None and self._free:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._gather, self._send)

    def _send(self) -> None:
        self._timer = None
        while self._free and (batch := self._batch(self._share())):
            spawn("texts", self._carry(self._free.popleft(), batch))

    def _share(self) -> int:
        """Bytes for each free redactor, so that all of them read, and not one of them everything."""
        return sum(wish.bytes for wish in self._waiting) // len(self._free)

    def _batch(self, share: int) -> list[_Wish]:
        """The oldest waiting call and those behind it that fit, until `share` bytes are reached.

        Small calls pass large ones, so that they do not wait for all the pieces of large answers; one that failed
        before goes alone.
        """
        batch: list[_Wish] = []
        passed: list[_Wish] = []
        texts, size = 0, 0
        while self._waiting and not (batch and (batch[0].tries or size >= share or texts >= MOST_TEXTS)):
            wish = self._waiting.popleft()
            if wish.answer.done():  # its caller has gone
                continue
            most = MOST_BYTES if wish.bytes <= SMALL_BYTES else LARGE_BYTES
            if batch and (wish.tries or texts + len(wish.texts) > MOST_TEXTS or size + wish.bytes > most):
                passed.append(wish)
                continue
            batch.append(wish)
            texts, size = texts + len(wish.texts), size + wish.bytes
        self._waiting.extendleft(reversed(passed))
        return batch

    async def _carry(self, shard: int, batch: Sequence[_Wish]) -> None:
        """One batch to one redactor, which is free again afterwards, or once it is back."""
        try:
            if not await self._ended(shard, batch):
                await self._until_back(shard)
        finally:
            self._free.append(shard)
            self._send()

    async def _ended(self, shard: int, batch: Sequence[_Wish]) -> bool:
        """Whether the redactor answered; if not, the calls wait again, or have failed."""
        now = asyncio.get_running_loop().time()
        seconds = max(max(wish.deadline for wish in batch) - now, LEAST_SECONDS)
        texts = tuple(text for wish in batch for text in wish.texts)
        try:
            payload = await self._ask(REDACTOR, "find", _encode(Find(texts)), shard=shard, seconds=seconds)
            spans = _found.decode(payload).spans
        except (ExeatError, msgspec.DecodeError, UnicodeError) as error:
            return self._failed(shard, batch, error)
        if len(spans) != len(texts):
            return self._failed(shard, batch, PeerUnavailable("another number of answers"))
        at = 0
        for wish in batch:
            if not wish.answer.done():
                wish.answer.set_result(spans[at : at + len(wish.texts)])
            at += len(wish.texts)
        return True

    def _failed(self, shard: int, batch: Sequence[_Wish], error: Exception) -> bool:
        """Puts the calls back that may be tried again. False: whether the redactor lives has to be seen."""
        _log.warning("redactor failed", extra={"shard": shard, "reason": type(error).__name__})
        again = []
        for wish in batch:
            wish.tries += 1
            if wish.answer.done():
                continue
            if wish.tries >= MOST_TRIES:
                wish.answer.set_exception(PeerUnavailable("redactors fail"))
            else:
                again.append(wish)
        self._waiting.extendleft(reversed(again))
        self._send()  # another one may be free
        return False

    async def _until_back(self, shard: int) -> None:
        """Returns once the redactor says that it is ready, or when nobody waits for one any more."""
        while any(not wish.answer.done() for wish in self._waiting):
            try:
                await self._ask(REDACTOR, "ready", b"", shard=shard, seconds=READY_SECONDS)
            except ExeatError:
                await asyncio.sleep(PROBE_SECONDS)
            else:
                return
