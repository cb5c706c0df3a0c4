"""Connections to a target that is hostile: bytes nobody asked for, ends between requests, answers that are too early or too late."""

from __future__ import annotations

import pytest

from tests.e2e.hostile_upstream.scripts import (
    BARE,
    CHUNKED,
    CLOSE,
    CONTINUE,
    EVIL,
    GATE,
    OK,
    RESET,
    Bench,
    Script,
    code,
)
from tests.kit.edge import until
from tests.kit.raw import get, request

# -- the answer stands, the connection does not ---------------------------------------------------------------

SPENT = {
    "a second answer": OK + EVIL,
    "two further answers": OK + EVIL + EVIL,
    "a second answer behind a chunked one": CHUNKED + EVIL,
    "half a second answer": OK + EVIL[:30],
    "the first byte of one": OK + b"H",
    "bytes beyond Content-Length": OK + b"evil-@",
    "bytes beyond the last chunk": CHUNKED + b"evil-@",
    "a chunk beyond the last one": CHUNKED + b"a\r\nevil-@\r\n0\r\n\r\n",
    "an interim answer behind it": OK + b"HTTP/1.1 103 Early Hints\r\nLink: evil-@\r\n\r\n",
    "a 101 behind it": OK + b"HTTP/1.1 101 Switching\r\nUpgrade: evil\r\nConnection: upgrade\r\n\r\n",
    "NUL behind it": OK + b"\0",
    "an answer behind Connection: close": OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + EVIL,
    "an answer behind an HTTP/1.0 one": OK.replace(b"1.1", b"1.0") + EVIL,
    "trailers": CHUNKED[:-2] + b"X-Evil: evil-@\r\n\r\n",
}


@pytest.mark.parametrize("name", SPENT)
def test_bytes_behind_an_answer_are_nobodys(bench: Bench, name: str) -> None:
    """In the same packet: the caller gets the answer alone, and keeps its connection; the target's is not reused."""
    word = bench.script(SPENT[name])
    with bench.client() as client:
        client.send(get(f"/api/api/case/{word}"))
        answer = client.answer()
        assert (answer.status, answer.body) == (200, f"ok-{word}".encode())
        assert b"evil" not in answer.raw_head
        (one,) = bench.seen(word)
        if name != "trailers":
            until(lambda: one.connection in bench.hostile.closed, 10, "the edge's close")
        bench.expect_clean(client)


@pytest.mark.parametrize("name", SPENT)
def test_bytes_behind_an_answer_do_not_answer_what_was_pipelined(bench: Bench, name: str) -> None:
    """The next request is known already when the surplus arrives, and still goes out on another connection."""
    word = bench.script(SPENT[name])
    after = [next(bench.words) for _ in range(4)]
    with bench.client() as client:
        client.send(get(f"/api/api/case/{word}") + b"".join(get(f"/api/api/ok/{one}") for one in after))
        assert client.answer().body == f"ok-{word}".encode()
        for one in after:
            answer = client.answer()
            assert (answer.status, answer.body) == (200, f"ok-{one}".encode())
        bench.expect_clean(client)


@pytest.mark.parametrize(
    "data", [EVIL, b"evil-@", b"H", b"\r\n", b"\0", b"HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n"]
)
def test_bytes_on_an_idle_connection_close_it(bench: Bench, data: bytes) -> None:
    """Nobody asked: the connection is dropped, and the next request goes out on another."""
    word = bench.script(OK, GATE, data)
    with bench.client() as client:
        client.send(get(f"/api/api/case/{word}"))
        assert client.answer().body == f"ok-{word}".encode()
        bench.hostile.gate.set()
        (one,) = bench.seen(word)
        until(lambda: one.connection in bench.hostile.closed, 10, "the edge's close")
        bench.expect_clean(client)


# -- early answers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("framing", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("data", [OK, CHUNKED, OK + EVIL])
def test_an_early_answer_is_delivered_and_ends_both_connections(
    bench: Bench, framing: str, data: bytes
) -> None:
    """The body is still under way: the target's connection is not reused, nor is its request completed."""
    word = bench.script(data)
    with bench.client() as client:
        client.send(request("POST", f"/api/api/early/{word}", framing) + b"5\r\nhello\r\n")
        answer = client.answer()
        assert (answer.status, answer.body, answer.get("connection")) == (200, f"ok-{word}".encode(), "close")
        client.send(b"5\r\nevil!\r\n0\r\n\r\n")
        assert client.closed()
    (one,) = bench.seen(word)
    until(lambda: one.connection in bench.hostile.closed, 10, "the edge's close")
    assert one.body in {b"", b"5\r\nhello\r\n"}
    bench.expect_clean(None)


