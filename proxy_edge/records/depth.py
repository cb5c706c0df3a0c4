"""How much is in the spool: three numbers in a page that the keeper writes and every worker reads.

It is a report, not a truth: what the spool holds is in its directory. A store is one word, so a reader never sees half
of one.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

_SIZE = 4096
_WAITING, _REFUSED, _REMOVED = range(3)


class SpoolDepth:
    """The page, made by whoever comes first; of records, also those of an earlier life of the keeper."""

    __slots__ = ("_before", "_map", "_words")

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, _SIZE)
            self._map = mmap.mmap(descriptor, _SIZE)
        finally:
            os.close(descriptor)
        self._words = memoryview(self._map).cast("Q")
        self._before = self.removed

    def tell(self, waiting: int, refused: int, removed: int) -> None:
        """So many records wait to be sent, so many are set aside, and of those so many were removed in this life."""
        self._words[_WAITING], self._words[_REFUSED] = waiting, refused
        self._words[_REMOVED] = self._before + removed

    @property
    def waiting(self) -> int:
        """Records that the control plane does not have yet."""
        return self._words[_WAITING]

    @property
    def refused(self) -> int:
        """Records that the control plane would not have."""
        return self._words[_REFUSED]

    @property
    def removed(self) -> int:
        """Such records that were removed for newer ones, in this life of the keeper and the ones before."""
        return self._words[_REMOVED]

    def shown(self) -> dict[str, int]:
        """All of them, by the names of their metrics."""
        return {
            "spool_depth": self.waiting,
            "spool_refused": self.refused,
            "spool_removed": self.removed,
        }

    def close(self) -> None:
        """Lets the page go."""
        self._words.release()
        self._map.close()
