"""Endpoints over the Core API."""

from __future__ import annotations

from pathlib import Path

from control_api.handlers import endpoints
from tests.kit.api import REGIONS, api, one


async def test_every_region_is_listed_with_its_state(tmp_path: Path) -> None:
    """Either connected with the revision it has, or away; nothing of its keys."""
    async with api(tmp_path, away=(REGIONS[1],)) as core:
        ids = await core.stack()
        answer = await core.get("/endpoints")
        found = {endpoint["endpointRegion"]: endpoint for endpoint in answer.json()["endpoints"]}
        assert set(found) == set(REGIONS)
        here, away = (found[region] for region in REGIONS)
        assert (here["endpointStatus"], away["endpointStatus"]) == ("connected", "away")
        assert here["endpointRevision"] == one(await core.get(f"{{c}}/proxies/{ids['proxy']}"))["revision"]
        assert away["endpointRevision"] == 0
        assert (here["endpointKind"], here["endpointBaseURL"]) == ("shared", "http://127.0.0.1:7701")
        for secretive in ("Digest", "vault", "Key"):
            assert secretive not in answer.text
        page = (await core.get("/endpoints?limit=1")).json()
        rest = (await core.get("/endpoints", params={"cursor": page["nextCursor"]})).json()["endpoints"]
        assert [one["endpointRegion"] for one in (*page["endpoints"], *rest)] == list(REGIONS)
    assert endpoints.list_all.__doc__
