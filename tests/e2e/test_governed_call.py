"""One governed call after the other through a real edge: who may call, what the rules say, what the limits
leave, what the target receives, what the caller gets back, and what is written down of it.
"""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models.errors import refusals
from tests.kit.edge import CALLER_KEY, TARGET_TOKEN, EdgeProcess, policy, running_edge, until
from tests.kit.raw import RawAnswer, RawClient, get, request
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
SECRETS = (CALLER_KEY, TARGET_TOKEN, *ENVIRONMENT.values())
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
    """All proxies of this module. dead: a port on which nobody listens."""
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


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream(answer) as server:
        yield server


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[EdgeProcess]:
    with socket.socket() as taken:  # bound, never listening: a connection there is refused
        taken.bind(("127.0.0.1", 0))
        with running_edge(
            tmp_path_factory.mktemp("governed"),
            document(upstream.url, taken.getsockname()[1]),
            environment=ENVIRONMENT,
        ) as process:
            yield process


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


def refused(edge: EdgeProcess, upstream: Upstream, data: bytes) -> tuple[int, str | None]:
    """Status and code of a request that must not reach the target."""
    before = len(upstream.seen)
    reply = ask(edge, data)
    assert len(upstream.seen) == before
    return reply.status, reply.get("exeat-proxy-code")


REJECTED = (401, "credential-rejected")


# -- who may call -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        f"Authorization: {CALLER_KEY}",
        f"Authorization: Bearer {CALLER_KEY}",
        f"AUTHORIZATION: bEARER   {CALLER_KEY}",
        f"X-API-Key: {CALLER_KEY}",
    ],
)
def test_api_key_in_its_places(edge: EdgeProcess, upstream: Upstream, line: str) -> None:
    """An apiKey is taken raw or after `Bearer` in Authorization, or in X-API-Key; the target sees its own token only."""
    seen = passed(edge, upstream, get("/api/api/items", line, key=None))
    assert seen.all("authorization") == [f"Bearer {TARGET_TOKEN}"]
    assert seen.get("x-api-key") is None
    assert CALLER_KEY not in repr(seen)


def test_same_key_twice_is_one_credential(edge: EdgeProcess, upstream: Upstream) -> None:
    """The same key in two places contradicts nothing, and both places are emptied."""
    seen = passed(edge, upstream, get("/api/api/items", f"X-API-Key: {CALLER_KEY}"))
    assert CALLER_KEY not in repr(seen)


@pytest.mark.parametrize("name", ["api%20key", "api+key", "api%20%6bey"])
def test_api_key_in_the_query(edge: EdgeProcess, upstream: Upstream, name: str) -> None:
    """A key placed in the query is found under any spelling of its name, and taken out; the rest stays."""
    seen = passed(edge, upstream, get(f"/api/by-query/items?a=1&{name}={ENCODED_QUERY_KEY}&b=%2F", key=None))
    assert seen.target == "/items?a=1&b=%2F"
    assert seen.all("authorization") == [f"Bearer {TARGET_TOKEN}"]


def test_api_key_in_the_query_alone_leaves_no_question_mark(edge: EdgeProcess, upstream: Upstream) -> None:
    """Where the key was the whole query, none is left."""
    assert passed(edge, upstream, get(f"/api/by-query?api+key={ENCODED_QUERY_KEY}", key=None)).target == "/"


def test_api_key_in_a_header_of_its_own(edge: EdgeProcess, upstream: Upstream) -> None:
    """A key with another name is looked for there, whatever the case, and does not reach the target."""
    seen = passed(edge, upstream, get("/api/by-header/items", f"x-PARTNER: {PARTNER_KEY}", key=None))
    assert seen.get("x-partner") is None
    assert PARTNER_KEY not in repr(seen)


