"""What a worker process owes its parent and its memory: to die with the one, never to dump the other.

Linux only (`prctl`). Nothing here decides anything; the supervisor and the command line call it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterator

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PR_SET_DUMPABLE = 4
_PR_SET_NAME = 15
_HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

# Loaded before any fork: a child must not find out that the dynamic linker's lock is taken.
_libc = ctypes.CDLL(None, use_errno=True)


class OrphanError(RuntimeError):
    """The parent was gone before the child could tie itself to it."""


def die_with_parent(parent: int, by: int = signal.SIGKILL) -> None:
    """Has the kernel send signal `by` to this process when `parent`, its pid, ends.

    SIGKILL is the default because a worker that outlives its supervisor would share its ring with the
    worker that replaces it. Raises OrphanError when the parent ended before this call.
    """
    _prctl(_PR_SET_PDEATHSIG, by)
    if os.getppid() != parent:
        raise OrphanError(f"parent {parent} is gone")


def forbid_dumps() -> None:
    """Denies core dumps, and memory and environment to other processes of this user (DESIGN section 6)."""
    _prctl(_PR_SET_DUMPABLE, 0)


def rename(name: str) -> None:
    """Gives this process the name that /proc/PID/comm and `ps -o comm` show; at most 15 ASCII characters."""
    _prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode("ascii")))


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Holds back the handled signals, so that none runs a parent's handler in a child just forked."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def default_signals() -> None:
    """Undoes what a parent set up.

    SIGINT and SIGHUP are ignored: a terminal sends them to the whole process group, and the supervisor
    alone decides when its workers stop.
    """
    signal.set_wakeup_fd(-1)
    for number in _HANDLED:
        signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)


def _prctl(option: int, value: int | ctypes.c_char_p) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")
