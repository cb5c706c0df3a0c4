"""Members of a client and their roles, kept in the client itself; changed by an owner.

There is always an owner: the last one is neither removed nor given another role.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from control_api import answers
from control_api.answers import propagation
from control_api.call import Answer, Call
from control_api.handlers.clients import of
from control_api.kinds import MEMBER
from control_api.ledger.change import Draft, Item
from control_api.ledger.projection import Projection, Resource
from control_api.presentation import show_members
from control_api.proposals import body_of, created, invalid, replaced
from control_api.writing import draft, gone, made, matching, write
from models.errors import Conflict, NotFound

Members = list[dict[str, Any]]


async def list_all(call: Call) -> Answer:
    """GET /clients/{clientId}/members."""
    members = sorted(show_members(of(call.projection, call)), key=lambda one: str(one["userId"]))
    return answers.page(call, members, lambda one: (0, str(one["userId"])), lambda one: one)


async def create(call: Call) -> Answer:
    """POST /clients/{clientId}/members."""
    member = body_of(MEMBER, created(MEMBER, call.json(), {}))
    user_id: str = member["userId"]

    def add(projection: Projection, members: Members) -> Members:
        if projection.get("user", user_id) is None:
            raise invalid(("userId", "there is no user with this id"))
        if _find(members, user_id) is not None:
            raise Conflict("The user is a member already", references=(user_id,))
        return [*members, member]

    return await _change(call, user_id, add)


async def replace(call: Call) -> Answer:
    """PUT /clients/{clientId}/members/{userId}."""
    user_id, given = call.params["userId"], call.json()

    def put(_projection: Projection, members: Members) -> Members:
        if _find(members, user_id) is None:
            raise NotFound("There is no such member")
        client_id, sent = call.params["clientId"], {**given}
        if sent.pop("userId", user_id) != user_id:
            raise invalid(("userId", "is read only; send it back unchanged or leave it out"))
        revision = of(call.projection, call).revision
        shown = {"clientId": client_id, "revision": revision}
        member = body_of(MEMBER, replaced(MEMBER, sent, {"userId": user_id}, shown))
        return [member if one["userId"] == user_id else one for one in members]

    return await _change(call, user_id, put)


async def delete(call: Call) -> Answer:
    """DELETE /clients/{clientId}/members/{userId}."""
    user_id = call.params["userId"]

    def remove(_projection: Projection, members: Members) -> Members:
        if _find(members, user_id) is None:
            raise NotFound("There is no such member")
        return [one for one in members if one["userId"] != user_id]

    return await _change(call, user_id, remove)


async def _change(call: Call, user_id: str, change: Callable[[Projection, Members], Members]) -> Answer:
    key = ("client", call.params["clientId"])

    def decide(projection: Projection, _revision: int, _now_ms: int) -> Draft:
        client = matching(call, of(projection, call))
        members = change(projection, client.body["clientMembers"])
        if not any("owner" in one["roles"] for one in members):
            raise Conflict("A client has at least one owner", references=(user_id,))
        return draft("update", Item(*key, after={**client.body, "clientMembers": members}), client.id)

    written = await write(call, decide, key)
    if call.route.status == 204:
        return await gone(call, written)
    headers = await propagation(call, written)
    shown = _shown(made(written, key, call.projection), user_id)
    return answers.one(call, shown, headers)


def _find(members: Members, user_id: str) -> dict[str, Any] | None:
    return next((one for one in members if one["userId"] == user_id), None)


def _shown(client: Resource, user_id: str) -> dict[str, Any]:
    return next(one for one in show_members(client) if one["userId"] == user_id)
