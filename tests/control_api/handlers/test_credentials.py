"""Credentials over the Core API: sealed on arrival, shown never, generated once, revoked for ever."""

from __future__ import annotations

from typing import Any

from control_api.handlers import credentials
from models.custody.orders import Expire, Forget, Put, Revoke
from models.resources import Credential
from tests.kit.api import (
    CALLER_KEY,
    REGIONS,
    TARGET_TOKEN,
    Api,
    caller_body,
    fields,
    one,
    proxy_body,
    sender_body,
)
from tests.kit.api import api as running

US, EU = REGIONS


async def test_a_secret_is_sealed_for_its_vault_and_never_shown(core: Api) -> None:
    """The vault finds exactly what was sent; no answer has it, not even that of its POST."""
    answer = await core.post("{c}/credentials", sender_body())
    made = one(answer, 201)
    assert TARGET_TOKEN not in answer.text
    assert "credentialSecret" not in made
    assert "credentialPlacement" not in made
    assert made["credentialVersion"] == 1
    assert made["credentialStatus"] == "active"
    assert made["credentialOffline"] is True
    (envelope,) = core.regions[US].secrets()
    assert envelope["secret"] == {"token": TARGET_TOKEN, "prefix": "Bearer"}
    assert (envelope["side"], envelope["authType"]) == ("target", "bearer")
    assert not core.regions[EU].orders
    (order,) = core.regions[US].orders
    assert (order.binding.credential_id, order.binding.version) == (made["credentialId"], 1)
    listed = (await core.get("{c}/credentials")).json()["credentials"]
    assert listed == [one(await core.get(f"{{c}}/credentials/{made['credentialId']}"))] == [made]


async def test_a_secret_that_is_left_out_is_generated_and_shown_once(core: Api) -> None:
    """For a caller's apiKey or bearer: at least 128 bits, in the answer to POST, and what the vault holds."""
    for auth_type, name in (("apiKey", "key"), ("bearer", "token")):
        body = caller_body(credentialAuthType=auth_type)
        del body["credentialSecret"]
        answer = await core.post("{c}/credentials", body, headers={"idempotency-key": auth_type})
        made = one(answer, 201)
        secret = made["credentialSecret"][name]
        assert len(secret) >= 43
        assert core.regions[US].secrets()[-1]["secret"] == made["credentialSecret"]
        read = await core.get(f"{{c}}/credentials/{made['credentialId']}")
        assert secret not in read.text
        again = await core.post("{c}/credentials", body, headers={"idempotency-key": auth_type})
        assert one(again, 201)["credentialId"] == made["credentialId"]
        assert secret not in again.text
        assert "credentialSecret" not in again.json()["credentials"][0]
    sender = sender_body()
    del sender["credentialSecret"]
    assert fields(await core.post("{c}/credentials", sender)) == ["credentialSecret"]


async def test_a_new_secret_is_a_new_version_and_a_kept_one_is_not(core: Api) -> None:
    """PUT and PATCH with a secret seal it as the next version; without one nothing goes to the vault."""
    made = await core.make(
        "{c}/credentials", caller_body(credentialSecret={"key": CALLER_KEY, "name": "X-Key"})
    )
    path = f"{{c}}/credentials/{made['credentialId']}"
    kept = one(await core.put(path, {**made, "credentialName": "Renamed"}))
    assert (kept["credentialName"], kept["credentialVersion"]) == ("Renamed", 1)
    assert len(core.regions[US].orders) == 1

    new = {"key": "another-key-0123456789"}
    put = one(await core.put(path, {**kept, "credentialSecret": new}))
    assert put["credentialVersion"] == 2
    assert core.regions[US].secrets()[-1]["secret"] == {
        **new,
        "in": "header",
        "name": "Authorization",
        "prefix": "",
    }
    assert core.regions[US].orders[-1].binding.version == 2

    await core.patch(path, {"credentialSecret": {"key": "third-key-0123456789", "name": "X-Third"}})
    one(await core.patch(path, {"credentialSecret": {"key": "fourth-key-0123456789"}}))
    assert core.regions[US].secrets()[-1]["secret"]["name"] == "X-Third"
    assert fields(await core.patch(path, {"credentialSecret": {"name": "X-Other"}})) == [
        "credentialSecret.key"
    ]
    assert fields(await core.patch(path, {"credentialSecret": None})) == ["credentialSecret"]
    bearer = await core.make("{c}/credentials", sender_body())
    patched = await core.patch(
        f"{{c}}/credentials/{bearer['credentialId']}", {"credentialSecret": {"token": "new-token-0123456789"}}
    )
    assert one(patched)["credentialVersion"] == 2


