"""Proxies over the Core API: what they join, what they inherit, and everything that is refused."""

from __future__ import annotations

from control_api.handlers import proxies
from tests.kit.api import REGIONS, Api, caller_body, fields, one, proxy_body, sender_body, target_body

US, EU = REGIONS


async def test_a_proxy_is_made_read_replaced_altered_and_deleted(core: Api) -> None:
    """The happy path of all six routes, with the fields of API.md."""
    ids = await core.stack(proxyAlias="billing")
    path = f"{{c}}/proxies/{ids['proxy']}"
    made = one(await core.get(path))
    assert made["clientId"] == core.client
    assert made["proxyBaseURL"] == f"http://127.0.0.1:7701/api/{ids['proxy']}"
    assert made["proxyProxyCredentialIds"] == [ids["caller"]]
    assert made["proxyProxyCredentialId"] == ids["caller"]
    assert made["proxyActive"] is True
    assert made["proxyUpgrade"] == "none"
    assert made["revision"] == core.head

    replaced = one(await core.put(path, {**made, "proxyName": "New"}))
    assert replaced["proxyName"] == "New"
    assert replaced["proxyAlias"] == "billing"
    assert replaced["proxyCreatedAt"] == made["proxyCreatedAt"]

    altered = one(await core.patch(path, {"proxyActive": False, "proxyAlias": None}))
    assert altered["proxyActive"] is False
    assert "proxyAlias" not in altered
    assert [proxy["proxyId"] for proxy in (await core.get("{c}/proxies")).json()["proxies"]] == [ids["proxy"]]

    gone = await core.delete(path)
    assert (gone.status_code, gone.content) == (204, b"")
    assert gone.headers["exeat-propagation"] == "applied"
    assert (await core.get(path)).status_code == 404


async def test_a_new_proxy_takes_its_clients_limits(core: Api) -> None:
    """Where it names none; null is a choice of none, and later changes of the client do not reach it."""
    limits = {"configuration": {"limits": {"requestsPerMinute": 60, "requestsPerDay": 1000}}}
    await core.put("{c}/configuration", limits)
    ids = await core.stack()
    inherited = one(await core.get(f"{{c}}/proxies/{ids['proxy']}"))
    assert (inherited["proxyMaxRequestsPerMinute"], inherited["proxyMaxRequestsPerDay"]) == (60, 1000)

    own = proxy_body(ids, proxyMaxRequestsPerMinute=5, proxyMaxRequestsPerDay=None)
    made = await core.make("{c}/proxies", own)
    assert made["proxyMaxRequestsPerMinute"] == 5
    assert "proxyMaxRequestsPerDay" not in made

    await core.put("{c}/configuration", {"configuration": {"limits": {}}})
    assert one(await core.get(f"{{c}}/proxies/{ids['proxy']}"))["proxyMaxRequestsPerMinute"] == 60


async def test_the_caller_is_named_once_or_as_a_list(core: Api) -> None:
    """One id or a list, both is refused; read back as the list, and as the one when it is one."""
    ids = await core.stack()
    second = (await core.make("{c}/credentials", caller_body()))["credentialId"]
    single = proxy_body(ids)
    del single["proxyProxyCredentialIds"]
    made = await core.make("{c}/proxies", {**single, "proxyProxyCredentialId": ids["caller"]})
    path = f"{{c}}/proxies/{made['proxyId']}"
    assert made["proxyProxyCredentialIds"] == [ids["caller"]]
    assert fields(
        await core.post("{c}/proxies", {**proxy_body(ids), "proxyProxyCredentialId": ids["caller"]})
    ) == ["proxyProxyCredentialIds"]
    both = one(await core.patch(path, {"proxyProxyCredentialIds": [ids["caller"], second]}))
    assert "proxyProxyCredentialId" not in both
    back = one(await core.patch(path, {"proxyProxyCredentialId": second}))
    assert back["proxyProxyCredentialIds"] == [second]
    stale = {**back, "proxyProxyCredentialIds": [ids["caller"], second]}
    assert fields(await core.put(path, stale)) == ["proxyProxyCredentialIds"]


