"""Step 5: the four scopes of a proxy judge; the first that denies is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models.errors import RuleDenied
from models.policy import CompiledProxy
from models.request import CanonicalRequest
from models.rules import Undecided
from proxy_edge.steps.rules import decide, enforce
from tests.kit.edge import policy
from tests.kit.memory import bundle

DENY = {"rules": [{"ruleId": "r-deny", "effect": "deny", "path": {"pattern": "^/admin"}}]}


def proxy(home: Path, **fields: Any) -> CompiledProxy:
    found = bundle(home, policy("http://t.test", **fields)).policy.proxies[b"api"]
    assert isinstance(found, CompiledProxy)
    return found


def request(path: bytes) -> CanonicalRequest:
    return CanonicalRequest(b"GET", path, b"", [])


@pytest.mark.parametrize(
    ("fields", "scope"),
    [
        ({"caller": DENY}, "proxyCredential"),
        ({"sender": DENY}, "targetCredential"),
        (DENY, "proxy"),
        ({"target": DENY}, "target"),
    ],
)
def test_every_scope_can_deny(tmp_path: Path, fields: dict[str, Any], scope: str) -> None:
    """And what it does not match, it lets through."""
    found = proxy(tmp_path, **fields)
    enforce(decide(found, "caller", request(b"/open")))
    decision = decide(found, "caller", request(b"/admin/x"))
    assert decision.effect == "deny"
    with pytest.raises(RuleDenied) as denied:
        enforce(decision)
    assert (denied.value.scope, denied.value.rule_id) == (scope, "r-deny")


def test_a_rule_that_looks_into_the_body_leaves_it_open(tmp_path: Path) -> None:
    """Which is no permission: whoever takes it for one finds another effect."""
    looks = {"effect": "deny", "bodyChecks": [{"jsonPath": {"pattern": "a"}}]}
    decision = decide(proxy(tmp_path, rules=[looks]), "caller", request(b"/"))
    assert isinstance(decision, Undecided)
    assert decision.effect not in {"allow", "deny"}


def test_a_default_denies_without_a_rule(tmp_path: Path) -> None:
    """rule_id is None then."""
    decision = decide(proxy(tmp_path, proxyDefaultRuleEffect="deny"), "caller", request(b"/"))
    with pytest.raises(RuleDenied) as denied:
        enforce(decision)
    assert (denied.value.scope, denied.value.rule_id) == ("proxy", None)


def test_the_first_scope_that_denies_is_named(tmp_path: Path) -> None:
    """In the order proxyCredential, targetCredential, proxy, target; the decision has all four."""
    found = proxy(tmp_path, **DENY, target={"targetDefaultRuleEffect": "deny"})
    decision = decide(found, "caller", request(b"/admin"))
    assert [outcome.effect for outcome in decision.scopes] == ["allow", "allow", "deny", "deny"]
    with pytest.raises(RuleDenied) as denied:
        enforce(decision)
    assert denied.value.scope == "proxy"
