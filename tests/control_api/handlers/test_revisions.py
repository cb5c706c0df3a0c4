"""Revisions over the Core API: who has a change, and who may know."""

from __future__ import annotations

from pathlib import Path

from control_api.handlers import revisions
from models.planes.feed import EdgeReport, Uplink
from tests.kit.api import REGIONS, api, one, target_body

US, EU = REGIONS


async def test_a_revision_says_which_regions_and_edges_have_it(tmp_path: Path) -> None:
    """A region that is away is pending; an edge has it when its report says so."""
    async with api(tmp_path, away=(EU,)) as core:
        answer = await core.post("{c}/targets", target_body(US))
        revision = int(answer.headers["exeat-revision"])
        edges = (
            EdgeReport(edge="edge-a", revision=revision, workers=2, seen_ms=1),
            EdgeReport(edge="edge-b", revision=revision - 1, workers=2, seen_ms=1),
        )
        await core.plane.feed.uplink(US, Uplink(edges=edges))
        found = one(await core.get(f"/revisions/{revision}"))
        assert found["revision"] == revision
        assert found["status"] == "applied"
        (region,) = found["regions"]
        assert (region["region"], region["status"], region["revision"]) == (US, "applied", revision)
        assert [(edge["edge"], edge["status"]) for edge in region["edges"]] == [
            ("edge-a", "applied"),
            ("edge-b", "pending"),
        ]
        away = await core.post("{c}/targets", target_body(EU))
        assert away.headers["exeat-propagation"] == "pending"
        waiting = one(await core.get(f"/revisions/{away.headers['exeat-revision']}"))
        assert (waiting["status"], waiting["regions"][0]["status"]) == ("pending", "pending")


async def test_only_whom_it_concerns_may_know(tmp_path: Path) -> None:
    """Members of the change's client, its actor and the operator; for others there is no such revision."""
    async with api(tmp_path) as core:
        revision = (await core.post("{c}/targets", target_body(US))).headers["exeat-revision"]
        _, member = await core.new_member("auditor", ["read"])
        _, stranger = await core.new_user(["read"])
        assert (await core.get(f"/revisions/{revision}", token=member)).status_code == 200
        assert (await core.get(f"/revisions/{revision}", token=stranger)).status_code == 404
        for missing in ("0", "999999", "-1", "abc", "1" * 30, "%31"):
            assert (await core.get(f"/revisions/{missing}")).status_code == 404
    assert revisions.read.__doc__
