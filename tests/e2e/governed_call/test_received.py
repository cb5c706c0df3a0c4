"""What the target receives of a governed call: paths, queries, fields, bodies, and its own credential."""

from __future__ import annotations

import json
import re

import pytest

from tests.e2e.governed_call.governed_edge import SENDER_KEY, passed
from tests.kit.edge import TARGET_TOKEN, EdgeProcess
from tests.kit.raw import RawClient, get, request
from tests.kit.upstream import Upstream


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
