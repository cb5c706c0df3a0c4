"""What dead workers left: their rings are found at a start, read, delivered and only then deleted.

A ring belongs to whoever holds its lock. This module never touches a ring whose lock another process
holds, and never destroys one that it cannot read: such a file is set aside under another name.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
from collections.abc import Collection, Iterator
from pathlib import Path

from proxy_edge.records.ring import (
    SLOT_BYTES,
    SLOTS,
    Contents,
    Entry,
    Ring,
    RingError,
    read,
    write_free,
    write_mark,
)

_log = logging.getLogger("exeat.edge.records")


class Leftover:
    """A dead worker's ring, locked by us until its records are delivered.

    It is emptied as it is delivered, like a living ring: mark, batch, free. So the next one to find it,
    should we die as well, knows as much as we do.
    """

    __slots__ = ("_damaged", "_descriptor", "checked", "entries", "mark", "path")

    def __init__(self, path: Path, descriptor: int, contents: Contents) -> None:
        """entries: in the order in which the requests ended; an orphan counts as ended when it came.

        checked: whether the sink was asked which of them it has already.
        """
        self.path, self._descriptor = path, descriptor
        self.mark, self._damaged = contents.mark, contents.damaged
        self.entries = sorted(contents.entries, key=_ended)
        self.checked = False

    def keep_mark(self, mark: bytes) -> None:
        """Where the sink will put the next batch."""
        write_mark(self._descriptor, mark)

    def delivered(self, slots: Collection[int]) -> None:
        """The sink has the records of these slots."""
        for slot in slots:
            write_free(self._descriptor, slot)
        self.entries = [entry for entry in self.entries if entry.slot not in slots]

    def withhold(self, slots: Collection[int]) -> None:
        """These cannot be delivered: they stay in the file, which will be set aside."""
        self._damaged += len(slots)
        self.entries = [entry for entry in self.entries if entry.slot not in slots]

    def done(self) -> None:
        """Nothing is left to deliver: deletes the file, or sets it aside when a slot could not be read."""
        if self._damaged:
            _set_aside(self.path, f"{self._damaged} slots cannot be read")
        else:
            self.path.unlink(missing_ok=True)
        os.close(self._descriptor)

    def release(self) -> None:
        """Leaves the file to the next start."""
        os.close(self._descriptor)


def adopt(
    directory: Path, index: int, *, slots: int = SLOTS, slot_bytes: int = SLOT_BYTES
) -> tuple[Ring, list[Leftover]]:
    """A fresh ring for worker `index`, and every ring in `directory` whose worker is dead.

    The directory is made with mode 700. A worker's own last ring is a leftover like any other, so a changed
    geometry costs nothing, fewer workers than before leave none behind, and two workers that restart at the
    same moment cannot take the same one. Raises OSError when there is no room for the ring.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(directory):
        found = [_take(path) for path in sorted(directory.glob("ring-*.mmap"))]
        # A name of its own: a worker that is still draining keeps the one it has.
        ring = Ring(directory / f"ring-{index}-{secrets.token_hex(4)}.mmap", slots, slot_bytes)
    return ring, [leftover for leftover in found if leftover is not None]


def _take(path: Path) -> Leftover | None:
    """The leftover at `path`; None when its worker lives, or it holds nothing, or nothing we can read."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:  # delivered and deleted since we looked
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    if not os.fstat(descriptor).st_nlink:  # delivered and deleted between the two calls
        os.close(descriptor)
        return None
    try:
        contents = read(descriptor)
    except RingError as error:
        _set_aside(path, str(error))
        os.close(descriptor)
        return None
    leftover = Leftover(path, descriptor, contents)
    if not contents.entries:
        leftover.done()
        return None
    _log.warning(
        "records of a dead worker found", extra={"ring": path.name, "records": len(contents.entries)}
    )
    return leftover


def _set_aside(path: Path, reason: str) -> None:
    """Renames a file so that no start looks at it again; an operator can."""
    aside = path.with_name(f"{path.name}.unreadable")
    path.rename(aside)
    _log.error("ring set aside", extra={"ring": str(aside), "reason": reason})


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """One start at a time looks through the directory: a ring that is being made is not locked yet."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _ended(entry: Entry) -> tuple[float, str]:
    opening, closing = entry.opening, entry.closing
    return opening.received_at + (closing.duration_ms if closing else 0), opening.request_id
