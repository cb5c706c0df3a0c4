"""The processes of one benchmark run: started here, ended here, whatever happens in between.

Each leads a session of its own, so that its children end with it. It must never signal a process that
it did not start.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from scripts.bench.errors import PeerError
from scripts.bench.machine import pinned

_STOP_SECONDS = 8.0


@dataclass(frozen=True, slots=True)
class Started:
    """A running child and the file that holds what it prints."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    patience: float = _STOP_SECONDS
    """How long it may take to stop."""

    def last_words(self) -> str:
        """The last line of its log, cut to a readable length."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1].strip()[:300] if lines else "it said nothing"


class Processes:
    """Starts children and ends all of them when the `with` block is left, the last one first."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self._started: list[Started] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in reversed(self._started):
            stop(child.process, child.patience)

    def start(
        self,
        name: str,
        argv: Sequence[str],
        *,
        cores: frozenset[int],
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        patience: float = _STOP_SECONDS,
    ) -> Started:
        """Start `argv` on `cores` with a bare environment plus `env`. patience: seconds that it may take to stop.

        Errors: PeerError when the program cannot be executed.
        """
        log = self._work / f"{name}.log"
        with log.open("wb") as output, pinned(cores):
            try:
                process = subprocess.Popen(
                    list(argv),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={"PATH": os.defpath, **(env or {})},
                    cwd=cwd or self._work,
                    start_new_session=True,
                )
            except OSError as error:
                raise PeerError(f"failed: {error.strerror}") from error
        child = Started(name, process, log, patience)
        self._started.append(child)
        return child


def has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether the child has ended, without reaping it: its number stays taken until `stop`."""
    if process.returncode is not None:
        return True
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def stop(process: subprocess.Popen[bytes], seconds: float = _STOP_SECONDS) -> None:
    """End one child: asked first, then it and what is left of its session killed.

    The child is reaped last, so that the session number cannot belong to anyone else meanwhile.
    """
    if process.returncode is not None:
        return
    if not has_ended(process):
        os.kill(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + seconds
        while not has_ended(process) and time.monotonic() < deadline:
            time.sleep(0.02)  # a program without a loop, up to a deadline
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_until(child: Started, ready: Callable[[], bool], seconds: float = 20.0) -> None:
    """Return once `ready()` is true.

    Errors: PeerError when the child ends first or the time is over, with its last words.
    """
    deadline = time.monotonic() + seconds
    while not ready():
        if has_ended(child.process):
            raise PeerError(f"failed: {child.name} ended: {child.last_words()}")
        if time.monotonic() > deadline:
            raise PeerError(f"failed: {child.name} not ready after {seconds:g} s: {child.last_words()}")
        time.sleep(0.05)  # a program without a loop, up to a deadline


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def free_ports(count: int) -> int:
    """The first of so many neighbouring ports of loopback that were free a moment ago. Errors: PeerError."""
    for first in range(7_800, 9_900, count):
        with contextlib.ExitStack() as probes:
            try:
                for port in range(first, first + count):
                    probes.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
    raise PeerError("failed: no ports are free")


def find_program(name: str) -> str | None:
    """The path of an installed program; Debian keeps servers where a user's PATH may not look."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
