"""The record ring: slots in a memory-mapped file, so that what a worker wrote outlives it.

MAP_SHARED stores belong to the kernel once they are made: kill -9 at any instruction loses nothing. Nothing
is ever flushed to the disk by us, so a power loss or a kernel crash is NOT covered. A ring has one writer,
the worker that made it; the keeper stores nothing in it but single bytes ACKED over CLOSED.

Layout, little-endian. A page of header: magic, version, slots, bytes per slot. Then one state byte per slot,
then the slots: the closing part in the first 512 bytes, the opening part behind it. A part is its length, the
number of the slot it goes on in plus one (0: it ends here), in a closing part the monotonic nanosecond of the
end, and msgpack; a slot that continues another one has the next number and the bytes. A part is always written whole before the state byte that says it is there,
and that byte is a single store; so every prefix of our stores is a consistent ring.

A slot belongs to the worker while it is FREE, OPEN or ACKED and to the keeper while it is CLOSED, and only its
owner moves it on. So what the keeper once saw closed stays as it is, slots it goes on in included, until the
keeper itself gives it back. (Other processes see stores in the order in which they were made: x86-64 says so;
elsewhere the keeper's system calls between reading a state and reading its slot are relied on.)
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from models.errors import ExeatError, RingFull
from models.record import Closing, Opening

MAGIC = b"EXEATRNG"
VERSION = 2
"""Changes with the layout, and with `Opening` or `Closing` unless fields were only added at their end."""

SLOTS = 4096
SLOT_BYTES = 4096

FREE, OPEN, CLOSED, ACKED = 0, 1, 2, 3

HEADER = struct.Struct("<8sHxxII")
OPENING_PART = struct.Struct("<II")
CLOSING_PART = struct.Struct("<IIQ")
NEXT = struct.Struct("<I")
STATES_AT = 4096
CLOSING_BYTES = 512

_OPEN_BYTE, _CLOSED_BYTE, _ACKED_BYTE = bytes([OPEN]), bytes([CLOSED]), bytes([ACKED])
_CHUNK = 64


class Ring:
    """One worker's ring; `open` and `close` are the hot path.

    slots: how many records may be open or undelivered. slot_bytes: what a record usually fits into, a
    multiple of 1024; longer ones take more slots. Its file is locked (flock) as long as the process lives.
    """

    __slots__ = (
        "_chains",
        "_chunk",
        "_data_at",
        "_descriptor",
        "_encode_into",
        "_free",
        "_fresh",
        "_map",
        "_now_ns",
        "_opening_room",
        "_pack_closing",
        "_pack_opening",
        "_scratch",
        "_slot_bytes",
        "capacity",
        "path",
    )

    def __init__(
        self,
        path: Path,
        slots: int = SLOTS,
        slot_bytes: int = SLOT_BYTES,
        *,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Makes the file, mode 600, with all its blocks: a full disk shows here, as OSError, and not as SIGBUS later.

        now_ns: nanoseconds on a clock that all processes of the machine share.
        """
        if slots < 1 or slot_bytes < 1024 or slot_bytes % 1024:
            raise ValueError("a ring has at least one slot, and slots of whole KiB")
        self.path, self.capacity = path, slots
        self._slot_bytes, self._data_at = slot_bytes, data_at(slots)
        self._opening_room = slot_bytes - CLOSING_BYTES
        # Last in, first out, and slots that were never used only when none other is free: few are in use at a
        # time, and those stay in the cache.
        self._free: list[int] = []
        self._fresh, self._chunk = 0, max(_CHUNK, slots // _CHUNK)
        self._chains: dict[int, list[int]] = {}
        self._scratch = bytearray()
        self._encode_into = msgspec.msgpack.Encoder().encode_into
        self._pack_opening, self._pack_closing = OPENING_PART.pack_into, CLOSING_PART.pack_into
        self._now_ns = now_ns
        size = self._data_at + slots * slot_bytes
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.posix_fallocate(self._descriptor, 0, size)
            self._map = mmap.mmap(self._descriptor, size)
        except BaseException:
            with contextlib.suppress(OSError):
                path.unlink()
            os.close(self._descriptor)
            raise
        header = HEADER.pack(MAGIC, VERSION, slots, slot_bytes)
        self._map[8 : HEADER.size] = header[8:]
        self._map[:8] = MAGIC

    @property
    def used(self) -> int:
        """Slots that are not free; acknowledged ones are used until `reclaim`."""
        return self._fresh - len(self._free)

    @property
    def depth(self) -> int:
        """Closed records that are not acknowledged."""
        return self._states().count(_CLOSED_BYTE)

    def open(self, opening: Opening) -> int:
        """Writes the opening into a slot and returns its number. Raises RingFull, and then wrote nothing."""
        scratch = self._scratch
        self._encode_into(opening, scratch, 8)
        size = len(scratch)
        try:
            slot = self._free.pop()
        except IndexError:
            self._make_room(1)
            slot = self._free.pop()
        chain = 0
        if size > self._opening_room:
            try:
                chain = self._spill(slot, self._opening_room)
            except RingFull:
                self._free.append(slot)
                raise
        self._pack_opening(scratch, 0, size - 8, chain)
        start = self._data_at + slot * self._slot_bytes + CLOSING_BYTES
        if chain:
            size = self._opening_room
            del scratch[size:]
        self._map[start : start + size] = scratch
        self._map[STATES_AT + slot] = OPEN
        return slot

    def close(self, slot: int, closing: Closing) -> None:
        """Adds the closing to an open slot, which is the keeper's then. Raises ExeatError when it is not open.

        Raises RingFull when the closing exceeds its 496 bytes and no other slot is free; the record stays open.
        """
        if self._map[STATES_AT + slot] != OPEN:
            raise ExeatError("the record is not open")
        scratch = self._scratch
        self._encode_into(closing, scratch, 16)
        size = len(scratch)
        chain = 0
        if size > CLOSING_BYTES:
            chain = self._spill(slot, CLOSING_BYTES)
        self._pack_closing(scratch, 0, size - 16, chain, self._now_ns())
        start = self._data_at + slot * self._slot_bytes
        if chain:
            size = CLOSING_BYTES
            del scratch[size:]
        self._map[start : start + size] = scratch
        self._map[STATES_AT + slot] = CLOSED

    def discard(self, slot: int) -> None:
        """Forgets an open record that turned out not to be needed. Raises ExeatError when it is not open."""
        if self._map[STATES_AT + slot] != OPEN:
            raise ExeatError("the record is not open")
        self._release(slot)

    def reclaim(self) -> None:
        """Frees the slots whose records the keeper has acknowledged."""
        states = self._states()
        slot = states.find(_ACKED_BYTE)
        while slot >= 0:
            self._release(slot)
            slot = states.find(_ACKED_BYTE, slot + 1)

    def dispose(self) -> int:
        """Lets go of the file; returns how many records in it are open, which the keeper will finish as unknown.

        An empty file is deleted, any other is the keeper's from now on.
        """
        self.reclaim()
        left = self._states().count(_OPEN_BYTE)
        if not self.used:
            self.path.unlink(missing_ok=True)
        self._map.close()
        os.close(self._descriptor)
        return left

    def _states(self) -> bytes:
        return self._map[STATES_AT : STATES_AT + self.capacity]

    def _release(self, slot: int) -> None:
        self._map[STATES_AT + slot] = FREE
        self._free.append(slot)
        if self._chains and (chain := self._chains.pop(slot, None)) is not None:
            self._free += chain

    def _make_room(self, count: int) -> None:
        """Sees to it that `count` slots are free. Raises RingFull."""
        self.reclaim()
        free, fresh = self._free, self._fresh
        # A whole chunk, so that the states are looked through once in so many records.
        wanted = max(count, self._chunk) - len(free)
        if wanted > 0:
            self._fresh = min(fresh + wanted, self.capacity)
            free.extend(range(self._fresh - 1, fresh - 1, -1))
        if len(free) < count:
            raise RingFull

    def _spill(self, head: int, room: int) -> int:
        """Puts what of the scratch exceeds `room` into free slots; the first one's number plus one.

        A chained slot has no state of its own: nothing reads it until a head that is in use leads to it.
        """
        per_slot = self._slot_bytes - NEXT.size
        count = -(-(len(self._scratch) - room) // per_slot)
        if count > len(self._free):
            self._make_room(count)
        rest = memoryview(self._scratch)[room:]
        chain = [self._free.pop() for _ in range(count)]
        following = 0
        for place in range(count - 1, -1, -1):
            piece = NEXT.pack(following) + rest[place * per_slot : (place + 1) * per_slot]
            start = self._data_at + chain[place] * self._slot_bytes
            self._map[start : start + len(piece)] = piece
            following = chain[place] + 1
        rest.release()
        self._chains.setdefault(head, []).extend(chain)
        return following


def data_at(slots: int) -> int:
    """Where the slots begin: behind the state bytes, on a page border."""
    return STATES_AT + -(-slots // 4096) * 4096
