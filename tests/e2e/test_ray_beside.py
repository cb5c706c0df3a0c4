"""Invariant 2 in a whole installation: which processes have Ray in them, and which never do."""

from __future__ import annotations

from pathlib import Path

from scripts.up.status import ROLE_PARTS
from tests.kit.edge import until
from tests.kit.planes import RunningHome

REGION = "us-east-1"
BESIDE = {"ray", "gcs", "raylet", "actors", *ROLE_PARTS.values(), "link"}
WITHOUT = {"up", "control", "edge", "worker", "keeper"}


def has_ray(pid: int) -> bool:
    """Whether any library or program of Ray is mapped into a process."""
    return "/site-packages/ray/" in Path(f"/proc/{pid}/maps").read_text()


def test_servers_have_no_ray_in_them(custody_home: RunningHome) -> None:
    """Control API, edge, its workers and keeper, and who supervises them: not a library of it; the link has it."""
    until(lambda: len(custody_home.pids("worker", REGION)) == custody_home.workers, 30)
    rows = [row for row in custody_home.status() if row.pid is not None]
    assert {row.part for row in rows} == BESIDE | WITHOUT
    found: dict[str, set[bool]] = {}
    for row in rows:
        assert row.pid is not None
        found.setdefault(row.part, set()).add(has_ray(row.pid))
    assert {part for part in WITHOUT if True in found[part]} == set()
    for part in BESIDE - {"ray"}:
        assert found[part] == {True}, part
