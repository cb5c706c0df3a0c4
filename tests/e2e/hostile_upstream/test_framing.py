"""Answers that frame themselves wrongly: bodies where none may be, interim answers, heads that are not HTTP."""

from __future__ import annotations

import pytest

from tests.e2e.hostile_upstream.scripts import (
    BARE,
    CHUNKED,
    CLOSE,
    CONTINUE,
    EVIL,
    GATE,
    HINTS,
    OK,
    RESET,
    Bench,
    Script,
    code,
)
from tests.kit.edge import until
from tests.kit.raw import get, request

# -- answers without a body ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "script",
    [
        (BARE + b"Content-Length: 10\r\n\r\n",),
        (BARE + b"Content-Length: 10\r\n\r\nevil-@",),
        (BARE + b"Content-Length: 10\r\n\r\nevil-@" + EVIL,),
        (BARE + b"Content-Length: 10\r\n\r\n" + EVIL,),
        (BARE + b"Content-Length: 0\r\n\r\n" + EVIL,),
        (BARE + b"Transfer-Encoding: chunked\r\n\r\n",),
        (BARE + b"Transfer-Encoding: chunked\r\n\r\na\r\nevil-@\r\n0\r\n\r\n",),
        (BARE + b"Transfer-Encoding: chunked\r\n\r\na\r", GATE, b"\nevil-@\r\n0\r\n\r\n"),
        (BARE + b"\r\nevil-@",),
        (BARE + b"\r\n",),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + BARE + b"Content-Length: 10\r\n\r\nevil-@",),
    ],
)
def test_head_never_has_a_body(bench: Bench, script: Script) -> None:
    """What the target sends behind the head is nobody's, whatever length it announced."""
    word = bench.script(*script)
    with bench.client() as client:
        client.send(request("HEAD", f"/api/api/case/{word}"))
        answer = client.answer(head=True)
        assert answer.status == 200
        if isinstance(script[0], bytes) and script[0].startswith(BARE + b"Content-Length: 10\r\n\r\n"):
            assert answer.get("content-length") == "10"
        bench.hostile.gate.set()
        bench.expect_clean(client)


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
@pytest.mark.parametrize(
    "rest",
    [b"\r\n", b"\r\nevil-@", b"\r\n" + EVIL, b"Content-Length: 10\r\n\r\nevil-@", b"Content-Length: 10\r\n\r\n",
     b"Content-Length: 10\r\n\r\n" + EVIL, b"Transfer-Encoding: chunked\r\n\r\na\r\nevil-@\r\n0\r\n\r\n"],
)  # fmt: skip
def test_204_and_304_never_have_a_body(bench: Bench, status: bytes, rest: bytes) -> None:
    """The caller finds its next answer right behind the head."""
    word = bench.script(b"HTTP/1.1 " + status + b"\r\n" + rest)
    with bench.client() as client:
        client.send(get(f"/api/api/case/{word}"))
        answer = client.answer()
        assert answer.status == int(status[:3])
        assert (answer.get("transfer-encoding"), answer.body) == (None, b"")
        assert status.startswith(b"304") or answer.get("content-length") is None
        bench.expect_clean(client)


