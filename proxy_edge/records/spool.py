"""The spool: records on an edge's disk, in numbered batches, from the ring until the control plane has them.

A batch grows until it is full or is first handed out to be sent, and never changes afterwards, over kills of this
process as well. As with the rings, a kill at any instruction loses no record and makes none twice, and a power loss is
not covered: nothing is flushed by us.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import struct
from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from models.errors import ConfigurationError
from models.planes.records import MOST_BYTES, MOST_RECORDS, Batch
from proxy_edge.records.batch_file import REFUSED, WAITING, Append, BatchFile, Name, fitting
from proxy_edge.records.numbering import Numbering
from proxy_edge.records.refused_batches import RefusedBatches
from proxy_edge.records.sink import found_in

REFUSED_SHARE = 10
"""Of the bytes that records may take, one in so many is kept besides of those that the control plane would not have."""

_MARK = struct.Struct("<Q")

_log = logging.getLogger("exeat.edge.spool")


class SpoolSink:
    """The keeper's `RecordSink` over a directory, and where the shipper takes batches from: `next`, then what came of it.

    It belongs to one process, the keeper, and in it to one loop. What a record's batch became is decided after the
    keeper has acknowledged the record: nobody may take batches before `Keeper.asked` is set.
    """

    def __init__(
        self,
        directory: Path,
        host: str,
        *,
        most: int,
        tell: Callable[[int, int, int], None] = lambda _waiting, _refused, _removed: None,
        append: Append = os.write,
    ) -> None:
        """host: the edge host's id. most: bytes of records; at most one batch more is accepted.

        tell: hears how many records wait, how many are set aside, and how many of those were removed for newer ones
        since this was made, whenever that changes. append: `os.write`, or a test's. Raises ConfigurationError when
        the directory cannot be ours.
        """
        self._directory, self._host, self.most = directory, host, most
        self._tell, self._append = tell, append
        self._waiting: deque[BatchFile] = deque()
        """By number; all that have a record."""
        self._growing: BatchFile | None = None
        self.size = self.depth = 0
        self._refused = RefusedBatches(directory, most // REFUSED_SHARE)
        self._some = asyncio.Event()
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            least = self._load()
            self._numbers = Numbering(directory, least)
        except OSError as error:
            raise ConfigurationError(
                f"{directory} cannot be used: {error.strerror}", field="records"
            ) from None
        self._told()

    @property
    def refused(self) -> int:
        """Records that the control plane would not have, as many as are kept."""
        return self._refused.records

    # For the keeper: `proxy_edge.records.sink.RecordSink`

    async def write(self, lines: bytes, count: int) -> int:
        """Takes as many lines as go into one batch. Raises OSError (ENOSPC, EIO) when it took none.

        It waits for nothing, so that the keeper acknowledges records before anybody can take their batch away.
        """
        if self.size >= self.most:
            raise OSError(errno.ENOSPC, "the spool is full")
        growing, piece = self._growing, b""
        if growing is not None and not growing.reachable:
            self._fix()
            growing = None
        if growing is not None:
            piece = fitting(lines, count, MOST_RECORDS - growing.count, MOST_BYTES - growing.size)
        if growing is None or not piece:
            growing = self._begin()
            # One that is longer than a batch may be has a batch for itself.
            piece = fitting(lines, count, MOST_RECORDS, MOST_BYTES) or lines[: lines.index(b"\n") + 1]
        return self._add(growing, piece)

    def mark(self) -> bytes:
        """The least number of a batch that records may go to from now on."""
        growing = self._growing
        return _MARK.pack(self._numbers.last + 1 if growing is None else growing.name.number)

    async def known(self, ids: Collection[str], mark: bytes | None) -> set[str]:
        """Which of these requests are in batches from the mark on, or in any without a mark of ours. Raises OSError."""
        least = _MARK.unpack(mark)[0] if mark is not None and len(mark) == _MARK.size else 0
        wanted = {request_id.encode(): request_id for request_id in ids}
        known: set[str] = set()
        for one in self._waiting:
            if one.name.number >= least:
                with suppress(FileNotFoundError):  # somebody took it away
                    known |= found_in(one.read().splitlines(keepends=True), wanted)
        return known

    async def close(self) -> None:
        """Takes no more records; what there is can still be sent."""
        self._fix()

    # For the shipper

    async def next(self) -> Batch:
        """The oldest batch, once there is one; the same again until it is `delivered` or `refuse`d. Raises OSError."""
        while True:
            while not self._waiting:
                self._some.clear()
                await self._some.wait()
            one = self._waiting[0]
            if one is self._growing:
                self._fix()
            try:
                lines = one.read()
            except FileNotFoundError:
                if not self._directory.is_dir():
                    raise
                lines = b""
            if lines:
                return Batch(source=f"{self._host}/{one.name.spool}", number=one.name.number, lines=lines)
            _log.error("a batch has gone", extra={"batch": str(one.path), "records": one.count})
            self._drop()

    def delivered(self) -> None:
        """The control plane has the batch that `next` gave. Raises OSError when its file cannot be removed."""
        self._waiting[0].path.unlink(missing_ok=True)
        self._drop()

    def refuse(self, *, whole: bool) -> None:
        """The control plane will never have the batch that `next` gave.

        One of a single record, or any if `whole`, is set aside for the operator; of another each half is tried
        for itself later, so that one record takes no others along. Raises OSError; then all is as before.
        """
        one = self._waiting[0]
        if whole or one.count == 1:
            one.rename(Name(one.name.number, one.name.spool, REFUSED))
            _log.error("a batch is set aside", extra={"batch": str(one.path), "records": one.count})
            self._refused.add(one)
            self._refused.make_room()
            self._drop()
        else:
            self._split(one)

    # Inside

    def _load(self) -> int:
        """Takes over what earlier lives left; the highest number among it."""
        found = [name for path in self._directory.iterdir() if (name := Name.read(path.name))]
        whole = {name.number for name in found if name.ending != REFUSED}
        for name in sorted(found):
            one = BatchFile.found(self._directory, name)
            if name.ending == REFUSED:
                self._refused.add(one)
            elif not one.count or name.part_of in whole:
                one.path.unlink()  # nothing came into it; or it was being made when its maker was killed
            else:
                self._take_in(one)
        self._refused.make_room()
        return max((name.number for name in found), default=0)

    def _begin(self) -> BatchFile:
        self._fix()
        name = Name(self._numbers.take(), self._numbers.spool, WAITING)
        return BatchFile.made(self._directory, name, self._append)

    def _add(self, growing: BatchFile, piece: bytes) -> int:
        count, size = growing.count, growing.size
        try:
            added = growing.add(piece)
        except OSError:
            if not count:  # kept, it would come behind others of higher numbers
                growing.fix()
                growing.path.unlink(missing_ok=True)
            raise
        finally:
            self._growing = None if growing.fixed else growing
        if count:
            self.size += growing.size - size
            self.depth += added
        else:
            self._take_in(growing)
        self._told()
        return added

    def _fix(self) -> None:
        if self._growing is not None:
            self._growing.fix()
            self._growing = None

    def _take_in(self, one: BatchFile) -> None:
        self._waiting.append(one)
        self.size += one.size
        self.depth += one.count
        self._some.set()

    def _drop(self) -> None:
        one = self._waiting.popleft()
        self.size -= one.size
        self.depth -= one.count
        self._told()

    def _split(self, one: BatchFile) -> None:
        """Replaces a batch by its halves, at the end. They count from the moment on at which its file is gone."""
        self._fix()  # numbers only grow
        lines = one.read().splitlines(keepends=True)
        made: list[BatchFile] = []
        try:
            for half in (lines[: len(lines) // 2], lines[len(lines) // 2 :]):
                name = Name.part(self._numbers.take(), self._numbers.spool, one.name.number)
                made.append(BatchFile.made(self._directory, name, self._append))
                if made[-1].add(b"".join(half)) != len(half):
                    raise OSError(errno.ENOSPC, "not all lines were written")
                made[-1].fix()
            one.path.unlink()
        except OSError:
            for half_file in made:
                half_file.fix()
                half_file.path.unlink(missing_ok=True)
            raise
        for half_file in made:
            self._take_in(half_file)
        self._drop()

    def _told(self) -> None:
        self._tell(self.depth, self.refused, self._refused.removed)