@pytest.mark.parametrize(
    "data",
    [
        get("/api/by-query/x", key=QUERY_KEY),
        get("/api/by-query/x", f"X-API-Key: {QUERY_KEY}", key=None),
        get(f"/api/by-query/x?apikey={ENCODED_QUERY_KEY}", key=None),
        get("/api/by-header/x", key=PARTNER_KEY),
        get("/api/by-header/x", f"X-API-Key: {PARTNER_KEY}", key=None),
        get(f"/api/by-header/x?X-Partner={PARTNER_KEY}", key=None),
        get("/api/by-bearer/x", f"Authorization: {TOKEN}", key=None),
        get("/api/by-bearer/x", f"X-API-Key: {TOKEN}", key=None),
        get("/api/by-token/x", key=TOKEN),
        get("/api/by-token/x", f"Authorization: {TOKEN}", key=None),
    ],
)
def test_right_key_in_the_wrong_place(edge: EdgeProcess, upstream: Upstream, data: bytes) -> None:
    """A credential counts in the place and with the prefix it was configured with, and nowhere else."""
    assert refused(edge, upstream, data) == REJECTED


def test_bearer(edge: EdgeProcess, upstream: Upstream) -> None:
    """A bearer token is taken after `Bearer`, or after a prefix of its own."""
    passed(edge, upstream, get("/api/by-bearer/x", key=TOKEN))
    seen = passed(edge, upstream, get("/api/by-token/x", f"Authorization: Token {TOKEN}", key=None))
    assert seen.all("authorization") == [f"Bearer {TARGET_TOKEN}"]


@pytest.mark.parametrize(
    "data",
    [
        get("/api/several/x"),
        get("/api/several/x", f"Authorization: Token {TOKEN}", key=None),
        get(f"/api/several/x?api+key={ENCODED_QUERY_KEY}", key=None),
        get("/api/several/x", f"X-Partner: {PARTNER_KEY}", key=None),
    ],
)
def test_any_one_of_several_credentials(edge: EdgeProcess, upstream: Upstream, data: bytes) -> None:
    """A proxy with several credentials takes each of them, in its own place."""
    seen = passed(edge, upstream, data)
    assert (seen.target, seen.all("authorization")) == ("/x", [f"Bearer {TARGET_TOKEN}"])


@pytest.mark.parametrize(
    "data",
    [
        get("/api/several/x", f"X-Partner: {PARTNER_KEY}"),
        get(f"/api/several/x?api+key={ENCODED_QUERY_KEY}"),
        get("/api/several/x", f"Authorization: Token {TOKEN}"),
        get("/api/several/x", "X-API-Key: no-such-key-0123456789"),
        get("/api/several/x", "X-Partner: no-such-key-0123456789"),
        get("/api/several/x?api+key=no-such-key-0123456789"),
        get("/api/several/x?api+key="),
        get("/api/api/x", "X-API-Key: no-such-key-0123456789"),
    ],
)
def test_two_credentials_that_differ(edge: EdgeProcess, upstream: Upstream, data: bytes) -> None:
    """Two credentials in one request that are not the same value are refused, also when one of them is right."""
    assert refused(edge, upstream, data) == REJECTED


@pytest.mark.parametrize("proxy_id", ["api", "by-query", "by-header", "by-bearer", "by-token", "several"])
@pytest.mark.parametrize("key", [None, "no-such-key-0123456789", CALLER_KEY[:-1], CALLER_KEY + "x"])
def test_missing_and_unknown_credentials(
    edge: EdgeProcess, upstream: Upstream, proxy_id: str, key: str | None
) -> None:
    """Without a credential, or with an unknown one, nothing goes to the target."""
    assert refused(edge, upstream, get(f"/api/{proxy_id}/x", key=key)) == REJECTED


def test_unknown_proxy(edge: EdgeProcess, upstream: Upstream) -> None:
    """No proxy of this name, no name at all, another case, another prefix: 404, also with a valid key."""
    for path in ("/api/nobody/x", "/api/", "/api", "/", "/API/api/x", "/api/API/x", "/api/proxy-on/x"):
        assert refused(edge, upstream, get(path)) == (404, "proxy-unknown"), path


def test_id_and_alias_are_one_proxy(edge: EdgeProcess, upstream: Upstream) -> None:
    """Both names lead to the same proxy and the same target path."""
    for name in ("api", "proxy-one"):
        assert passed(edge, upstream, get(f"/api/{name}/both/names")).target == "/both/names"


def test_inactive_proxy(edge: EdgeProcess, upstream: Upstream) -> None:
    """A proxy that is switched off refuses its callers, and strangers as ever."""
    assert refused(edge, upstream, get("/api/inactive/x")) == (403, "proxy-inactive")
    assert refused(edge, upstream, get("/api/inactive/x", key=None)) == REJECTED


