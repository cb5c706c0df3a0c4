"""`exeat up --detach` and `exeat down`: one installation in a session of its own, and its end.

What the detached process prints goes to a file and from there to whoever waits; the owner's token is printed
here only, and never into that file.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from models.home import Home
from proxy_edge.fork import say
from proxy_edge.settings import environment
from scripts.settings import UpSettings
from scripts.up import leftovers, sessions, state
from scripts.up.bring_up import make_directories, welcome_text
from scripts.up.part import exeat

STOP_SECONDS = 40.0
KILLED_SECONDS = 10.0
_LOOK_SECONDS = 0.05


def detach(settings: UpSettings, arguments: Sequence[str]) -> int:
    """Starts `exeat up` with `arguments` by itself, waits until it is ready; 0 then, else its exit status."""
    home = Home(settings.home)
    make_directories(home)
    if (pid := state.holder(home.root)) is not None:
        return _join(home.root, pid)
    path = home.logs / "up.log"
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as output, path.open("rb") as said:
        said.seek(0, os.SEEK_END)
        started = subprocess.Popen(
            [*exeat("up", "--detached"), *arguments],
            env=dict(environment()),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        return _follow(settings, home, started, said)


def down(settings: UpSettings) -> int:
    """Stops what runs in the home and waits until it is gone; 0 also when nothing runs, 1 when something is left."""
    root = settings.home
    pid = state.holder(root)
    if pid is None:
        print(f"nothing runs in {root}")
        return 0 if leftovers.clear(root) else _left(root)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    if not _released(root, pid, settings.drain_seconds + STOP_SECONDS):
        say(f"process {pid} does not stop and is killed")
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        _released(root, pid, KILLED_SECONDS)
    if not leftovers.clear(root):
        return _left(root)
    print("stopped")
    return 0


def _join(root: Path, pid: int) -> int:
    """Somebody else started it: waits until that is ready."""
    found = None
    while state.holder(root) == pid:
        found = state.read(root)
        if found is not None and found.pid == pid and found.phase != "starting":
            break
        time.sleep(_LOOK_SECONDS)  # the other process tells only its file; there is no loop
    if found is None or found.pid != pid or found.phase != "ready":
        reason = found.reason if found is not None and found.reason else "it is about to end"
        say(f"Exeat runs in {root} (process {pid}) and is not ready: {reason}\nlogs are in {root / 'logs'}")
        return 1
    print(f"Exeat already runs in {root}; `exeat status` shows its parts, `exeat down` stops it")
    return 0


def _follow(settings: UpSettings, home: Home, started: subprocess.Popen[bytes], said: IO[bytes]) -> int:
    """Passes on what the detached process says until it is ready (0) or has ended (its status)."""
    while True:
        status = started.poll()
        _pass_on(said)
        found = state.read(home.root)
        if found is not None and found.pid == started.pid and found.phase == "ready":
            print(welcome_text(settings, found.regions, first=found.first))
            print(f"It runs on by itself: process {started.pid}, `exeat down` stops it.")
            return 0
        if status is not None:
            return status if status > 0 else 1 if status else _join_winner(home.root)
        time.sleep(_LOOK_SECONDS)  # the other process tells only its file; there is no loop


def _join_winner(root: Path) -> int:
    """The detached process found another one that was faster."""
    pid = state.holder(root)
    return 1 if pid is None else _join(root, pid)


def _pass_on(said: IO[bytes]) -> None:
    if text := said.read():
        sys.stdout.write(text.decode(errors="replace"))
        sys.stdout.flush()


def _released(root: Path, pid: int, seconds: float) -> bool:
    """Whether `pid` let go of the home within `seconds`, and is gone."""
    deadline = time.monotonic() + seconds
    while state.holder(root) == pid or sessions.look(pid) is not None:
        if time.monotonic() >= deadline:
            return False
        time.sleep(_LOOK_SECONDS)  # the other process tells only its file; there is no loop
    return True


def _left(root: Path) -> int:
    say(f"not everything of {root} could be ended; `exeat status` shows what is left")
    return 1
