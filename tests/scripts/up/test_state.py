"""Who holds a home, and what is written about it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.up import state

HOLD = """
import sys
from pathlib import Path
from scripts.up.state import Lock
print(Lock(Path(sys.argv[1])).acquire(), flush=True)
input()
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a place for its files."""
    (tmp_path / "run").mkdir()
    return tmp_path


def example(**changes: object) -> state.State:
    """A state with one part."""
    part = state.PartState(part="edge", region="a", state="ready", pid=1, start=2, log="/l", url="http://x")
    fields = {"pid": 7, "start": 8, "boot": "b", "phase": "ready", "port_base": 7700, "regions": ("a",)}
    return state.State(**{**fields, "parts": (part,), **changes})


def test_state_is_read_as_it_was_written(home: Path) -> None:
    """A private file, replaced as a whole; none, half and broken ones are nothing."""
    assert state.read(home) is None
    state.write(home, example())
    state.write(home, example(phase="stopping", reason="r"))
    assert state.read(home) == example(phase="stopping", reason="r")
    path = home / "run" / "state.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_bytes(path.read_bytes()[:-5])
    assert state.read(home) is None


def test_one_process_holds_a_home(home: Path) -> None:
    """Another one is refused, may ask who it is, and asking takes nothing; the lock ends with its process."""
    assert state.holder(home) is None
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"True\n"
        assert state.holder(home) == holder.pid
        assert not state.Lock(home).acquire()
        assert state.holder(home) == holder.pid
        holder.kill()
        holder.wait()
        assert state.holder(home) is None
    mine = state.Lock(home)
    assert mine.acquire()
    assert (home / "run" / "up.pid").read_text() == f"{os.getpid()}\n"
    mine.release()
    mine.release()
    assert (home / "run" / "up.pid").read_text() == ""
