"""The shipper: takes batches out of the spool to the region's recorder, over the link, in order and one at a time.

It says that a batch is delivered only when the recorder said that the control store has it; with anything else the
same batch is sent again, for ever. It holds no record but the batch under way. Where calls keep the machine busy it
leaves them room: after a batch it rests, until the spool fills.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable

import msgspec

from models.errors import LinkError, LinkUnavailable, Refused
from models.planes.records import Batch, Taken
from proxy_edge.records.spool import SpoolSink

RETRY_SECONDS = (0.1, 5.0)
"""The first and the longest wait after a failure; it doubles in between, and ends when a link comes."""

ANSWER_SECONDS = 35.0
"""Until a batch counts as not delivered; the link gives up after 30 s."""

REST = 4.0
"""After a batch it rests so many times as long as that took: a busy machine takes longer, and gets more room for calls."""

LONGEST_REST_SECONDS = 1.0
"""So records are readable within API.md's 5 s where they can be."""

BACKLOG_BYTES = 16 * 1024 * 1024
"""Of records, about 15,000, or a tenth of a spool that holds less than ten times as many: from here on it does not rest."""

MOST_IN_A_ROW = 32
"""Batches refused without one that is taken, after which they are set aside whole: not single records are at fault then."""

_log = logging.getLogger("exeat.edge.spool")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Taken).decode

Call = Callable[[str, str, bytes, float], Awaitable[bytes]]
"""role, method, payload, seconds: `actors.link_client.LinkClient.call`. Raises LinkError, ValueError for what is too long."""


class Shipper:
    """Empties `spool` for as long as `run` runs. It must not begin before `Keeper.asked` is set."""

    def __init__(
        self,
        spool: SpoolSink,
        call: Call,
        *,
        retry: tuple[float, float] = RETRY_SECONDS,
        seconds: float = ANSWER_SECONDS,
        chance: Callable[[], float] = random.random,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """retry, seconds: see RETRY_SECONDS and ANSWER_SECONDS. chance: uniform 0 to 1; spreads edges that lost one recorder.

        now: monotonic seconds.
        """
        self._spool, self._call = spool, call
        self._retry, self._seconds, self._chance, self._now = retry, seconds, chance, now
        self._failures = self._refused = 0
        self._ending = False
        self._again, self._turned = asyncio.Event(), asyncio.Event()

    def link_changed(self, connected: bool) -> None:
        """There is a link, or none any more: with a new one a failed batch need not wait for its time."""
        if connected:
            self._again.set()

    async def run(self) -> None:
        """Sends until cancelled."""
        while True:
            delay = await self._turn()
            self._turned.set()
            if delay:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(delay):
                        await self._again.wait()

    async def finish(self, seconds: float) -> None:
        """Beside `run`: returns when nothing is left, or can be sent, or after so many seconds. There is no rest now."""
        self._ending = True
        self._again.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._spool.depth and not self._failures:
                    self._turned.clear()
                    await self._turned.wait()

    # Inside

    async def _turn(self) -> float:
        """Sends the next batch; how many seconds to wait then."""
        try:
            batch = await self._spool.next()
            self._again.clear()
            began = self._now()
            try:
                await self._send(batch)
            except (Refused, ValueError):
                self._spool.refuse(whole=self._refused >= MOST_IN_A_ROW)
                self._refused += 1
            else:
                self._spool.delivered()
                self._refused = 0
        except (LinkError, OSError) as error:
            return self._failed(error)
        except Exception as error:  # noqa: BLE001 - a shipper that ended would leave an edge whose spool fills up unseen
            _log.exception("batch not sent")
            return self._failed(error)
        if self._failures:
            _log.info("records delivered again", extra={"waiting": self._spool.depth})
            self._failures = 0
        return self._rest(self._now() - began)

    async def _send(self, batch: Batch) -> None:
        """Raises Refused, LinkUnavailable, and ValueError for a batch that is too long for the link."""
        said = await self._call("recorder", "take", _encode(batch), self._seconds)
        try:
            taken = _decode(said)
        except msgspec.DecodeError:
            raise LinkUnavailable("the recorder's answer has another form") from None
        if taken.source != batch.source or taken.number < batch.number:
            raise LinkUnavailable("another batch was taken")

    def _rest(self, took: float) -> float:
        if self._ending or self._spool.size >= min(BACKLOG_BYTES, self._spool.most // 10):
            return 0.0
        return min(LONGEST_REST_SECONDS, REST * took)

    def _failed(self, error: Exception) -> float:
        if not self._failures:  # said once, not every five seconds
            reason = error.detail if isinstance(error, LinkError) else type(error).__name__
            _log.warning("records not delivered", extra={"reason": reason, "waiting": self._spool.depth})
        first, longest = self._retry
        due = min(longest, first * 2.0 ** min(self._failures, 16))
        self._failures += 1
        return due * (0.5 + self._chance() / 2)
