"""The recorder of a worker: opens and closes records in its ring, from where the keeper takes them.

It never waits and does no I/O but stores into mapped memory. It knows neither sink nor keeper: a ring that
nobody empties fills up, loses nothing, and then refuses.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from models.errors import RingFull
from models.record import USER_AGENT_BYTES, Closing, Opening
from proxy_edge.records.ring import Ring

_log = logging.getLogger("exeat.edge.records")


class Recorder:
    """One worker's records, ended by `stop`.

    dropped: requests that went on without a record, which their proxy's policy allowed while the ring was full.
    """

    __slots__ = ("_late", "_ring", "_ring_close", "_ring_discard", "_ring_open", "dropped")

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self._ring_open: Callable[[Opening], int] = ring.open
        self._ring_close: Callable[[int, Closing], None] = ring.close
        self._ring_discard: Callable[[int], None] = ring.discard
        self._late: dict[int, Closing] = {}
        self.dropped = 0

    @property
    def depth(self) -> int:
        """Records that are over and that the sink has not accepted."""
        return self._ring.depth + len(self._late)

    @property
    def used(self) -> int:
        """Slots of the ring that are not free: those of `depth`, and of what is open."""
        self._ring.reclaim()
        return self._ring.used

    def open(self, opening: Opening) -> int:
        """Keeps the opening before the first byte goes upstream; returns the slot for `close` or `discard`.

        Cuts its user agent to 512 bytes. Raises RingFull: refuse the request with RecordBlocked, or call `drop`.
        """
        if len(opening.user_agent) > USER_AGENT_BYTES:
            opening.user_agent = opening.user_agent[:USER_AGENT_BYTES]
        return self._ring_open(opening)

    def close(self, slot: int, closing: Closing) -> None:
        """Ends the record; it will be delivered. Raises ExeatError when the slot is not open."""
        try:
            self._ring_close(slot, closing)
        except RingFull:
            # A closing so long that it needs a second slot, and none is free: `reclaim` comes back to it.
            self._late[slot] = closing

    def discard(self, slot: int) -> None:
        """Forgets an open record that turned out not to be needed. Raises ExeatError when the slot is not open."""
        self._ring_discard(slot)

    def write(self, opening: Opening, closing: Closing) -> None:
        """A whole record at once, of a request that was refused before a byte went upstream. Raises RingFull."""
        self.close(self.open(opening), closing)

    def drop(self) -> None:
        """Counts a request that goes on without a record."""
        self.dropped += 1

    def reclaim(self) -> None:
        """Makes room of what the keeper has delivered; to be called now and then, and `open` does when it must."""
        self._ring.reclaim()
        if self._late:
            late, self._late = self._late, {}
            for slot, closing in late.items():
                self.close(slot, closing)

    def stop(self) -> int:
        """Leaves the ring to the keeper; returns how many of its records are open, and will be `unknown`.

        A record that is opened afterwards is refused as by a full ring; one that is closed afterwards is
        among the open ones.
        """
        self.reclaim()
        self._ring_open, self._ring_close, self._ring_discard = _no_room, _ignore, _ignore
        left = self._ring.dispose()
        if left:
            _log.warning("records left open", extra={"records": left})
        return left


def _no_room(_opening: Opening) -> int:
    raise RingFull


def _ignore(*_arguments: object) -> None:
    """After the end nothing is kept any more."""
