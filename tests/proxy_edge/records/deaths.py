"""Busy workers and a busy keeper in one home, killed with SIGKILL wherever they happen to be, again and again.

What the workers said they had done is then compared with the records that arrived. For the tests of either sink.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
FOLDER = Path(__file__).parent
WORKERS = 2
KILLS = ("keeper", "worker", "both", "keeper", "everything", "keeper", "keeper", "both")


class Edge:
    """Busy workers and a busy keeper in one home; their own warnings count as errors, too."""

    def __init__(self, home: Path, keeper: str) -> None:
        """keeper: the program."""
        self.home, self._program = home, keeper
        self.names: list[str] = []
        self.serving: dict[int, str] = {}
        self.workers: dict[int, subprocess.Popen[bytes]] = {}
        self.keeper = self._start(keeper)
        for index in range(WORKERS):
            self.start_worker(index)

    def start_worker(self, index: int) -> None:
        name = self.serving[index] = f"w{len(self.names)}"
        self.names.append(name)
        self.workers[index] = self._start("busy_worker.py", str(index), name)

    def start_keeper(self) -> None:
        self.keeper = self._start(self._program)

    def _start(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-W", "error", str(FOLDER / program), str(self.home), *arguments],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    def wait(self, condition: Callable[[], object]) -> None:
        """Looks as often as it can, so that what follows happens anywhere in the work of the others."""
        deadline = time.monotonic() + 30
        while not condition():
            assert self.keeper.poll() is None
            assert all(worker.poll() is None for worker in self.workers.values())
            assert time.monotonic() < deadline
            os.sched_yield()

    def requests(self, name: str) -> int:
        """How many requests a worker has opened."""
        path = self.home / name
        if not path.exists() or not path.stat().st_size:
            return 0
        return len(path.read_bytes().rstrip(b"\0"))

    def close(self) -> None:
        """Leaves no process behind."""
        for process in (self.keeper, *self.workers.values()):
            kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL, and waits for the end."""
    process.send_signal(signal.SIGKILL)
    process.wait()


def deaths(home: Path, keeper: str, delivered: Callable[[], int], most: int) -> list[str]:
    """Under load, at random points: the keeper, a worker, one of each, all; also while others' records are recovered.

    keeper: its program. delivered: bytes of records that have arrived. most: bytes to wait for until the next kill.
    Returns the names of all workers that were.
    """
    choose = random.Random(os.environ.get("PYTHONHASHSEED"))
    edge = Edge(home, keeper)
    try:
        for victims in KILLS:
            for name in edge.serving.values():
                least = choose.randrange(800)
                edge.wait(lambda name=name, least=least: edge.requests(name) > least)
            goal = delivered() + choose.choice((1, 10_000, most)) + choose.randrange(10_000)
            edge.wait(lambda goal=goal: delivered() >= goal)
            worker = choose.randrange(WORKERS)
            if victims != "worker":
                kill(edge.keeper)
            for index in range(WORKERS):
                if victims == "everything" or (victims in {"worker", "both"} and index == worker):
                    kill(edge.workers[index])
                    edge.start_worker(index)
            if victims != "worker":
                edge.start_keeper()
    finally:
        edge.close()
    return edge.names


def check(home: Path, names: list[str], records: Iterable[dict[str, Any]]) -> None:
    """Every request that was opened is there exactly once: with its status where `close` had returned, with that or

    `unknown` where it had not.
    """
    statuses: dict[str, object] = {}
    times: Counter[str] = Counter()
    for record in records:
        statuses[record["requestId"]] = record["status"]
        times[record["requestId"]] += 1
    assert set(times.values()) == {1}
    for name in names:
        path = home / name
        said = path.read_bytes().rstrip(b"\0") if path.exists() else b""
        for number, state in enumerate(said):
            status = statuses.pop(f"{name}-{number}", None)
            if state == 2:
                assert status == 200
            elif state == 1:
                assert status in {200, "unknown"}
            else:
                assert status in {None, "unknown"}
        # One more may have been opened without having been told.
        assert statuses.pop(f"{name}-{len(said)}", "unknown") == "unknown"
    assert statuses == {}
