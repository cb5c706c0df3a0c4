"""The batches of a spool that the control plane would not have: kept for the operator, up to so many bytes.

For newer ones the oldest go, which is logged and counted. It must never touch a file that was not set aside, and a
file that cannot be removed stops nothing.
"""

from __future__ import annotations

import logging
from collections import deque
from pathlib import Path
from typing import Final

from proxy_edge.records.batch_file import REFUSED, BatchFile

_SHARE: Final = 0.9
"""Of the bytes that may be kept, what is left once some had to go: the next that is set aside finds room."""

_log = logging.getLogger("exeat.edge.spool")


class RefusedBatches:
    """records: of all that are kept. removed: records that went for newer ones, since this was made."""

    def __init__(self, directory: Path, most: int) -> None:
        """most: bytes of records; the newest batch is kept whatever its size."""
        self._directory, self._most = directory, most
        self._kept: deque[BatchFile] = deque()
        """By number, so that the oldest is first."""
        self._size = 0
        self.records = self.removed = 0

    def add(self, one: BatchFile) -> None:
        """Keeps a batch whose file has its name of a refused one already. Each has a higher number than the one before."""
        if one.name.ending != REFUSED:
            raise ValueError("the batch was not refused")
        self._kept.append(one)
        self._size += one.size
        self.records += one.count

    def make_room(self) -> None:
        """Removes the oldest while there are more bytes than may be kept."""
        if self._size <= self._most:
            return
        try:
            self._forget_those_gone()
            if self._size > self._most:
                self._remove(int(self._most * _SHARE))
        except OSError as error:
            _log.warning("refused batches not removed", extra={"errno": error.errno})

    def _forget_those_gone(self) -> None:
        """What the operator took away takes no room."""
        there = {path.name for path in self._directory.iterdir()}
        kept, self._kept = self._kept, deque()
        for one in kept:
            if one.path.name in there:
                self._kept.append(one)
            else:
                self._forget(one)

    def _remove(self, most: int) -> None:
        batches, before = 0, self.removed
        try:
            while self._size > most and len(self._kept) > 1:
                one = self._kept[0]
                one.path.unlink(missing_ok=True)
                self._kept.popleft()
                self._forget(one)
                self.removed += one.count
                batches += 1
        finally:
            if batches:
                _log.error(
                    "refused batches removed for newer ones",
                    extra={"batches": batches, "records": self.removed - before},
                )

    def _forget(self, one: BatchFile) -> None:
        self._size -= one.size
        self.records -= one.count
