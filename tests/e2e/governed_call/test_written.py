"""What is written down of governed calls: records, counts, and no secret."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.e2e.governed_call.governed_edge import ENCODED_QUERY_KEY, ENVIRONMENT, ask, limits, record_of
from tests.kit.edge import CALLER_KEY, TARGET_TOKEN, EdgeProcess
from tests.kit.raw import RawAnswer, get, request

SECRETS = (CALLER_KEY, TARGET_TOKEN, *ENVIRONMENT.values())


def scopes(**changed: dict[str, Any]) -> list[dict[str, Any]]:
    plain = {"effect": "allow", "by": "default", "matched": [], "shadow": []}
    return [
        {"scope": scope, **plain, **changed.get(scope, {})}
        for scope in ("proxyCredential", "targetCredential", "proxy", "target")
    ]


STAGES = ["canonicalise", "authenticate", "rules", "limits", "lease", "upstream", "response"]


def reached(record: dict[str, Any]) -> list[str]:
    """The stages that a request went through, taken off its record; their times are checked."""
    timings = record.pop("timings")
    assert list(timings) == STAGES
    times = [timings[stage] for stage in STAGES if timings[stage] is not None]
    assert all(0 <= time <= record["durationMs"] for time in times)
    return [stage for stage in STAGES if timings[stage] is not None]


def checked(edge: EdgeProcess, reply: RawAnswer) -> dict[str, Any]:
    """A request's record without what differs each time; that is checked here. No secret is in it."""
    record = record_of(edge, reply)
    text = json.dumps(record)
    assert not [secret for secret in SECRETS if secret in text or secret.replace(" ", "+") in text]
    assert ENCODED_QUERY_KEY not in text
    received = record.pop("receivedAt")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", received)
    assert record.pop("requestId") == reply.get("exeat-request-id")
    return record


def test_record_of_a_granted_call(edge: EdgeProcess) -> None:
    """Every field of API.md section 4; a parameter that is secret by its name is withheld."""
    lines = ("User-Agent: test/1", "X-Forwarded-For: 192.0.2.9")
    reply = ask(edge, request("POST", "/api/recorded/secret/%7ea?b=1&token=abc", *lines, body=b"12345"))
    record = checked(edge, reply)
    assert reached(record) == STAGES
    assert record.pop("durationMs") > 0
    assert record.pop("upstream").items() >= {"host": "127.0.0.1", "status": 200}.items()
    [limit] = record.pop("limits")
    assert limit == {
        "meterId": "proxyMaxRequestsPerDay",
        "window": "day",
        "remaining": limits(reply)["day"][0],
    }
    assert record == {
        "clientId": "acme",
        "proxyId": "recorded",
        "region": "local",
        "credentialId": "caller",
        "method": "POST",
        "path": "/secret/~a",
        "query": "b=1&token=***",
        "status": 200,
        "code": "proxy-access-granted",
        "decision": {"effect": "allow", "scopes": scopes(proxy={"shadow": ["seen"]})},
        "filters": [],
        "redactions": {},
        "bytesIn": 5,
        "bytesOut": len(reply.body),
        "clientAddress": "127.0.0.1",
        "userAgent": "test/1",
        "revision": 1,
        "scrubbed": 1,
    }


def test_record_of_a_call_with_its_key_in_the_query(edge: EdgeProcess) -> None:
    """The caller's own key is out of the query that is recorded."""
    reply = ask(edge, get(f"/api/by-query/x?a=1&api+key={ENCODED_QUERY_KEY}", key=None))
    record = checked(edge, reply)
    assert (record["credentialId"], record["query"]) == ("query", "a=1")


def test_record_of_a_call_with_an_injected_query(edge: EdgeProcess) -> None:
    """What the edge adds to the query is not recorded."""
    assert checked(edge, ask(edge, get("/api/by-query-sender/x?a=1")))["query"] == "a=1"


def test_record_of_a_denied_call(edge: EdgeProcess) -> None:
    """A denial is recorded with the deciding rule and without the target."""
    record = checked(edge, ask(edge, get("/api/four-scopes/sender")))
    denied = {"effect": "deny", "by": "not-by-sender", "matched": ["not-by-sender"]}
    assert reached(record) == ["canonicalise", "authenticate", "rules"]
    assert {name: record[name] for name in ("status", "code", "decision", "upstream", "limits")} == {
        "status": 403,
        "code": "rule-denied",
        "decision": {"effect": "deny", "scopes": scopes(targetCredential=denied)},
        "upstream": None,
        "limits": [],
    }


def test_record_of_a_limited_call(edge: EdgeProcess) -> None:
    """A call over the limit is recorded with what the limit has left: nothing."""
    replies = [ask(edge, get("/api/once/x")) for _ in range(2)]
    record = checked(edge, replies[-1])
    assert (record["status"], record["code"], record["upstream"]) == (429, "limit-exceeded", None)
    assert record["decision"]["effect"] == "allow"
    assert record["limits"][1] == {"meterId": "proxyMaxRequestsPerDay", "window": "day", "remaining": 0}


def test_record_of_a_failed_call(edge: EdgeProcess) -> None:
    """A target that cannot be reached, and an inactive proxy, are recorded as what the caller was told."""
    failed = checked(edge, ask(edge, get("/api/dead/x")))
    assert (failed["status"], failed["code"]) == (502, "target-unreachable")
    inactive = checked(edge, ask(edge, get("/api/inactive/x")))
    assert (inactive["status"], inactive["code"], inactive["decision"]) == (403, "proxy-inactive", None)


def test_no_record_before_authentication_but_a_count(edge: EdgeProcess) -> None:
    """Strangers leave no record; they are counted, as are their answers by code."""
    before = metrics(edge)
    replies = [
        ask(edge, get("/api/api/x", "User-Agent: stranger", key=None)),
        ask(edge, get("/api/nobody/x", "User-Agent: stranger")),
        ask(edge, get("/api/api//x", "User-Agent: stranger")),
    ]
    after = metrics(edge)
    assert after["exeat_unauthenticated_total"] - before["exeat_unauthenticated_total"] == 3
    for code in ("credential-rejected", "proxy-unknown", "request-malformed"):
        name = f'exeat_requests_total{{code="{code}"}}'
        assert after[name] - before[name] == 1
    last = ask(edge, get("/api/api/x", "User-Agent: known"))
    record_of(edge, last)  # the sink got as far as this one
    assert not [one for one in edge.records() if one["userAgent"] == "stranger"]
    ids = {one["requestId"] for one in edge.records()}
    assert not ids & {reply.get("exeat-request-id") for reply in replies}


def metrics(edge: EdgeProcess) -> dict[str, float]:
    lines = ask(edge, get("/metrics", key=None)).body.decode().splitlines()
    return {
        name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")
    }


def test_no_secret_in_log_or_records(edge: EdgeProcess) -> None:
    """After all of this, no secret is in what the edge logged or recorded."""
    kept = edge.log() + json.dumps(edge.records())
    assert not [secret for secret in SECRETS if secret in kept]
