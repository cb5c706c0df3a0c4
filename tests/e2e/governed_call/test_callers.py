"""Who may call through a real edge: credentials in their places, any one of several, and proxies by their names."""

from __future__ import annotations

import pytest

from tests.e2e.governed_call.governed_edge import (
    ENCODED_QUERY_KEY,
    PARTNER_KEY,
    QUERY_KEY,
    TOKEN,
    ask,
    passed,
)
from tests.kit.edge import CALLER_KEY, TARGET_TOKEN, EdgeProcess
from tests.kit.raw import get
from tests.kit.upstream import Upstream


def refused(edge: EdgeProcess, upstream: Upstream, data: bytes) -> tuple[int, str | None]:
    """Status and code of a request that must not reach the target."""
    before = len(upstream.seen)
    reply = ask(edge, data)
    assert len(upstream.seen) == before
    return reply.status, reply.get("exeat-proxy-code")


REJECTED = (401, "credential-rejected")


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
