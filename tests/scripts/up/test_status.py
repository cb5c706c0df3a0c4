"""The list of processes, from records and /proc."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.up import sessions, state, status


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a place for its files."""
    (tmp_path / "run").mkdir()
    return tmp_path


@pytest.fixture
def stranger() -> Iterator[int]:
    """A living process of another session, by its id. Process 1 would not do: a test may run in its session."""
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as process:
        try:
            yield process.pid
        finally:
            process.kill()


def write(home: Path, *parts: state.PartState, start: int | None = None) -> None:
    """Records parts of an installation that this process runs."""
    mine = sessions.look(os.getpid())
    assert mine is not None
    found = state.State(
        pid=mine.pid,
        start=mine.start if start is None else start,
        boot=sessions.boot_id(),
        phase="ready",
        port_base=1,
        regions=("a",),
        parts=parts,
    )
    state.write(home, found)


def part(name: str, pid: int, start: int, **more: object) -> state.PartState:
    """One part in region a."""
    fields = {"part": name, "region": "a", "state": "ready", "pid": pid, "start": start, "log": f"/{name}"}
    return state.PartState(**{**fields, **more})


def test_a_home_in_which_nothing_was_started_has_no_parts(home: Path) -> None:
    """Not even stopped ones."""
    assert status.rows(home) == []


def test_parts_are_listed_with_what_is_true_now(home: Path, stranger: int) -> None:
    """A recorded process that has gone is down, whatever the record says; actors count within Ray's session only."""
    mine = sessions.look(os.getpid())
    assert mine is not None
    write(
        home,
        part("control", mine.pid, mine.start),
        part("edge", mine.pid, mine.start + 1),
        part(
            "actors", mine.pid, mine.start, actors={"CredentialVault": mine.pid, "PolicyRegistry": stranger}
        ),
    )
    told = {"session": mine.session, "start": 0, "boot": ""}
    (home / "run" / "ray.json").write_text(json.dumps(told))
    found = [row[:4] for row in status.rows(home)]
    assert found == [
        ("up", "", mine.pid, "ready"),
        ("control", "a", mine.pid, "ready"),
        ("edge", "a", None, "down"),
        ("actors", "a", mine.pid, "ready"),
        ("vault", "a", mine.pid, "running"),
        ("registry", "a", None, "down"),
    ]


def test_actors_have_numbers_where_a_role_has_several(home: Path) -> None:
    """Also those that nobody has heard of yet."""
    mine = sessions.look(os.getpid())
    assert mine is not None
    members = ["PolicyRegistry", "RateLimiter/0", "Recorder", "Redactor/0", "Redactor/1"]
    write(
        home,
        part("actors", mine.pid, mine.start, actors={**dict.fromkeys(members, 0), "Redactor/1": mine.pid}),
    )
    (home / "run" / "ray.json").write_text(json.dumps({"session": mine.session, "start": 0, "boot": ""}))
    assert [row[:4] for row in status.rows(home)][2:] == [
        ("registry", "a", None, "down"),
        ("limiter", "a", None, "down"),
        ("recorder", "a", None, "down"),
        ("redactor/0", "a", None, "down"),
        ("redactor/1", "a", mine.pid, "running"),
    ]


def test_after_a_stop_every_part_is_stopped(home: Path) -> None:
    """Also after a kill, when nobody wrote so."""
    write(home, part("control", os.getpid(), 1), start=1)
    assert [row[:4] for row in status.rows(home)] == [("control", "a", None, "stopped")]


def test_rows_are_shown_for_people_and_programs(home: Path) -> None:
    """One line each; JSON with the fields of the contract."""
    listed = [status.Row("edge", "a", 7, "ready", "/l"), status.Row("control", "", None, "down", "/m")]
    assert status.table(listed).splitlines() == [
        "PART     REGION  PID  STATE  LOG",
        "edge     a       7    ready  /l",
        "control          -    down   /m",
    ]
    assert json.loads(status.as_json(listed))[1] == {
        "part": "control",
        "region": "",
        "pid": None,
        "state": "down",
        "log": "/m",
    }
