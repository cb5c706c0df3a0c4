"""The record ring: slots in a memory-mapped file, so that what a worker wrote outlives it.

MAP_SHARED stores belong to the kernel once they are made: kill -9 at any instruction loses nothing. Nothing
is ever flushed to the disk by us, so a power loss or a kernel crash is NOT covered. A ring has one writer,
the process that made it, until that one is dead: then whoever holds the file's lock.

Layout, little-endian. A page of header: magic, version, slots, bytes per slot; at 64 the sink's mark. Then one
state byte per slot, then the slots: the closing part in the first 512 bytes, the opening part behind it. A
part is its length, the number of the slot it goes on in plus one (0: it ends here), and msgpack; a slot that
continues another one has the next number and the bytes. A part is always written whole before the state byte that
says it is there, and that byte is a single store; so every prefix of our stores is a consistent ring.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import msgspec

from models.errors import RingFull
from models.record import Closing, Opening

MAGIC = b"EXEATRNG"
VERSION = 1
"""Changes with the layout, and with `Opening` or `Closing` unless fields were only added at their end."""

SLOTS = 4096
SLOT_BYTES = 4096

FREE, OPEN, CLOSED = 0, 1, 2

_HEADER = struct.Struct("<8sHxxII")
_MARK = struct.Struct("<II")
_PART = struct.Struct("<II")
_NEXT = struct.Struct("<I")
_MARK_AT = 64
_STATES_AT = 4096
_CLOSING_BYTES = 512
MARK_BYTES = 256


class RingError(ValueError):
    """A file that is not a ring of this version; its text says what it is instead."""


class Entry(NamedTuple):
    """One record in a ring; closing is None while it is open."""

    slot: int
    opening: Opening
    closing: Closing | None


class Contents(NamedTuple):
    """What a dead worker's ring holds.

    entries: by slot. mark: the sink's as of the last batch, b"" when there was none, None when it cannot be
    read. damaged: slots in use that cannot be decoded; a kill never makes one, a power loss may.
    """

    entries: list[Entry]
    mark: bytes | None
    damaged: int


class Ring:
    """One worker's ring; `open` and `close` are the hot path.

    slots: how many records may be open or undelivered. slot_bytes: what a record usually fits into, a
    multiple of 1024; longer ones take more slots. Its file is locked (flock) as long as the process lives.
    """

    __slots__ = (
        "_chains",
        "_data_at",
        "_descriptor",
        "_encode_into",
        "_free",
        "_map",
        "_opening_room",
        "_pack_part",
        "_scratch",
        "_slot_bytes",
        "capacity",
        "path",
    )

    def __init__(self, path: Path, slots: int = SLOTS, slot_bytes: int = SLOT_BYTES) -> None:
        """Makes the file, mode 600, with all its blocks: a full disk shows here, as OSError, and not as SIGBUS later."""
        if slots < 1 or slot_bytes < 1024 or slot_bytes % 1024:
            raise ValueError("a ring has at least one slot, and slots of whole KiB")
        self.path, self.capacity = path, slots
        self._slot_bytes, self._data_at = slot_bytes, _data_at(slots)
        self._opening_room = slot_bytes - _CLOSING_BYTES
        # Last in, first out: few slots are in use at a time, and those stay in the cache.
        self._free = list(range(slots - 1, -1, -1))
        self._chains: dict[int, list[int]] = {}
        self._scratch = bytearray()
        self._encode_into = msgspec.msgpack.Encoder().encode_into
        self._pack_part = _PART.pack_into
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
        header = _HEADER.pack(MAGIC, VERSION, slots, slot_bytes)
        self._map[8 : _HEADER.size] = header[8:]
        self._map[:8] = MAGIC

    @property
    def used(self) -> int:
        """Slots that are not free."""
        return self.capacity - len(self._free)

    def open(self, opening: Opening) -> int:
        """Writes the opening into a slot and returns its number. Raises RingFull, and then wrote nothing."""
        scratch = self._scratch
        self._encode_into(opening, scratch, 8)
        size = len(scratch)
        try:
            slot = self._free.pop()
        except IndexError:
            raise RingFull from None
        chain = 0
        if size > self._opening_room:
            try:
                chain = self._spill(slot, self._opening_room)
            except RingFull:
                self._free.append(slot)
                raise
        self._pack_part(scratch, 0, size - 8, chain)
        start = self._data_at + slot * self._slot_bytes + _CLOSING_BYTES
        if chain:
            size = self._opening_room
            del scratch[size:]
        self._map[start : start + size] = scratch
        self._map[_STATES_AT + slot] = OPEN
        return slot

    def close(self, slot: int, closing: Closing) -> None:
        """Adds the closing to an open slot.

        One that exceeds its 504 bytes while no other slot is free is not written: it cannot fail here, and a
        worker killed before delivering that record leaves it `unknown`.
        """
        scratch = self._scratch
        self._encode_into(closing, scratch, 8)
        size = len(scratch)
        chain = 0
        if size > _CLOSING_BYTES:
            try:
                chain = self._spill(slot, _CLOSING_BYTES)
            except RingFull:
                return
        self._pack_part(scratch, 0, size - 8, chain)
        start = self._data_at + slot * self._slot_bytes
        if chain:
            size = _CLOSING_BYTES
            del scratch[size:]
        self._map[start : start + size] = scratch
        self._map[_STATES_AT + slot] = CLOSED

    def free(self, slot: int) -> None:
        """Forgets a record: the sink has it, or it turned out not to be needed."""
        self._map[_STATES_AT + slot] = FREE
        self._free.append(slot)
        if self._chains and (chain := self._chains.pop(slot, None)) is not None:
            self._free += chain

    def mark(self, mark: bytes) -> None:
        """Keeps where the sink will put the next batch, at most 248 bytes; half written, it is as good as none."""
        data = _checked(mark)
        self._map[_MARK_AT : _MARK_AT + len(data)] = data

    def dispose(self) -> None:
        """Lets go of the file; an empty one is deleted, any other waits for the next start to recover it."""
        if not self.used:
            self.path.unlink(missing_ok=True)
        self._map.close()
        os.close(self._descriptor)

    def _spill(self, head: int, room: int) -> int:
        """Puts what of the scratch exceeds `room` into free slots; the first one's number plus one.

        A chained slot has no state of its own: nothing reads it until a head that is in use leads to it.
        """
        rest = memoryview(self._scratch)[room:]
        per_slot = self._slot_bytes - _NEXT.size
        count = -(-len(rest) // per_slot)
        if count > len(self._free):
            rest.release()
            raise RingFull
        chain = [self._free.pop() for _ in range(count)]
        following = 0
        for place in range(count - 1, -1, -1):
            piece = _NEXT.pack(following) + rest[place * per_slot : (place + 1) * per_slot]
            start = self._data_at + chain[place] * self._slot_bytes
            self._map[start : start + len(piece)] = piece
            following = chain[place] + 1
        rest.release()
        self._chains.setdefault(head, []).extend(chain)
        return following


def read(descriptor: int) -> Contents:
    """What the ring file behind `descriptor` holds; it is not altered. Raises RingError."""
    size = os.fstat(descriptor).st_size
    if size < _STATES_AT:
        if any(os.pread(descriptor, size, 0)):
            raise RingError("too short for a ring")
        return Contents([], None, 0)
    with mmap.mmap(descriptor, size, access=mmap.ACCESS_READ) as data:
        magic, version, slots, slot_bytes = _HEADER.unpack_from(data)
        if magic == bytes(8):  # its maker died before anything could be recorded
            return Contents([], None, 0)
        if magic != MAGIC:
            raise RingError("not a ring")
        if version != VERSION:
            raise RingError(f"version {version}, this program knows version {VERSION}")
        if slot_bytes < 1024 or size != _data_at(slots) + slots * slot_bytes:
            raise RingError("its length contradicts its header")
        return _Reader(data, slots, slot_bytes).contents()


def write_mark(descriptor: int, mark: bytes) -> None:
    """`Ring.mark` for a dead worker's file."""
    os.pwrite(descriptor, _checked(mark), _MARK_AT)


