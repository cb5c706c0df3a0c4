"""Invariant 9 against the real thing: workers killed with SIGKILL wherever they happen to be, again and again."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from proxy_edge.records.recorder import Recorder
from proxy_edge.records.recovery import adopt
from proxy_edge.records.sink import NdjsonSink
from tests.proxy_edge.records.samples import files

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = Path(__file__).with_name("busy_worker.py")
ROUNDS = 5
WORKERS = 2


def start(home: Path, index: int, name: str) -> subprocess.Popen[bytes]:
    """A busy worker; its own warnings count as errors, too."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(PROGRAM), str(home), str(index), name],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def wait_for_request(worker: subprocess.Popen[bytes], path: Path, number: int) -> None:
    """Returns when the worker has opened its request `number`."""
    deadline = time.monotonic() + 30
    while not path.exists() or not path.stat().st_size:
        assert worker.poll() is None
        assert time.monotonic() < deadline
        os.sched_yield()
    with path.open("rb", buffering=0) as said:
        while os.pread(said.fileno(), 1, number) in {b"", b"\0"}:
            assert worker.poll() is None
            assert time.monotonic() < deadline
            os.sched_yield()


async def test_killed_workers_lose_and_repeat_no_record(tmp_path: Path) -> None:
    """Two workers share a sink and are killed at random points, also while they recover those before them.

    In the end every request that was opened is there exactly once: with its status where `close` had
    returned, with that or `unknown` where it had not.
    """
    choose = random.Random(os.environ.get("PYTHONHASHSEED"))
    names = []
    for turn in range(ROUNDS):
        workers = {f"w{turn}x{index}": start(tmp_path, index, f"w{turn}x{index}") for index in range(WORKERS)}
        for name, worker in workers.items():
            wait_for_request(
                worker, tmp_path / name, choose.choice((0, 50, 500, 5000)) + choose.randrange(50)
            )
            worker.send_signal(signal.SIGKILL)
        for worker in workers.values():
            worker.wait()
        names += workers

    ring, leftovers = adopt(tmp_path / "ring", 0)
    recorder = Recorder(ring, NdjsonSink(tmp_path / "requests.ndjson"), leftovers)
    assert await recorder.stop(deadline=60) == 0
    assert files(tmp_path / "ring") == []

    statuses: dict[str, object] = {}
    times: Counter[str] = Counter()
    for text in (tmp_path / "requests.ndjson").read_bytes().splitlines():
        try:
            record = json.loads(text)
        except ValueError:  # cut off by a kill inside the write; its record comes whole later
            continue
        statuses[record["requestId"]] = record["status"]
        times[record["requestId"]] += 1
    assert set(times.values()) <= {1}
    for name in names:
        said = (tmp_path / name).read_bytes().rstrip(b"\0")
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
