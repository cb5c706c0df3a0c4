"""The supervisor with real forks, real signals and a real socket; the workers are a few lines each."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_edge.supervisor import (
    LONGEST_PAUSE_SECONDS,
    SHORT_LIFE_SECONDS,
    pause_before_restart,
)
from tests.proxy_edge.supervised import Edge, wait_until


def test_announces_once_every_worker_accepts(start_edge: Callable[..., Edge]) -> None:
    """One line on stdout names the address and the number of workers, and all of them serve."""
    edge = start_edge(workers="2")
    assert edge.wait_ready() == f"edge ready: http://127.0.0.1:{edge.address[1]} (2 workers)"
    assert edge.seen(0) != edge.seen(1)


def test_killed_worker_is_replaced_and_no_connection_refused(start_edge: Callable[..., Edge]) -> None:
    """Kill -9 of one of two: every later connection is accepted, and its place is taken within 2 s."""
    edge = start_edge(workers="2")
    edge.wait_ready()
    victim = edge.seen(0)
    os.kill(victim, signal.SIGKILL)
    died = time.monotonic()
    replaced: list[float] = []

    def answered_by_successor() -> bool:
        # A connection that the dying worker had accepted may end without an answer; none is refused.
        with contextlib.suppress(ValueError, ConnectionResetError):
            index, pid = edge.ask()
            if index == 0 and pid != victim:
                replaced.append(time.monotonic() - died)
        return bool(replaced)

    wait_until(answered_by_successor)
    assert replaced[0] < 2.0


def test_only_worker_killed_leaves_connections_waiting(start_edge: Callable[..., Edge]) -> None:
    """With one worker killed, a connection made at once is answered by its successor."""
    edge = start_edge()
    edge.wait_ready()
    _, victim = edge.ask()
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: victim not in edge.members())
    index, pid = edge.ask()
    assert (index, pid != victim) == (0, True)


def test_keeper_is_a_child_of_its_own(start_edge: Callable[..., Edge]) -> None:
    """Processes have names, the keeper's log lines say whose they are, and it does not hold the port."""
    edge = start_edge(workers="2")
    edge.wait_ready()
    names = [Path(f"/proc/{pid}/comm").read_text().strip() for pid in edge.members() - {edge.process.pid}]
    assert sorted(names) == ["exeat-keeper", "exeat-worker", "exeat-worker"]
    files = [str(file.readlink()) for file in Path(f"/proc/{edge.keeper()}/fd").iterdir()]
    assert not [name for name in files if name.startswith("socket:")]


def test_killed_keeper_is_replaced_while_workers_serve_and_drain(start_edge: Callable[..., Edge]) -> None:
    """Kill -9 of the keeper: another takes its place within 2 s, the workers are the same; also during a drain."""
    edge = start_edge("stubborn", drain_seconds="60")
    edge.wait_ready()
    workers = edge.members() - {edge.keeper()}
    for drain in (False, True):
        if drain:
            edge.process.terminate()
        victim = edge.keeper()
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda victim=victim: edge.keeper() not in {0, victim}, 2.0)
        assert edge.members() - {edge.keeper()} == workers


def test_keeper_ends_after_the_last_worker(start_edge: Callable[..., Edge]) -> None:
    """SIGTERM goes to the workers first; what they wrote last the keeper can still deliver."""
    edge = start_edge(workers="2")
    edge.wait_ready()
    edge.process.terminate()
    assert edge.finish()[0] == 0
    ended = [str(line["message"]) for line in edge.log() if str(line["message"]).endswith(" ended")]
    assert ended == ["worker ended", "worker ended", "keeper ended"]


def test_keeper_that_ignores_sigterm_is_killed(start_edge: Callable[..., Edge]) -> None:
    """After the margin, SIGKILL; the exit status tells."""
    edge = start_edge(keeper="clinging")
    edge.wait_ready()
    edge.process.terminate()
    assert edge.finish()[0] == 1
    assert "keeper killed" in [line["message"] for line in edge.log()]


@pytest.mark.parametrize(
    ("keeper", "status", "said"),
    [
        ("unkept", 78, "exeat: records: cannot be written\n"),
        ("failing", 1, "exeat: keeper cannot start (status 1), see {log}\n"),
    ],
)
def test_keeper_that_cannot_start_stops_everything(
    start_edge: Callable[..., Edge], keeper: str, status: int, said: str
) -> None:
    """Without one no record would get anywhere: the edge says why and ends, as it does for a worker."""
    edge = start_edge(keeper=keeper, log_stderr="false")
    assert edge.finish() == (status, said.format(log=edge.home / "logs" / "edge.log"))
    assert {line["worker"] for line in edge.log() if str(line["logger"]).endswith(".worker")} == {"keeper"}


def test_link_is_another_program(start_edge: Callable[..., Edge]) -> None:
    """It has its own environment and output and neither the port nor any other descriptor; it ends last."""
    edge = start_edge(link="link", workers="2")
    edge.wait_ready()
    wait_until(lambda: (edge.home / "logs" / "link.log").read_text() == "link here\n")
    process = Path(f"/proc/{edge.link()}")
    files = {file.name: str(file.readlink()) for file in (process / "fd").iterdir()}
    log = str(edge.home / "logs" / "link.log")
    assert files == {"0": "/dev/null", "1": log, "2": log}
    assert (process / "environ").read_bytes() == b"TOLD=link\0"
    assert stat.S_IMODE((edge.home / "logs" / "link.log").stat().st_mode) == 0o600
    edge.process.terminate()
    assert edge.finish()[0] == 0
    ended = [str(line["message"]) for line in edge.log() if str(line["message"]).endswith(" ended")]
    assert ended == ["worker ended", "worker ended", "keeper ended", "link ended"]