# -- connections that end between requests ------------------------------------------------------------------------


def warm(bench: Bench) -> set[int]:
    """Leaves idle connections in the pool; returns all connections so far."""
    bench.expect_clean(None)
    return {one.connection for one in bench.hostile.seen}


@pytest.mark.parametrize("end", [CLOSE, RESET])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_a_safe_request_is_sent_again_on_a_fresh_connection(bench: Bench, method: str, end: str) -> None:
    """The target closed a kept connection when the request came: once more, and the caller never knows."""
    known = warm(bench)
    word = bench.attempts((end,), (OK[: len(OK) - 4 * (method == "HEAD")],))
    with bench.client() as client:
        client.send(request(method, f"/api/api/case/{word}"))
        answer = client.answer(head=method == "HEAD")
        assert (answer.status, answer.get("exeat-proxy-code")) == (200, "proxy-access-granted")
        bench.expect_clean(client)
    first, second = bench.seen(word)
    assert first.connection in known
    assert second.connection not in known
    records = until(lambda: [one for one in bench.edge.records() if word in one["path"]], 10, "the record")
    assert [one["status"] for one in records] == [200]


@pytest.mark.parametrize("end", [CLOSE, RESET])
def test_a_safe_request_is_sent_twice_at_most(bench: Bench, end: str) -> None:
    """The fresh connection ended as well: 502, not a third attempt."""
    warm(bench)
    word = bench.script(end)
    with bench.client() as client:
        client.send(get(f"/api/api/case/{word}"))
        assert code(client.answer()) == "target-unreachable"
        bench.expect_clean(client)
    assert len(bench.seen(word)) == 2


@pytest.mark.parametrize("end", [CLOSE, RESET])
@pytest.mark.parametrize(
    ("method", "body"), [("POST", b"x"), ("POST", b""), ("PUT", b"x"), ("DELETE", b""), ("GET", b"x")]
)
def test_other_requests_are_never_sent_twice(bench: Bench, method: str, body: bytes, end: str) -> None:
    """The target may have acted on it: 502, and the caller decides."""
    known = warm(bench)
    word = bench.attempts((end,), (OK,))
    with bench.client() as client:
        client.send(request(method, f"/api/api/case/{word}", body=body))
        answer = client.answer()
        assert (answer.status, code(answer)) == (502, "target-unreachable")
        bench.expect_clean(client)
    (one,) = bench.seen(word)
    assert one.connection in known


def test_a_safe_request_is_not_sent_again_once_a_byte_came(bench: Bench) -> None:
    """That was an answer, if a broken one."""
    warm(bench)
    word = bench.attempts((b"HTTP/1.1 2", CLOSE), (OK,))
    with bench.client() as client:
        client.send(get(f"/api/api/case/{word}"))
        assert code(client.answer()) == "target-invalid"
    assert len(bench.seen(word)) == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_connection_that_ended_while_idle_is_not_used(bench: Bench, method: str) -> None:
    """The edge saw the end before the next request: nothing has to be sent twice."""
    word = bench.script(OK, GATE, CLOSE)
    with bench.client() as client:
        client.send(get(f"/api/api/case/{word}"))
        assert client.answer().status == 200
        bench.hostile.gate.set()
        until(lambda: bench.seen(word)[0].connection in bench.hostile.closed, 10, "the end")
        after = next(bench.words)
        client.send(request(method, f"/api/api/ok/{after}"))
        assert client.answer().body == f"ok-{after}".encode()
        assert len(bench.seen(after)) == 1
        bench.expect_clean(client)


# -- no answer in time ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("begun", [(), (CONTINUE,), (BARE + b"X: evil-@",)])
def test_a_late_answer_reaches_nobody(bench: Bench, begun: Script) -> None:
    """504 target-timeout; what comes afterwards comes on a connection that is gone."""
    word = bench.script(*begun, GATE, OK.replace(b"ok", b"no"), EVIL)
    with bench.client() as client:
        client.send(get(f"/api/brief/case/{word}") + get(f"/api/brief/ok/{(after := next(bench.words))}"))
        answer = client.answer()
        assert (answer.status, code(answer)) == (504, "target-timeout")
        assert b"evil" not in answer.raw_head + answer.body
        bench.hostile.gate.set()
        assert client.answer().body == f"ok-{after}".encode()
        bench.expect_clean(client)
