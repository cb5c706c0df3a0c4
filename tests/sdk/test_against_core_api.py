"""The client against the Core API itself, so that the small one in this folder cannot hide a difference."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from models.secret import Secret
from sdk import ApiProblem, Client, Credential, ExeatClient, Limits, Proxy, Target
from tests.kit.api import api as running

REGION = "us-east-1"


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[ExeatClient]:
    """A client with the owner's token of a running Core API."""
    async with running(tmp_path) as found, ExeatClient(f"http://127.0.0.1:{found.port}", found.token) as made:
        yield made


async def stack(core: ExeatClient) -> tuple[Client, Credential, Target, Proxy]:
    """A client with a proxy and what it needs."""
    client = await core.clients.create(name="acme")
    caller = await core.credentials.create(
        client.id, name="caller", type="proxy", auth_type="apiKey", region=REGION
    )
    sender = await core.credentials.create(
        client.id,
        name="sender",
        type="target",
        auth_type="bearer",
        region=REGION,
        secret={"token": Secret("a-token-of-the-target")},
        expires_at=datetime.now(UTC) + timedelta(days=1),
    )
    target = await core.targets.create(client.id, name="t", base_url="http://192.0.2.1", region=REGION)
    proxy = await core.proxies.create(
        client.id,
        name="p",
        region=REGION,
        proxy_credential_ids=[caller.id],
        target_id=target.id,
        target_credential_id=sender.id,
        alias="main",
    )
    return client, caller, target, proxy


async def test_what_was_answered_can_be_sent_back(core: ExeatClient) -> None:
    """Every owned resource is made by plain names, and its `wire` is fit for `replace`."""
    client, caller, target, proxy = await stack(core)
    assert caller.secret is not None
    assert len(caller.secret) >= 22
    assert (await core.clients.replace(client.id, client.wire, name="b")).name == "b"
    replaced = await core.credentials.replace(client.id, caller.id, caller.wire, name="b")
    assert (replaced.name, replaced.version, replaced.secret) == ("b", 1, None)
    assert (await core.targets.replace(client.id, target.id, target.wire, scrub="headers")).scrub == "headers"
    proxy = await core.proxies.replace(client.id, proxy.id, proxy.wire, if_match=proxy.revision, active=False)
    assert not proxy.active
    assert (await core.proxies.patch(client.id, proxy.id, alias=None)).alias is None
    for group, parent in ((core.proxies, proxy.id), (core.targets, target.id), (core.credentials, caller.id)):
        rule = await group.rules.create(client.id, parent, effect="deny", path={"pattern": "^/x"})
        rule = await group.rules.replace(client.id, parent, rule.id, rule.wire, notes="why")
        assert [one.notes async for one in group.rules.each(client.id, parent)] == ["why"]
        one = await group.filters.create(
            client.id, parent, action="destroy", paths=["$..ssn"], statuses=["2xx"]
        )
        one = await group.filters.replace(client.id, parent, one.id, one.wire, on_unparsable="pass")
        assert [each.on_unparsable async for each in group.filters.each(client.id, parent)] == ["pass"]
        assert (await group.filters.get(client.id, parent, one.id)).wire == one.wire
        await group.filters.delete(client.id, parent, one.id, if_match=one.revision)
        deleted = await group.rules.delete(client.id, parent, rule.id, if_match=rule.revision)
        assert deleted is not None
        assert deleted.applied
    with pytest.raises(ApiProblem) as problem:
        await core.targets.delete(client.id, target.id)
    assert (problem.value.status, problem.value.references) == (409, (proxy.id,))
    assert (await core.credentials.revoke(client.id, caller.id)).status == "revoked"
    revision = await core.revision(proxy.revision)
    assert [region.region for region in revision.regions] == [REGION]
    entries = [entry async for entry in core.audit.each(client.id, page_size=5)]
    assert (entries[0].action, entries[0].resource_id) == ("revoke", caller.id)
    assert len({entry.id for entry in entries}) == len(entries) >= 15
    assert (
        await core.audit.page(client.id, resource_id=proxy.id, before=datetime(2020, 1, 1, tzinfo=UTC))
    ).items == ()


async def test_people_and_their_tokens(core: ExeatClient) -> None:
    """Users, tokens with their value once, members, configuration; and the platform."""
    assert (await core.users.me()).operator
    client = await core.clients.create(name="acme", idempotency_key="k")
    assert (await core.clients.create(name="acme", idempotency_key="k")).id == client.id
    limits = Limits(requests_per_minute=5)
    assert (await core.clients.replace_configuration(client.id, limits)).limits == limits
    assert (await core.clients.configuration(client.id)).limits == limits
    user = await core.users.create(name="Ann", email="ann@example.org")
    token = await core.tokens.create(user.id, name="ci", scopes=["read"])
    assert token.value is not None
    await core.members.create(client.id, user_id=user.id, roles=["auditor"])
    async with ExeatClient(core.base_url, token.value) as hers:
        assert [one.id async for one in hers.clients.each(page_size=1)] == [client.id]
        with pytest.raises(ApiProblem, match="403 forbidden"):
            await hers.clients.patch(client.id, name="x")
        await core.tokens.delete(user.id, token.id)
        with pytest.raises(ApiProblem, match="401 unauthenticated"):
            await hers.users.me()
    assert (await core.members.replace(client.id, user.id, roles=["admin", "user"])).roles == (
        "admin",
        "user",
    )
    await core.members.delete(client.id, user.id)
    assert [one.roles async for one in core.members.each(client.id)] == [("owner",)]
    assert await core.healthy()
    assert {region["region"] for region in (await core.ready()).regions} == {REGION, "eu-west-1"}
    assert {endpoint.region async for endpoint in core.endpoints()} == {REGION, "eu-west-1"}
