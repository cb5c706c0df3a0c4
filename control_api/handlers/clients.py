"""Clients: made by the operator, who becomes their owner; changed and deleted by an owner.

Members have paths of their own (`members`); a client that owns anything is not deleted.
"""

from __future__ import annotations

from pydantic import ValidationError

from control_api import answers
from control_api.access import roles_in
from control_api.answers import SUCCESS, propagation
from control_api.call import Answer, Call
from control_api.kinds import CLIENT
from control_api.ledger.change import Draft, Item
from control_api.ledger.projection import Projection, Resource
from control_api.presentation import show
from control_api.proposals import Body, altered, body_of, created, invalid, replaced
from control_api.writing import answer, draft, gone, health, made, matching, shown, write
from models.errors import Conflict, NotFound
from models.resources import ClientConfiguration, dotted, problems
from models.resources.base import Value
from models.resources.problems import about_unknown


async def list_all(call: Call) -> Answer:
    """GET /clients: those the caller is a member of."""
    found = [
        client
        for one in call.projection.memberships(call.caller.user_id)
        if (client := call.projection.get("client", one)) is not None
        and roles_in(client, call.caller.user_id)
    ]
    found.sort(key=lambda one: (one.created, one.id))
    return answers.page(call, found, lambda one: (one.created, one.id), lambda one: shown(call, one))


async def create(call: Call) -> Answer:
    """POST /clients."""
    client_id = call.services.new_id("client")
    client = created(CLIENT, call.json(), {"clientId": client_id})
    owner = {"userId": call.caller.user_id, "roles": ["owner"]}
    item = Item("client", client_id, after={**body_of(CLIENT, client), "clientMembers": [owner]})

    def decide(_projection: Projection, _revision: int, _now_ms: int) -> Draft:
        return draft("create", item, client_id)

    return await answer(call, await write(call, decide, item.key), item.key)


async def read(call: Call) -> Answer:
    """GET /clients/{clientId}."""
    return answers.one(call, shown(call, of(call.projection, call)))


async def replace(call: Call) -> Answer:
    """PUT /clients/{clientId}."""
    return await _update(call, alter_only=False)


async def alter(call: Call) -> Answer:
    """PATCH /clients/{clientId}."""
    return await _update(call, alter_only=True)


async def delete(call: Call) -> Answer:
    """DELETE /clients/{clientId}: 409 with the ids of what it owns."""
    client_id = call.params["clientId"]
    key = ("client", client_id)

    def decide(projection: Projection, _revision: int, _now_ms: int) -> Draft:
        matching(call, of(projection, call))
        owned = projection.referrers(*key)
        if owned:
            raise Conflict("The client still owns resources", references=tuple(owned))
        return draft("delete", Item(*key), client_id)

    return await gone(call, await write(call, decide, key))


async def read_configuration(call: Call) -> Answer:
    """GET /clients/{clientId}/configuration."""
    return Answer(200, _configuration(call, of(call.projection, call)))


async def replace_configuration(call: Call) -> Answer:
    """PUT /clients/{clientId}/configuration."""
    key = ("client", call.params["clientId"])
    configuration = _read_configuration(call.json()).model_dump(mode="json", by_alias=True, exclude_none=True)

    def decide(projection: Projection, _revision: int, _now_ms: int) -> Draft:
        client = matching(call, of(projection, call))
        body = {**client.body, "clientConfiguration": configuration}
        return draft("update", Item(*key, after=body), client.id)

    written = await write(call, decide, key)
    headers = await propagation(call, written)
    return Answer(200, _configuration(call, made(written, key, call.projection)), headers)


def of(projection: Projection, call: Call) -> Resource:
    """The client in the path. Raises NotFound."""
    found = projection.get("client", call.params["clientId"])
    if found is None:
        raise NotFound("There is no such client")
    return found


async def _update(call: Call, *, alter_only: bool) -> Answer:
    key = ("client", call.params["clientId"])
    given, ids = call.json(), {"clientId": key[1]}

    def decide(projection: Projection, _revision: int, _now_ms: int) -> Draft:
        client = matching(call, of(projection, call))
        present = show(client, projection, health(call))
        change = altered if alter_only else replaced
        value: Value = change(CLIENT, given, ids, present)
        body = {**body_of(CLIENT, value), "clientMembers": client.body["clientMembers"]}
        return draft("update", Item(*key, after=body), client.id)

    return await answer(call, await write(call, decide, key), key)


def _configuration(call: Call, client: Resource) -> Body:
    return {
        "configuration": client.body["clientConfiguration"],
        "clients": [shown(call, client)],
        "message": SUCCESS,
    }


def _read_configuration(given: Body) -> ClientConfiguration:
    errors = [
        (dotted((name,)), about_unknown(name, ["configuration"])) for name in given if name != "configuration"
    ]
    if not isinstance(given.get("configuration"), dict):
        errors.append(("configuration", "must be an object" if "configuration" in given else "is required"))
    if errors:
        raise invalid(*errors)
    try:
        return ClientConfiguration.model_validate(given["configuration"], by_alias=True, by_name=False)
    except ValidationError as error:
        found = problems(ClientConfiguration, error)
        raise invalid(*((dotted(("configuration", *one.location)), one.message) for one in found)) from None
