"""Processes: what the benchmark starts ends with it, and a failed start says why."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from scripts.bench.errors import PeerError
from scripts.bench.processes import Processes, find_program, free_port, free_ports, has_ended, wait_until

NOBODY = frozenset[int]()


def python(code: str) -> list[str]:
    """A child that runs `code`."""
    return [sys.executable, "-c", code]


def test_children_and_their_children_end_with_the_block(tmp_path: Path):
    """Also one that ignores SIGTERM: its session is killed when the time is over."""
    code = (
        "import os, signal, sys, time\n"
        "child = os.fork()\n"
        "if child == 0: signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "else: print(child, flush=True)\n"
        "time.sleep(600)"
    )
    with Processes(tmp_path) as processes:
        started = processes.start("parent", python(code), cores=NOBODY)
        wait_until(started, lambda: started.log.read_text(encoding="ascii").endswith("\n"))
        grandchild = int(started.log.read_text(encoding="ascii"))
    assert started.process.returncode == -signal.SIGTERM
    stat = Path(f"/proc/{grandchild}/stat")
    while stat.exists() and ") Z " not in stat.read_text(encoding="ascii"):
        os.sched_yield()


def test_a_child_has_a_bare_environment(tmp_path: Path):
    """What surrounds the benchmark does not leak into a peer."""
    code = "import os; print(sorted(os.environ), flush=True)"
    with Processes(tmp_path) as processes:
        started = processes.start("child", python(code), cores=NOBODY, env={"EXTRA": "1"})
        started.process.wait(20)
    names = started.log.read_text(encoding="ascii")
    assert "'EXTRA'" in names
    assert "'PATH'" in names
    assert "'HOME'" not in names


def test_an_early_end_is_reported_with_the_last_words(tmp_path: Path):
    """The reason goes into the row."""
    with Processes(tmp_path) as processes:
        started = processes.start("child", python("raise SystemExit('no such setting')"), cores=NOBODY)
        with pytest.raises(PeerError) as failed:
            wait_until(started, lambda: False)
        assert has_ended(started.process)
    assert failed.value.detail == "failed: child ended: no such setting"


def test_a_start_that_takes_too_long_is_given_up(tmp_path: Path):
    """The benchmark is bounded in time."""
    with Processes(tmp_path) as processes:
        started = processes.start("child", python("import time; time.sleep(600)"), cores=NOBODY)
        with pytest.raises(PeerError, match=r"not ready after 0\.2 s: it said nothing"):
            wait_until(started, lambda: False, seconds=0.2)


def test_a_program_that_cannot_run_is_a_peer_that_failed(tmp_path: Path):
    """Not an exception that ends the run."""
    with Processes(tmp_path) as processes, pytest.raises(PeerError, match="failed: "):
        processes.start("child", [str(tmp_path / "missing")], cores=NOBODY)


def test_programs_are_found_and_ports_are_free():
    """`sh` is everywhere, the other nowhere."""
    assert find_program("sh")
    assert find_program("no-such-program-here") is None
    assert 0 < free_port() < 65536


def test_ports_are_neighbours_and_free() -> None:
    """What listens there is stepped over."""
    first = free_ports(3)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first + 1))
        assert free_ports(3) > first + 1
