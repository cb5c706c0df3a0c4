"""Ties the link to the supervisor that started it. Linux only (`prctl`)."""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PR_SET_NAME = 15


def die_with_parent(parent: int) -> bool:
    """Has the kernel kill this process when `parent`, its pid, ends; False when that ended before this call."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    return os.getppid() == parent


def rename(name: str) -> None:
    """Gives this process the name that `ps -o comm` shows; at most 15 ASCII characters."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode("ascii")), 0, 0, 0)
