"""What is known about a home's running installation: who holds it, and `run/state.json` with every part.

The lock says whether anything runs; the file says what. The file may be older than the truth by a moment, so
whoever acts on a process id compares its start time first.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path
from typing import Literal

import msgspec

from control_api import files

_FLOCK = "hhqqi4x"
"""`struct flock` of 64-bit Linux: type, whence, start, length, pid (fcntl(2))."""

Phase = Literal["starting", "ready", "stopping", "failed", "stopped"]


class PartState(msgspec.Struct, frozen=True, kw_only=True):
    """One supervised process. pid, start: 0 while there is none; its session has the same id."""

    part: str
    region: str
    state: str
    pid: int
    start: int
    log: str
    url: str = ""
    actors: dict[str, int] = {}
    """Process ids by post (`actors.names.Post`), of the part that looks after actors; 0 for one not known."""


class State(msgspec.Struct, frozen=True, kw_only=True):
    """An installation. boot: names the boot that the process ids belong to. reason, log: why it failed."""

    pid: int
    start: int
    boot: str
    phase: Phase
    port_base: int
    regions: tuple[str, ...]
    first: bool = False
    """Whether the owner's token was never shown before."""
    reason: str = ""
    log: str = ""
    parts: tuple[PartState, ...] = ()


def write(home: Path, state: State) -> None:
    """Replaces the file as a whole."""
    files.replace(_file(home), msgspec.json.encode(state))


def read(home: Path) -> State | None:
    """What was last written; None when there is nothing that can be read."""
    try:
        return msgspec.json.decode(_file(home).read_bytes(), type=State)
    except (OSError, msgspec.DecodeError):
        return None


class Lock:
    """`run/up.pid`, locked while its process lives and by no other process, also not by its children."""

    def __init__(self, home: Path) -> None:
        self._path = home / "run" / "up.pid"
        self._descriptor = -1

    def acquire(self) -> bool:
        """Locks it and writes this process's id into it; False when another process has it."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # A record lock: fork does not hand it on, and who has it can be asked without taking it.
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            os.close(descriptor)
            return False
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Empties and unlocks it. The file stays, so that two starters cannot lock two files of one name."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1


def holder(home: Path) -> int | None:
    """The process that holds the lock of `home`; None when nothing runs there.

    Not to be asked by the holder itself: closing the file would give its lock up.
    """
    try:
        descriptor = os.open(home / "run" / "up.pid", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        question = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, question))
    finally:
        os.close(descriptor)
    return None if kind == fcntl.F_UNLCK else int(pid)


def _file(home: Path) -> Path:
    return home / "run" / "state.json"
