"""What a process that holds secrets owes its memory: never to be dumped or read by another one. Linux only."""

from __future__ import annotations

import ctypes

_PR_SET_DUMPABLE = 4  # linux/prctl.h


def forbid_dumps() -> None:
    """Denies core dumps, and memory and environment to other processes of this user (DESIGN section 6)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE) failed")
