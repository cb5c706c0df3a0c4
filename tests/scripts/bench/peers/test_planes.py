"""Exeat through its planes: the same rules and limits as the policy file's row, made through a real Core API."""

from __future__ import annotations

from pathlib import Path

from scripts.bench import governance
from scripts.bench.governance import new_keys
from scripts.bench.peers.planes import govern
from sdk import ExeatClient
from tests.kit.api import REGIONS, api


async def test_everything_that_a_row_claims_is_made(tmp_path: Path) -> None:
    """Ten rules in each of four scopes that deny by default, minute and day limits, full scrub, and a limited twin."""
    async with api(tmp_path) as core, ExeatClient(f"http://127.0.0.1:{core.port}", core.token) as client:
        client_id, revision = await govern(client, REGIONS[0], "http://127.0.0.1:9", new_keys())
        assert revision == core.head
        groups = (client.credentials, client.targets, client.proxies)
        made = [(group, one) for group in groups async for one in group.each(client_id)]
        assert {one.default_rule_effect for _, one in made} == {"deny"}
        for group, one in made:
            rules = [rule async for rule in group.rules.each(client_id, one.id)]
            assert len(rules) == 10
            assert (rules[-1].effect, (rules[-1].path or {})["pattern"]) == ("allow", governance.ALLOWED)
        assert [one.scrub async for one in client.targets.each(client_id)] == ["full"]
        limits = {
            one.alias: (one.max_requests_per_minute, one.max_requests_per_day)
            async for one in client.proxies.each(client_id)
        }
    assert limits == {
        "bench": (governance.PER_MINUTE, governance.PER_DAY),
        "bench-limited": (1, governance.PER_DAY),
    }
