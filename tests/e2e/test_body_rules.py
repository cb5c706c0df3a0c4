"""Rules that look into bodies, through a real edge: what is denied, what is refused, what the target receives."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.kit.edge import EdgeProcess, policy, running_edge, until
from tests.kit.raw import RawAnswer, RawClient, get, request
from tests.kit.upstream import Upstream

CAP = 2 << 20


def rule(name: str, pattern: str, value: str | None = None, **fields: Any) -> dict[str, Any]:
    check: dict[str, Any] = {"jsonPath": {"pattern": pattern}}
    if value is not None:
        check["matchValue"] = {"pattern": value}
    return {"ruleId": name, "effect": "deny", "bodyChecks": [check], "methods": ["POST"], **fields}


RULES = [
    rule("no-admins", r"\['role'\]$", "^admin$"),
    rule("no-big-orders", r"^\$\['items'\]\[\d+\]\['amount'\]$", r"^\d{5,}"),
    rule("watched", r"\['watch'\]", mode="shadow"),
]


class Place(NamedTuple):
    """The edge with its target."""

    edge: EdgeProcess
    upstream: Upstream


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with Upstream() as upstream:
        document = policy(upstream.url, rules=RULES, proxyMaxBodyBytes=CAP)
        document["proxies"].append(
            {
                **document["proxies"][0],
                "proxyId": "safe-only",
                "proxyAlias": "safe",
                "proxyDefaultRuleEffect": "deny",
                "proxyMaxRequestsPerDay": 3,
                "rules": [rule("safe", r"\['kind'\]$", "^safe$", effect="allow")],
            }
        )
        with running_edge(tmp_path_factory.mktemp("edge"), document) as edge:
            yield Place(edge, upstream)


def post(place: Place, body: bytes, *lines: str, path: str = "/api/api/x") -> RawAnswer:
    with RawClient(place.edge.port, 20.0) as client:
        client.send(request("POST", path, *lines, body=body))
        return client.answer()


def code(answer: RawAnswer) -> tuple[int, str | None]:
    return answer.status, answer.get("exeat-proxy-code")


@pytest.mark.parametrize(
    ("body", "by"),
    [
        (b'{"role":"admin"}', "no-admins"),
        (b'{"user":[{"\\u0072ole" : "admi\\u006e"}]}', "no-admins"),
        (b'{"items":[{"amount":1},{"amount":10000}]}', "no-big-orders"),
        (b'{"items":[{"amount":123456789012345678901234567890}]}', "no-big-orders"),
    ],
)
def test_a_body_is_denied_by_what_it_says(place: Place, body: bytes, by: str) -> None:
    """However it spells it; the target sees nothing, the caller learns which rule."""
    seen = len(place.upstream.seen)
    answer = post(place, body)
    assert code(answer) == (403, "rule-denied")
    assert json.loads(answer.body)["ruleId"] == by
    assert len(place.upstream.seen) == seen


def test_an_allowed_body_arrives_as_it_was_sent(place: Place) -> None:
    """Byte for byte; and a shadow rule that matches is in the record."""
    body = b'{ "role" : "user", "watch": 1.50, "items":[] }'
    answer = post(place, body)
    assert code(answer) == (200, "proxy-access-granted")
    assert place.upstream.seen[-1].body == body
    assert place.upstream.seen[-1].get("content-length") == str(len(body))
    wanted = answer.get("exeat-request-id")
    record = until(lambda: next((one for one in place.edge.records() if one["requestId"] == wanted), None))
    assert record["decision"]["scopes"][2]["shadow"] == ["watched"]
    assert record["bytesIn"] == len(body)


def test_a_body_of_the_largest_size_arrives_in_chunks_after_continue(place: Place) -> None:
    """Two megabytes, which wait nowhere else, through the real sockets."""
    body = b'{"x":"' + b"a" * (CAP - 8) + b'"}'
    with RawClient(place.edge.port, 30.0) as client:
        client.send(request("POST", "/api/api/x", "Transfer-Encoding: chunked", "Expect: 100-continue"))
        assert client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        for at in range(0, CAP, 100_000):
            piece = body[at : at + 100_000]
            client.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        client.send(b"0\r\n\r\n")
        assert code(client.answer()) == (200, "proxy-access-granted")
    assert place.upstream.seen[-1].body == body


@pytest.mark.parametrize(
    ("body", "lines", "expected"),
    [
        (b"role=admin", (), (400, "request-malformed")),
        (b'{"role":"user","role":"admin"}', (), (400, "request-malformed")),
        (b"{}", ("Content-Encoding: gzip",), (400, "request-malformed")),
        (b" " * (CAP + 1), (), (413, "request-too-large")),
    ],
    ids=["form", "twice", "gzip", "large"],
)
def test_what_cannot_be_judged_is_refused(
    place: Place, body: bytes, lines: tuple[str, ...], expected: tuple[int, str]
) -> None:
    """And the connection ends."""
    with RawClient(place.edge.port, 20.0) as client:
        client.send(request("POST", "/api/api/x", *lines, body=body))
        answer = client.answer()
        assert code(answer) == expected
        assert answer.get("connection") == "close"
        assert client.closed()


def test_where_no_rule_looks_anything_passes(place: Place) -> None:
    """Another method of the same proxy: no JSON, no cap."""
    body = b"\xff" * (CAP + 1)
    with RawClient(place.edge.port, 20.0) as client:
        client.send(request("PUT", "/api/api/x", "Content-Encoding: x", body=body))
        assert client.answer().status == 200
        client.send(get("/api/api/x"))
        assert client.answer().status == 200
    assert place.upstream.seen[-2].body == body


def test_only_bodies_that_are_safe_throughout_are_allowed_and_refusals_cost_no_permit(place: Place) -> None:
    """An allow rule needs every matching value; what it does not allow gives its permit back."""
    path = "/api/safe/x"
    for _ in range(4):
        assert code(post(place, b'{"kind":"safe","more":{"kind":"bad"}}', path=path)) == (403, "rule-denied")
        assert code(post(place, b"no json", path=path)) == (400, "request-malformed")
        assert code(post(place, b"", path=path)) == (403, "rule-denied")
    for left in (2, 1, 0):
        answer = post(place, b'{"kind":"safe","more":{"kind":"safe"}}', path=path)
        assert code(answer) == (200, "proxy-access-granted")
        assert f'"day";r={left};' in (answer.get("ratelimit") or "")
    assert code(post(place, b"no json", path=path)) == (429, "limit-exceeded")
