"""Health and readiness over the Core API."""

from __future__ import annotations

from pathlib import Path

from control_api.handlers import health
from tests.kit.api import REGIONS, api


async def test_health_and_readiness_need_no_token(tmp_path: Path) -> None:
    """Ready lists the regions; without a store it is 503 with the same list, and health stays 200."""
    async with api(tmp_path, away=(REGIONS[1],)) as core:
        assert (await core.get("/health", token="")).json() == {"status": "ok", "message": "Success"}
        ready = await core.get("/ready", token="")
        assert ready.status_code == 200
        assert ready.json()["ready"] is True
        assert [(one["region"], one["status"]) for one in ready.json()["regions"]] == [
            (REGIONS[0], "connected"),
            (REGIONS[1], "away"),
        ]
        await core.plane.store.close()
        while (gone := await core.get("/ready", token="")).status_code == 200:
            pass  # the answer of a second ago is still good
        assert gone.status_code == 503
        assert gone.headers["content-type"] == "application/problem+json"
        assert gone.json()["ready"] is False
        assert len(gone.json()["regions"]) == 2
        assert (await core.get("/health", token="")).status_code == 200
    assert health.ready.__doc__
