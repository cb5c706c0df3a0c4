"""The door of a running edge: whose a connection is, decided by its first line however that arrives."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.kit.edge import EdgeProcess, policy, running_edge, until
from tests.kit.raw import RawClient, get, request

METRICS = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeProcess]:
    document = policy("http://127.0.0.1:9", rules=[{"effect": "deny"}])
    with running_edge(tmp_path_factory.mktemp("door"), document) as process:
        yield process


def connections(edge: EdgeProcess) -> int:
    """Connections the proxy protocol or the door holds, the one that asks not counted."""
    with RawClient(edge.port) as client:
        client.send(METRICS)
        lines = client.answer().body.decode().splitlines()
    return int(
        float(next(line for line in lines if line.startswith("exeat_connections{")).rpartition(" ")[2])
    )


@pytest.mark.parametrize("cut", range(1, 24))
def test_sanics_route_in_two_pieces(edge: EdgeProcess, cut: int) -> None:
    """A request for /metrics goes to Sanic wherever its first line is cut."""
    with RawClient(edge.port) as client:
        client.send(METRICS[:cut])
        with RawClient(
            edge.port
        ) as other:  # answered: the edge has read the first piece, or will not wait for more
            other.send(get("/health", key=None))
            assert other.answer().status == 200
        client.send(METRICS[cut:])
        answer = client.answer()
        assert (answer.status, answer.get("content-type")) == (
            200,
            "text/plain; version=0.0.4; charset=utf-8",
        )
        assert client.closed()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("query", ["", "?name=x"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_sanic_answers_once_and_closes(edge: EdgeProcess, method: str, query: str, version: str) -> None:
    """A connection of Sanic's never meets the proxy: it ends after one answer, with what was pipelined behind it."""
    with RawClient(edge.port) as client:
        client.send(
            request(method, f"/metrics{query}", "Connection: keep-alive", key=None, version=version)
            + get("/api/api/x")
        )
        answer = client.answer(head=method == "HEAD")
        assert (answer.status, answer.get("connection")) == (200, "close")
        assert client.closed()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (get("/metricsx", key=None), 404),
        (get("/metrics/", key=None), 404),
        (get("//metrics", key=None), 404),
        (get("/%6detrics", key=None), 404),
        (get("/api/metrics", key=None), 404),
        (request("POST", "/metrics", key=None), 404),
        (request("DELETE", "/metrics", key=None), 404),
        (b"get /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET  /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /metrics\tHTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /metrics HTTP/2.0\r\nHost: a\r\n\r\n", 400),
        (b"GET /metrics#x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /metrics\r\n\r\n", 400),
        (b"GET /metrics;x HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        (b"GET http://a/metrics HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"\r\n" + METRICS, 404),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ],
)
def test_everything_else_is_the_proxys(edge: EdgeProcess, data: bytes, status: int) -> None:
    """What is not exactly GET or HEAD of Sanic's route is answered by the proxy protocol, with its problem document."""
    with RawClient(edge.port) as client:
        client.send(data)
        answer = client.answer()
        assert (answer.status, answer.get("content-type")) == (status, "application/problem+json")
        assert json.loads(answer.body)["status"] == status


def test_owner_never_changes(edge: EdgeProcess) -> None:
    """On a connection of the proxy's /metrics is no page, before and after a proxied call."""
    with RawClient(edge.port) as client:
        client.send(
            get("/health", key=None) + METRICS + get("/api/api/x") + METRICS + get("/ready", key=None)
        )
        assert [client.answer().status for _ in range(5)] == [200, 404, 403, 404, 200]


def test_health_and_ready_keep_the_connection(edge: EdgeProcess) -> None:
    """The edge's own pages are the proxy protocol's: a pooled balancer connection goes on after them."""
    with RawClient(edge.port) as client:
        for _ in range(3):
            client.send(get("/health", key=None))
            answer = client.answer()
            assert (answer.status, answer.body) == (200, b'{"status":"ok"}')
            client.send(request("HEAD", "/ready", key=None))
            assert client.answer(head=True).status == 200
        client.send(request("POST", "/health", key=None))
        assert client.answer().status == 404


def test_connections_that_say_nothing_are_let_go(edge: EdgeProcess) -> None:
    """A caller that leaves before it said anything, or inside its first line, leaves nothing behind."""
    until(lambda: connections(edge) <= 1, what="no other connection")
    clients = [RawClient(edge.port) for _ in range(20)]
    for client in clients[::2]:
        client.send(METRICS[:10])
    until(lambda: connections(edge) >= 20, what="twenty connections")
    for client in clients:
        client.socket.close()
    until(lambda: connections(edge) <= 1, what="none of them")
