"""The policy behind one governed call after the other, and how these tests ask its edge.

Every proxy serves one question. The target echoes what it gets; under `/spoof` it sets fields that are not its own.
"""

from __future__ import annotations

import re
from typing import Any

from tests.kit.edge import EdgeProcess, policy, until
from tests.kit.raw import RawAnswer, RawClient
from tests.kit.upstream import Answer, Seen, Upstream, echo

TOKEN = "caller-token-0123456789abcdef"
QUERY_KEY = "caller query/key+0123456789"
PARTNER_KEY = "partner-key-0123456789abcdef"
SENDER_KEY = "sender-key-0123456789abcdef"
ENVIRONMENT = {
    "TEST_CALLER_TOKEN": TOKEN,
    "TEST_QUERY_KEY": QUERY_KEY,
    "TEST_PARTNER_KEY": PARTNER_KEY,
    "TEST_SENDER_KEY": SENDER_KEY,
}
ENCODED_QUERY_KEY = "caller%20query%2Fkey%2B0123456789"


def answer(seen: Seen) -> Answer:
    """An echo; under `/spoof` with fields that only the edge may set."""
    if not seen.target.startswith("/spoof"):
        return echo(seen)
    return Answer(
        status=201,
        headers=[
            ("Exeat-Request-Id", "forged"),
            ("exeat-proxy-code", "forged"),
            ("EXEAT-proxy-warning", "forged"),
            ("exeat-whatever", "forged"),
            ("RateLimit", '"forged";r=9;t=9'),
            ("X-Of-The-Target", "kept"),
        ],
        body=b"spoofed",
    )


def credential(name: str, auth_type: str, secret: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "credentialId": name,
        "credentialName": name,
        "credentialType": "proxy",
        "credentialAuthType": auth_type,
        "credentialSecret": secret,
        **fields,
    }


def proxy(name: str, **fields: Any) -> dict[str, Any]:
    caller = {} if "proxyProxyCredentialIds" in fields else {"proxyProxyCredentialId": "caller"}
    return {
        "proxyId": name,
        "proxyName": name,
        **caller,
        "proxyTargetId": "target",
        "proxyTargetCredentialId": "sender",
        **fields,
    }


def rule(name: str, path: str, effect: str = "deny", **fields: Any) -> dict[str, Any]:
    return {"ruleId": name, "effect": effect, "path": {"pattern": path}, **fields}