async def test_references_must_fit_and_nothing_is_stored(core: Api) -> None:
    """Unknown, another client's, of the wrong side, of another region: each named, each 422, the log as it was."""
    ids = await core.stack()
    mine, core.client = core.client, await core.new_client("Other")
    others = await core.stack()
    core.client = mine
    away = {
        "caller": (await core.make("{c}/credentials", caller_body(EU)))["credentialId"],
        "sender": (await core.make("{c}/credentials", sender_body(EU)))["credentialId"],
        "target": (await core.make("{c}/targets", target_body(EU)))["targetId"],
    }
    head = core.head
    cases = {
        "proxyProxyCredentialIds[0]": [
            {"proxyProxyCredentialIds": [one_id]}
            for one_id in ("cred_unknown", others["caller"], ids["sender"], away["caller"])
        ],
        "proxyTargetId": [
            {"proxyTargetId": one_id} for one_id in ("tgt_unknown", others["target"], away["target"])
        ],
        "proxyTargetCredentialId": [
            {"proxyTargetCredentialId": one_id}
            for one_id in ("cred_unknown", others["sender"], ids["caller"], away["sender"])
        ],
        "proxyRegion": [{"proxyRegion": "nowhere-1"}],
    }
    for field, bodies in cases.items():
        for body in bodies:
            answer = await core.post("{c}/proxies", {**proxy_body(ids), **body})
            assert field in fields(answer), body
            if field != "proxyRegion":
                patched = await core.patch(f"{{c}}/proxies/{ids['proxy']}", body)
                assert field in fields(patched), body
    assert core.head == head

    unknown = await core.post("{c}/proxies", {**proxy_body(ids), "proxyTargetId": "tgt_unknown"})
    foreign = await core.post("{c}/proxies", {**proxy_body(ids), "proxyTargetId": others["target"]})
    assert unknown.json()["errors"] == foreign.json()["errors"]
    single = {**proxy_body(ids), "proxyProxyCredentialId": "cred_unknown"}
    del single["proxyProxyCredentialIds"]
    assert fields(await core.post("{c}/proxies", single)) == ["proxyProxyCredentialId"]


async def test_an_alias_is_unique_per_region(core: Api) -> None:
    """Taken in one region, free in the other; it may stay its own, and cannot look like an id."""
    first = await core.stack(proxyAlias="api")
    assert fields(await core.post("{c}/proxies", proxy_body(first, proxyAlias="api"))) == ["proxyAlias"]
    assert fields(await core.post("{c}/proxies", proxy_body(first, proxyAlias=first["proxy"]))) == [
        "proxyAlias"
    ]
    path = f"{{c}}/proxies/{first['proxy']}"
    assert one(await core.patch(path, {"proxyName": "Same alias"}))["proxyAlias"] == "api"
    await core.stack(EU, proxyAlias="api")


async def test_the_region_is_fixed(core: Api) -> None:
    """PUT and PATCH with another region are refused and name it."""
    ids = await core.stack()
    path = f"{{c}}/proxies/{ids['proxy']}"
    assert fields(await core.patch(path, {"proxyRegion": EU})) == ["proxyRegion"]
    assert fields(await core.put(path, {**proxy_body(ids), "proxyRegion": EU})) == ["proxyRegion"]


async def test_bad_fields_are_named(core: Api) -> None:
    """Unknown, of the wrong type, out of range, read only: 422, and the log is as it was."""
    ids = await core.stack()
    head = core.head
    changes: list[dict[str, object]] = [
        {"proxyColour": "red"},
        {"proxyActive": "yes"},
        {"proxyMaxRequestsPerMinute": 0},
        {"proxyMaxBodyBytes": 1.5},
        {"proxyName": None},
        {"proxyUpgrade": "websocket"},
        {"rules": []},
        {"proxyId": "prx_mine"},
        {"proxyBaseURL": "http://elsewhere"},
        {"revision": 1},
        {"proxyProxyCredentialIds": []},
    ]
    for change in changes:
        (field,) = change
        assert field in fields(await core.post("{c}/proxies", {**proxy_body(ids), **change}))
        assert field in fields(await core.patch(f"{{c}}/proxies/{ids['proxy']}", change))
    assert core.head == head


def test_inherited_limits_are_those_of_the_configuration() -> None:
    """Every limit of a client's configuration has its field of the proxy."""
    assert set(proxies._INHERITED) == {"requestsPerMinute", "requestsPerDay"}