# -- what the target receives -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/api/based", "/v1/base/"),
        ("/api/based/", "/v1/base/"),
        ("/api/based?a=1", "/v1/base/?a=1"),
        ("/api/based/items", "/v1/base/items"),
        ("/api/based/items/", "/v1/base/items/"),
        ("/api/api", "/"),
        ("/api/api/", "/"),
        ("/api/api/items", "/items"),
        ("/%61pi/%61pi/items", "/items"),
        ("/api/api/%7euser/%e2%82%ac", "/~user/%E2%82%AC"),
        ("/api/api/x?a=%7e%2f&&b=+&c&d=%c3%a9", "/x?a=~%2F&&b=+&c&d=%C3%A9"),
        ("/api/api/x?", "/x"),
        ("/api/api/x??a", "/x??a"),
    ],
)
def test_path_and_query_as_they_arrive(edge: EdgeProcess, upstream: Upstream, path: str, target: str) -> None:
    """Base path and path meet in exactly one slash; path and query arrive in canonical form."""
    assert passed(edge, upstream, get(path)).target == target


def test_fields_that_stay_behind(edge: EdgeProcess, upstream: Upstream) -> None:
    """Hop-by-hop fields, those that Connection names, cookies, forwarding and our own names never arrive."""
    seen = passed(
        edge,
        upstream,
        get(
            "/api/api/x",
            "Connection: keep-alive, X-Only-Here",
            "X-Only-Here: 1",
            "Keep-Alive: timeout=5",
            "Proxy-Authorization: Basic Zm9v",
            "Proxy-Connection: keep-alive",
            "TE: trailers",
            "Cookie: session=1",
            "Forwarded: for=192.0.2.1",
            "X-Forwarded-For: 192.0.2.1",
            "X-Forwarded-Whatever: 1",
            "Exeat-Request-Id: forged",
            "Range: bytes=0-1",
            "If-Range: x",
            "Accept-Encoding: gzip",
            "X-Kept: yes ",
            "User-Agent: test/1",
        ),
    )
    assert seen.headers == [
        ("host", upstream.url.removeprefix("http://")),
        ("x-kept", "yes"),
        ("user-agent", "test/1"),
        ("accept-encoding", "identity"),
        ("authorization", f"Bearer {TARGET_TOKEN}"),
        ("via", seen.get("via")),
    ]
    assert re.fullmatch(r"1\.1 exeat-[0-9a-f]{16}", seen.get("via") or "")


def test_cookies_where_the_target_takes_them(edge: EdgeProcess, upstream: Upstream) -> None:
    """A target with targetCookies gets the caller's cookies."""
    assert passed(edge, upstream, get("/api/four-scopes/x", "Cookie: a=1")).get("cookie") == "a=1"


def test_injection_replaces_what_the_caller_sent(edge: EdgeProcess, upstream: Upstream) -> None:
    """A caller cannot set the header or parameter that the credential sets, under any spelling of its name."""
    seen = passed(edge, upstream, get("/api/by-header-sender/x", "x-SEND: mine"))
    assert (seen.all("x-send"), seen.get("authorization")) == ([SENDER_KEY], None)
    seen = passed(edge, upstream, get("/api/by-query-sender/x?key=mine&a=1&%6bey=mine&k%65y&b=2"))
    assert seen.target == f"/x?a=1&b=2&key={SENDER_KEY}"
    assert passed(edge, upstream, get("/api/by-query-sender/x")).target == f"/x?key={SENDER_KEY}"


def test_target_without_credential(edge: EdgeProcess, upstream: Upstream) -> None:
    """Type none injects nothing, and the caller's key still stays behind; coding and ranges are the caller's own."""
    seen = passed(edge, upstream, get("/api/by-no-sender/x", "Accept-Encoding: gzip", "Range: bytes=0-1"))
    assert (seen.get("authorization"), seen.get("accept-encoding"), seen.get("range")) == (
        None,
        "gzip",
        "bytes=0-1",
    )


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
def test_methods_and_bodies_arrive(edge: EdgeProcess, upstream: Upstream, method: str) -> None:
    """Any method arrives as it is, with its body and that body's length."""
    seen = passed(edge, upstream, request(method, "/api/api/x", body=b"some body"))
    assert (seen.method, seen.body, seen.all("content-length")) == (method, b"some body", ["9"])


