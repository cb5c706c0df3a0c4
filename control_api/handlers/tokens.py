"""Tokens: made, listed and revoked by their holder, or by the operator for somebody else.

A token's text is in the answer to the POST that made it and nowhere else; only its SHA-256 is kept. A new token
never reaches further than the one it was made with.
"""

from __future__ import annotations

from control_api import answers
from control_api.auth import digest_of
from control_api.call import Answer, Call
from control_api.kinds import TOKEN
from control_api.ledger.change import Draft, Item
from control_api.ledger.projection import Projection, Resource
from control_api.proposals import Body, body_of, created, invalid
from control_api.writing import answer, draft, gone, matching, shown, write
from models.errors import Forbidden, NotFound
from models.resources.moment import milliseconds
from models.resources.token import Token


async def list_all(call: Call) -> Answer:
    """GET /users/{userId}/tokens."""
    found = call.projection.list("token", parent=("user", call.params["userId"]))
    return answers.page(call, found, lambda one: (one.created, one.id), lambda one: shown(call, one))


async def create(call: Call) -> Answer:
    """POST /users/{userId}/tokens."""
    user_id, token_id = call.params["userId"], call.services.new_id("token")
    text = f"u-{call.services.new_secret()}"
    token = created(TOKEN, call.json(), {"tokenId": token_id, "userId": user_id})
    assert isinstance(token, Token)  # what its kind validates
    if not call.caller.scopes.issuperset(token.scopes):
        raise Forbidden("A token cannot be made with scopes that the one in use does not have")
    ends = None if token.expires_at is None else milliseconds(token.expires_at)
    body = {**body_of(TOKEN, token), "tokenDigest": digest_of(text), "userId": user_id}
    item = Item("token", token_id, parent=("user", user_id), after=body)

    def decide(projection: Projection, _revision: int, now_ms: int) -> Draft:
        if projection.get("user", user_id) is None:
            raise NotFound("There is no such user")
        if ends is not None and ends <= now_ms:
            raise invalid(("tokenExpiresAt", "must lie in the future"))
        return draft("create", item, None)

    def finish(shown_once: Body) -> Body:
        return {**shown_once, "tokenValue": text}

    return await answer(call, await write(call, decide, item.key), item.key, finish)


async def delete(call: Call) -> Answer:
    """DELETE /users/{userId}/tokens/{tokenId}: it stops at once."""
    key = ("token", call.params["tokenId"])

    def decide(projection: Projection, _revision: int, _now_ms: int) -> Draft:
        token = matching(call, _of(projection, call))
        return draft("revoke", Item(*key, parent=token.parent), None)

    return await gone(call, await write(call, decide, key))


def _of(projection: Projection, call: Call) -> Resource:
    token = projection.get("token", call.params["tokenId"])
    if token is None or token.parent != ("user", call.params["userId"]):
        raise NotFound("There is no such token")
    return token