def document(url: str, dead: int) -> dict[str, Any]:
    """All proxies of these tests. dead: a port on which nobody listens."""
    made = policy(url)
    made["credentials"] += [
        credential("query", "apiKey", {"key": {"env": "TEST_QUERY_KEY"}, "in": "query", "name": "api key"}),
        credential("partner", "apiKey", {"key": {"env": "TEST_PARTNER_KEY"}, "name": "X-Partner"}),
        credential("bearer", "bearer", {"token": {"env": "TEST_CALLER_TOKEN"}}),
        credential("token", "bearer", {"token": {"env": "TEST_CALLER_TOKEN"}, "prefix": "Token"}),
        credential(
            "ruled",
            "apiKey",
            {"key": {"env": "TEST_CALLER_KEY"}},
            rules=[rule("not-by-caller", "^/caller")],
        ),
        {
            **credential("ruled-sender", "bearer", {"token": {"env": "TEST_TARGET_TOKEN"}}),
            "credentialType": "target",
            "rules": [rule("not-by-sender", "^/sender")],
        },
        {
            **credential("header-sender", "apiKey", {"key": {"env": "TEST_SENDER_KEY"}, "name": "X-Send"}),
            "credentialType": "target",
        },
        {
            **credential(
                "query-sender", "apiKey", {"key": {"env": "TEST_SENDER_KEY"}, "in": "query", "name": "key"}
            ),
            "credentialType": "target",
        },
        {**credential("no-sender", "none", {}), "credentialType": "target"},
    ]
    made["targets"] += [
        {"targetId": "based", "targetName": "Based", "targetBaseURL": f"{url}/v1/base/"},
        {
            "targetId": "ruled-target",
            "targetName": "Ruled",
            "targetBaseURL": url,
            "targetCookies": True,
            "rules": [rule("not-at-target", "^/target")],
        },
        {"targetId": "dead", "targetName": "Dead", "targetBaseURL": f"http://127.0.0.1:{dead}"},
    ]
    made["proxies"] += [
        proxy("by-query", proxyProxyCredentialIds=["query"]),
        proxy("by-header", proxyProxyCredentialIds=["partner"]),
        proxy("by-bearer", proxyProxyCredentialIds=["bearer"]),
        proxy("by-token", proxyProxyCredentialIds=["token"]),
        proxy("several", proxyProxyCredentialIds=["caller", "token", "query", "partner"]),
        proxy(
            "four-scopes",
            proxyProxyCredentialIds=["ruled"],
            proxyTargetId="ruled-target",
            proxyTargetCredentialId="ruled-sender",
            rules=[rule("not-here", "^/proxy"), rule("watched", "^/watched", mode="shadow", effect="deny")],
        ),
        proxy(
            "closed",
            proxyDefaultRuleEffect="deny",
            rules=[
                rule("open", "^/open", effect="allow", methods=["GET", "HEAD"]),
                rule(
                    "versioned",
                    "^/versioned",
                    effect="allow",
                    headerChecks=[{"name": "^x-version$", "value": "^[0-9]+$"}],
                ),
                rule(
                    "small",
                    "^/list",
                    effect="allow",
                    queryChecks=[{"name": "^limit$", "value": "^[0-9]{1,2}$"}],
                ),
                rule("never-debug", "", queryChecks=[{"name": "^debug$"}]),
                rule("off", "^/off", effect="allow", active=False),
            ],
        ),
        proxy("inactive", proxyActive=False, proxyMaxRequestsPerMinute=7),
        proxy("based", proxyTargetId="based"),
        proxy("limited", proxyMaxRequestsPerMinute=3, rules=[rule("not-counted", "^/denied")]),
        proxy("both-limits", proxyMaxRequestsPerMinute=50, proxyMaxRequestsPerDay=2),
        proxy("once", proxyMaxRequestsPerMinute=50, proxyMaxRequestsPerDay=1),
        proxy("dead", proxyTargetId="dead", proxyMaxRequestsPerDay=1000),
        proxy("by-header-sender", proxyTargetCredentialId="header-sender"),
        proxy("by-query-sender", proxyTargetCredentialId="query-sender"),
        proxy("by-no-sender", proxyTargetCredentialId="no-sender"),
        proxy("recorded", proxyMaxRequestsPerDay=5, rules=[rule("seen", "^/secret", mode="shadow")]),
    ]
    return made


def ask(edge: EdgeProcess, data: bytes, *, head: bool = False) -> RawAnswer:
    """The answer to one request on a connection of its own."""
    with RawClient(edge.port) as client:
        client.send(data)
        return client.answer(head=head)


def passed(edge: EdgeProcess, upstream: Upstream, data: bytes) -> Seen:
    """What the target saw of a request that was let through."""
    before = len(upstream.seen)
    reply = ask(edge, data)
    assert (reply.status, reply.get("exeat-proxy-code")) == (200, "proxy-access-granted"), reply
    assert len(upstream.seen) == before + 1
    return upstream.seen[-1]


def limits(reply: RawAnswer) -> dict[str, tuple[int, int]]:
    """Remaining calls and seconds to the reset of each window of a `RateLimit` field."""
    text = reply.get("ratelimit")
    assert text is not None
    return {
        name: (int(remaining), int(seconds))
        for name, remaining, seconds in re.findall(r'"([a-z]+)";r=(\d+);t=(\d+)', text)
    }


def record_of(edge: EdgeProcess, reply: RawAnswer) -> dict[str, Any]:
    """The one record of an answered request; it is there within 5 s."""

    def found() -> list[dict[str, Any]]:
        return [one for one in edge.records() if one["requestId"] == reply.get("exeat-request-id")]

    until(found, 5, "the record")
    [record] = found()
    return record
