"""Feed and uplink over HTTP, with the region's own key."""

from __future__ import annotations

import msgspec
import pytest

from control_api.handlers import feed
from models.planes.feed import FeedAnswer, Uplink
from models.planes.state import RegionState
from tests.kit.api import REGIONS, Api, fields
from tests.kit.plane import VERIFIER

US, EU = REGIONS


async def test_a_region_follows_over_http(core: Api) -> None:
    """The answer is the struct of models.planes.feed, and verifies."""
    await core.stack()
    key = f"r-{US}"
    answer = await core.get(f"/regions/{US}/feed?after=-1&wait=0", token=key)
    assert answer.status_code == 200, answer.text
    found = msgspec.json.decode(answer.content, type=FeedAnswer)
    assert found.delta is not None
    state = RegionState.empty(US).apply(found.delta, VERIFIER)
    assert len(state.documents) == 4
    later = await core.get(f"/regions/{US}/feed?after={state.revision}&wait=0.05", token=f"Bearer {key}")
    assert msgspec.json.decode(later.content, type=FeedAnswer).delta is None


async def test_a_report_is_taken(core: Api) -> None:
    """204, and the certificate is checked against the enrolled identity."""
    report = Uplink(certificate=core.plane.vaults[US].certificate(5))
    body = msgspec.json.encode(report)
    path = f"/regions/{US}/uplink"
    taken = await core.call("POST", path, token=f"r-{US}", content=body)
    assert (taken.status_code, taken.content) == (204, b"")
    false = msgspec.json.encode(Uplink(certificate=core.plane.vaults[EU].certificate(6)))
    assert fields(await core.call("POST", path, token=f"r-{US}", content=false)) == ["certificate"]
    assert (await core.call("POST", path, token=f"r-{US}", content=b"{")).status_code == 400
    assert fields(await core.call("POST", path, token=f"r-{US}", content=b'{"edges": 5}')) == ["body"]
    assert (await core.call("POST", path, token=f"r-{US}", content=b"[" * 100_000)).status_code in {400, 422}


@pytest.mark.parametrize("key", ["", "u-not-a-region-key", f"r-{EU}", "r-short", "owner"])
async def test_nothing_but_the_regions_own_key_is_accepted(core: Api, key: str) -> None:
    """401 for a user's token, another region's key and an unknown region alike."""
    token = core.token if key == "owner" else key
    assert (await core.get(f"/regions/{US}/feed", token=token)).status_code == 401
    assert (await core.post(f"/regions/{US}/uplink", {}, token=token)).status_code == 401
    assert (await core.get("/regions/nowhere/feed", token=f"r-{US}")).status_code == 401


async def test_bad_parameters_are_named(core: Api) -> None:
    """By their names."""
    for query, field in (
        ("after=-2", "after"),
        ("after=x", "after"),
        ("wait=-1", "wait"),
        ("wait=31", "wait"),
        ("a=1", "a"),
    ):
        assert fields(await core.get(f"/regions/{US}/feed?{query}", token=f"r-{US}")) == [field]
    assert feed.poll.__doc__