def test_head_is_answered_without_a_body(edge: EdgeProcess, upstream: Upstream) -> None:
    """HEAD goes through as HEAD, its answer has the length and no body, and the connection goes on."""
    with RawClient(edge.port) as client:
        client.send(request("HEAD", "/api/api/x") + get("/api/api/after"))
        first = client.answer(head=True)
        assert (first.status, int(first.get("content-length") or 0) > 0) == (200, True)
        assert json.loads(client.answer().body)["target"] == "/after"
    assert upstream.seen[-2].method == "HEAD"


# -- rules ------------------------------------------------------------------------------------------


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


# -- limits -----------------------------------------------------------------------------------------


def test_call_after_the_last_of_a_minute(edge: EdgeProcess, upstream: Upstream) -> None:
    """Three calls of three pass, the fourth is 429 with Retry-After; denied, unauthenticated and limited ones count nothing."""
    until(lambda: time.time() % 60 < 55, 10, "a minute with five seconds left")
    before = len(upstream.seen)
    left = []
    with RawClient(edge.port) as client:

        def call(path: str, key: str | None = CALLER_KEY) -> RawAnswer:
            client.send(get("/api/limited" + path, key=key))
            return client.answer()

        for remaining in (2, 1, 0):
            assert call("/denied").status == 403
            assert call("/x", None).status == 401
            reply = call("/x")
            assert reply.status == 200
            left.append(limits(reply)["minute"])
            assert left[-1][0] == remaining
        for _ in range(3):
            over = call("/x")
            assert (over.status, over.get("exeat-proxy-code")) == (429, "limit-exceeded")
            remaining, seconds = limits(over)["minute"]
            assert remaining == 0
            assert over.get("retry-after") == str(seconds)
            assert 1 <= seconds <= 60
            assert abs(seconds - (60 - time.time() % 60)) <= 2
            assert over.get("ratelimit-policy") == '"minute";q=3;w=60'
        denied = call("/denied")
        assert (denied.status, limits(denied)["minute"][0]) == (403, 0)
    assert len(upstream.seen) == before + 3
    problem = json.loads(over.body)
    assert problem["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"


def limits(reply: RawAnswer) -> dict[str, tuple[int, int]]:
    """Remaining calls and seconds to the reset of each window of a `RateLimit` field."""
    text = reply.get("ratelimit")
    assert text is not None
    return {
        name: (int(remaining), int(seconds))
        for name, remaining, seconds in re.findall(r'"([a-z]+)";r=(\d+);t=(\d+)', text)
    }


def test_two_windows_are_both_told(edge: EdgeProcess, upstream: Upstream) -> None:
    """Minute and day limit stand side by side; the exhausted one decides, and Retry-After is its reset."""
    until(lambda: time.time() % 60 < 55, 10, "a minute with five seconds left")
    first, second, third = (ask(edge, get("/api/both-limits/x")) for _ in range(3))
    assert first.get("ratelimit-policy") == '"minute";q=50;w=60, "day";q=2;w=86400'
    assert [limits(reply)["day"][0] for reply in (first, second, third)] == [1, 0, 0]
    assert [limits(reply)["minute"][0] for reply in (first, second, third)] == [49, 48, 48]
    assert (third.status, third.get("retry-after")) == (429, str(limits(third)["day"][1]))


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (get("/api/dead/x"), 502),
        (get("/api/inactive/x"), 403),
        (get("/api/limited/denied"), 403),
        (get("/api/recorded/x"), 200),
    ],
)
def test_limit_fields_on_every_answer(edge: EdgeProcess, data: bytes, status: int) -> None:
    """Granted, denied, inactive or failed: where a limit applies, every answer to its caller says how it stands."""
    reply = ask(edge, data)
    assert reply.status == status
    assert limits(reply)
    assert len([value for name, value in reply.headers if name == "ratelimit"]) == 1


def test_no_limit_no_fields(edge: EdgeProcess) -> None:
    """Where none applies nothing is said, and what the target says of its own limits passes."""
    assert ask(edge, get("/api/api/x")).get("ratelimit-policy") is None
    assert ask(edge, get("/api/api/spoof")).get("ratelimit") == '"forged";r=9;t=9'


