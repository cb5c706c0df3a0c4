"""The guard of one Ray head, `python -m scripts.up.ray_guard HEAD`: starts it, watches it, clears it away whole.

Ray leaves processes behind when one of its parts is killed, and takes half a minute to stop with actors alive;
the guard ends the head's whole session instead, when any part of it has gone, when it is asked to stop, and so
when whoever started it is gone. It never touches a process outside that session.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from control_api import files
from models.errors import ConfigurationError
from proxy_edge import process
from proxy_edge.fork import EXIT_CONFIGURATION, say
from proxy_edge.settings import environment
from scripts.up import ray_head, sessions

START_SECONDS = 40.0
LOOK_SECONDS = 0.25
KEPT_SESSIONS = 2
VITAL = frozenset({"gcs_server", "raylet"})
"""Names, as /proc shows them, of the members without which the head is none."""


class _StopAsked(Exception):
    """SIGTERM: the parent's wish, or its death."""


def arguments(head: ray_head.Head) -> list[str]:
    """The command that runs the guard of `head`."""
    told = {
        **head._asdict(),
        "home": str(head.home),
        "token": str(head.token),
    }
    return [sys.executable, "-P", "-m", "scripts.up.ray_guard", json.dumps(told)]


def session_file(home: Path) -> Path:
    """Where the head's session is recorded: `{"session", "start", "boot", "address"}`."""
    return home / "run" / "ray.json"


def epoch_file(home: Path) -> Path:
    """The file whose content changes whenever another cluster is started."""
    return home / "run" / "ray.epoch"


def clear(home: Path, *, grace: float = sessions.GRACE_SECONDS) -> bool:
    """Ends what is left of the head last started in `home`; whether nothing is left."""
    try:
        record = json.loads(session_file(home).read_text())
        session, start, boot = int(record["session"]), int(record["start"]), record["boot"]
    except (OSError, ValueError, KeyError, TypeError):
        return True
    return boot != sessions.boot_id() or sessions.end(session, start, grace=grace)


def guard(head: ray_head.Head) -> int:
    """Blocks while the head lives; 0 when asked to stop, 1 when the head ended or did not start."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _StopAsked

    signal.signal(signal.SIGTERM, stop)
    clear(head.home)  # of a guard that was killed
    started: subprocess.Popen[bytes] | None = None
    status = 0
    try:
        _make_room(head)
        link = ray_head.short_path(head)
        files.replace(epoch_file(head.home), os.urandom(16).hex().encode())
        with process.signals_held():  # or a stop could come between the start and its record
            started = _start(head, link)
        _watch(head, started)
        status = 1
    except _StopAsked:
        pass
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if started is not None:
            clear(head.home)
            with contextlib.suppress(subprocess.TimeoutExpired):
                started.wait(1.0)
    return status


def _start(head: ray_head.Head, link: Path) -> subprocess.Popen[bytes]:
    parent = os.getpid()

    def tie() -> None:
        process.default_signals()
        process.die_with_parent(parent)

    started = subprocess.Popen(
        ray_head.command(head, link),
        env=ray_head.variables(head, environment()),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=head.home,
        start_new_session=True,
        preexec_fn=tie,  # noqa: PLW1509 - this process has one thread
    )
    found = sessions.look(started.pid)
    record: dict[str, Any] = {
        "session": started.pid,
        "start": 0 if found is None else found.start,
        "boot": sessions.boot_id(),
        "address": head.address,
    }
    files.replace(session_file(head.home), json.dumps(record).encode())
    return started


def _watch(head: ray_head.Head, started: subprocess.Popen[bytes]) -> None:
    """Returns when the head has ended, lost a vital part, or has not started in time; says which."""
    assert started.stdout is not None, "asked for above"
    deadline = time.monotonic() + START_SECONDS
    said, ready = b"", False
    vital: set[sessions.Process] = set()
    pipe = [started.stdout]
    while True:
        readable, _, _ = select.select(pipe, [], [], LOOK_SECONDS)
        if readable:
            if piece := os.read(started.stdout.fileno(), 65536):
                sys.stderr.buffer.write(piece)
                sys.stderr.flush()
                said = (said + piece)[-4096:]
            else:
                pipe = []
        if started.poll() is not None:
            return say(f"ray start ended with status {started.returncode}")
        if not ready:
            # While it starts already: `ray start` would wait half a minute for one that has gone.
            vital |= _vital(started.pid)
        if not ready and ray_head.STARTED in said:
            ready = True
            sys.stdout.write(f"ray ready: {head.address}\n")
            sys.stdout.flush()
        if not ready and time.monotonic() > deadline:
            return say(f"Ray has not started within {START_SECONDS:.0f} s")
        if not all(sessions.is_same(member.pid, member.start) for member in vital):
            return say("a vital process of the Ray head has ended")


def _vital(head: int) -> set[sessions.Process]:
    """The vital members seen now, dead or alive. What a raylet forks has its name at first, but another parent."""
    found = [*sessions.children(head), *sessions.unmourned(head)]
    return {member for member in found if member.name in VITAL}


def _make_room(head: ray_head.Head) -> None:
    """The head's directory, without the files of all but its latest sessions."""
    head.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    old = sorted(entry for entry in head.directory.glob("session_2*") if entry.is_dir())
    for entry in old[: max(0, len(old) - KEPT_SESSIONS + 1)]:
        shutil.rmtree(entry, ignore_errors=True)


def main() -> int:
    """The command line: one JSON object with the fields of Head."""
    told = json.loads(sys.argv[1])
    head = ray_head.Head(
        **{
            **told,
            "home": Path(told["home"]),
            "token": Path(told["token"]),
            "regions": tuple(told["regions"]),
        }
    )
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a terminal's are the parent's to judge
    try:
        return guard(head)
    except ConfigurationError as error:
        say(str(error))
        return EXIT_CONFIGURATION


if __name__ == "__main__":
    sys.exit(main())
