"""What the processes of an edge share: signals, death with the parent, and no dumps."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.proxy_edge.supervised import Edge, wait_until


def test_sigterm_lets_workers_drain_and_leaves_no_process(start_edge: Callable[..., Edge]) -> None:
    """SIGTERM reaches every worker, an open connection is finished, the port is free, nothing is left."""
    edge = start_edge(workers="2")
    edge.wait_ready()
    with socket.create_connection(edge.address, timeout=5.0) as connection:
        answer = connection.makefile()
        answer.readline()
        edge.process.terminate()
        assert answer.readline() == "drained\n"
    status, _ = edge.finish()
    assert status == 0
    assert not edge.members()
    with pytest.raises(ConnectionRefusedError):
        edge.ask()


def test_sigint_stops_as_sigterm_does(start_edge: Callable[..., Edge]) -> None:
    """Ctrl-C, which a terminal sends to the whole group, drains too."""
    edge = start_edge(workers="2")
    edge.wait_ready()
    os.killpg(edge.process.pid, signal.SIGINT)
    assert edge.finish()[0] == 0


def test_hangup_stops_nothing(start_edge: Callable[..., Edge]) -> None:
    """SIGHUP to supervisor and workers changes nothing."""
    edge = start_edge()
    edge.wait_ready()
    before = edge.ask()
    os.killpg(edge.process.pid, signal.SIGHUP)
    assert edge.ask() == before


def test_workers_die_with_the_supervisor(start_edge: Callable[..., Edge]) -> None:
    """Kill -9 of the supervisor takes workers, keeper and link along, and the home is free again."""
    edge = start_edge(workers="2", link="clinging")
    edge.wait_ready()
    wait_until(edge.link)
    edge.process.kill()
    edge.process.wait(5.0)
    wait_until(lambda: not edge.members())
    start_edge().wait_ready()


def test_workers_and_supervisor_cannot_be_dumped(start_edge: Callable[..., Edge]) -> None:
    """The kernel is told not to dump a worker, and hands the environment of either to root only."""
    edge = start_edge()
    edge.wait_ready()
    with socket.create_connection(edge.address, timeout=5.0) as connection:
        _, worker, dumpable = connection.makefile().readline().split()
    assert dumpable == "0"
    for pid in (worker, str(edge.process.pid)):
        assert (Path("/proc") / pid / "environ").stat().st_uid == 0


def test_worker_that_ignores_sigterm_is_killed_at_the_deadline(start_edge: Callable[..., Edge]) -> None:
    """After drain_seconds and the margin, SIGKILL; the exit status tells."""
    edge = start_edge("stubborn", drain_seconds="0.2")
    edge.wait_ready()
    edge.process.terminate()
    assert edge.finish()[0] == 1
    assert not edge.members()


def test_second_signal_ends_the_patience(start_edge: Callable[..., Edge]) -> None:
    """A second SIGTERM, given after a second, kills what still drains."""
    edge = start_edge("stubborn", drain_seconds="60")
    edge.wait_ready()
    edge.process.terminate()
    began = time.monotonic()

    def ended() -> bool:
        edge.process.terminate()
        return edge.process.poll() is not None

    wait_until(ended)
    assert edge.process.returncode == 1
    assert time.monotonic() - began < 5.0
