"""Clients and their configuration over the Core API: whose they are, and when they may go."""

from __future__ import annotations

from control_api.handlers import clients
from tests.kit.api import Api, fields, one, target_body


async def test_whoever_makes_a_client_owns_it(core: Api) -> None:
    """The happy path of its routes; only clients that one is a member of are listed."""
    made = await core.make(
        "/clients", {"clientName": "New", "clientConfiguration": {"limits": {"requestsPerDay": 5}}}
    )
    path = f"/clients/{made['clientId']}"
    assert made["clientMembers"] == [{"userId": core.user, "roles": ["owner"]}]
    assert made["clientConfiguration"] == {"limits": {"requestsPerDay": 5}}
    assert one(await core.get(path)) == made
    listed = (await core.get("/clients")).json()["clients"]
    assert [client["clientId"] for client in listed] == [core.client, made["clientId"]]
    _, stranger = await core.new_user(["read"])
    assert (await core.get("/clients", token=stranger)).json()["clients"] == []

    put = one(await core.put(path, {**made, "clientName": "Newer"}))
    assert (put["clientName"], put["clientMembers"]) == ("Newer", made["clientMembers"])
    bare = one(await core.put(path, {"clientName": "Newest"}))
    assert bare["clientConfiguration"] == {"limits": {}}
    patched = one(await core.patch(path, {"clientConfiguration": {"limits": {"requestsPerMinute": 7}}}))
    assert (patched["clientName"], patched["clientConfiguration"]["limits"]) == (
        "Newest",
        {"requestsPerMinute": 7},
    )
    assert (await core.delete(path)).status_code == 204
    assert (await core.get(path)).status_code == 404


async def test_a_client_that_owns_anything_stays(core: Api) -> None:
    """409 names everything in the way."""
    target = await core.make("{c}/targets", target_body())
    refused = await core.delete("{c}")
    assert refused.status_code == 409
    assert refused.json()["references"] == [target["targetId"]]
    assert (await core.get("{c}")).status_code == 200


async def test_the_configuration_is_read_and_replaced(core: Api) -> None:
    """In the shape of API.md, beside the client whose revision If-Match is about."""
    answer = await core.put("{c}/configuration", {"configuration": {"limits": {"requestsPerMinute": 60}}})
    assert answer.status_code == 200
    assert answer.json()["configuration"] == {"limits": {"requestsPerMinute": 60}}
    assert answer.headers["exeat-revision"] == str(core.head)
    read = (await core.get("{c}/configuration")).json()
    assert read["configuration"] == {"limits": {"requestsPerMinute": 60}}
    assert read["clients"][0]["revision"] == core.head
    stale = await core.put("{c}/configuration", {"configuration": {}}, headers={"if-match": "1"})
    assert stale.status_code == 412


async def test_bad_clients_are_named_and_nothing_is_stored(core: Api) -> None:
    """Unknown fields, wrong types, read-only fields; in the configuration with their whole path."""
    head = core.head
    for body, field in (
        ({}, "clientName"),
        ({"clientName": ""}, "clientName"),
        ({"clientName": "x", "clientColour": 1}, "clientColour"),
        ({"clientName": "x", "clientMembers": []}, "clientMembers"),
        ({"clientName": "x", "clientId": "cli_mine"}, "clientId"),
        ({"clientName": "x", "clientConfiguration": {"limits": {"requestsPerDay": -1}}},
         "clientConfiguration.limits.requestsPerDay"),
    ):  # fmt: skip
        assert fields(await core.post("/clients", body)) == [field]
    for body, field in (
        ({}, "configuration"),
        ({"configuration": 5}, "configuration"),
        ({"configuration": {}, "limits": {}}, "limits"),
        ({"configuration": {"limits": {"requestsPerMinute": "5"}}}, "configuration.limits.requestsPerMinute"),
        ({"configuration": {"limits": {"requestsPerWeek": 5}}}, "configuration.limits.requestsPerWeek"),
    ):
        assert fields(await core.put("{c}/configuration", body)) == [field]
    changed = one(await core.get("{c}"))
    changed["clientMembers"] = []
    assert fields(await core.put("{c}", changed)) == ["clientMembers"]
    assert fields(await core.patch("{c}", {"clientMembers": None})) == ["clientMembers"]
    assert core.head == head


def test_a_configuration_is_read_without_guessing() -> None:
    """An empty one has no limits."""
    assert clients._read_configuration({"configuration": {}}).limits.requests_per_day is None
