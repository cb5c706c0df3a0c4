"""The supervisor with real forks, real signals and a real socket; the workers are a few lines each."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import selectors
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_edge.supervisor import (
    LONGEST_PAUSE_SECONDS,
    SHORT_LIFE_SECONDS,
    pause_before_restart,
)

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


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Edge]]:
    """Starts edges, and leaves none behind."""
    edges: list[Edge] = []

    def starter(
        mode: str = "serve", home: str = "home", keeper: str = "keep", link: str = "", **settings: str
    ) -> Edge:
        edges.append(Edge(tmp_path / home, mode, keeper, link, **{"drain_seconds": "2", **settings}))
        return edges[-1]

    yield starter
    for edge in edges:
        if edge.process.poll() is None:
            edge.process.kill()
        edge.process.communicate()
    wait_until(lambda: not any(edge.members() for edge in edges))


def test_announces_once_every_worker_accepts(start: Callable[..., Edge]) -> None:
    """One line on stdout names the address and the number of workers, and all of them serve."""
    edge = start(workers="2")
    assert edge.wait_ready() == f"edge ready: http://127.0.0.1:{edge.address[1]} (2 workers)"
    assert edge.seen(0) != edge.seen(1)


def test_sigterm_lets_workers_drain_and_leaves_no_process(start: Callable[..., Edge]) -> None:
    """SIGTERM reaches every worker, an open connection is finished, the port is free, nothing is left."""
    edge = start(workers="2")
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


def test_sigint_stops_as_sigterm_does(start: Callable[..., Edge]) -> None:
    """Ctrl-C, which a terminal sends to the whole group, drains too."""
    edge = start(workers="2")
    edge.wait_ready()
    os.killpg(edge.process.pid, signal.SIGINT)
    assert edge.finish()[0] == 0


def test_hangup_stops_nothing(start: Callable[..., Edge]) -> None:
    """SIGHUP to supervisor and workers changes nothing."""
    edge = start()
    edge.wait_ready()
    before = edge.ask()
    os.killpg(edge.process.pid, signal.SIGHUP)
    assert edge.ask() == before


def test_killed_worker_is_replaced_and_no_connection_refused(start: Callable[..., Edge]) -> None:
    """Kill -9 of one of two: every later connection is accepted, and its place is taken within 2 s."""
    edge = start(workers="2")
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


def test_only_worker_killed_leaves_connections_waiting(start: Callable[..., Edge]) -> None:
    """With one worker killed, a connection made at once is answered by its successor."""
    edge = start()
    edge.wait_ready()
    _, victim = edge.ask()
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: victim not in edge.members())
    index, pid = edge.ask()
    assert (index, pid != victim) == (0, True)


def test_keeper_is_a_child_of_its_own(start: Callable[..., Edge]) -> None:
    """Processes have names, the keeper's log lines say whose they are, and it does not hold the port."""
    edge = start(workers="2")
    edge.wait_ready()
    names = [Path(f"/proc/{pid}/comm").read_text().strip() for pid in edge.members() - {edge.process.pid}]
    assert sorted(names) == ["exeat-keeper", "exeat-worker", "exeat-worker"]
    files = [str(file.readlink()) for file in Path(f"/proc/{edge.keeper()}/fd").iterdir()]
    assert not [name for name in files if name.startswith("socket:")]


def test_killed_keeper_is_replaced_while_workers_serve_and_drain(start: Callable[..., Edge]) -> None:
    """Kill -9 of the keeper: another takes its place within 2 s, the workers are the same; also during a drain."""
    edge = start("stubborn", drain_seconds="60")
    edge.wait_ready()
    workers = edge.members() - {edge.keeper()}
    for drain in (False, True):
        if drain:
            edge.process.terminate()
        victim = edge.keeper()
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda victim=victim: edge.keeper() not in {0, victim}, 2.0)
        assert edge.members() - {edge.keeper()} == workers


def test_keeper_ends_after_the_last_worker(start: Callable[..., Edge]) -> None:
    """SIGTERM goes to the workers first; what they wrote last the keeper can still deliver."""
    edge = start(workers="2")
    edge.wait_ready()
    edge.process.terminate()
    assert edge.finish()[0] == 0
    ended = [str(line["message"]) for line in edge.log() if str(line["message"]).endswith(" ended")]
    assert ended == ["worker ended", "worker ended", "keeper ended"]


def test_keeper_that_ignores_sigterm_is_killed(start: Callable[..., Edge]) -> None:
    """After the margin, SIGKILL; the exit status tells."""
    edge = start(keeper="clinging")
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
    start: Callable[..., Edge], keeper: str, status: int, said: str
) -> None:
    """Without one no record would get anywhere: the edge says why and ends, as it does for a worker."""
    edge = start(keeper=keeper, log_stderr="false")
    assert edge.finish() == (status, said.format(log=edge.home / "logs" / "edge.log"))
    assert {line["worker"] for line in edge.log() if str(line["logger"]).endswith(".worker")} == {"keeper"}


def test_link_is_another_program(start: Callable[..., Edge]) -> None:
    """It has its own environment and output and neither the port nor any other descriptor; it ends last."""
    edge = start(link="link", workers="2")
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


