"""The client as its users see it: every group of methods against a Core API on loopback (sdk/client.py)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from models.secret import Secret
from sdk import ApiProblem, Change, ExeatClient, Limits, TargetTest
from tests.sdk.tiny_api import AT, GENERATED, TOKEN, Server

MOMENT = datetime(2026, 11, 23, 10, tzinfo=UTC)


async def test_from_an_empty_api_to_a_governed_proxy(api: ExeatClient, server: Server) -> None:
    """A client, credentials, target, proxy and rule, by plain names; what is sent has wire names."""
    client = await api.clients.create(name="acme")
    caller = await api.credentials.create(
        client.id, name="caller", type="proxy", auth_type="apiKey", region="us-east-1"
    )
    upstream = await api.credentials.create(
        client.id,
        name="upstream",
        type="target",
        auth_type="bearer",
        region="us-east-1",
        secret={"token": Secret("upstream-token")},
        expires_at=MOMENT,
    )
    target = await api.targets.create(
        client.id, name="api", base_url="https://api.example", region="us-east-1"
    )
    proxy = await api.proxies.create(
        client.id,
        name="main",
        region="us-east-1",
        proxy_credential_ids=(caller.id,),
        target_id=target.id,
        target_credential_id=upstream.id,
        max_requests_per_minute=60,
    )
    rule = await api.proxies.rules.create(
        client.id, proxy.id, effect="deny", methods=["DELETE"], path={"pattern": "^/admin"}
    )
    sent = [(request.path, request.json) for request in server.state.seen]
    assert sent[0] == ("/v1/clients", {"clientName": "acme"})
    assert sent[2][1]["credentialSecret"] == {"token": "upstream-token"}
    assert sent[2][1]["credentialExpiresAt"] == AT
    assert sent[3][1]["targetBaseURL"] == "https://api.example"
    assert sent[4] == (
        f"/v1/clients/{client.id}/proxies",
        {
            "proxyName": "main",
            "proxyRegion": "us-east-1",
            "proxyProxyCredentialIds": [caller.id],
            "proxyTargetId": target.id,
            "proxyTargetCredentialId": upstream.id,
            "proxyMaxRequestsPerMinute": 60,
        },
    )
    assert sent[5][0] == f"/v1/clients/{client.id}/proxies/{proxy.id}/rules"
    assert (proxy.name, proxy.proxy_credential_ids, proxy.created_at) == ("main", (caller.id,), MOMENT)
    assert (rule.effect, rule.methods, rule.path) == ("deny", ("DELETE",), {"pattern": "^/admin"})
    assert rule.change == Change(rule.revision, "applied")
    assert rule.change.applied


async def test_a_generated_secret_is_shown_once_and_never_by_accident(api: ExeatClient) -> None:
    """It is a Secret, in the answer to the creation only, and in no text or wire form."""
    caller = await api.credentials.create("c", name="n", type="proxy", auth_type="apiKey", region="r")
    assert caller.secret is not None
    assert caller.secret.reveal() == GENERATED.encode()
    token = await api.tokens.create("u1", name="ci", scopes=["read"])
    assert token.value is not None
    assert token.value.reveal() == GENERATED.encode()
    for answer in (caller, token):
        assert GENERATED not in f"{answer!r} {answer} {answer.wire}"
    assert "**********" in repr(caller)
    assert (await api.credentials.get("c", caller.id)).secret is None


async def test_every_other_method_reaches_its_route(api: ExeatClient, server: Server) -> None:
    """Method and path of each, in the order of the calls."""
    user = await api.users.create(name="Ann", email="ann@example.org")
    server.state.resources["/users/0"] = user.wire
    assert (await api.users.me()).email == "ann@example.org"
    token = await api.tokens.create(user.id, name="ci", scopes=["read", "write"])
    assert [one.scopes async for one in api.tokens.each(user.id)] == [("read", "write")]
    await api.tokens.delete(user.id, token.id)
    client = await api.clients.create(name="acme")
    await api.clients.replace(client.id, name="b")
    await api.clients.patch(client.id, name="c")
    assert (await api.clients.get(client.id)).name == "c"
    configuration = await api.clients.replace_configuration(client.id, Limits(requests_per_day=5))
    assert configuration.limits == Limits(requests_per_day=5)
    assert server.state.seen[-1].json == {"configuration": {"limits": {"requestsPerDay": 5}}}
    assert (await api.clients.configuration(client.id)).limits.requests_per_day == 5
    member = await api.members.create(client.id, user_id=user.id, roles=["admin"])
    assert (member.user_id, member.roles) == (user.id, ("admin",))
    assert (await api.members.replace(client.id, user.id, roles=["auditor"])).roles == ("auditor",)
    assert [one.user_id for one in (await api.members.page(client.id)).items] == [user.id]
    await api.members.delete(client.id, user.id)
    credential = await api.credentials.create(
        client.id, name="n", type="proxy", auth_type="bearer", region="r"
    )
    assert (await api.credentials.revoke(client.id, credential.id)).status == "revoked"
    assert (await api.credentials.patch(client.id, credential.id, offline=False)).offline is False
    await api.credentials.rules.create(client.id, credential.id, effect="allow")
    target = await api.targets.create(client.id, name="n", base_url="http://x.example", region="r")
    tested = await api.targets.test(client.id, target.id, credential_id=credential.id)
    assert (tested.status, tested.code, tested.duration_ms) == (200, None, 12)
    assert isinstance(tested, TargetTest)
    rule = await api.targets.rules.create(client.id, target.id, effect="deny", priority=3)
    assert (await api.targets.rules.get(client.id, target.id, rule.id)).priority == 3
    await api.targets.rules.replace(client.id, target.id, rule.id, effect="allow", notes="why")
    assert [one.notes async for one in api.targets.rules.each(client.id, target.id)] == ["why"]
    await api.targets.rules.delete(client.id, target.id, rule.id)
    one = await api.proxies.filters.create(
        client.id, "p", action="mask", paths=["$..pan"], mask={"keepLast": 4}
    )
    assert (one.action, one.paths, one.mask, one.statuses) == ("mask", ("$..pan",), {"keepLast": 4}, ("all",))
    await api.proxies.filters.replace(client.id, "p", one.id, action="destroy", paths=["$.a"])
    assert (await api.proxies.filters.get(client.id, "p", one.id)).action == "destroy"
    assert [found.id for found in (await api.proxies.filters.page(client.id, "p")).items] == [one.id]
    await api.proxies.filters.delete(client.id, "p", one.id)
    await api.clients.delete(client.id)
    lines = [f"{request.method} {request.path}".replace("/v1", "", 1) for request in server.state.seen]
    names = {
        user.id: "U",
        token.id: "K",
        client.id: "C",
        credential.id: "R",
        target.id: "T",
        rule.id: "L",
        one.id: "F",
    }
    for identifier, name in names.items():
        lines = ["/".join(name if part == identifier else part for part in line.split("/")) for line in lines]
    assert lines == [
        "POST /users",
        "GET /users/me",
        "POST /users/U/tokens",
        "GET /users/U/tokens",
        "DELETE /users/U/tokens/K",
        "POST /clients",
        "PUT /clients/C",
        "PATCH /clients/C",
        "GET /clients/C",
        "PUT /clients/C/configuration",
        "GET /clients/C/configuration",
        "POST /clients/C/members",
        "PUT /clients/C/members/U",
        "GET /clients/C/members",
        "DELETE /clients/C/members/U",
        "POST /clients/C/credentials",
        "POST /clients/C/credentials/R/revoke",
        "PATCH /clients/C/credentials/R",
        "POST /clients/C/credentials/R/rules",
        "POST /clients/C/targets",
        "POST /clients/C/targets/T/test",
        "POST /clients/C/targets/T/rules",
        "GET /clients/C/targets/T/rules/L",
        "PUT /clients/C/targets/T/rules/L",
        "GET /clients/C/targets/T/rules",
        "DELETE /clients/C/targets/T/rules/L",
        "POST /clients/C/proxies/p/filters",
        "PUT /clients/C/proxies/p/filters/F",
        "GET /clients/C/proxies/p/filters/F",
        "GET /clients/C/proxies/p/filters",
        "DELETE /clients/C/proxies/p/filters/F",
        "DELETE /clients/C",
    ]


async def test_the_platform_can_be_looked_at(api: ExeatClient, server: Server) -> None:
    """Health, readiness with its regions also when not ready, endpoints and revisions."""
    assert await api.healthy()
    assert (await api.ready()).ready
    server.state.ready = False
    readiness = await api.ready()
    assert not readiness.ready
    assert readiness.regions[0]["region"] == "us-east-1"
    assert len(server.state.seen) == 3
    server.state.resources["/endpoints/1"] = {
        "endpointRegion": "us-east-1",
        "endpointKind": "shared",
        "endpointBaseURL": "http://127.0.0.1:7701",
        "endpointStatus": "connected",
        "endpointRevision": 7,
    }
    (endpoint,) = [one async for one in api.endpoints()]
    assert (endpoint.base_url, endpoint.status, endpoint.reached) == ("http://127.0.0.1:7701", "connected", 7)
    assert (await api.endpoints_page(limit=5)).items == (endpoint,)
    assert (await api.revision(7)).in_force()
    assert not (await api.revision(101)).in_force()
    server.end()
    assert not await api.healthy()


async def test_any_route_can_be_called(api: ExeatClient) -> None:
    """For what has no method here, with bytes as they are."""
    reply = await api.call("POST", "/clients", {"clientName": "x"})
    assert (reply.status, reply.change) == (201, Change(1, "applied"))
    with pytest.raises(ApiProblem, match="400 not-json"):
        await api.call("POST", "/clients", b"{")
    with pytest.raises(ApiProblem) as problem:
        await api.call("POST", "/clients", {"colour": "x"})
    assert problem.value.errors == (("colour", "is not a field"),)
    assert "colour: is not a field" in str(problem.value)


async def test_pending_is_told(api: ExeatClient, server: Server) -> None:
    """A region that is away."""
    server.state.propagation = "pending"
    client = await api.clients.create(name="x")
    assert client.change == Change(client.revision, "pending")
    assert not client.change.applied


def test_a_client_shows_its_address_only() -> None:
    """Its repr has no token, whatever way it was given."""
    for token in (TOKEN, Secret(TOKEN)):
        client = ExeatClient("https://api.example/", token)
        assert repr(client) == "ExeatClient('https://api.example/v1')"
        assert TOKEN not in repr(vars(client)) + repr(vars(client._wire))
