"""The keeper's mark: where in the sink the batch under way begins, in a file that outlives the keeper.

Whoever holds the file's lock is the only keeper of its edge. As with the rings, a kill at any instruction
leaves the old mark, the new one, or none that can be read, and a power loss is not covered.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import zlib
from pathlib import Path

MARK_BYTES = 248
"""The longest mark."""

_HEAD = struct.Struct("<II")
_SIZE = 4096
_SEED = 1
"""Of the checksum, so that a file of zeros is not an empty mark but none."""


class MarkFile:
    """A mark of at most MARK_BYTES, checksum and length in front; locked (flock) as long as it is open."""

    __slots__ = ("_descriptor", "_map")

    def __init__(self, path: Path) -> None:
        """Makes the file, mode 600, where there is none. Raises OSError, BlockingIOError when another keeper has it."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.posix_fallocate(self._descriptor, 0, _SIZE)
            self._map = mmap.mmap(self._descriptor, _SIZE)
        except BaseException:
            os.close(self._descriptor)
            raise

    def read(self) -> bytes | None:
        """The mark, or None when none was ever stored or it cannot be read."""
        checksum, length = _HEAD.unpack_from(self._map)
        mark = self._map[_HEAD.size : _HEAD.size + min(length, MARK_BYTES)]
        return mark if zlib.crc32(mark, _SEED) == checksum else None

    def store(self, mark: bytes) -> None:
        """Replaces the mark; half written, it is as good as none."""
        if len(mark) > MARK_BYTES:
            raise ValueError("the sink's mark is too long")
        data = _HEAD.pack(zlib.crc32(mark, _SEED), len(mark)) + mark
        self._map[: len(data)] = data

    def close(self) -> None:
        """Lets another keeper have it."""
        self._map.close()
        os.close(self._descriptor)
