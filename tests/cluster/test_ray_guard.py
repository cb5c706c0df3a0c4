"""A real Ray head under its guard: where it listens, what is left of it when a part of it is killed."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.up import ray_guard, ray_head, sessions
from scripts.up.environment import clean
from tests.kit.processes import is_loopback, listeners, wait_until


class Guarded:
    """One guard and its head."""

    def __init__(self, home: Path) -> None:
        token = home / "ray.token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
        self.head = ray_head.Head(home, ("a",), ray_head.free_port(home), token)
        self.log = home / "guard.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        """Returns when the head is ready."""
        guard = self.begin()
        assert guard.stdout is not None
        with guard.stdout as said:
            assert said.readline() == f"ray ready: {self.head.address}\n".encode(), self.log.read_text()
        return guard

    def begin(self) -> subprocess.Popen[bytes]:
        """Returns at once."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ray_guard.arguments(self.head),
                env=clean(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        return self.process

    @property
    def members(self) -> list[sessions.Process]:
        """The living processes of the head's session."""
        record = ray_guard.session_file(self.head.home)
        return sessions.members(json.loads(record.read_text())["session"]) if record.exists() else []

    def kill(self, name: str) -> None:
        """SIGKILL to the member of that name."""
        os.kill(next(one.pid for one in self.members if one.name == name), signal.SIGKILL)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    """A guard that is not started yet; whatever it started is ended."""
    (tmp_path / "run").mkdir()
    found = Guarded(tmp_path)
    yield found
    if found.process is not None and found.process.poll() is None:
        found.process.terminate()
        found.process.wait(30.0)
    assert ray_guard.clear(tmp_path)
    ray_head.forget_short_path(tmp_path)


def test_head_listens_on_loopback_and_goes_as_a_whole(guarded: Guarded) -> None:
    """Every socket is local and outside the range of other clusters; a killed raylet, then a stop, leave nothing."""
    guard = guarded.start()
    assert {"raylet", "gcs_server"} <= {member.name for member in guarded.members}
    open_at = listeners(member.pid for member in guarded.members)
    assert guarded.head.port in {port for _, port in open_at}
    assert len(open_at) >= 5
    assert [place for place in open_at if not is_loopback(place[0])] == []
    assert [place for place in open_at if 10_002 <= place[1] < 20_000] == []
    first = ray_guard.epoch_file(guarded.head.home).read_text()

    guarded.kill("raylet")
    assert guard.wait(20.0) == 1
    assert guarded.members == []

    guard = guarded.start()
    assert ray_guard.epoch_file(guarded.head.home).read_text() != first
    began = time.monotonic()
    guard.terminate()
    assert guard.wait(20.0) == 0
    assert guarded.members == []
    assert time.monotonic() - began < 10.0


def test_head_that_loses_a_part_while_it_starts_goes_at_once(guarded: Guarded) -> None:
    """`ray start` would wait for it half a minute."""
    for name in ("gcs_server", "raylet"):
        with guarded.begin() as guard:
            wait_until(lambda name=name: name in {member.name for member in guarded.members}, 30.0)
            guarded.kill(name)
            began = time.monotonic()
            assert guard.wait(20.0) == 1
            assert time.monotonic() - began < 10.0
            assert guard.stdout is not None
            assert guard.stdout.read() == b""  # it was not ready yet
        assert guarded.members == []


def test_head_goes_with_a_guard_that_was_killed(guarded: Guarded) -> None:
    """What the kernel does not end, the next guard or `exeat down` does; the port is free for it."""
    guard = guarded.start()
    guard.kill()
    guard.wait()
    wait_until(lambda: {"raylet", "gcs_server"}.isdisjoint(one.name for one in guarded.members))
    assert ray_guard.clear(guarded.head.home)
    assert guarded.members == []
    assert ray_head.free_port(guarded.head.home) == guarded.head.port
