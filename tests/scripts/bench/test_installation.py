"""Installations for benchmarks: what they are started with, and what proxies are joined of."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.bench.errors import PeerError
from scripts.bench.governance import new_keys
from scripts.bench.installation import installation, launch, owner_token, parts
from sdk import ExeatClient
from tests.kit.api import REGIONS, api


def test_a_launch_has_ports_and_opens_the_target_only() -> None:
    """Nothing else private may be reached, and no demo runs beside what is measured."""
    how = launch(9, ["a", "b"], start_seconds="5")
    assert how.arguments == ("--port-base", str(how.base), "--regions", "a,b")
    assert how.url == f"http://127.0.0.1:{how.base}"
    told = {name: value for name, value in how.environment.items() if name.startswith("EXEAT_")}
    assert told["EXEAT_EGRESS_ALLOW"] == "127.0.0.1:9"
    assert (told["EXEAT_DEMO"], told["EXEAT_START_SECONDS"]) == ("false", "5")


def test_installation_that_does_not_start_says_why(tmp_path: Path) -> None:
    """The reason is that of `exeat up`, and nothing is left."""
    root = tmp_path / "home"
    root.write_text("not a directory")
    with pytest.raises(PeerError) as failed, installation(root, 9):
        pass
    assert "exeat up" in failed.value.detail


def test_the_owners_token_is_read_from_the_home(tmp_path: Path) -> None:
    """Without its line end."""
    (tmp_path / "owner.token").write_text("u-token\n")
    assert owner_token(tmp_path) == "u-token"


async def test_parts_make_a_proxy(tmp_path: Path) -> None:
    """With keys of the run's, or one that the API makes and a target that is sent none."""
    keys = new_keys()
    async with api(tmp_path) as core, ExeatClient(f"http://127.0.0.1:{core.port}", core.token) as client:
        for given, kind in ((keys, "bearer"), (None, "none")):
            found = await parts(client, REGIONS[0], "http://127.0.0.1:9", given, effect="deny")
            proxy = await client.proxies.create(found.client_id, name="proxy", **found.joined)
            assert (proxy.region, proxy.target_id) == (REGIONS[0], found.target_id)
            assert proxy.proxy_credential_ids == (found.caller_id,)
            made = [one async for one in client.credentials.each(found.client_id)]
            assert {one.id: one.auth_type for one in made} == {
                found.caller_id: "apiKey",
                found.sender_id: kind,
            }
            assert {one.default_rule_effect for one in made} == {"deny"}
            assert (found.key == keys.caller) is (given is keys)
            assert len(found.key.reveal()) >= 32
