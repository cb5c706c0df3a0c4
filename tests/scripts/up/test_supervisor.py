"""Supervision of real small processes: order, restarts, giving up, stopping."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts.up import sessions
from scripts.up.environment import clean
from scripts.up.part import ACTORS, CONTROL, EDGE, RAY, Part, Spec
from scripts.up.state import Phase
from scripts.up.supervisor import Failure, Listener, Supervisor
from tests.kit.processes import wait_until

SERVE = """
import os, signal, sys, time
if sys.argv[2] == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, lambda *_: (print("bye", file=sys.stderr), sys.exit(0)))
print(sys.argv[1], "ready: http://127.0.0.1:1", flush=True)
while True:
    time.sleep(60)
"""


class Story(Listener):
    """Remembers what it was told, and acts when something is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.phases: list[Phase] = []
        self.on: Callable[[str], None] = lambda _text: None

    def tell(self, text: str) -> None:
        text = text.split(" s  ", 1)[1]
        self.lines.append(text)
        self.on(text)

    def changed(self, phase: Phase, _failure: Failure | None) -> None:
        if self.phases[-1:] != [phase]:
            self.phases.append(phase)


class Stage:
    """Parts, their supervisor, and ways to act from within its loop."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.story = Story()
        self.parts: list[Part] = []

    def add(self, name: str, region: str = "", code: str = SERVE, manner: str = "") -> Part:
        command = [sys.executable, "-c", code, f"{name}", manner]
        log = self.folder / f"{name}{region}.log"
        part = Part(Spec(name, region, command, clean({}), log, f"{name} ready:"))
        self.parts.append(part)
        return part

    def supervisor(self, **options: float) -> Supervisor:
        return Supervisor(self.parts, self.story, **{"drain_seconds": 1.0, **options})


def stop() -> None:
    """Asks this process, whose signals the supervisor has, to stop."""
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A stage; nothing of its parts is left afterwards."""
    found = Stage(tmp_path)
    yield found
    assert [part.pid for part in found.parts if part.pid] == []


def test_parts_start_in_order_and_stop_in_order(stage: Stage) -> None:
    """Actors wait for Ray; what prepares runs beside Ray and before the others. Edges stop first."""
    for name, region in ((RAY, ""), (CONTROL, ""), (ACTORS, "a"), (EDGE, "a")):
        stage.add(name, region)
    seen: list[list[int]] = []
    pids: list[int] = []

    def celebrate() -> None:
        pids.extend(part.pid for part in stage.parts)
        stop()

    failure = stage.supervisor().run(
        lambda: seen.append([part.pid for part in stage.parts if part.pid]), celebrate
    )
    assert failure is None
    assert len(seen[0]) == 1
    told = [line.partition(" ready")[0] for line in stage.story.lines]
    assert set(told) == {"ray", "control", "actors a", "edge a"}
    assert told.index("ray") < told.index("actors a")
    assert stage.story.phases == ["starting", "ready", "stopping", "stopped"]
    assert all(sessions.look(pid) is None for pid in pids)
    ends = {part.spec.name: part.spec.log.stat().st_mtime_ns for part in stage.parts}
    assert ends[EDGE] < ends[ACTORS] < min(ends[RAY], ends[CONTROL])


def test_a_part_that_was_killed_is_back_and_the_others_stay(stage: Stage) -> None:
    """Kill -9 of one edge."""
    one, other = stage.add(EDGE, "a"), stage.add(EDGE, "b")
    before: list[int] = []

    def celebrate() -> None:
        before.extend((one.pid, other.pid))
        os.kill(one.pid, signal.SIGKILL)

    stage.story.on = lambda text: stop() if text.startswith("edge a is back") else None
    stage.supervisor().run(celebrate=celebrate)
    assert "edge a ended (ended with status -9), is started again" in stage.story.lines
    assert not [line for line in stage.story.lines if line.startswith("edge b ended")]


def test_the_end_of_ray_takes_the_actors_processes_along(stage: Stage) -> None:
    """They attach to the cluster that is no more; control and edges are left alone."""
    ray, actors, edge = stage.add(RAY), stage.add(ACTORS, "a"), stage.add(EDGE, "a")
    pids: list[int] = []

    def celebrate() -> None:
        pids.extend((ray.pid, actors.pid, edge.pid))
        os.kill(ray.pid, signal.SIGKILL)

    def on(text: str) -> None:
        if text.startswith("actors a is back"):
            pids.extend((ray.pid, actors.pid, edge.pid))
            stop()

    stage.story.on = on
    assert stage.supervisor().run(celebrate=celebrate) is None
    assert pids[0] != pids[3]
    assert pids[1] != pids[4]
    assert pids[2] == pids[5]
    lines = stage.story.lines
    assert lines.index("ray is back: http://127.0.0.1:1") < lines.index(
        "actors a is back: http://127.0.0.1:1"
    )


def test_what_an_operator_wrote_wrong_ends_it_at_once(stage: Stage) -> None:
    """Status 78 of a part, with its own words and its log."""
    stage.add(CONTROL)
    edge = stage.add(EDGE, "a", "import sys; print('exeat: EXEAT_X: bad', file=sys.stderr); sys.exit(78)")
    failure = stage.supervisor().run()
    assert failure == Failure("edge a cannot start: EXEAT_X: bad", str(edge.spec.log), 78)
    assert stage.story.phases[-1] == "failed"


def test_a_part_that_never_starts_is_given_up(stage: Stage) -> None:
    """After several attempts, not at the deadline."""
    edge = stage.add(EDGE, "a", "import sys; sys.exit(3)")
    failure = stage.supervisor(start_seconds=60.0).run()
    assert failure == Failure("edge a cannot start: ended with status 3", str(edge.spec.log))


def test_what_is_not_ready_in_time_is_named(stage: Stage) -> None:
    """With its log; everything is stopped again."""
    stage.add(CONTROL)
    edge = stage.add(EDGE, "a", "import time\nwhile True: time.sleep(60)")
    failure = stage.supervisor(start_seconds=1.0).run()
    assert failure == Failure("not ready within 1 s: edge a", str(edge.spec.log))


def test_a_second_signal_kills(stage: Stage) -> None:
    """Patience ends when the operator's does."""
    stage.add(EDGE, "a", manner="stubborn")
    timer = threading.Timer(0.3, stop)

    def celebrate() -> None:
        stop()
        timer.start()

    supervisor = stage.supervisor(drain_seconds=600.0)
    assert supervisor.run(celebrate=celebrate) is None
    timer.join()


def test_an_error_while_preparing_stops_what_runs(stage: Stage) -> None:
    """It reaches the caller, and nothing is left."""
    stage.add(RAY)

    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        stage.supervisor().run(fail)


KILLED = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from tests.scripts.up.test_supervisor import Stage
stage = Stage(Path(sys.argv[2]))
stage.add("edge", "a")
stage.supervisor().run(celebrate=lambda: print(stage.parts[0].pid, flush=True))
"""


def test_parts_end_with_a_supervisor_that_was_killed(tmp_path: Path) -> None:
    """Kill -9: the kernel tells them."""
    root = str(Path(__file__).resolve().parents[3])
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, root, str(tmp_path)], stdout=subprocess.PIPE, env=clean(os.environ)
    ) as program:
        assert program.stdout is not None
        pid = int(program.stdout.readline())
        assert sessions.look(pid) is not None
        program.kill()
        wait_until(lambda: sessions.look(pid) is None)