async def test_what_identifies_a_credential_is_fixed(core: Api) -> None:
    """Type, auth type and region are those of its creation."""
    made = await core.make("{c}/credentials", caller_body())
    path = f"{{c}}/credentials/{made['credentialId']}"
    for change in ({"credentialRegion": EU}, {"credentialType": "target"}, {"credentialAuthType": "bearer"}):
        (field,) = change
        assert fields(await core.put(path, {**made, **change})) == [field]
        assert fields(await core.patch(path, change)) == [field]


async def test_a_revoked_credential_stays_revoked(core: Api) -> None:
    """Also while referenced; asking again is no error; it takes no new secret and its order reaches the vault."""
    ids = await core.stack()
    path = f"{{c}}/credentials/{ids['caller']}"
    answer = await core.post(f"{path}/revoke")
    assert one(answer)["credentialStatus"] == "revoked"
    assert answer.headers["exeat-propagation"] == "applied"
    assert core.regions[US].orders[-1] == Revoke(US, ids["caller"])
    assert one(await core.post(f"{path}/revoke", {}))["credentialStatus"] == "revoked"
    refused = await core.patch(path, {"credentialSecret": {"key": "another-key-0123456789"}})
    assert refused.status_code == 409
    kept = one(await core.patch(path, {"credentialName": "Old"}))
    assert kept["credentialStatus"] == "revoked"
    active = {**kept, "credentialStatus": "active"}
    assert fields(await core.put(path, active)) == ["credentialStatus"]
    assert fields(await core.post(f"{path}/revoke", {"why": "x"})) == ["why"]


async def test_a_referenced_credential_is_not_deleted(core: Api) -> None:
    """409 names the proxies; afterwards it goes, and its vault is told to forget it."""
    ids = await core.stack()
    for name in ("caller", "sender"):
        refused = await core.delete(f"{{c}}/credentials/{ids[name]}")
        assert refused.status_code == 409
        assert refused.json()["references"] == [ids["proxy"]]
    await core.delete(f"{{c}}/proxies/{ids['proxy']}")
    assert (await core.delete(f"{{c}}/credentials/{ids['caller']}")).status_code == 204
    assert core.regions[US].orders[-1] == Forget(US, ids["caller"], 1)


async def test_another_end_reaches_the_vault_without_the_secret(core: Api) -> None:
    """A new credentialExpiresAt alone is an order of its own, bound to version and revision."""
    made = await core.make("{c}/credentials", caller_body(credentialExpiresAt="2040-01-01T02:00:00+02:00"))
    assert made["credentialExpiresAt"] == "2040-01-01T00:00:00.000Z"
    assert core.regions[US].secrets()[-1]["expiresMs"] == 2_208_988_800_000
    path = f"{{c}}/credentials/{made['credentialId']}"
    sooner = one(await core.patch(path, {"credentialExpiresAt": "2039-01-01T00:00:00Z"}))
    assert core.regions[US].orders[-1] == Expire(
        US, made["credentialId"], 1, sooner["revision"], 2_177_452_800_000
    )
    never = one(await core.patch(path, {"credentialExpiresAt": None}))
    assert core.regions[US].orders[-1] == Expire(US, made["credentialId"], 1, never["revision"], None)


