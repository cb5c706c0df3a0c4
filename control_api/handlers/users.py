"""Users: made by the platform's operator; each reads himself.

A new user has no token: the operator makes the first one for him.
"""

from __future__ import annotations

from control_api import answers
from control_api.call import Answer, Call
from control_api.kinds import USER
from control_api.ledger.change import Draft, Item
from control_api.ledger.projection import Projection
from control_api.proposals import body_of, created
from control_api.writing import answer, draft, shown, write


async def create(call: Call) -> Answer:
    """POST /users. Never makes an operator."""
    user_id = call.services.new_id("user")
    user = created(USER, call.json(), {"userId": user_id})
    item = Item("user", user_id, after={**body_of(USER, user), "operator": False})

    def decide(_projection: Projection, _revision: int, _now_ms: int) -> Draft:
        return draft("create", item, None)

    return await answer(call, await write(call, decide, item.key), item.key)


async def me(call: Call) -> Answer:
    """GET /users/me."""
    return answers.one(call, shown(call, call.user))
