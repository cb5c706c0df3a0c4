"""Credentials: their secrets are sealed for the region's vault on arrival and never seen again.

A secret that was generated here is shown once, in the answer to its POST. What is kept of a secret is where it
stands in a request, and how often it was replaced.
"""

from __future__ import annotations

from typing import Any

from control_api import answers
from control_api.call import Answer, Call
from control_api.kinds import CREDENTIAL
from control_api.ledger.change import Draft, Item
from control_api.ledger.projection import Projection, Resource
from control_api.presentation import show
from control_api.proposals import SECRET, Body, altered, body_of, created, invalid, replaced
from control_api.references import check_region
from control_api.writing import answer, draft, gone, health, matching, owned, shown, write
from models.custody.orders import Envelope
from models.custody.signing import Signed
from models.errors import Conflict
from models.resources import Credential, placement_of
from models.resources.moment import milliseconds
from models.resources.problems import about_unknown, dotted
from models.resources.secrets import SECRET_FIELD_OF, SECRET_KINDS, SecretBody, secret_values

_PLACEMENT = "credentialPlacement"
_EXPIRES = "credentialExpiresAt"


async def list_all(call: Call) -> Answer:
    """GET …/credentials."""
    found = call.projection.list("credential", client_id=call.params["clientId"])
    return answers.page(call, found, lambda one: (one.created, one.id), lambda one: shown(call, one))


async def read(call: Call) -> Answer:
    """GET …/credentials/{credentialId}."""
    return answers.one(
        call, shown(call, owned(call, call.projection, CREDENTIAL, call.params["credentialId"]))
    )


async def create(call: Call) -> Answer:
    """POST …/credentials."""
    client_id, credential_id = call.params["clientId"], call.services.new_id("credential")
    credential = created(CREDENTIAL, call.json(), {"credentialId": credential_id, "clientId": client_id})
    assert isinstance(credential, Credential)  # what its kind validates
    generated = credential.secret is None
    secret = _generated(call, credential) if credential.secret is None else credential.secret
    errors = check_region(call.projection, credential.region, "credentialRegion")
    if errors:
        raise invalid(*errors)
    if secret_values(secret):
        await call.services.sealer.prepare(credential.region)
    body = {**_body(credential, secret), "credentialVersion": 1, "credentialStatus": "active"}
    item = Item("credential", credential_id, client_id, after=body)

    def decide(projection: Projection, _revision: int, _now_ms: int) -> Draft:
        errors = check_region(projection, credential.region, "credentialRegion")
        if errors:
            raise invalid(*errors)
        return draft("create", item, client_id, _orders(call, credential, secret, 1))

    def finish(shown_once: Body) -> Body:
        return {**shown_once, SECRET: _in_clear(secret)} if generated else shown_once

    return await answer(call, await write(call, decide, item.key), item.key, finish)


async def replace(call: Call) -> Answer:
    """PUT …/credentials/{credentialId}."""
    return await _update(call, alter_only=False)


async def alter(call: Call) -> Answer:
    """PATCH …/credentials/{credentialId}."""
    return await _update(call, alter_only=True)


async def revoke(call: Call) -> Answer:
    """POST …/credentials/{credentialId}/revoke. Asking again changes nothing."""
    key = ("credential", call.params["credentialId"])
    given = call.json(empty=True)
    if given:
        raise invalid(*((dotted((name,)), about_unknown(name, ())) for name in given))

    def decide(projection: Projection, _revision: int, _now_ms: int) -> Draft:
        credential = matching(call, owned(call, projection, CREDENTIAL, key[1]))
        body = {**credential.body, "credentialStatus": "revoked"}
        return draft("revoke", Item(*key, credential.client_id, after=body), credential.client_id)

    return await answer(call, await write(call, decide, key), key)