async def test_none_needs_no_secret_and_no_vault(core: Api) -> None:
    """A target credential of type none sends nothing to be sealed."""
    body = sender_body(credentialAuthType="none")
    del body["credentialSecret"]
    made = await core.make("{c}/credentials", body)
    assert made["credentialVersion"] == 1
    again = one(await core.put(f"{{c}}/credentials/{made['credentialId']}", {**made, "credentialSecret": {}}))
    assert again["credentialVersion"] == 1
    assert core.regions[US].orders == []


async def test_status_says_what_the_region_says(tmp_path: Any) -> None:
    """It is pending until the region took the change over, failing when its vault could not."""
    async with running(tmp_path, away=(US,)) as core:
        answer = await core.post("{c}/credentials", sender_body())
        made = one(answer, 201)
        assert answer.headers["exeat-propagation"] == "pending"
        assert made["credentialStatus"] == "pending"
        core.regions[US].come()
        path = f"{{c}}/credentials/{made['credentialId']}"
        assert await core.plane.ledger.propagated(made["revision"], [US], 10)
        assert one(await core.get(path))["credentialStatus"] == "active"
        unchanged = one(await core.put(path, made))
        assert unchanged["credentialStatus"] == "active"
        core.plane.ledger.regions.report_failing(US, {made["credentialId"]: "cannot be opened"}, 1)
        assert one(await core.get(path))["credentialStatus"] == "failing"


async def test_a_region_without_a_vault_takes_no_secret(core: Api) -> None:
    """503, nothing stored: the secret could not be sealed for anybody."""
    await core.plane.enrol("ap-south-1", certified=False)
    head = core.head
    answer = await core.post("{c}/credentials", sender_body("ap-south-1"))
    assert answer.status_code == 503
    assert "ap-south-1" in answer.json()["detail"]
    assert core.head == head


async def test_bad_credentials_are_named_and_nothing_is_stored(core: Api) -> None:
    """Every 422 of API.md that a credential can give; no message has the secret."""
    ids = await core.stack()
    head = core.head
    cases: list[tuple[dict[str, Any], str]] = [
        (caller_body(credentialColour=1), "credentialColour"),
        (caller_body(credentialOffline="no"), "credentialOffline"),
        (caller_body("nowhere-1"), "credentialRegion"),
        (caller_body(credentialAuthType="none"), "credentialAuthType"),
        (caller_body(credentialAuthType="jwt"), "credentialAuthType"),
        (caller_body(credentialSecret={"key": "short"}), "credentialSecret.key"),
        (sender_body(credentialSecret={"token": "short"}), "credentialSecret.token"),
        (caller_body(credentialSecret={"key": CALLER_KEY, "name": "Host"}), "credentialSecret.name"),
        (caller_body(credentialSecret=CALLER_KEY), "credentialSecret"),
        (caller_body(credentialSecret={CALLER_KEY: 1, "key": CALLER_KEY}), "credentialSecret"),
        (caller_body(credentialExpiresAt="soon"), "credentialExpiresAt"),
        (caller_body(credentialExpiresAt="0001-01-01T00:00:00Z"), "credentialExpiresAt"),
        (caller_body(credentialExpiresAt="9999-12-31T23:59:59-14:00"), "credentialExpiresAt"),
        (caller_body(credentialVersion=7), "credentialVersion"),
        (caller_body(credentialStatus="active"), "credentialStatus"),
        (caller_body(credentialId="cred_mine"), "credentialId"),
        (caller_body(clientId=core.client), "clientId"),
        (caller_body(rules=[]), "rules"),
        ({"credentialName": "x"}, "credentialType"),
    ]
    for body, field in cases:
        answer = await core.post("{c}/credentials", body)
        assert field in fields(answer), body
        assert CALLER_KEY not in answer.text
    assert core.head == head
    assert proxy_body(ids)


def test_the_envelope_is_the_wire_form() -> None:
    """What the vault gets is what API.md calls the secret, in clear."""
    credential = Credential.model_validate(caller_body() | {"credentialId": "cred_a", "clientId": "cli_a"})
    assert credential.secret is not None
    assert credentials._in_clear(credential.secret) == {
        "key": CALLER_KEY,
        "in": "header",
        "name": "Authorization",
        "prefix": "",
    }
    assert Put.__struct_config__.tag == "put"
