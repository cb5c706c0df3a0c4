"""Rules of credentials, targets and proxies.

A rule is stored only when the edge can enforce it beside the others of its scope.
"""

from __future__ import annotations

import asyncio
from typing import Final

from control_api.handlers.parts import Parts
from control_api.kinds import RULE
from control_api.ledger.projection import Projection, Resource
from control_api.proposals import FieldErrors, body_of
from control_api.references import PROGRAM_MAX, check_rule, set_of, set_verdict
from models.patterns import pattern_size
from models.resources import Rule
from models.resources.base import Value


async def _foresee(projection: Projection, rule: Value, owner: Resource) -> None:
    """Has the set that the rule would be part of compiled, so that a write finds the verdict."""
    assert isinstance(rule, Rule)  # what its kind validates
    patterns = set_of(projection, body_of(RULE, rule), rule.id, (owner.kind, owner.id))
    if sum(pattern_size(pattern) for pattern in patterns) <= PROGRAM_MAX:
        await asyncio.to_thread(set_verdict, patterns)


def _check(projection: Projection, rule: Value, owner: Resource) -> FieldErrors:
    assert isinstance(rule, Rule)  # what its kind validates
    return check_rule(projection, rule, (owner.kind, owner.id))


RULES: Final = Parts(RULE, _check, _foresee)
list_all = RULES.list_all
read = RULES.read
create = RULES.create
replace = RULES.replace
delete = RULES.delete
