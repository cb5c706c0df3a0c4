"""One supervised process, a real small one."""

from __future__ import annotations

import signal
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from scripts.up import sessions
from scripts.up.environment import clean
from scripts.up.part import Part, Spec, exeat
from tests.kit.processes import wait_until

SERVE = (
    "import time\nprint('edge ready: http://127.0.0.1:7 (1 worker)', flush=True)\nwhile True: time.sleep(60)"
)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[str], Part]]:
    """Makes a part that runs some Python; what still runs at the end is killed."""
    with ExitStack() as kept:

        def maker(code: str) -> Part:
            part = Part(
                Spec(
                    "edge", "a", [sys.executable, "-c", code], clean({}), tmp_path / "part.log", "edge ready:"
                )
            )
            kept.callback(lambda: wait_until(lambda: part.pid == 0 or part.ended() is not None))
            kept.callback(part.kill)
            return part

        yield maker


def test_a_part_is_ready_when_its_line_came(make: Callable[[str], Part]) -> None:
    """Its address is taken from the line; it has a session of its own, and a record for others."""
    part = make(SERVE)
    assert (part.pid, part.pipe, part.ended(), part.listen()) == (0, -1, None, False)
    part.launch(1.0)
    wait_until(part.listen)
    assert part.ready
    assert part.proven
    assert not part.listen()
    found = sessions.look(part.pid)
    assert found is not None
    assert found.session == part.pid
    record = part.record()
    assert (record.state, record.pid, record.start) == ("ready", part.pid, found.start)
    assert (part.spec.label, record.url) == ("edge a", "http://127.0.0.1:7")
    part.send(signal.SIGTERM)
    statuses: list[int | None] = []
    wait_until(lambda: statuses.append(part.ended()) or statuses[-1] is not None)
    assert statuses[-1] == -signal.SIGTERM
    assert (part.pid, part.ready, part.proven, part.record().state) == (0, False, True, "waiting")


def test_the_end_of_a_part_ends_its_session(make: Callable[[str], Part]) -> None:
    """What it started does not outlive it, although that has another parent by then."""
    child = "import os, time\nif os.fork() == 0:\n  print('edge ready: x', flush=True)\n  time.sleep(600)"
    part = make(child)
    part.launch(0.0)
    session = part.pid
    wait_until(lambda: part.ended() == 0)
    assert sessions.members(session) == []


def test_actors_are_known_by_their_posts_from_what_the_guardian_says(tmp_path: Path) -> None:
    """Those that it has not spoken of are listed all the same, and all are forgotten when it ends."""
    code = "print('actor RateLimiter/1 7', flush=True)\nprint('actors ready: a', flush=True)\ninput()"
    members = ("Recorder", "RateLimiter/0", "RateLimiter/1")
    command = [sys.executable, "-c", code]
    part = Part(Spec("actors", "a", command, clean({}), tmp_path / "log", "actors ready:", members))
    part.launch(0.0)
    wait_until(lambda: part.listen() and part.ready)
    assert part.record().actors == {"Recorder": 0, "RateLimiter/0": 0, "RateLimiter/1": 7}
    part.kill()
    wait_until(lambda: part.ended() is not None)
    assert set(part.record().actors.values()) == {0}


def test_last_words_are_those_of_this_process(make: Callable[[str], Part], tmp_path: Path) -> None:
    """Of its log the last line for people; what stood there before it started is not its."""
    log = tmp_path / "part.log"
    log.write_text("exeat: old\n")
    silent = make("")
    silent.launch(0.0)
    wait_until(lambda: silent.ended() == 0)
    assert silent.last_words() == ""
    part = make("import sys; print('exeat: one\\nexeat: two: three\\nnoise', file=sys.stderr); sys.exit(78)")
    part.launch(0.0)
    wait_until(lambda: part.ended() == 78)
    assert part.last_words() == "two: three"


def test_log_is_private(make: Callable[[str], Part], tmp_path: Path) -> None:
    """Mode 600 from its first byte."""
    part = make("")
    part.launch(0.0)
    wait_until(lambda: part.ended() == 0)
    assert stat.S_IMODE((tmp_path / "part.log").stat().st_mode) == 0o600


def test_our_commands_are_run_by_this_interpreter() -> None:
    """And never from a folder that happens to be called as ours."""
    assert exeat("edge", "--port", "1") == [
        *(sys.executable, "-P", "-m", "scripts.cli", "edge", "--port", "1")
    ]
