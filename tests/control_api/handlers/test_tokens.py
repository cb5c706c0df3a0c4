"""Tokens over the Core API: shown once, scoped, expiring, stopped at once."""

from __future__ import annotations

from pathlib import Path

from control_api.handlers import tokens
from tests.kit.api import Api, api, fields, one
from tests.kit.plane import HandClock


async def test_a_token_is_shown_once(core: Api) -> None:
    """In the answer to its POST; not in the list, and not when that POST is repeated."""
    path = f"/users/{core.user}/tokens"
    body = {"tokenName": "ci", "tokenScopes": ["read"]}
    made = one(await core.post(path, body, headers={"idempotency-key": "a"}), 201)
    value = made.pop("tokenValue")
    assert value.startswith("u-")
    assert made["userId"] == core.user
    repeated = await core.post(path, body, headers={"idempotency-key": "a"})
    assert one(repeated, 201) == made
    listed = await core.get(path)
    assert listed.json()["tokens"][-1] == made
    assert value not in listed.text
    assert "Digest" not in listed.text
    assert (await core.get("/clients", token=value)).status_code == 200
    assert (await core.get("/clients", token=f"Bearer {value}")).status_code == 200
    assert (await core.get("/clients", token=f"bearer {value}")).status_code == 200


async def test_a_revoked_token_stops_at_once(core: Api) -> None:
    """Its holder revokes it, with itself if he likes."""
    user, token = await core.new_user()
    (listed,) = (await core.get(f"/users/{user}/tokens", token=token)).json()["tokens"]
    path = f"/users/{user}/tokens/{listed['tokenId']}"
    assert (await core.delete(f"/users/{core.user}/tokens/{listed['tokenId']}")).status_code == 404
    assert (await core.delete(path, token=token)).status_code == 204
    assert (await core.get("/users/me", token=token)).status_code == 401
    assert (await core.delete(path)).status_code == 404


async def test_a_token_reaches_no_further_than_its_maker(core: Api) -> None:
    """Scopes that the token in use lacks cannot be handed on."""
    user, token = await core.new_user(["read", "write"])
    path = f"/users/{user}/tokens"
    head = core.head
    refused = await core.post(path, {"tokenName": "x", "tokenScopes": ["operate"]}, token=token)
    assert refused.status_code == 403
    assert core.head == head
    assert one(await core.post(path, {"tokenName": "x", "tokenScopes": ["write"]}, token=token), 201)


async def test_others_tokens_are_the_operators_and_nobody_elses(core: Api) -> None:
    """Another user sees 404; the operator needs the scope for it."""
    user, token = await core.new_user(["read", "write"])
    other, _ = await core.new_user(["read"])
    for method in ("GET", "POST"):
        body = {"json": {"tokenName": "x", "tokenScopes": ["read"]}} if method == "POST" else {}
        assert (await core.call(method, f"/users/{other}/tokens", token=token, **body)).status_code == 404
    plain = await core.new_token(core.user, ["read", "write"])
    assert (await core.get(f"/users/{user}/tokens", token=plain)).status_code == 403
    assert (await core.get(f"/users/{user}/tokens")).status_code == 200
    assert (await core.get("/users/usr_nobody/tokens")).status_code == 404


async def test_a_token_ends_when_it_says(tmp_path: Path) -> None:
    """Valid until then, not after; one that has ended already is refused."""
    clock = HandClock()
    async with api(tmp_path, clock=clock) as core:
        path = f"/users/{core.user}/tokens"
        body = {"tokenName": "x", "tokenScopes": ["read"], "tokenExpiresAt": "2027-01-15T08:00:10Z"}
        made = one(await core.post(path, body), 201)
        assert made["tokenExpiresAt"] == "2027-01-15T08:00:10.000Z"
        assert (await core.get("/users/me", token=made["tokenValue"])).status_code == 200
        clock.ms += 10_000
        assert (await core.get("/users/me", token=made["tokenValue"])).status_code == 401
        assert fields(await core.post(path, body)) == ["tokenExpiresAt"]


async def test_bad_tokens_are_named(core: Api) -> None:
    """Unknown scopes, none, twice; a value of one's own."""
    path = f"/users/{core.user}/tokens"
    head = core.head
    good = {"tokenName": "x", "tokenScopes": ["read"]}
    for change, field in (
        ({"tokenScopes": ["admin"]}, "tokenScopes[0]"),
        ({"tokenScopes": []}, "tokenScopes"),
        ({"tokenScopes": ["read", "read"]}, "tokenScopes"),
        ({"tokenScopes": "read"}, "tokenScopes"),
        ({"tokenValue": "u-mine"}, "tokenValue"),
        ({"tokenExpiresAt": 5}, "tokenExpiresAt"),
        ({"tokenName": None}, "tokenName"),
        ({"userId": core.user}, "userId"),
    ):
        assert fields(await core.post(path, {**good, **change})) == [field]
    assert core.head == head
    assert tokens.delete.__doc__
