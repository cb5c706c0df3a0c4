"""What a killed installation left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from models.home import Home, short_directory
from scripts.up import leftovers, ray_guard, sessions, state

SLEEP = "print(flush=True)\nimport time\nwhile True: time.sleep(60)"


@pytest.fixture
def start() -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts processes in sessions of their own; whatever still runs at the end is killed."""
    with ExitStack() as kept:

        def starter() -> subprocess.Popen[bytes]:
            program = subprocess.Popen(
                [sys.executable, "-c", SLEEP], stdout=subprocess.PIPE, start_new_session=True
            )
            kept.callback(program.communicate)
            kept.callback(program.kill)
            assert program.stdout is not None
            program.stdout.readline()
            return program

        yield starter


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a place for its files."""
    (tmp_path / "run").mkdir()
    return tmp_path


def start_of(pid: int) -> int:
    """When a living process started."""
    found = sessions.look(pid)
    assert found is not None
    return found.start


def record(home: Path, pid: int, start: int, boot: str) -> None:
    """Writes a state with one part, and a head, of this process."""
    part = state.PartState(part="edge", region="a", state="ready", pid=pid, start=start, log="")
    found = state.State(pid=1, start=1, boot=boot, phase="ready", port_base=1, regions=("a",), parts=(part,))
    state.write(home, found)
    if pid:
        told = {"session": pid, "start": start, "boot": boot}
        ray_guard.session_file(home).write_text(json.dumps(told))


def test_nothing_is_left_of_a_home_that_never_ran(home: Path) -> None:
    """No record, a broken record: nothing is done."""
    assert leftovers.clear(home)
    ray_guard.session_file(home).write_text("{")
    assert leftovers.clear(home)


def test_recorded_parts_and_heads_are_ended_and_others_are_not(
    home: Path, start: Callable[[], subprocess.Popen[bytes]]
) -> None:
    """By session and start time in this boot."""
    part, head, other = start(), start(), start()
    record(home, part.pid, start_of(part.pid), sessions.boot_id())
    told = {"session": head.pid, "start": start_of(head.pid), "boot": sessions.boot_id()}
    ray_guard.session_file(home).write_text(json.dumps(told))
    assert leftovers.clear(home)
    assert part.wait(5.0) < 0
    assert head.wait(5.0) < 0
    assert other.poll() is None


@pytest.mark.parametrize(("shift", "boot"), [(1, None), (0, "another boot")])
def test_records_of_another_process_or_boot_name_nobody(
    home: Path, start: Callable[[], subprocess.Popen[bytes]], shift: int, boot: str | None
) -> None:
    """A process id that was used again."""
    other = start()
    record(home, other.pid, start_of(other.pid) - shift, boot or sessions.boot_id())
    assert leftovers.clear(home)
    assert other.poll() is None


def test_socket_directories_are_removed_as_far_as_they_are_ours(home: Path) -> None:
    """The link's own files go, and the directory when nothing else is in it."""
    record(home, 0, 0, sessions.boot_id())
    folder = short_directory(Home(home).edge("a").root, os.getuid())
    folder.mkdir(mode=0o700)
    (folder / "link.lock").touch()
    (folder / "other").touch()
    try:
        leftovers.clear(home)
        assert [path.name for path in folder.iterdir()] == ["other"]
    finally:
        (folder / "other").unlink()
    leftovers.clear(home)
    assert not folder.exists()