def write_free(descriptor: int, slot: int) -> None:
    """`Ring.free` for a dead worker's file."""
    os.pwrite(descriptor, bytes([FREE]), _STATES_AT + slot)


class _Reader:
    """Decodes a mapped ring of the right version."""

    def __init__(self, data: mmap.mmap, slots: int, slot_bytes: int) -> None:
        self._data, self._slots, self._slot_bytes = data, slots, slot_bytes
        self._data_at = _data_at(slots)

    def contents(self) -> Contents:
        openings = msgspec.msgpack.Decoder(Opening)
        closings = msgspec.msgpack.Decoder(Closing)
        entries: list[Entry] = []
        damaged = 0
        for slot, state in enumerate(self._data[_STATES_AT : _STATES_AT + self._slots]):
            if state == FREE:
                continue
            start = self._data_at + slot * self._slot_bytes
            try:
                if state not in {OPEN, CLOSED}:
                    raise RingError("unknown state")
                opening = openings.decode(
                    self._part(start + _CLOSING_BYTES, self._slot_bytes - _CLOSING_BYTES)
                )
                closing = closings.decode(self._part(start, _CLOSING_BYTES)) if state == CLOSED else None
            except Exception:  # noqa: BLE001 - whatever a decoder makes of random bytes
                damaged += 1
            else:
                entries.append(Entry(slot, opening, closing))
        return Contents(entries, self._mark(), damaged)

    def _part(self, start: int, room: int) -> bytes:
        length, following = _PART.unpack_from(self._data, start)
        if length > len(self._data):
            raise RingError("impossible length")
        pieces = [self._data[start + _PART.size : start + min(room, _PART.size + length)]]
        missing = length - len(pieces[0])
        while missing:
            if not 1 <= following <= self._slots:
                raise RingError("broken chain")
            start = self._data_at + (following - 1) * self._slot_bytes
            (following,) = _NEXT.unpack_from(self._data, start)
            start += _NEXT.size
            pieces.append(self._data[start : start + min(missing, self._slot_bytes - _NEXT.size)])
            missing -= len(pieces[-1])
        return b"".join(pieces)

    def _mark(self) -> bytes | None:
        checksum, length = _MARK.unpack_from(self._data, _MARK_AT)
        start = _MARK_AT + _MARK.size
        mark = self._data[start : start + min(length, MARK_BYTES)]
        return mark if zlib.crc32(mark) == checksum else None


def _checked(mark: bytes) -> bytes:
    """A mark with its checksum and length in front."""
    if len(mark) > MARK_BYTES - _MARK.size:
        raise ValueError("the sink's mark is too long")
    return _MARK.pack(zlib.crc32(mark), len(mark)) + mark


def _data_at(slots: int) -> int:
    """Where the slots begin: behind the state bytes, on a page border."""
    return _STATES_AT + -(-slots // 4096) * 4096
