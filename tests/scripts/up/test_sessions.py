"""Process sessions, with real small ones."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from scripts.up import sessions
from tests.kit.processes import wait_until

STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    if os.fork() == 0:
        while True:
            time.sleep(60)
    os._exit(0)
print("up", flush=True)
while True:
    time.sleep(60)
"""
"""Ignores SIGTERM, and has a grandchild that nobody of its session is the parent of."""


def kill_session(session: int) -> None:
    """Ends what a test started, without the code under test."""
    while left := sessions.members(session):  # a member may have forked meanwhile
        for member in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(member.pid, signal.SIGKILL)


@pytest.fixture
def stubborn() -> Iterator[subprocess.Popen[bytes]]:
    """A running session of two that ignore SIGTERM."""
    with ExitStack() as kept:
        program = subprocess.Popen(
            [sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, start_new_session=True
        )
        assert program.stdout is not None
        kept.callback(program.stdout.close)
        kept.callback(program.wait)
        kept.callback(kill_session, program.pid)
        assert program.stdout.readline() == b"up\n"
        yield program


def start_of(pid: int) -> int:
    """When a living process started."""
    found = sessions.look(pid)
    assert found is not None
    return found.start


def test_this_process_is_seen_as_it_is() -> None:
    """Id, parent, session; the name may hold blanks and brackets without confusing the rest."""
    mine = sessions.look(os.getpid())
    assert mine is not None
    assert (mine.pid, mine.parent, mine.session) == (os.getpid(), os.getppid(), os.getsid(0))
    assert mine in list(sessions.everything())


def test_a_name_with_brackets_does_not_confuse() -> None:
    """A program may call itself what it likes."""
    code = "import ctypes; ctypes.CDLL(None).prctl(15, b') R 1 1'); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as program:
        assert program.stdout is not None
        program.stdout.readline()
        found = sessions.look(program.pid)
        assert found is not None
        assert (found.name, found.parent) == (") R 1 1", os.getpid())
        program.communicate(b"\n")


def test_the_ended_and_the_zombies_do_not_live() -> None:
    """A process that has ended is gone, whether or not somebody asked for its status."""
    program = subprocess.Popen([sys.executable, "-c", ""])
    wait_until(lambda: sessions.look(program.pid) is None)
    assert not sessions.is_same(program.pid, 0)
    program.wait()
    assert sessions.look(program.pid) is None


def test_a_session_is_ended_as_a_whole(stubborn: subprocess.Popen[bytes]) -> None:
    """What ignores SIGTERM is killed, and so is who has lost its parent."""
    start = start_of(stubborn.pid)
    wait_until(lambda: len(sessions.members(stubborn.pid)) == 2)
    assert sessions.end(stubborn.pid, start, grace=0.1)
    assert sessions.members(stubborn.pid) == []
    assert sessions.end(stubborn.pid, start)


def test_members_are_ended_also_without_their_leader(stubborn: subprocess.Popen[bytes]) -> None:
    """The leader was killed by somebody else; the rest of its session is still found."""
    start = start_of(stubborn.pid)
    wait_until(lambda: len(sessions.members(stubborn.pid)) == 2)
    stubborn.kill()
    stubborn.wait()
    assert len(sessions.remaining(stubborn.pid, start)) == 1
    assert sessions.end(stubborn.pid, start, grace=0.0)
    assert sessions.members(stubborn.pid) == []


def test_a_process_id_that_was_used_again_is_left_alone(stubborn: subprocess.Popen[bytes]) -> None:
    """The recorded start time is another one: the recorded session is over, and this one is somebody else's."""
    assert sessions.end(stubborn.pid, start_of(stubborn.pid) - 1, grace=0.0)
    assert stubborn.poll() is None
    assert not sessions.is_same(stubborn.pid, start_of(stubborn.pid) - 1)


@pytest.mark.parametrize(
    ("session", "start"),
    [(0, 0), (0, 1), (1, 1), (os.getsid(0), 1), (os.getpid(), 0)],
    ids=["none", "nobody", "init", "own", "own without start"],
)
def test_sessions_that_cannot_be_ours_have_nothing_to_end(session: int, start: int) -> None:
    """A broken record: session 0 is everything from outside a container, and nobody ends its own session."""
    assert sessions.remaining(session, start) == []
