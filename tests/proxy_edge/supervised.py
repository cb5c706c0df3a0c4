"""One supervised program in a session of its own; its workers are `tiny_edge.py`."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).with_name("tiny_edge.py")
LINK_COMMAND = f"{sys.executable}\0-c\0".encode()


def wait_until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Returns once `condition` holds; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        pause.wait(0.005)


class Edge:
    """One supervised program in a session of its own."""

    def __init__(self, home: Path, mode: str, keeper: str = "keep", link: str = "", **settings: str) -> None:
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "EXEAT_HOME": str(home),
            "EXEAT_PORT": "0",
            **{f"EXEAT_{name.upper()}": value for name, value in settings.items()},
        }
        self.home = home
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), mode, keeper, link],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.address = ("", 0)

    def wait_ready(self) -> str:
        """The ready line; `address` is known afterwards."""
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            assert selector.select(10.0), "no ready line"
        line = self.process.stdout.readline().strip()
        assert line.startswith("edge ready: http://127.0.0.1:"), line
        self.address = ("127.0.0.1", int(line.split(":")[3].split()[0]))
        return line

    def ask(self) -> tuple[int, int]:
        """Index and process id of the worker that takes a new connection."""
        with socket.create_connection(self.address, timeout=5.0) as connection:
            index, pid, _ = connection.makefile().readline().split()
            return int(index), int(pid)

    def seen(self, index: int) -> int:
        """The process id of worker `index`, asked until it is the one that answers."""
        found: dict[int, int] = {}

        def answered() -> bool:
            found.update([self.ask()])
            return index in found

        wait_until(answered)
        return found[index]

    def members(self) -> set[int]:
        """Process ids of the session, ended ones that nobody waited for excluded."""
        alive = set()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    state, _, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                    if int(session) == self.process.pid and state != "Z":
                        alive.add(int(entry.name))
        return alive

    def keeper(self) -> int:
        """The keeper's process id, 0 while there is none."""
        for pid in self.members():
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}/comm").read_text() == "exeat-keeper\n":
                    return pid
        return 0

    def link(self) -> int:
        """The link's process id, 0 while there is none."""
        for pid in self.members() - {self.process.pid}:
            with contextlib.suppress(OSError):
                if (Path("/proc") / str(pid) / "cmdline").read_bytes().startswith(LINK_COMMAND):
                    return pid
        return 0

    def finish(self) -> tuple[int, str]:
        """Exit status and everything it wrote to stderr."""
        _, errors = self.process.communicate(timeout=20.0)
        return self.process.returncode, errors

    def log(self) -> list[dict[str, object]]:
        """The lines of its log file."""
        return [json.loads(line) for line in (self.home / "logs" / "edge.log").read_text().splitlines()]
