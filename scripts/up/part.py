"""One supervised process: how it is started, what it says once it is ready, how it ends.

Each part has a session of its own, which ends with it as a whole, and is told by the kernel when the process
that started it is gone. No argument and no variable of a part holds a secret.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from proxy_edge import process
from scripts.up import sessions
from scripts.up.state import PartState

RAY, CONTROL, ACTORS, EDGE, DEMO = "ray", "control", "actors", "edge", "demo"
_MEMBER = "actor"
"""Begins the line, `actor POST PID`, with which a guardian says where an actor is."""


class Spec(NamedTuple):
    """What is started. command: argv. log: where it logs and its stderr goes. says: begins its line when ready.

    members: the actors that it looks after, as it names them.
    """

    name: str
    region: str
    command: list[str]
    variables: Mapping[str, str]
    log: Path
    says: str
    members: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """For people, for example `edge us-east-1`."""
        return f"{self.name} {self.region}".strip()


def exeat(*arguments: str) -> list[str]:
    """The argv of one of our own commands."""
    return [sys.executable, "-P", "-m", "scripts.cli", *arguments]


class Part:
    """The place of one part: the process in it, or the moment when the next one starts."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.due: float | None = None
        """Monotonic seconds of the next start; None: not wanted now."""
        self.began = 0.0
        self.short_lives = 0
        self.ready = self.proven = False
        """Whether this process is ready; whether any was."""
        self.url = ""
        self.actors = dict.fromkeys(spec.members, 0)
        """Process ids of the actors it looks after, as it names them; 0 while not known."""
        self._process: subprocess.Popen[bytes] | None = None
        self._start = 0
        self._said = b""
        self._log_from = 0

    @property
    def pid(self) -> int:
        """Of the living process; 0 when there is none."""
        return 0 if self._process is None else self._process.pid

    @property
    def pipe(self) -> int:
        """The descriptor of its words; -1 when there is none."""
        if self._process is None or self._process.stdout is None or self._process.stdout.closed:
            return -1
        return self._process.stdout.fileno()

    def launch(self, now: float) -> None:
        """Starts it. Raises OSError when the machine has no room."""
        parent = os.getpid()

        def tie() -> None:
            process.default_signals()
            process.die_with_parent(parent, signal.SIGTERM)

        self.due, self.began, self.ready, self._said = None, now, False, b""
        with _private(self.spec.log) as log:
            self._log_from = log.seek(0, os.SEEK_END)
            self._process = subprocess.Popen(
                self.spec.command,
                env=dict(self.spec.variables),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                preexec_fn=tie,  # noqa: PLW1509 - the supervisor has one thread
            )
        assert self._process.stdout is not None, "asked for above"
        os.set_blocking(self._process.stdout.fileno(), False)
        found = sessions.look(self._process.pid)
        self._start = 0 if found is None else found.start

    def listen(self) -> bool:
        """Reads what it said; True when it was news: it is ready, or has an actor in another process."""
        if self._process is None or (stdout := self._process.stdout) is None or stdout.closed:
            return False
        try:
            piece = os.read(stdout.fileno(), 65536)
        except BlockingIOError:
            return False
        if not piece:
            stdout.close()
            return False
        news = False
        *lines, self._said = (self._said + piece)[-65536:].split(b"\n")
        for line in lines:
            words = line.decode(errors="replace").split()
            if words[:1] == [_MEMBER] and len(words) == 3 and words[2].isdigit():
                self.actors[words[1]] = int(words[2])
                news = True
            elif words[:2] == self.spec.says.split() and not self.ready:
                self.ready = self.proven = news = True
                self.url = next((word for word in words if "://" in word), self.url)
        return news

    def ended(self) -> int | None:
        """None while it lives, and when there is none; else its exit status, once. Nothing of it is left then."""
        if self._process is None or (status := self._process.poll()) is None:
            return None
        if self._process.stdout is not None:
            self._process.stdout.close()
        session, start = self._process.pid, self._start
        self._process, self.ready, self.actors = None, False, dict.fromkeys(self.spec.members, 0)
        sessions.end(session, start)
        return status

    def send(self, number: int) -> None:
        """Signals the process, not what it started."""
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    def kill(self) -> None:
        """Ends its whole session at once."""
        if self._process is not None:
            self.send(signal.SIGKILL)
            sessions.end(self._process.pid, self._start, grace=0.0)

    def last_words(self) -> str:
        """The last line for people that this process wrote to its log, without our name; empty for none."""
        try:
            with self.spec.log.open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                log.seek(max(self._log_from if self._log_from <= size else 0, size - 65536))
                lines = log.read().decode(errors="replace").splitlines()
        except OSError:
            return ""
        told = [line.removeprefix("exeat: ") for line in lines if line.startswith("exeat: ")]
        return told[-1] if told else ""

    def record(self) -> PartState:
        """For `state.json`."""
        state = "ready" if self.ready else "starting" if self.pid else "waiting"
        return PartState(
            part=self.spec.name,
            region=self.spec.region,
            state=state,
            pid=self.pid,
            start=self._start if self.pid else 0,
            log=str(self.spec.log),
            url=self.url,
            actors=dict(self.actors),
        )


def _private(path: Path) -> io.FileIO:
    """A log file opened for appending, which only its owner may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    return io.FileIO(descriptor, "a")
