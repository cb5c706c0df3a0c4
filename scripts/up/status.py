"""`exeat status`: every process of an installation as it is now, from its records and from /proc.

Reads only; it asks no part anything, so it answers whatever state they are in.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from actors.names import LIMITER, RECORDER, REDACTOR, REGISTRY, VAULT
from scripts.up import sessions, state
from scripts.up.part import ACTORS, EDGE, RAY

PARTS = {
    "exeat-worker": "worker",
    "exeat-keeper": "keeper",
    "exeat-link": "link",
    "gcs_server": "gcs",
    "raylet": "raylet",
}
"""What members of a part's session are called here, by their names in /proc."""
ROLE_PARTS = {
    VAULT: "vault",
    REGISTRY: "registry",
    LIMITER: "limiter",
    RECORDER: "recorder",
    REDACTOR: "redactor",
}
"""What actors are called here, by role."""


class Row(NamedTuple):
    """One process. pid: None when there is none. log: where it writes about itself."""

    part: str
    region: str
    pid: int | None
    state: str
    log: str


def rows(home: Path) -> list[Row]:
    """Every process of the installation in `home`; empty when none was ever started there."""
    found = state.read(home)
    if found is None:
        return []
    if found.boot != sessions.boot_id() or not sessions.is_same(found.pid, found.start):
        return [Row(part.part, part.region, None, "stopped", part.log) for part in found.parts]
    listed = [Row("up", "", found.pid, found.phase, str(home / "logs"))]
    for part in found.parts:
        alive = bool(part.pid) and sessions.is_same(part.pid, part.start)
        listed.append(
            Row(
                part.part, part.region, part.pid if alive else None, part.state if alive else "down", part.log
            )
        )
        if alive and part.part in {EDGE, RAY}:
            listed += _members(home, part)
        if part.part == ACTORS:
            listed += _actors(home, part)
    return listed


def table(listed: Sequence[Row]) -> str:
    """The rows for people."""
    cells = [
        ("PART", "REGION", "PID", "STATE", "LOG"),
        *((row.part, row.region, str(row.pid or "-"), row.state, row.log) for row in listed),
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(4)]
    return "\n".join(
        "  ".join([*(line[column].ljust(widths[column]) for column in range(4)), line[4]]) for line in cells
    )


def as_json(listed: Sequence[Row]) -> str:
    """The rows for programs: `[{part, region, pid, state, log}]`."""
    return json.dumps([row._asdict() for row in listed])


def _members(home: Path, part: state.PartState) -> Iterator[Row]:
    session, log = part.pid, part.log
    if part.part == RAY:
        session, log = _ray_session(home), str(home / "run" / "ray" / "session_latest" / "logs")
    for process in sorted(sessions.members(session)) if session else ():
        if (name := PARTS.get(process.name)) is not None:
            yield Row(name, part.region, process.pid, "running", log)


def _ray_session(home: Path) -> int:
    try:
        return int(json.loads((home / "run" / "ray.json").read_text())["session"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _actors(home: Path, part: state.PartState) -> Iterator[Row]:
    """As the guardian of the region last heard of them."""
    session = _ray_session(home)
    for name, pid in _named(part.actors):
        process = sessions.look(pid)
        mine = process is not None and process.session == session
        yield Row(name, part.region, pid if mine else None, "running" if mine else "down", part.log)


def _named(actors: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """Process ids by the names of their rows: with a number, such as `limiter/1`, where a role has several."""
    roles = Counter(post.partition("/")[0] for post in actors)
    for post, pid in actors.items():
        role, _, number = post.partition("/")
        name = ROLE_PARTS.get(role, role)
        yield f"{name}/{number}" if roles[role] > 1 else name, pid
