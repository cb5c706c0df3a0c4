"""What the demo makes, through a real Core API: once, whole, and never twice."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from models.errors import ConfigurationError
from models.home import Home
from models.secret import Secret
from scripts.first_run import demo
from scripts.first_run.demo import Keys, keys, prepare
from sdk import ExeatClient
from tests.kit.api import REGIONS, Api, api

REGION, UPSTREAM = REGIONS[0], "http://127.0.0.1:7717"
KEYS = Keys(Secret(b"k" * 32), Secret(b"t" * 32), new=False)


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Api]:
    """A running Core API with two regions."""
    async with api(tmp_path) as running:
        yield running


@pytest.fixture
async def client(core: Api) -> AsyncIterator[ExeatClient]:
    """Its owner's client."""
    async with ExeatClient(f"http://127.0.0.1:{core.port}", core.token) as made:
        yield made


async def test_a_second_run_finds_what_the_first_one_made(core: Api, client: ExeatClient) -> None:
    """Two proxies, one of them with a limit, one with a rule and a filter; then nothing is written any more."""
    made = await prepare(client, REGION, UPSTREAM, KEYS)
    assert made.url.endswith("/exeat-demo")
    assert made.limited_url.endswith("/exeat-demo-limited")
    assert made.revision == core.head
    limits = {one.alias: one.max_requests_per_minute async for one in client.proxies.each(made.client_id)}
    assert limits == {"exeat-demo": None, "exeat-demo-limited": demo.PER_MINUTE}
    again = await prepare(client, REGION, UPSTREAM, KEYS)
    assert again == made
    assert core.head == made.revision


async def test_what_was_taken_away_or_changed_is_put_right(core: Api, client: ExeatClient) -> None:
    """A proxy switched off, a limit lifted, a rule deleted, another port: all as it was, with the same ids."""
    made = await prepare(client, REGION, UPSTREAM, KEYS)
    proxies = {one.alias: one async for one in client.proxies.each(made.client_id)}
    first, second = proxies["exeat-demo"], proxies["exeat-demo-limited"]
    await client.proxies.patch(made.client_id, first.id, active=False)
    await client.proxies.patch(made.client_id, second.id, max_requests_per_minute=7)
    async for rule in client.proxies.rules.each(made.client_id, first.id):
        await client.proxies.rules.delete(made.client_id, first.id, rule.id)
    again = await prepare(client, REGION, "http://127.0.0.1:8817", KEYS)
    assert again[:3] == made[:3]
    found = {one.alias: one async for one in client.proxies.each(made.client_id)}
    assert found["exeat-demo"].active
    assert found["exeat-demo-limited"].max_requests_per_minute == demo.PER_MINUTE
    assert [one.base_url async for one in client.targets.each(made.client_id)] == ["http://127.0.0.1:8817"]
    rules = [one.effect async for one in client.proxies.rules.each(made.client_id, first.id)]
    assert rules == ["deny"]


async def test_a_new_key_is_given_to_the_credential_that_there_is(core: Api, client: ExeatClient) -> None:
    """The API shows no secret: without its file the caller gets another one; a revoked credential gets a successor."""
    made = await prepare(client, REGION, UPSTREAM, KEYS)
    [caller] = [one async for one in client.credentials.each(made.client_id) if one.type == "proxy"]
    await prepare(client, REGION, UPSTREAM, KEYS._replace(caller=Secret(b"n" * 32), new=True))
    changed = await client.credentials.get(made.client_id, caller.id)
    assert changed.version == caller.version + 1
    await client.credentials.revoke(made.client_id, caller.id)
    await prepare(client, REGION, UPSTREAM, KEYS)
    found = {one.proxy_credential_ids async for one in client.proxies.each(made.client_id)}
    assert len(found) == 1
    assert (caller.id,) not in found


def test_keys_are_made_once_and_kept_to_their_owner(tmp_path: Path) -> None:
    """In a file of mode 600; the target's is `exeat up`'s to make."""
    home = Home(tmp_path)
    with pytest.raises(ConfigurationError, match=r"demo\.token"):
        keys(home)
    home.demo_token.touch(mode=0o600)
    home.demo_token.write_text("t" * 32)
    home.demo_key.unlink()
    first = keys(home)
    assert first.new
    assert stat.S_IMODE(home.demo_key.stat().st_mode) == 0o600
    second = keys(home)
    assert not second.new
    assert second.caller == first.caller