def test_killed_link_is_replaced(start: Callable[..., Edge]) -> None:
    """Within 2 s; the workers are the same."""
    edge = start(link="link")
    edge.wait_ready()
    wait_until(edge.link)
    victim, worker = edge.link(), edge.ask()
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: edge.link() not in {0, victim}, 2.0)
    assert edge.ask() == worker


@pytest.mark.parametrize("link", ["leaving", "missing"])
def test_link_that_cannot_live_stops_nothing(start: Callable[..., Edge], link: str) -> None:
    """One that leaves at once, or cannot be executed at all: workers are announced and serve, and it is tried again."""
    edge = start(link=link)
    edge.wait_ready()
    assert edge.ask()[0] == 0

    def ended() -> list[object]:
        return [line["status"] for line in edge.log() if line["message"] == "link ended"]

    wait_until(lambda: len(ended()) >= 4)
    assert set(ended()) == {75 if link == "leaving" else 127}
    assert edge.ask()[0] == 0
    edge.process.terminate()
    assert edge.finish()[0] == 0


def test_link_that_ignores_sigterm_is_killed(start: Callable[..., Edge]) -> None:
    """It holds nothing that could be lost: the edge's exit status is that of its workers."""
    edge = start(link="clinging")
    edge.wait_ready()
    wait_until(lambda: (edge.home / "logs" / "link.log").read_text() == "link here\n")
    edge.process.terminate()
    assert edge.finish()[0] == 0
    assert not edge.members()


def test_workers_die_with_the_supervisor(start: Callable[..., Edge]) -> None:
    """Kill -9 of the supervisor takes workers, keeper and link along, and the home is free again."""
    edge = start(workers="2", link="clinging")
    edge.wait_ready()
    wait_until(edge.link)
    edge.process.kill()
    edge.process.wait(5.0)
    wait_until(lambda: not edge.members())
    start().wait_ready()


def test_workers_and_supervisor_cannot_be_dumped(start: Callable[..., Edge]) -> None:
    """The kernel is told not to dump a worker, and hands the environment of either to root only."""
    edge = start()
    edge.wait_ready()
    with socket.create_connection(edge.address, timeout=5.0) as connection:
        _, worker, dumpable = connection.makefile().readline().split()
    assert dumpable == "0"
    for pid in (worker, str(edge.process.pid)):
        assert (Path("/proc") / pid / "environ").stat().st_uid == 0


def test_worker_that_ignores_sigterm_is_killed_at_the_deadline(start: Callable[..., Edge]) -> None:
    """After drain_seconds and the margin, SIGKILL; the exit status tells."""
    edge = start("stubborn", drain_seconds="0.2")
    edge.wait_ready()
    edge.process.terminate()
    assert edge.finish()[0] == 1
    assert not edge.members()


def test_second_signal_ends_the_patience(start: Callable[..., Edge]) -> None:
    """A second SIGTERM, given after a second, kills what still drains."""
    edge = start("stubborn", drain_seconds="60")
    edge.wait_ready()
    edge.process.terminate()
    began = time.monotonic()

    def ended() -> bool:
        edge.process.terminate()
        return edge.process.poll() is not None

    wait_until(ended)
    assert edge.process.returncode == 1
    assert time.monotonic() - began < 5.0


def test_crash_loop_slows_down(start: Callable[..., Edge]) -> None:
    """A worker that dies as soon as it is ready is restarted ever more slowly, and the supervisor stays."""
    edge = start("crash")
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


def test_worker_that_cannot_be_configured_stops_everything(start: Callable[..., Edge]) -> None:
    """Exit status 78, and the message once although there are three workers."""
    edge = start("misconfigured", workers="3", log_stderr="false")
    status, errors = edge.finish()
    assert status == 78
    assert errors == "exeat: policy.yaml:7: proxies[0].proxyTargetId: is not known\n"
    assert not edge.members()


def test_worker_that_fails_to_start_stops_everything(start: Callable[..., Edge]) -> None:
    """Three attempts, then status 1; the log has the exception's type and place, never its text."""
    edge = start("broken")
    status, errors = edge.finish()
    assert status == 1
    assert "worker 0 cannot start (status 1)" in errors
    logged = (edge.home / "logs" / "edge.log").read_text()
    assert "canary" not in logged + errors
    assert "RuntimeError" in logged
    assert "tiny_edge.py" in logged


def test_port_in_use_is_named(start: Callable[..., Edge]) -> None:
    """A taken port ends with 78, and the message names address and setting."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        edge = start(port=str(port), log_stderr="false")
        assert edge.finish() == (78, f"exeat: EXEAT_PORT: 127.0.0.1:{port} is already in use\n")


def test_second_edge_in_one_home_is_refused(start: Callable[..., Edge]) -> None:
    """Two edges would share rings: the second is refused and names the first's process."""
    first = start()
    first.wait_ready()
    second = start(log_stderr="false")
    status, errors = second.finish()
    assert status == 78
    assert f"(process {first.process.pid}) already runs" in errors
    assert first.ask()[0] == 0


def test_home_is_private(start: Callable[..., Edge]) -> None:
    """Directories are 700, log and pid file 600, and the pid file holds the supervisor's id."""
    edge = start()
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
