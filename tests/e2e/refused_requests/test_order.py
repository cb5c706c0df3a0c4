"""Requests on one connection are answered in order, also with Upgrade, Expect, HEAD and HTTP/1.0 among them."""

from __future__ import annotations

import itertools
import json

import pytest

from tests.e2e.refused_requests.refusals import Bench, mark
from tests.kit.edge import CALLER_KEY
from tests.kit.raw import get, request

# -- Upgrade --------------------------------------------------------------------------------------------

UPGRADE = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_an_upgrade_with_a_body_is_one_request(bench: Bench, framing: str) -> None:
    """Forwarded without Upgrade; its body is a body, also where it looks like a request, and what follows follows."""
    word, inner, after = mark(), mark(), mark()
    body = get(f"/api/api/{inner}")
    with bench.client() as client:
        if framing == "length":
            data = request("POST", f"/api/api/{word}", *UPGRADE, body=body)
        else:
            head = request("POST", f"/api/api/{word}", *UPGRADE, "Transfer-Encoding: chunked")
            data = head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        client.send(data + get(f"/api/api/{after}"))
        assert [client.answer().status, client.answer().status] == [200, 200]
    (seen,) = bench.seen(word)
    assert (seen.complete, seen.body) == (True, body)
    assert not {"upgrade", "connection", "http2-settings"} & {name for name, _ in seen.headers}
    assert bench.seen(inner) == []
    assert len(bench.seen(after)) == 1


@pytest.mark.parametrize("lines", [UPGRADE, ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
                                   ("Upgrade: h2c",), ("Connection: close, Upgrade", "Upgrade: h2c")])  # fmt: skip
def test_an_upgrade_without_a_body_is_ignored(bench: Bench, lines: tuple[str, ...]) -> None:
    """The answer is the target's, in HTTP/1.1 (RFC 9110 section 7.8)."""
    word = mark()
    with bench.client() as client:
        client.send(get(f"/api/api/{word}", *lines))
        assert client.answer().status == 200
    (seen,) = bench.seen(word)
    assert seen.get("upgrade") is None


# -- in order -------------------------------------------------------------------------------------------

KINDS = {
    "granted": ("/api/api/{}", 200),
    "denied": ("/api/api/denied/{}", 403),
    "unknown": ("/api/nobody/{}", 404),
    "health": ("/health", 200),
}


@pytest.mark.parametrize("count", [3, 17, 18, 100, 1000])
def test_pipelined_requests_are_answered_in_order(bench: Bench, count: int) -> None:
    """Granted, denied, unknown and our own, mixed in one write: one answer each, in the order of the requests."""
    word = mark()
    kinds = list(itertools.islice(itertools.cycle([*KINDS, "granted", "granted"]), count))
    data = b"".join(get(KINDS[kind][0].format(f"{word}-{at}")) for at, kind in enumerate(kinds))
    with bench.client() as client:
        client.send(data)
        for at, kind in enumerate(kinds):
            answer = client.answer()
            assert answer.status == KINDS[kind][1]
            if kind == "granted":
                assert json.loads(answer.body)["target"] == f"/{word}-{at}"
        client.send(get("/health"))
        assert client.answer().status == 200
    assert [seen.target for seen in bench.seen(word)] == [
        f"/{word}-{at}" for at, kind in enumerate(kinds) if kind == "granted"
    ]


def test_pipelined_bodies_of_both_framings(bench: Bench) -> None:
    """Bodies full of requests stay bodies."""
    word, inner = mark(), mark()
    trap = get(f"/api/api/{inner}") + b"0\r\n\r\n"
    data = b""
    for at in range(20):
        if at % 2:
            data += request("PUT", f"/api/api/{word}-{at}", body=trap)
        else:
            head = request("POST", f"/api/api/{word}-{at}", "Transfer-Encoding: chunked")
            data += head + b"%X;x=y\r\n%b\r\n000\r\nX: y\r\n\r\n" % (len(trap), trap)
    with bench.client() as client:
        client.send(data)
        for at in range(20):
            answer = client.answer()
            assert (json.loads(answer.body)["target"], json.loads(answer.body)["length"]) == (
                f"/{word}-{at}",
                len(trap),
            )
    assert [(seen.method, seen.body) for seen in bench.seen(word)] == [("POST", trap), ("PUT", trap)] * 10
    assert bench.seen(inner) == []


def test_a_slow_answer_holds_back_those_behind_it(bench: Bench) -> None:
    """A denial and our own page wait their turn, and the next granted one is not sent before."""
    with bench.client() as client:
        client.send(
            get("/api/hand/one")
            + get("/api/api/denied")
            + get("/health")
            + get("/api/hand/two")
            + get("/api/nobody")
        )
        with bench.hand.accept() as peer:
            assert peer.head().target == "/one"
            assert peer.silent(0.2)
            client.socket.setblocking(False)
            with pytest.raises(BlockingIOError):
                client.socket.recv(1)
            client.socket.settimeout(20)
            peer.answer(b"first")
            assert client.answer().body == b"first"
            assert (client.answer().status, client.answer().status) == (403, 200)
            assert peer.head().target == "/two"
            peer.answer(b"second")
            assert client.answer().body == b"second"
            assert client.answer().status == 404


