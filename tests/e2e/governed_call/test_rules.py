"""What the rules of four scopes say of a governed call, and how a denial names its rule."""

from __future__ import annotations

import json

import pytest

from tests.e2e.governed_call.governed_edge import ask, record_of
from tests.kit.edge import EdgeProcess
from tests.kit.raw import get, request
from tests.kit.upstream import Upstream


@pytest.mark.parametrize(
    ("path", "scope", "rule_id"),
    [
        ("/caller", "proxyCredential", "not-by-caller"),
        ("/sender", "targetCredential", "not-by-sender"),
        ("/proxy", "proxy", "not-here"),
        ("/target", "target", "not-at-target"),
    ],
)
def test_denial_names_scope_and_rule(
    edge: EdgeProcess, upstream: Upstream, path: str, scope: str, rule_id: str
) -> None:
    """A deny rule of any of the four scopes answers 403 with its scope and id, and nothing goes upstream."""
    before = len(upstream.seen)
    reply = ask(edge, get("/api/four-scopes" + path))
    assert json.loads(reply.body) == {
        "type": "urn:exeat:problem:rule-denied",
        "title": "Forbidden",
        "status": 403,
        "detail": reply.get("exeat-proxy-message"),
        "code": "rule-denied",
        "requestId": reply.get("exeat-request-id"),
        "scope": scope,
        "ruleId": rule_id,
    }
    assert (reply.status, reply.get("exeat-proxy-code")) == (403, "rule-denied")
    assert len(upstream.seen) == before


def test_default_denial_names_no_rule(edge: EdgeProcess, upstream: Upstream) -> None:
    """Where the scope's default denied, ruleId is null."""
    problem = json.loads(ask(edge, get("/api/closed/elsewhere")).body)
    assert (problem["scope"], problem["ruleId"]) == ("proxy", None)


def test_shadow_rule_denies_nothing(edge: EdgeProcess, upstream: Upstream) -> None:
    """A deny rule in shadow mode lets the call through; the record says that it matched."""
    reply = ask(edge, get("/api/four-scopes/watched"))
    assert reply.status == 200
    found = record_of(edge, reply)["decision"]["scopes"][2]
    assert found == {
        "scope": "proxy",
        "effect": "allow",
        "by": "default",
        "matched": [],
        "shadow": ["watched"],
    }


@pytest.mark.parametrize(
    ("method", "path", "lines", "allowed"),
    [
        ("GET", "/open", [], True),
        ("HEAD", "/open", [], True),
        ("POST", "/open", [], False),
        ("GET", "/OPEN", [], False),
        ("GET", "/x/open", [], False),
        ("GET", "/%6fpen", [], True),
        ("GET", "/versioned", ["X-VERSION:  12 "], True),
        ("GET", "/versioned", ["X-Version: 1b"], False),
        ("GET", "/versioned", ["X-Version: 1", "X-Version: b"], False),
        ("GET", "/versioned", ["X-Version-2: 1"], False),
        ("GET", "/versioned", [], False),
        ("GET", "/list?limit=10", [], True),
        ("GET", "/list?a=1&l%69mit=%31", [], True),
        ("GET", "/list?limit=100", [], False),
        ("GET", "/list?limit=10&limit=100", [], False),
        ("GET", "/list", [], False),
        ("GET", "/open?debug", [], False),
        ("GET", "/open?%64ebug=", [], False),
        ("GET", "/open?debugger=1", [], True),
        ("GET", "/off", [], False),
    ],
)
def test_checks(
    edge: EdgeProcess, upstream: Upstream, method: str, path: str, lines: list[str], allowed: bool
) -> None:
    """Method, path, header and query checks against the canonical request; an inactive rule is none."""
    reply = ask(edge, request(method, f"/api/closed{path}", *lines), head=method == "HEAD")
    assert (reply.status == 200) is allowed
    assert reply.get("exeat-proxy-code") == ("proxy-access-granted" if allowed else "rule-denied")
