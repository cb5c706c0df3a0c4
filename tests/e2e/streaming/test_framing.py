"""Bodies and the edge's framing: early answers, Continue, trailers."""

from __future__ import annotations

import contextlib

import pytest

from tests.e2e.streaming.streams import Bench, BodyStart, answered
from tests.kit.bulk import (
    MIB,
    send_pattern,
)
from tests.kit.raw import get, request


def test_an_early_answer_ends_the_upload(bench: Bench) -> None:
    """An answer inside the request's body reaches the caller at once; neither connection is used again."""
    with bench.client() as client:
        client.send(request("POST", "/api/one/early", f"Content-Length: {64 * MIB}") + b"begun")
        with bench.one.accept() as peer:
            peer.head()
            peer.answer(b"too large", status="413 Payload Too Large")
            answer = client.answer()
            assert (answer.status, answer.body) == (413, b"too large")
            assert answer.get("connection") == "close"
            assert answer.get("exeat-proxy-code") == "proxy-access-granted"
            assert peer.closed(5)
            assert len(peer.buffer) < 64 * MIB
        assert client.closed()
    answered(bench)


@pytest.mark.parametrize("size", [MIB // 2, 64 * MIB])
def test_an_early_answer_survives_a_caller_that_goes_on_sending(bench: Bench, size: int) -> None:
    """A caller that only looks for the answer after its whole upload still finds it."""
    with bench.client() as client:
        client.send(request("POST", "/api/api/early", f"Content-Length: {size}"))
        with bench.hand.accept() as peer:
            peer.head()
            peer.answer(b"enough")
            assert peer.closed(5)
        with contextlib.suppress(ConnectionError):
            send_pattern(client.socket, size, chunked=False)
        assert client.answer().body == b"enough"


def test_a_continue_comes_from_the_edge_before_the_body(bench: Bench) -> None:
    """`Expect: 100-continue` is answered by the edge once the head was accepted, and not forwarded."""
    with bench.client() as client:
        client.send(request("PUT", "/api/api/put", "Content-Length: 5", "Expect: 100-continue"))
        start = BodyStart(client)
        assert start.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"hello")
        with bench.hand.accept() as peer:
            head = peer.head()
            assert head.get("expect") is None
            assert peer.read(5) == b"hello"
            peer.answer(b"stored", status="201 Created")
        assert client.answer().status == 201


def test_a_refused_request_gets_no_continue(bench: Bench) -> None:
    """Who is refused by the head is told so at once and never invited to send the body."""
    with bench.client() as client:
        client.send(
            request(
                "PUT", "/api/api/put", "Content-Length: 5", "Expect: 100-continue", key="not-the-key-000000"
            )
        )
        assert BodyStart(client).until(b"\r\n").startswith(b"HTTP/1.1 401 ")


def test_trailers_are_dropped(bench: Bench) -> None:
    """Fields behind a chunked body pass in neither direction."""
    with bench.client() as client:
        client.send(
            request("POST", "/api/api/t", "Transfer-Encoding: chunked", "Trailer: X-Sum")
            + b"3;ext=1\r\nabc\r\n0\r\nX-Sum: 1\r\nX-Other: 2\r\n\r\n"
        )
        with bench.hand.accept() as peer:
            assert peer.head().get("trailer") is None
            assert peer.read_until(b"0\r\n\r\n") == b"3\r\nabc\r\n0\r\n\r\n"
            peer.send(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
                b"3;ext=1\r\nxyz\r\n0\r\nX-Sum: 1\r\n\r\n"
            )
            raw = BodyStart(client).until(b"0\r\n\r\n")
            assert b"x-sum" not in raw.lower()
            assert b"trailer" not in raw.lower()
            assert b"ext" not in raw
            # The connection is whole on both sides: it serves another request.
            client.send(get("/api/api/next"))
            assert peer.head().target == "/next"
            peer.answer(b"next")
            assert client.answer().body == b"next"