@pytest.mark.parametrize(
    "last", ["Connection: close", "Connection: Close, x", "connection: keep-alive, CLOSE"]
)
def test_nothing_is_served_behind_a_close(bench: Bench, last: str) -> None:
    """RFC 9112 section 9.6: the connection ends with that answer, and what follows it is not served."""
    word = mark()
    with bench.client() as client:
        client.send(get(f"/api/api/{word}", last) + get(f"/api/api/{word}-behind"))
        answer = client.answer()
        assert (answer.status, answer.get("connection")) == (200, "close")
        assert client.closed()
    assert [seen.target for seen in bench.seen(word)] == [f"/{word}"]


# -- HEAD, Expect, HTTP/1.0 ---------------------------------------------------------------------------------


def test_head_is_answered_without_a_body(bench: Bench) -> None:
    """Granted, denied, unknown, our own: each with its length and without its body, so the next one is found."""
    with bench.client() as client:
        for path, status in (KIND for KIND in KINDS.values()):
            client.send(request("HEAD", path.format("head")) + get("/api/api/next"))
            answer = client.answer(head=True)
            assert answer.status == status
            assert int(answer.get("content-length") or 0) > 0
            assert json.loads(client.answer().body)["target"] == "/next"


def test_continue_comes_from_the_edge_before_the_target_hears_anything_of_it(bench: Bench) -> None:
    """After the head steps; the target gets no Expect and the body that then comes."""
    with bench.client() as client:
        client.send(request("POST", "/api/hand/expect", "Content-Length: 4", "Expect: 100-continue"))
        assert client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        with bench.hand.accept() as peer:
            head = peer.head()
            assert (head.get("expect"), head.get("content-length")) == (None, "4")
            client.send(b"body")
            assert peer.read(4) == b"body"
            peer.answer(b"done")
            assert client.answer().body == b"done"


def test_a_thousand_requests_wait_for_a_slow_one(bench: Bench) -> None:
    """The edge stops reading when its queue is full, loses none, and answers all in order in the end."""
    word = mark()
    paths = [KINDS[kind][0].format(f"{word}-{at}") for at, kind in enumerate(list(KINDS) * 250)]
    statuses = [KINDS[kind][1] for kind in list(KINDS) * 250]
    with bench.client() as client:
        client.send(get("/api/hand/slow") + b"".join(map(get, paths)))
        with bench.hand.accept() as peer:
            assert peer.head().target == "/slow"
            assert bench.seen(word) == []
            peer.answer(b"at last")
            assert client.answer().body == b"at last"
        assert [client.answer().status for _ in paths] == statuses
    assert len(bench.seen(word)) == 250


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [("/api/api/denied", CALLER_KEY, 403), ("/api/api/x", "wrong-key-0123456789", 401), ("/api/nobody", CALLER_KEY, 404),
     ("/api/api/../x", CALLER_KEY, 400)],
)  # fmt: skip
def test_a_refused_request_gets_no_continue(bench: Bench, path: str, key: str, status: int) -> None:
    """The refusal is the first thing that comes, and the connection ends: the body may or may not follow."""
    with bench.client() as client:
        client.send(request("POST", path, "Content-Length: 4", "Expect: 100-continue", key=key))
        head = client.read_until(b"\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status)
        client.read_until(b"}")
        assert client.closed()


def test_http_1_0_callers(bench: Bench) -> None:
    """Closed after one answer, or kept where asked for; never a chunk, never a 100."""
    with bench.client() as client:
        client.send(request("GET", "/api/api/ten", version="1.0"))
        answer = client.answer()
        assert (answer.status, answer.get("connection"), answer.get("transfer-encoding")) == (
            200,
            "close",
            None,
        )
        assert client.closed()
    with bench.client() as client:
        for at in range(3):
            data = request(
                "POST",
                f"/api/api/ten-{at}",
                "Connection: keep-alive",
                "Expect: 100-continue",
                body=b"x",
                version="1.0",
            )
            client.send(data)
            answer = client.answer()
            assert (answer.status, answer.get("connection")) == (200, "keep-alive")
    with bench.client() as client:
        client.send(request("GET", "/api/hand/ten", version="1.0"))
        with bench.hand.accept() as peer:
            assert peer.head().raw.startswith(b"GET /ten HTTP/1.1\r\n")
            peer.send(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n"
            )
            answer = client.answer()
            assert (answer.body, answer.get("transfer-encoding"), answer.get("connection")) == (
                b"abcdef",
                None,
                "close",
            )


def test_blank_lines_between_requests(bench: Bench) -> None:
    """RFC 9112 section 2.2: some old clients send one after a body."""
    with bench.client() as client:
        client.send(
            b"\r\n" + request("POST", "/api/api/blank", body=b"x") + b"\r\n\r\n" + get("/api/api/blank")
        )
        assert (client.answer().status, client.answer().status) == (200, 200)
