"""Step 5: the four scopes judge the head of a request; all must allow. Some can tell only once they see the body.

A denial is raised here with the scope and rule that made it; the whole decision is kept for the record.
"""

from __future__ import annotations

from models.errors import RuleDenied
from models.policy import CompiledProxy
from models.request import CanonicalRequest
from models.rules import Decision, Undecided


def decide(proxy: CompiledProxy, credential_id: str, request: CanonicalRequest) -> Decision | Undecided:
    """The decision of all four scopes, as the record has it, or what the body decides. Never raises for a denial."""
    return proxy.scopes[credential_id].judge(request)


def enforce(decision: Decision) -> None:
    """Raises RuleDenied when a scope denied."""
    if decision.effect != "allow":
        raise RuleDenied(*decision.first_denial())
