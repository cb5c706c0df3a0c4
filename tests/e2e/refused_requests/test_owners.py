"""Who owns a connection: pages of the edge beside calls through proxies, and what is counted of both."""

from __future__ import annotations

import pytest

from tests.e2e.refused_requests.refusals import CASES, Bench, assert_refused, mark, problem
from tests.kit.edge import until
from tests.kit.raw import get, request


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_pages_of_the_edge_share_a_connection_with_proxy_traffic(bench: Bench, path: str) -> None:
    """A balancer's pooled connection is never the wrong one."""
    with bench.client() as client:
        for _ in range(2):
            client.send(get(path, key=None))
            answer = client.answer()
            assert (answer.status, answer.get("content-type")) == (200, "application/json")
            client.send(get("/api/api/shared"))
            assert client.answer().status == 200
        client.send(request("POST", path, body=b"x", key=None))
        assert problem(client.answer()) == "proxy-unknown"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("query", ["", "?a=b"])
def test_metrics_belong_to_sanic_which_closes(bench: Bench, method: str, query: str) -> None:
    """One answer; what is pipelined behind it is served by nobody."""
    word = mark()
    with bench.client() as client:
        client.send(request(method, f"/metrics{query}", key=None) + get(f"/api/api/{word}"))
        answer = client.answer(head=method == "HEAD")
        assert answer.status == 200
        assert (answer.get("content-type") or "").startswith("text/plain")
        assert client.closed()
    assert bench.seen(word) == []


def test_metrics_are_not_on_a_proxy_connection(bench: Bench) -> None:
    """The first request line decided who owns it."""
    with bench.client() as client:
        client.send(get("/health", key=None) + get("/metrics", key=None))
        assert client.answer().status == 200
        assert problem(client.answer()) == "proxy-unknown"
        client.send(get("/api/api/still"))
        assert client.answer().status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT"])
def test_no_other_method_reaches_metrics(bench: Bench, method: str) -> None:
    """It is proxy traffic to an unknown proxy; CONNECT is malformed."""
    with bench.client() as client:
        client.send(request(method, "/metrics", key=None))
        assert problem(client.answer()) == ("request-malformed" if method == "CONNECT" else "proxy-unknown")


@pytest.mark.parametrize(
    ("target", "code"),
    [("/metricsx", "proxy-unknown"), ("/metrics/", "proxy-unknown"), ("/metrics/../x", "request-malformed"),
     ("/metrics%3f", "proxy-unknown"), ("//metrics", "proxy-unknown"), ("/metrics#", "request-malformed")],
)  # fmt: skip
def test_what_only_looks_like_metrics_is_ours(bench: Bench, target: str, code: str) -> None:
    """Sanic's lenient parser never sees it."""
    with bench.client() as client:
        client.send(get(target, key=None))
        assert problem(client.answer()) == code


@pytest.mark.parametrize("path", ["/metrics", "/health", "/api/api/bytes", "/met", "/metricsandmore"])
def test_a_request_may_arrive_byte_by_byte(bench: Bench, path: str) -> None:
    """Whoever it belongs to gets all of it."""
    status = {"/met": 404, "/metricsandmore": 404}.get(path, 200)
    with bench.client() as client:
        for byte in get(path):
            client.send(bytes([byte]))
        assert client.answer().status == status


def test_refusals_are_counted(bench: Bench) -> None:
    """They have no record, being nobody's, but a count."""

    def count() -> float:
        with bench.client() as client:
            client.send(get("/metrics"))
            lines = client.answer().body.decode().splitlines()
        return float(next(line for line in lines if 'code="request-malformed"' in line).split()[-1])

    before = count()
    word = mark()
    assert_refused(bench, CASES["folding"].replace("@", word).encode(), word)
    until(lambda: count() >= before + 1, 5, "the count")
    assert "request-malformed" not in {record["code"] for record in bench.edge.records()}
