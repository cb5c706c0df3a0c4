"""The planes of a whole installation taken away, and given back: processes ended, files moved aside."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from scripts.up import ray_guard, sessions, state
from tests.kit.planes import RunningHome

PARTS = ("actors", "control", "ray")


@contextlib.contextmanager
def planes_gone(home: RunningHome) -> Iterator[None]:
    """Ends control API, actors and Ray, whole; takes away what they keep. Brings all of it back at the end."""
    found = recorded(home)
    head = json.loads(ray_guard.session_file(home.root).read_text())
    stores = [home.home.control_store.parent, home.root / "regions"]
    with contextlib.ExitStack() as back:
        os.kill(found.pid, signal.SIGSTOP)
        back.callback(go_on, found)
        for part in found.parts:
            if part.part in PARTS:
                os.kill(part.pid, signal.SIGKILL)
                assert sessions.end(part.pid, part.start, grace=0.0)
        assert sessions.end(head["session"], head["start"], grace=0.0)
        for store in stores:
            store.rename(store.with_suffix(".away"))
            back.callback(restore, store)
        yield


def restore(store: Path) -> None:
    with contextlib.suppress(FileNotFoundError):  # it is back already
        store.with_suffix(".away").rename(store)


def go_on(found: state.State) -> None:
    if sessions.is_same(found.pid, found.start):
        os.kill(found.pid, signal.SIGCONT)


def recorded(home: RunningHome) -> state.State:
    found = state.read(home.root)
    assert found is not None
    return found