# -- our own fields and bodies ----------------------------------------------------------------------


def test_our_names_are_ours(edge: EdgeProcess) -> None:
    """Whatever a target sends under our prefix is removed; request id, code and message are the edge's."""
    reply = ask(edge, get("/api/api/spoof"))
    ours = {name: value for name, value in reply.headers if name.startswith("exeat-")}
    assert len([name for name, _ in reply.headers if name.startswith("exeat-")]) == len(ours)
    assert re.fullmatch(r"req_[0-9a-f]{24}", ours.pop("exeat-request-id"))
    assert ours == {"exeat-proxy-code": "proxy-access-granted", "exeat-proxy-message": "Access granted"}
    assert (reply.status, reply.get("x-of-the-target"), reply.body) == (201, "kept", b"spoofed")


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (get("/api/nobody/x"), 404, "proxy-unknown"),
        (get("/api/api/x", key=None), 401, "credential-rejected"),
        (get("/api/inactive/x"), 403, "proxy-inactive"),
        (get("/api/closed/x"), 403, "rule-denied"),
        (get("/api/dead/x"), 502, "target-unreachable"),
        (get("/api/api//x"), 400, "request-malformed"),
        (get("/api/api/x", "Via: 1.0 a, 1.1 {via}"), 508, "proxy-loop"),
    ],
)
def test_refusals_are_problem_documents(
    edge: EdgeProcess, upstream: Upstream, data: bytes, status: int, code: str
) -> None:
    """Each refusal is problem+json with our three fields; its text is fixed, and names nothing of ours or theirs."""
    via = passed(edge, upstream, get("/api/api/x")).get("via") or ""
    reply = ask(edge, data.replace(b"1.1 {via}", via.encode()))
    kind = next(kind for kind in refusals() if kind.code == code)
    assert (reply.status, reply.get("exeat-proxy-code")) == (status, code)
    assert reply.get("exeat-proxy-message") == kind.message
    assert reply.get("content-type") == "application/problem+json"
    problem = json.loads(reply.body)
    assert problem.pop("type").startswith("urn:exeat:problem:")
    assert problem.pop("title")
    assert (problem.pop("scope", "proxy"), problem.pop("ruleId", None)) == ("proxy", None)
    assert problem == {
        "status": status,
        "detail": kind.message,
        "code": code,
        "requestId": reply.get("exeat-request-id"),
    }
    assert reply.get("connection") == ("close" if kind.closes else None)


def test_ids_of_requests_differ(edge: EdgeProcess) -> None:
    """Every answer has an id of its own, refusals included, on one connection and on several."""
    ids = [ask(edge, get("/api/api/x", key=key)).get("exeat-request-id") for key in (CALLER_KEY, None)]
    with RawClient(edge.port) as client:
        for _ in range(5):
            client.send(get("/api/api/x"))
            ids.append(client.answer().get("exeat-request-id"))
    assert None not in ids
    assert len(set(ids)) == len(ids)


def test_another_header_prefix(tmp_path: Path, upstream: Upstream) -> None:
    """EXEAT_HEADER_PREFIX renames our fields on every answer, and is what is taken from both directions."""
    environment = {"EXEAT_HEADER_PREFIX": "requestrocket"}
    with running_edge(tmp_path, policy(upstream.url), environment=environment) as edge:
        granted = ask(edge, get("/api/api/x", "RequestRocket-Proxy-Code: forged"))
        for reply in (granted, ask(edge, get("/api/api/x", key=None))):
            assert {name for name, _ in reply.headers if name.startswith(("exeat", "requestrocket"))} == {
                "requestrocket-request-id",
                "requestrocket-proxy-code",
                "requestrocket-proxy-message",
            }
        assert not [name for name, _ in upstream.seen[-1].headers if name.startswith("requestrocket")]


# -- what is written down ---------------------------------------------------------------------------


def record_of(edge: EdgeProcess, reply: RawAnswer) -> dict[str, Any]:
    """The one record of an answered request; it is there within 5 s."""

    def found() -> list[dict[str, Any]]:
        return [one for one in edge.records() if one["requestId"] == reply.get("exeat-request-id")]

    until(found, 5, "the record")
    [record] = found()
    return record


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