# -- interim answers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "script",
    [
        (CONTINUE + OK,),
        (HINTS + OK,),
        (CONTINUE + HINTS + HINTS + CHUNKED,),
        (CONTINUE, GATE, OK),
        (HINTS[:20], GATE, HINTS[20:] + OK),
        (b"HTTP/1.1 102 Processing\r\n\r\n" + OK,),
        (b"HTTP/1.1 199 Odd\r\nX: evil-@\r\n\r\n" + OK,),
        (b"HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n" + OK,),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_interim_answers_are_not_the_answer(bench: Bench, script: Script, method: str) -> None:
    """100, 103 and others are dropped with their fields; the answer is what follows."""
    word = bench.script(*script, *((CLOSE,) if method == "HEAD" else ()))
    with bench.client() as client:
        client.send(request(method, f"/api/api/case/{word}", body=b"x" if method == "POST" else b""))
        until(lambda: bench.seen(word), 10, "the request")
        bench.hostile.gate.set()
        answer = client.answer(head=method == "HEAD")
        assert answer.status == 200
        assert b"evil" not in answer.raw_head
        if method != "HEAD":
            assert answer.body == f"ok-{word}".encode()
        bench.expect_clean(client)


@pytest.mark.parametrize(
    "interim",
    [
        b"HTTP/1.1 103 Early Hints\r\nContent-Length: 10\r\n\r\nevil-@",
        b"HTTP/1.1 110 Odd\r\nContent-Length: 10\r\n\r\nevil-@",
        b"HTTP/1.1 199 Odd\r\nContent-Length: %d\r\n\r\n" % (len(EVIL) + 8) + EVIL,
        b"HTTP/1.1 199 Odd\r\nTransfer-Encoding: chunked\r\n\r\na\r\nevil-@\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\na\r\nevil-@\r\n0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("pause", [(), (GATE,)])
def test_an_interim_answer_has_no_body(bench: Bench, interim: bytes, pause: Script) -> None:
    """One that claims a body is broken HTTP: nothing of it, and nothing behind it, reaches anybody."""
    word = bench.script(interim, *pause, OK)
    with bench.client() as client:
        client.send(get(f"/api/api/case/{word}"))
        until(lambda: bench.seen(word), 10, "the request")
        bench.hostile.gate.set()
        answer = client.answer()
        assert b"evil" not in answer.raw_head + answer.body
        assert (answer.status, code(answer)) == (502, "target-invalid")
        bench.expect_clean(client)


# -- not HTTP ------------------------------------------------------------------------------------------------

INVALID = {
    "Content-Length with Transfer-Encoding": BARE + b"Content-Length: 8\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nevil-@\r\n0\r\n\r\n",
    "Transfer-Encoding with Content-Length": BARE + b"Transfer-Encoding: chunked\r\nContent-Length: 8\r\n\r\nevil-@",
    "two Content-Length alike": BARE + b"Content-Length: 8\r\nContent-Length: 8\r\n\r\nevil-@",
    "two Content-Length that differ": BARE + b"Content-Length: 8\r\nContent-Length: 1\r\n\r\nevil-@",
    **{
        f"Content-Length {digits!r}": BARE + b"Content-Length: " + digits + b"\r\n\r\nevil-@"
        for digits in (b"+8", b"-8", b"8 8", b"0x8", b"8, 8", b"", b"eight", b"99999999999999999999")
    },
    **{
        f"Transfer-Encoding {coding!r}": BARE + b"Transfer-Encoding: " + coding + b"\r\n\r\n8\r\nevil-@\r\n0\r\n\r\n"
        for coding in (b"gzip", b"gzip, chunked", b"chunked, gzip", b"xchunked", b", chunked", b"identity", b"chunked, chunked")
    },
    "two Transfer-Encoding": BARE + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nevil-@\r\n0\r\n\r\n",
    "Transfer-Encoding on 1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nevil-@\r\n0\r\n\r\n",
    **{
        f"status line {line!r}": line + b"\r\nContent-Length: 10\r\n\r\nevil-@"
        for line in (b"HTTP/2.0 200 OK", b"HTTP/0.9 200 OK", b"HTTP/1.1 abc", b"HTTP/1.1 20", b"HTTP/1.1 2000 OK",
                     b"HTTP/1.1  200 OK", b"HTTP 200 OK", b"200 OK", b"ICY 200 OK", b"GET / HTTP/1.1", b"evil-@",
                     b"HTTP/1.1 099 Odd", b"HTTP/1.1 000 Odd", b"HTTP/1.1200 OK", b"RTSP/1.0 200 OK",
                     b"HTTP/1.1 200 a\0b", b"HTTP/1.1 200 a\rb")
    },
    "101 unasked": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\nevil-@",
    "101 without Upgrade": b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + EVIL,
    "a space before a colon": BARE + b"Content-Length : 10\r\n\r\nevil-@",
    "a field without a colon": BARE + b"evil-@\r\nContent-Length: 10\r\n\r\nevil-@",
    "NUL in a value": BARE + b"X: evil\0\r\nContent-Length: 10\r\n\r\nevil-@",
    "CR in a value": BARE + b"X: a\revil-@\r\nContent-Length: 10\r\n\r\nevil-@",
    "a bare LF": BARE + b"X: a\nX-Evil: evil-@\r\nContent-Length: 10\r\n\r\nevil-@",
    "folding": BARE + b"X: a\r\n evil-@\r\nContent-Length: 10\r\n\r\nevil-@",
    "interim answers without end": HINTS * 40 + OK,
    "a head over 64 KiB": BARE + b"X: " + b"evil-@" * 12000 + b"\r\nContent-Length: 10\r\n\r\nevil-@",
    "a head without end": BARE + b"X: " + b"evil-@" * 30000,
    "too many fields": BARE + b"X: evil-@\r\n" * 1000 + b"Content-Length: 10\r\n\r\nevil-@",
    "a broken chunk with the head": CHUNKED.replace(b"\r\n8\r\nok-@", b"\r\n0x8\r\nevil-@"),
    "a chunk without its end": CHUNKED.replace(b"ok-@\r\n", b"evil-@xx"),
}  # fmt: skip


@pytest.mark.parametrize("name", INVALID)
def test_what_is_not_http_is_502(bench: Bench, name: str) -> None:
    """target-invalid, with nothing of it in the answer; the caller's connection goes on."""
    word = bench.script(INVALID[name])
    with bench.client() as client:
        client.send(get(f"/api/api/case/{word}"))
        answer = client.answer()
        assert (answer.status, code(answer)) == (502, "target-invalid")
        assert b"evil" not in answer.raw_head + answer.body
        bench.expect_clean(client)
    (one,) = bench.seen(word)
    until(lambda: one.connection in bench.hostile.closed, 10, "the edge's close")


@pytest.mark.parametrize("end", [CLOSE, RESET])
@pytest.mark.parametrize("data", [BARE, BARE + b"X: evil-@", b"HTTP/1.1 2", b"H", CONTINUE, CONTINUE + BARE])
def test_an_end_inside_the_head_is_502(bench: Bench, data: bytes, end: str) -> None:
    """Half a head, or an interim one alone, is no answer."""
    word = bench.script(data, end)
    with bench.client() as client:
        client.send(get(f"/api/api/case/{word}"))
        answer = client.answer()
        assert (answer.status, code(answer)) in {(502, "target-invalid"), (502, "target-unreachable")}
        assert end == RESET or code(answer) == "target-invalid"
        assert b"evil" not in answer.raw_head + answer.body
        bench.expect_clean(client)
    assert len(bench.seen(word)) == 1
