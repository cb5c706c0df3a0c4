"""Processes told apart for certain, and process sessions ended as a whole: read from /proc, never found by name.

A process id alone is reused, so a recorded process counts only with its start time and the boot it ran in.
Linux only. Nothing here ever signals a process that was not named by id.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

GRACE_SECONDS = 0.5
KILLED_SECONDS = 5.0

_PROC = Path("/proc")
_STATE, _PARENT, _SESSION, _START = 0, 1, 3, 19  # fields of /proc/PID/stat after the name, see proc(5)


class Process(NamedTuple):
    """One process as it was seen once. start: clock ticks since boot; the two ids together are never reused."""

    pid: int
    start: int
    parent: int
    session: int
    name: str


def look(pid: int) -> Process | None:
    """The living process `pid`; None when there is none. A zombie does not live."""
    found = _read(pid)
    return found[0] if found is not None and found[1] else None


def everything() -> Iterator[Process]:
    """Every living process of this machine that /proc shows."""
    return (process for process, lives in _shown() if lives)


def members(session: int) -> list[Process]:
    """The living processes of a session, whoever their parent is by now."""
    return [process for process in everything() if process.session == session]


def children(parent: int) -> list[Process]:
    """The living children of a process, by process id."""
    return sorted(process for process in everything() if process.parent == parent)


def unmourned(parent: int) -> list[Process]:
    """The children of a process that have ended, and which it has not waited for yet."""
    return [process for process, lives in _shown() if not lives and process.parent == parent]


def boot_id() -> str:
    """Names the current boot of this machine; start times compare within one boot only."""
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def is_same(pid: int, start: int) -> bool:
    """Whether the process recorded as (pid, start) still lives."""
    found = look(pid)
    return found is not None and found.start == start


def remaining(session: int, start: int) -> list[Process]:
    """What still lives of the session whose leader was recorded as (session, start).

    The kernel keeps a session's id from reuse while any member lives; so when the leader's id belongs to a
    process that started at another time, the recorded session had ended completely.
    """
    if session <= 1 or start <= 0 or session == os.getsid(0):
        return []  # no record of ours; session 0 is that of everything from outside a container
    leader = look(session)
    if leader is not None and leader.start != start:
        return []
    return [process for process in members(session) if process.start >= start]


def end(session: int, start: int, *, grace: float = GRACE_SECONDS) -> bool:
    """Ends everything of a recorded session: SIGTERM, after `grace` seconds SIGKILL. Whether nothing is left.

    May be called for a session that has ended. Must not be called by one of its members.
    """
    left = remaining(session, start)
    if grace > 0.0:
        _signal(left, signal.SIGTERM)
        deadline = time.monotonic() + grace
        while left and time.monotonic() < deadline:
            time.sleep(0.02)  # strangers to us cannot be waited for; up to a deadline
            left = remaining(session, start)
    deadline = time.monotonic() + KILLED_SECONDS
    while left and time.monotonic() < deadline:
        _signal(left, signal.SIGKILL)  # each time round: a member may have forked meanwhile
        time.sleep(0.01)  # as above
        left = remaining(session, start)
    return not left


def _shown() -> Iterator[tuple[Process, bool]]:
    """Every process that /proc shows, and whether it lives."""
    for entry in os.listdir(_PROC):  # noqa: PTH208 - names are all that is needed, of thousands of entries
        if entry.isdigit() and (found := _read(int(entry))) is not None:
            yield found


def _read(pid: int) -> tuple[Process, bool] | None:
    """The process `pid` and whether it lives; None when there is none."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    name, _, rest = text.partition("(")[2].rpartition(")")
    fields = rest.split()
    found = Process(pid, int(fields[_START]), int(fields[_PARENT]), int(fields[_SESSION]), name)
    return found, fields[_STATE] not in "ZX"


def _signal(processes: list[Process], number: int) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process.pid, number)
