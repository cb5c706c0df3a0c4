"""A ring as its keeper sees it: whose it is, what it holds, and the one byte the keeper stores.

It must never alter anything of a ring but a closed record's state, and of a dead worker's also an open one's.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
from pathlib import Path

import msgspec

from models.record import Closing, Opening
from proxy_edge.records.ring import (
    ACKED,
    CLOSED,
    CLOSING_BYTES,
    CLOSING_PART,
    FREE,
    HEADER,
    MAGIC,
    NEXT,
    OPEN,
    OPENING_PART,
    STATES_AT,
    VERSION,
    data_at,
)

AT_DEATH = 1 << 64
"""Later than any end: when a record ended whose worker died first is not known."""

_CLOSED_BYTE = bytes([CLOSED])
_DONE = frozenset((FREE, ACKED))


_log = logging.getLogger("exeat.edge.records")


class RingError(ValueError):
    """A file or a slot that cannot be read; its text says why."""


class Stored(Opening):
    """An opening as it is read back; its decision stays as it is, the record's line wants it so."""

    decision: msgspec.Raw


class Entry(msgspec.Struct, gc=False):
    """One record in a ring.

    ended: a monotonic nanosecond, AT_DEATH for an orphan. closing: None for an orphan.
    """

    ended: int
    view: RingView
    slot: int
    opening: Stored
    closing: Closing | None


_decode_opening = msgspec.msgpack.Decoder(Stored).decode
_decode_closing = msgspec.msgpack.Decoder(Closing).decode


class RingView:
    """One ring file, mapped. Its worker holds the file's lock; once it is dead, the view does.

    slots: how many it has. withheld: those whose record cannot be delivered; a kill never makes one, a power loss or a fault of ours may.
    """

    __slots__ = (
        "_descriptor",
        "_from",
        "_map",
        "_slot_bytes",
        "_start",
        "orphaned",
        "path",
        "slots",
        "withheld",
    )

    def __init__(self, path: Path) -> None:
        """orphaned: whether the worker is dead. Raises RingError for what is not a ring of this version, OSError."""
        self.path = path
        self.orphaned = False
        self.withheld: set[int] = set()
        self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            self._map, self.slots, self._slot_bytes = _mapped(self._descriptor)
        except BaseException:
            os.close(self._descriptor)
            raise
        self._start, self._from = data_at(self.slots), 0

    def worker_died(self) -> bool:
        """Whether the worker is dead, so that nothing in the ring will change but by us."""
        if not self.orphaned:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            self.orphaned = True
        return True

    @property
    def depth(self) -> int:
        """Closed records that are not acknowledged."""
        return self._states().count(_CLOSED_BYTE)

    def waiting(self, most: int) -> list[int]:
        """At most so many slots whose records are to be delivered: closed ones, of a dead worker also open ones.

        To be asked after `worker_died`: what it closed before its death is among them then.
        """
        states, withheld = self._states(), self.withheld
        if self.orphaned:
            found = [slot for slot, state in enumerate(states) if state not in _DONE and slot not in withheld]
            return found[:most]
        found = []
        # From where the last search ended, so that in a ring of any length every slot has its turn.
        for begin, end in ((self._from, len(states)), (0, self._from)):
            slot = states.find(_CLOSED_BYTE, begin, end)
            while slot >= 0:
                if len(found) >= most:
                    self._from = slot
                    return found
                found.append(slot)
                slot = states.find(_CLOSED_BYTE, slot + 1, end)
        self._from = 0
        return [slot for slot in found if slot not in withheld] if withheld else found

    def entries(self, most: int) -> list[Entry]:
        """The records of the slots that are `waiting`; those that cannot be read are withheld and logged."""
        found: list[Entry] = []
        data, opening_room = self._map, self._slot_bytes - CLOSING_BYTES
        unpack_opening, unpack_closing = OPENING_PART.unpack_from, CLOSING_PART.unpack_from
        for slot in self.waiting(most):
            closing_at = self._start + slot * self._slot_bytes
            opening_at = closing_at + CLOSING_BYTES
            state = data[STATES_AT + slot]
            ended, closing = AT_DEATH, None
            try:
                length, following = unpack_opening(data, opening_at)
                if following:
                    part = self._chained(opening_at + 8, opening_room - 8, length, following)
                else:
                    part = data[opening_at + 8 : opening_at + 8 + length]
                opening = _decode_opening(part)
                if state == CLOSED:
                    length, following, ended = unpack_closing(data, closing_at)
                    if following:
                        part = self._chained(closing_at + 16, CLOSING_BYTES - 16, length, following)
                    else:
                        part = data[closing_at + 16 : closing_at + 16 + length]
                    closing = _decode_closing(part)
                elif state != OPEN:
                    raise RingError("unknown state")
            except Exception as error:  # noqa: BLE001 - whatever a decoder makes of random bytes
                self.withhold(slot, error)
            else:
                found.append(Entry(ended, self, slot, opening, closing))
        return found

    def withhold(self, slot: int, error: Exception) -> None:
        """Leaves a record in the ring that cannot be delivered, so that it does not stop the others."""
        self.withheld.add(slot)
        _log.error(
            "a record cannot be delivered; it stays in the ring", extra={"error": type(error).__name__}
        )

    def acknowledge(self, slot: int) -> None:
        """The sink has the record of this slot, which is the worker's again."""
        self._map[STATES_AT + slot] = ACKED

    def close(self) -> None:
        """Lets go of the file."""
        self._map.close()
        os.close(self._descriptor)

    def _states(self) -> bytes:
        return self._map[STATES_AT : STATES_AT + self.slots]

    def _chained(self, start: int, room: int, length: int, following: int) -> bytes:
        """The msgpack of a part that goes on in other slots. room: for it in the first. length: of all of it."""
        data = self._map
        if length > len(data):
            raise RingError("impossible length")
        pieces = [data[start : start + room]]
        missing = length - len(pieces[0])
        while missing > 0:
            if not 1 <= following <= self.slots:
                raise RingError("broken chain")
            start = self._start + (following - 1) * self._slot_bytes
            (following,) = NEXT.unpack_from(data, start)
            start += NEXT.size
            pieces.append(data[start : start + min(missing, self._slot_bytes - NEXT.size)])
            missing -= len(pieces[-1])
        return b"".join(pieces)


def _mapped(descriptor: int) -> tuple[mmap.mmap, int, int]:
    """The map, the number of slots and their length; no slots when the maker died before it recorded anything."""
    size = os.fstat(descriptor).st_size
    if size < STATES_AT:
        if any(os.pread(descriptor, size, 0)):
            raise RingError("too short for a ring")
        return mmap.mmap(-1, STATES_AT), 0, 0
    data = mmap.mmap(descriptor, size)
    try:
        magic, version, slots, slot_bytes = HEADER.unpack_from(data)
        if magic == bytes(8):
            return data, 0, 0
        if magic != MAGIC:
            raise RingError("not a ring")
        if version != VERSION:
            raise RingError(f"version {version}, this program knows version {VERSION}")
        if slot_bytes < 1024 or size != data_at(slots) + slots * slot_bytes:
            raise RingError("its length contradicts its header")
    except BaseException:
        data.close()
        raise
    return data, slots, slot_bytes
