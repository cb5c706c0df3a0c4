"""Targets, and their test: one call of the test path from an edge of the region, answered with status and timing.

Nothing of what the target says reaches the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from control_api import answers
from control_api.call import Answer, Call
from control_api.kinds import TARGET
from control_api.ledger.change import Draft, Item, Replay
from control_api.ledger.projection import Projection
from control_api.presentation import show
from control_api.proposals import Body, altered, body_of, created, invalid, replaced
from control_api.references import check_region, find
from control_api.writing import answer, draft, gone, health, matching, owned, shown, write
from models.errors import Conflict, Unavailable
from models.resources.problems import about_unknown, dotted

TEST_SECONDS = 15.0
"""How long a test waits for an edge's answer."""


async def list_all(call: Call) -> Answer:
    """GET …/targets."""
    found = call.projection.list("target", client_id=call.params["clientId"])
    return answers.page(call, found, lambda one: (one.created, one.id), lambda one: shown(call, one))


async def read(call: Call) -> Answer:
    """GET …/targets/{targetId}."""
    return answers.one(call, shown(call, owned(call, call.projection, TARGET, call.params["targetId"])))


async def create(call: Call) -> Answer:
    """POST …/targets."""
    client_id, target_id = call.params["clientId"], call.services.new_id("target")
    target = created(TARGET, call.json(), {"targetId": target_id, "clientId": client_id})
    body = body_of(TARGET, target)
    item = Item("target", target_id, client_id, after=body)

    def decide(projection: Projection, _revision: int, _now_ms: int) -> Draft:
        errors = check_region(projection, body["targetRegion"], "targetRegion")
        if errors:
            raise invalid(*errors)
        return draft("create", item, client_id)

    return await answer(call, await write(call, decide, item.key), item.key)


async def replace(call: Call) -> Answer:
    """PUT …/targets/{targetId}."""
    return await _update(call, alter_only=False)


async def alter(call: Call) -> Answer:
    """PATCH …/targets/{targetId}."""
    return await _update(call, alter_only=True)


async def delete(call: Call) -> Answer:
    """DELETE …/targets/{targetId}: 409 with the ids of the proxies that refer to it."""
    key = ("target", call.params["targetId"])

    def decide(projection: Projection, _revision: int, _now_ms: int) -> Draft:
        target = matching(call, owned(call, projection, TARGET, key[1]))
        referrers = projection.referrers(*key)
        if referrers:
            raise Conflict("Proxies refer to the target", references=tuple(referrers))
        return draft("delete", Item(*key, target.client_id), target.client_id)

    return await gone(call, await write(call, decide, key))


async def test(call: Call) -> Answer:
    """POST …/targets/{targetId}/test. Raises Unavailable when no edge answers in time."""
    target = owned(call, call.projection, TARGET, call.params["targetId"])
    region = str(target.body["targetRegion"])
    credential_id = _credential(call, region)
    replay, now_ms = call.replay(200, "target", target.id), call.services.clock.wall_ms()
    known = None if replay is None else _answered(call, replay, now_ms)
    if known is not None:
        return answers.one(call, dict(known))
    result = await call.services.feed.run_command(
        region,
        kind="testTarget",
        client_id=call.params["clientId"],
        target_id=target.id,
        credential_id=credential_id,
        seconds=TEST_SECONDS,
    )
    if result is None:
        raise Unavailable(f"No edge of region {region} answered in time")
    element = {"status": result.status, "code": result.code, "durationMs": result.duration_ms}
    if replay is not None:
        call.services.results.keep(replay, now_ms, element)
    return answers.one(call, element)


def _answered(call: Call, replay: Replay, now_ms: int) -> Mapping[str, Any] | None:
    """What the same test was answered with. Raises Conflict when the key was another request's, a write's too."""
    if call.projection.replay(replay.token_id, replay.key, now_ms) is not None:
        raise Conflict("This Idempotency-Key was used for another request")
    return call.services.results.get(replay, now_ms)


async def _update(call: Call, *, alter_only: bool) -> Answer:
    client_id, target_id = call.params["clientId"], call.params["targetId"]
    key, ids = ("target", target_id), {"targetId": target_id, "clientId": client_id}
    given = call.json()

    def decide(projection: Projection, _revision: int, _now_ms: int) -> Draft:
        was = matching(call, owned(call, projection, TARGET, target_id))
        change = altered if alter_only else replaced
        value = change(TARGET, given, ids, show(was, projection, health(call)))
        return draft("update", Item(*key, client_id, after=body_of(TARGET, value)), client_id)

    return await answer(call, await write(call, decide, key), key)


def _credential(call: Call, region: str) -> str | None:
    """The credential to test with, from the body. Raises Invalid."""
    given: Body = call.json(empty=True)
    field = "credentialId"
    errors = [(dotted((name,)), about_unknown(name, [field])) for name in given if name != field]
    one = given.get(field)
    if one is None and not errors:
        return None
    if one is not None and not isinstance(one, str):
        errors.append((field, "must be a string"))
    elif isinstance(one, str):
        found = find(call.projection, "credential", one, call.params["clientId"])
        if found is None:
            errors.append((field, "there is no credential with this id"))
        elif found.body["credentialType"] != "target":
            errors.append((field, "is a proxy credential; a target credential is needed here"))
        elif found.body["credentialRegion"] != region:
            errors.append(
                (field, f"is in region {found.body['credentialRegion']}; the target is in {region}")
            )
    if errors:
        raise invalid(*errors)
    return one
