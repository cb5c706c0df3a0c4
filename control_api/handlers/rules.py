"""Rules of credentials, targets and proxies: the same five functions for all three kinds of parent.

A rule is stored only when the edge can enforce it beside the others of its scope.
"""

from __future__ import annotations

import asyncio

from control_api import answers
from control_api.call import Answer, Call
from control_api.kinds import RULE, SINGULAR
from control_api.ledger.change import Draft, Item
from control_api.ledger.projection import Projection, Resource
from control_api.presentation import show
from control_api.proposals import body_of, created, invalid, replaced
from control_api.references import PROGRAM_MAX, check_rule, set_of, set_verdict
from control_api.writing import answer, draft, gone, health, matching, owned, shown, write
from models.errors import NotFound
from models.patterns import pattern_size
from models.resources import Rule
from models.resources.base import Value


async def list_all(call: Call) -> Answer:
    """GET …/rules."""
    parent = _parent(call, call.projection)
    found = call.projection.list("rule", parent=(parent.kind, parent.id))
    return answers.page(call, found, lambda one: (one.created, one.id), lambda one: shown(call, one))


async def read(call: Call) -> Answer:
    """GET …/rules/{ruleId}."""
    return answers.one(call, shown(call, _rule(call, call.projection)))


async def create(call: Call) -> Answer:
    """POST …/rules."""
    key = ("rule", call.services.new_id("rule"))
    # Patterns are compiled off the loop: one may take 70 ms. What is found out is remembered for `decide`.
    rule = await asyncio.to_thread(created, RULE, call.json(), {"ruleId": key[1]})
    await _foresee(call, rule)

    def decide(projection: Projection, _revision: int, _now_ms: int) -> Draft:
        return _checked(projection, "create", rule, _parent(call, projection))

    return await answer(call, await write(call, decide, key), key)


async def replace(call: Call) -> Answer:
    """PUT …/rules/{ruleId}."""
    key, given = ("rule", call.params["ruleId"]), call.json()
    present = shown(call, _rule(call, call.projection))
    await _foresee(call, await asyncio.to_thread(replaced, RULE, given, {"ruleId": key[1]}, present))

    def decide(projection: Projection, _revision: int, _now_ms: int) -> Draft:
        was = matching(call, _rule(call, projection))
        value = replaced(RULE, given, {"ruleId": key[1]}, show(was, projection, health(call)))
        return _checked(projection, "update", value, _parent(call, projection))

    return await answer(call, await write(call, decide, key), key)


async def delete(call: Call) -> Answer:
    """DELETE …/rules/{ruleId}."""
    key = ("rule", call.params["ruleId"])

    def decide(projection: Projection, _revision: int, _now_ms: int) -> Draft:
        rule = matching(call, _rule(call, projection))
        return draft("delete", Item(*key, rule.client_id, rule.parent), rule.client_id)

    return await gone(call, await write(call, decide, key))


def _parent(call: Call, projection: Projection) -> Resource:
    """What the path says the rules stand on. Raises NotFound."""
    kind = SINGULAR[call.route.path.split("/")[4]]
    return owned(call, projection, kind, call.params[kind.id_name])


def _rule(call: Call, projection: Projection) -> Resource:
    parent = _parent(call, projection)
    rule = projection.get("rule", call.params["ruleId"])
    if rule is None or rule.parent != (parent.kind, parent.id):
        raise NotFound("There is no such rule")
    return rule


async def _foresee(call: Call, rule: Value) -> None:
    """Has the set that the rule would be part of compiled, so that `decide` finds the verdict."""
    parent = _parent(call, call.projection)
    assert isinstance(rule, Rule)  # what its kind validates
    patterns = set_of(call.projection, body_of(RULE, rule), rule.id, (parent.kind, parent.id))
    if sum(pattern_size(pattern) for pattern in patterns) <= PROGRAM_MAX:
        await asyncio.to_thread(set_verdict, patterns)


def _checked(projection: Projection, action: str, value: object, parent: Resource) -> Draft:
    assert isinstance(value, Rule)  # what its kind validates
    errors = check_rule(projection, value, (parent.kind, parent.id))
    if errors:
        raise invalid(*errors)
    item = Item("rule", value.id, parent.client_id, (parent.kind, parent.id), after=body_of(RULE, value))
    return draft(action, item, parent.client_id)