def test_killed_link_is_replaced(start_edge: Callable[..., Edge]) -> None:
    """Within 2 s; the workers are the same."""
    edge = start_edge(link="link")
    edge.wait_ready()
    wait_until(edge.link)
    victim, worker = edge.link(), edge.ask()
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: edge.link() not in {0, victim}, 2.0)
    assert edge.ask() == worker


@pytest.mark.parametrize("link", ["leaving", "missing"])
def test_link_that_cannot_live_stops_nothing(start_edge: Callable[..., Edge], link: str) -> None:
    """One that leaves at once, or cannot be executed at all: workers are announced and serve, and it is tried again."""
    edge = start_edge(link=link)
    edge.wait_ready()
    assert edge.ask()[0] == 0

    def ended() -> list[object]:
        return [line["status"] for line in edge.log() if line["message"] == "link ended"]

    wait_until(lambda: len(ended()) >= 4)
    assert set(ended()) == {75 if link == "leaving" else 127}
    assert edge.ask()[0] == 0
    edge.process.terminate()
    assert edge.finish()[0] == 0


def test_link_that_ignores_sigterm_is_killed(start_edge: Callable[..., Edge]) -> None:
    """It holds nothing that could be lost: the edge's exit status is that of its workers."""
    edge = start_edge(link="clinging")
    edge.wait_ready()
    wait_until(lambda: (edge.home / "logs" / "link.log").read_text() == "link here\n")
    edge.process.terminate()
    assert edge.finish()[0] == 0
    assert not edge.members()


def test_crash_loop_slows_down(start_edge: Callable[..., Edge]) -> None:
    """A worker that dies as soon as it is ready is restarted ever more slowly, and the supervisor stays."""
    edge = start_edge("crash")
    edge.wait_ready()
    starts: list[object] = []

    def started_five_times() -> bool:
        starts[:] = [line["at"] for line in edge.log() if line["message"] == "worker started"]
        return len(starts) >= 5

    wait_until(started_five_times)
    gaps = [_seconds(str(b)) - _seconds(str(a)) for a, b in itertools.pairwise(starts)]
    assert gaps[0] < gaps[3]
    assert gaps[1] >= 0.095
    assert gaps[2] >= 0.195
    assert gaps[3] >= 0.395
    edge.process.terminate()
    assert edge.finish()[0] == 0


def _seconds(moment: str) -> float:
    hours, minutes, seconds = moment[11:-1].split(":")
    # Log times are cut to milliseconds, so a gap may look one shorter than it was.
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def test_worker_that_cannot_be_configured_stops_everything(start_edge: Callable[..., Edge]) -> None:
    """Exit status 78, and the message once although there are three workers."""
    edge = start_edge("misconfigured", workers="3", log_stderr="false")
    status, errors = edge.finish()
    assert status == 78
    assert errors == "exeat: policy.yaml:7: proxies[0].proxyTargetId: is not known\n"
    assert not edge.members()


def test_worker_that_fails_to_start_stops_everything(start_edge: Callable[..., Edge]) -> None:
    """Three attempts, then status 1; the log has the exception's type and place, never its text."""
    edge = start_edge("broken")
    status, errors = edge.finish()
    assert status == 1
    assert "worker 0 cannot start (status 1)" in errors
    logged = (edge.home / "logs" / "edge.log").read_text()
    assert "canary" not in logged + errors
    assert "RuntimeError" in logged
    assert "tiny_edge.py" in logged


def test_port_in_use_is_named(start_edge: Callable[..., Edge]) -> None:
    """A taken port ends with 78, and the message names address and setting."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        edge = start_edge(port=str(port), log_stderr="false")
        assert edge.finish() == (78, f"exeat: EXEAT_PORT: 127.0.0.1:{port} is already in use\n")


def test_second_edge_in_one_home_is_refused(start_edge: Callable[..., Edge]) -> None:
    """Two edges would share rings: the second is refused and names the first's process."""
    first = start_edge()
    first.wait_ready()
    second = start_edge(log_stderr="false")
    status, errors = second.finish()
    assert status == 78
    assert f"(process {first.process.pid}) already runs" in errors
    assert first.ask()[0] == 0


def test_home_is_private(start_edge: Callable[..., Edge]) -> None:
    """Directories are 700, log and pid file 600, and the pid file holds the supervisor's id."""
    edge = start_edge()
    edge.wait_ready()
    modes = {
        name: stat.S_IMODE((edge.home / name).stat().st_mode)
        for name in (".", "run", "logs", "run/edge.pid", "logs/edge.log")
    }
    assert modes == {".": 0o700, "run": 0o700, "logs": 0o700, "run/edge.pid": 0o600, "logs/edge.log": 0o600}
    assert (edge.home / "run" / "edge.pid").read_text() == f"{edge.process.pid}\n"


@given(st.floats(min_value=0.0, max_value=1e6), st.integers(min_value=0, max_value=10_000))
def test_pause_is_bounded_and_spares_the_first_death(lifetime: float, short_lives: int) -> None:
    """Any history gives a pause between nothing and the longest; long lives and first deaths give nothing."""
    pause = pause_before_restart(lifetime, short_lives)
    assert 0.0 <= pause <= LONGEST_PAUSE_SECONDS
    if lifetime >= SHORT_LIFE_SECONDS or short_lives <= 1:
        assert pause == 0.0
    else:
        assert pause <= pause_before_restart(lifetime, short_lives + 1)
