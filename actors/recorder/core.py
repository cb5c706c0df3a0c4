"""The recorder's core: batches of edges go to the control plane, several in one report, and are acknowledged after it.

It keeps nothing but what is under way, so its death costs nobody a record: a batch is said to be taken only when the
control plane said so, and whoever got no answer sends the same again. Without Ray and HTTP.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from typing import Final, Protocol

from actors.tasks import spawn, stop
from models.errors import ExeatError, PeerUnavailable, Refused
from models.planes.records import Batch, RecordBatch, Taken
from models.rollups import rollups

MOST_TOGETHER: Final = 3_000_000
"""Bytes of lines in one report, unless one batch alone has more."""
_LONGEST_SOURCE: Final = 512

_log = logging.getLogger("exeat.recorder")


class Malformed(ExeatError):
    """The control plane will not have some of the batches. places: which of those sent; none when it did not say."""

    def __init__(self, places: Collection[int] = ()) -> None:
        super().__init__(f"malformed: {sorted(places)}")
        self.places = frozenset(places)


class Uplink(Protocol):
    """The way to the control plane."""

    async def send(self, batches: Sequence[RecordBatch]) -> None:
        """Returns once the control store has all of them; repeatable. Raises Malformed, PeerUnavailable."""
        ...


class _Waiting:
    """A batch under way. ended: None, or what its takers are to be told; set, not raised, as there may be none left."""

    __slots__ = ("alone", "batch", "ended")

    def __init__(self, batch: RecordBatch) -> None:
        self.batch = batch
        self.alone = False
        self.ended: asyncio.Future[ExeatError | None] = asyncio.get_running_loop().create_future()


class RecorderCore:
    """One region's recorder. One report is under way at a time: batches that come meanwhile go with the next one."""

    def __init__(self, uplink: Uplink, *, most_together: int = MOST_TOGETHER) -> None:
        """most_together: bytes of lines in one report."""
        self._uplink, self._most = uplink, most_together
        self._waiting: dict[tuple[str, int], _Waiting] = {}  # in the order of their arrival
        self._sender: asyncio.Task[None] | None = None

    @property
    def detail(self) -> str:
        """For operators."""
        return f"{len(self._waiting)} batches under way"

    async def take(self, batch: Batch) -> Taken:
        """Returns once the control store has the batch; to be called again, with the same, whenever it did not.

        Raises Refused when it never will, because the batch is malformed; PeerUnavailable.
        """
        key = batch.source, batch.number
        waiting = self._waiting.get(key)
        if waiting is None:
            waiting = self._waiting[key] = _Waiting(_with_rollups(batch))
            if self._sender is None or self._sender.done():
                self._sender = spawn("recorder-uplink", self._send())
        elif waiting.batch.lines != batch.lines:
            raise Refused("two batches of one number")
        error = await asyncio.shield(waiting.ended)  # one of its takers may go, the others stay
        if error is not None:
            raise type(error)(error.detail)
        return Taken(source=batch.source, number=batch.number)

    async def close(self) -> None:
        """Ends what is under way; nobody is told that it was taken."""
        if self._sender is not None:
            await stop(self._sender)
        self._settle(list(self._waiting.values()), PeerUnavailable("the recorder ends"))

    # Inside

    async def _send(self) -> None:
        """Reports until nothing waits."""
        while together := self._next():
            try:
                await self._uplink.send([one.batch for one in together])
            except Malformed as error:
                self._sort_out(together, error)
            except PeerUnavailable as error:
                self._settle(list(self._waiting.values()), error)
            except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
                _log.exception("report failed")
                self._settle(together, PeerUnavailable(f"the report failed with {type(error).__name__}"))
            else:
                self._settle(together, None)

    def _next(self) -> list[_Waiting]:
        """What goes together: the oldest, and what else fits in."""
        together: list[_Waiting] = []
        room = self._most
        for one in self._waiting.values():
            room -= len(one.batch.lines)
            if together and (room < 0 or one.alone or together[0].alone):
                break
            together.append(one)
        return together

    def _sort_out(self, together: list[_Waiting], error: Malformed) -> None:
        """Refuses the batches that are at fault; the others stay, and are sent again without them."""
        refused = [one for place, one in enumerate(together) if place in error.places]
        if not refused and len(together) > 1:
            for one in together:  # it is not said which: each shows by itself
                one.alone = True
            return
        for one in refused or together:
            _log.error("batch refused", extra={"source": one.batch.source, "number": one.batch.number})
            self._settle([one], Refused("the control plane calls the batch malformed"))

    def _settle(self, ended: Sequence[_Waiting], error: ExeatError | None) -> None:
        for one in ended:
            del self._waiting[one.batch.source, one.batch.number]
            if not one.ended.done():
                one.ended.set_result(error)


def _with_rollups(batch: Batch) -> RecordBatch:
    """What goes up. Raises Refused for what is no batch."""
    if not batch.lines.endswith(b"\n") or batch.number < 1 or not 0 < len(batch.source) <= _LONGEST_SOURCE:
        raise Refused("it is not a batch")
    try:
        added = rollups(batch.lines)
    except ValueError as error:
        _log.error("batch refused", extra={"source": batch.source, "number": batch.number})
        raise Refused(str(error)) from None
    return RecordBatch(source=batch.source, number=batch.number, lines=batch.lines, rollups=added)
