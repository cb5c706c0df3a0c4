"""The spool's numbering: the name under which its batches are known upstairs, and the last number given out.

No number is ever given twice under one name, or the control plane would take a batch for one that it has and drop it.
A kill at any instruction costs at most a gap. A directory whose past is not sure, because the machine lost its memory
or the directory is a copy, gets another name.
"""

from __future__ import annotations

import mmap
import os
import secrets
import struct
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

MAGIC = b"exeatSP1"

_HEAD = struct.Struct("<8s16s16s")
"""Magic, name, where it is valid; the last number follows as one aligned word."""
_WORD = _HEAD.size // 8
_SIZE = 4096
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Numbering:
    """Numbers for the batches of one directory, whose only user the caller is. spool: the name."""

    __slots__ = ("_words", "spool")

    def __init__(self, directory: Path, least: int = 0) -> None:
        """least: no number up to here is given out. Makes the file, mode 600, when there is none that is valid. Raises OSError."""
        path, place = directory / "numbering", _place(directory)
        found = _read(path)
        if found is None or found[1] != place:
            _make(path, place)
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            page = mmap.mmap(descriptor, _SIZE)
        finally:
            os.close(descriptor)
        self.spool = page[8:24].decode("ascii")
        self._words = memoryview(page).cast("Q")
        self._words[_WORD] = max(self._words[_WORD], least)

    @property
    def last(self) -> int:
        """The last number that was given out, 0 for none."""
        return self._words[_WORD]

    def take(self) -> int:
        """The next number."""
        self._words[_WORD] += 1
        return self._words[_WORD]


def _place(directory: Path) -> bytes:
    """What stays the same as long as nothing that was written here can have been lost or copied."""
    status, boot = directory.stat(), b""
    with suppress(OSError):
        boot = _BOOT.read_bytes()
    return blake2b(b"%d %d %b" % (status.st_dev, status.st_ino, boot), digest_size=16).digest()


def _read(path: Path) -> tuple[bytes, bytes] | None:
    """Name and place, or None for what is no numbering."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    if len(data) != _SIZE or not data.startswith(MAGIC):
        return None
    _, spool, place = _HEAD.unpack_from(data)
    return (spool, place) if spool.isalnum() else None


def _make(path: Path, place: bytes) -> None:
    data = _HEAD.pack(MAGIC, secrets.token_hex(8).encode(), place).ljust(_SIZE, b"\0")
    fresh = path.with_name("numbering.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        if os.write(descriptor, data) != _SIZE:
            raise OSError("not written whole")
    finally:
        os.close(descriptor)
    fresh.replace(path)