async def delete(call: Call) -> Answer:
    """DELETE …/credentials/{credentialId}: 409 with the ids of the proxies that refer to it."""
    key = ("credential", call.params["credentialId"])

    def decide(projection: Projection, _revision: int, _now_ms: int) -> Draft:
        credential = matching(call, owned(call, projection, CREDENTIAL, key[1]))
        referrers = projection.referrers(*key)
        if referrers:
            raise Conflict("Proxies refer to the credential", references=tuple(referrers))
        return draft("delete", Item(*key, credential.client_id), credential.client_id)

    return await gone(call, await write(call, decide, key))


async def _update(call: Call, *, alter_only: bool) -> Answer:
    client_id, credential_id = call.params["clientId"], call.params["credentialId"]
    key, ids = ("credential", credential_id), {"credentialId": credential_id, "clientId": client_id}
    given = call.json()
    renewed = given.get(SECRET) is not None
    if renewed:
        await call.services.sealer.prepare(_region(owned(call, call.projection, CREDENTIAL, credential_id)))

    def decide(projection: Projection, revision: int, _now_ms: int) -> Draft:
        was = matching(call, owned(call, projection, CREDENTIAL, credential_id))
        present = show(was, projection, health(call))
        if alter_only:
            value = altered(CREDENTIAL, given, ids, present, was.body.get(_PLACEMENT, {}))
        else:
            value = replaced(CREDENTIAL, given, ids, present)
        assert isinstance(value, Credential)  # what its kind validates
        secret = (
            value.secret if renewed and value.secret is not None and secret_values(value.secret) else None
        )
        if secret is not None and was.body["credentialStatus"] == "revoked":
            raise Conflict("The credential is revoked; its secret cannot be replaced")
        version = was.body["credentialVersion"] + (secret is not None)
        body = _body(value, secret, was.body.get(_PLACEMENT))
        if secret is not None:
            orders = _orders(call, value, secret, version)
        elif _PLACEMENT in body and body.get(_EXPIRES) != was.body.get(_EXPIRES):
            order = call.services.sealer.expire(value.region, value.id, version, revision, _expires_ms(value))
            orders = {value.region: (order,)}
        else:
            orders = {}
        body |= {"credentialVersion": version, "credentialStatus": was.body["credentialStatus"]}
        return draft("update", Item(*key, client_id, after=body), client_id, orders)

    return await answer(call, await write(call, decide, key), key)


def _region(credential: Resource) -> str:
    return str(credential.body["credentialRegion"])


def _body(credential: Credential, secret: SecretBody | None, kept: Any = None) -> Body:
    """The body to store. secret: a new one, else `kept` is its placement."""
    placement = None if secret is None else placement_of(secret)
    placed = kept if placement is None else placement.model_dump(mode="json", by_alias=True)
    return {**body_of(CREDENTIAL, credential), **({} if placed is None else {_PLACEMENT: placed})}


def _orders(
    call: Call, credential: Credential, secret: SecretBody, version: int
) -> dict[str, tuple[Signed, ...]]:
    """The sealed order for the credential's vault; none where there is no secret."""
    if not secret_values(secret):
        return {}
    envelope = Envelope(
        side=credential.type,
        auth_type=credential.auth_type,
        secret=_in_clear(secret),
        overlap_seconds=credential.overlap_seconds,
        expires_ms=_expires_ms(credential),
    )
    order = call.services.sealer.seal_put(
        credential.region, credential.client_id, credential.id, version, envelope
    )
    return {credential.region: (order,)}


def _expires_ms(credential: Credential) -> int | None:
    return None if credential.expires_at is None else milliseconds(credential.expires_at)


def _generated(call: Call, credential: Credential) -> SecretBody:
    """A secret of at least 128 random bits, for a caller of ours."""
    text = call.services.new_secret()
    return SECRET_KINDS[credential.auth_type].model_validate({SECRET_FIELD_OF[credential.auth_type]: text})


def _in_clear(secret: SecretBody) -> dict[str, str]:
    """The wire form with its secret in clear: for the vault's envelope, and for the one answer that shows it."""
    shown: dict[str, str] = secret.model_dump(mode="json", by_alias=True)
    return shown | {name: value.reveal().decode() for name, value in secret_values(secret)}
