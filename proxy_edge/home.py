"""The home directory: who may use it, and where its logs and pid files are.

Everything below it is readable by its owner only. One edge owns a home at a time; a second one is
refused, because the two would write to the same rings.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from models.errors import ConfigurationError

LOCK_SECONDS = 2.0
"""How long a new edge waits for the workers of a killed one to be gone."""


def prepare(home: Path) -> None:
    """Makes `home`, `run` and `logs` with mode 700. Raises ConfigurationError when that is not possible."""
    for path in (home, home / "run", home / "logs"):
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be made: {error.strerror}", field="EXEAT_HOME") from None
        if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            raise ConfigurationError(f"{path} is not ours to write to", field="EXEAT_HOME")
    # The mode of mkdir applies to the last part only, and not to a directory that was there.
    for path in (home / "run", home / "logs"):
        path.chmod(0o700)


def log_file(home: Path) -> Path:
    """Where every process of the edge logs."""
    return home / "logs" / "edge.log"


def link_log_file(home: Path) -> Path:
    """Where the link logs, and where what it prints goes."""
    return home / "logs" / "link.log"


class PidFile:
    """`<home>/run/<name>.pid`, mode 600, locked while its process or one that it forked lives."""

    def __init__(self, home: Path, name: str = "edge") -> None:
        self.path = home / "run" / f"{name}.pid"
        self._descriptor = -1

    def acquire(self, wait_seconds: float = LOCK_SECONDS) -> None:
        """Locks the file and writes this process's id into it.

        Raises ConfigurationError when another process holds it for longer than `wait_seconds`.
        """
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + wait_seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() < deadline:
                    time.sleep(0.02)  # before any loop runs; a blocking lock would have no deadline
                    continue
                owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
                os.close(descriptor)
                raise ConfigurationError(
                    f"an edge (process {owner}) already runs in {self.path.parent.parent}", field="EXEAT_HOME"
                ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Empties and unlocks the file. It stays, so that two starters cannot lock two files of one name."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1
