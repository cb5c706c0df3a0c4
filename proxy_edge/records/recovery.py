"""The directory of rings: makes a worker's, finds those of others, removes a dead worker's once it is empty.

A ring belongs to whoever holds its lock. This module never touches a ring whose worker lives, and never
destroys one that it cannot read: such a file is set aside under another name.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
from collections.abc import Collection, Iterator
from pathlib import Path

from proxy_edge.records.ring import SLOT_BYTES, SLOTS, Ring
from proxy_edge.records.view import RingError, RingView

_log = logging.getLogger("exeat.edge.records")


def make_ring(directory: Path, index: int, *, slots: int = SLOTS, slot_bytes: int = SLOT_BYTES) -> Ring:
    """A fresh ring for worker `index`.

    The directory is made with mode 700. A worker never takes over a ring, its own last one included, so a
    changed geometry costs nothing. Raises OSError when there is no room for the ring.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(directory):
        # A name of its own: a worker that is still draining keeps the one it has.
        return Ring(directory / f"ring-{index}-{secrets.token_hex(4)}.mmap", slots, slot_bytes)


def find_rings(directory: Path, known: Collection[Path]) -> list[RingView]:
    """The rings in the directory that are not known yet, of living workers and of dead ones.

    One that cannot be read is set aside as soon as its worker is dead. Raises OSError.
    """
    try:
        with os.scandir(directory) as entries:
            names = sorted(entry.name for entry in entries)
    except FileNotFoundError:  # no worker was ever here
        return []
    paths = [directory / name for name in names if name.startswith("ring-") and name.endswith(".mmap")]
    new = [path for path in paths if path not in known]
    if not new:
        return []
    views: list[RingView] = []
    try:
        with _locked(directory):
            views.extend(view for path in new if (view := _take(path)) is not None)
    except BaseException:
        # All or none: a ring that is left out now could not be told later from one that was made since.
        for view in views:
            view.close()
        raise
    return views


def remove_ring(view: RingView) -> None:
    """Deletes the file of a dead worker when nothing in it waits, or sets it aside if something is withheld."""
    if view.withheld:
        _set_aside(view.path, f"{len(view.withheld)} slots cannot be read")
    else:
        view.path.unlink(missing_ok=True)
    view.close()


def _take(path: Path) -> RingView | None:
    try:
        return RingView(path)
    except FileNotFoundError:  # its worker ended and left nothing
        return None
    except RingError as error:
        if _is_abandoned(path):
            _set_aside(path, str(error))
        return None


def _is_abandoned(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _set_aside(path: Path, reason: str) -> None:
    """Renames a file so that no keeper looks at it again; an operator can."""
    aside = path.with_name(f"{path.name}.unreadable")
    path.rename(aside)
    _log.error("ring set aside", extra={"ring": str(aside), "reason": reason})


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """One at a time makes rings or looks for them: a ring that is being made is not locked yet."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
