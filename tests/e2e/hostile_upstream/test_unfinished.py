"""Answers that cannot be completed never look whole, and those that can arrive whole."""

from __future__ import annotations

import pytest

from tests.e2e.hostile_upstream.scripts import (
    BARE,
    CHUNKED,
    CLOSE,
    EVIL,
    GATE,
    HINTS,
    OK,
    RESET,
    Bench,
    Script,
)
from tests.kit.edge import until
from tests.kit.raw import get, request

LONG = BARE + b"Content-Length: 100\r\n\r\n"
OPEN = BARE + b"Transfer-Encoding: chunked\r\n\r\n"
UNFINISHED = {
    "length, nothing of the body": (LONG, GATE, CLOSE),
    "length, half of the body": (LONG + b"evil-@" * 5, GATE, CLOSE),
    "length, all but one byte": (LONG + b"x" * 99, GATE, CLOSE),
    "length, half of the body at once": (LONG + b"evil-@" * 5, CLOSE),
    "length, reset": (LONG + b"evil-@" * 5, GATE, RESET),
    "chunked, no chunk": (OPEN, GATE, CLOSE),
    "chunked, half a chunk": (OPEN + b"64\r\nevil-@", GATE, CLOSE),
    "chunked, half a size": (OPEN + b"6", GATE, CLOSE),
    "chunked, no last chunk": (OPEN + b"a\r\nevil-@\r\n", GATE, CLOSE),
    "chunked, half the last chunk": (OPEN + b"a\r\nevil-@\r\n0\r\n", GATE, CLOSE),
    "chunked, no last chunk, at once": (OPEN + b"a\r\nevil-@\r\n", CLOSE),
    "chunked, reset": (OPEN + b"a\r\nevil-@\r\n", GATE, RESET),
    "chunked, a broken size": (OPEN + b"a\r\nevil-@\r\n", GATE, b"0x5\r\nevil\r\n"),
    "chunked, a missing end": (OPEN + b"a\r\nevil-@\r\n", GATE, b"5\r\nevil!!!!\r\n"),
    "chunked, another answer inside": (OPEN + b"a\r\nevil-@\r\n", GATE, EVIL),
    "until the close, reset": (BARE + b"\r\nevil-@", GATE, RESET),
}


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("name", UNFINISHED)
def test_an_unfinished_answer_never_looks_whole(bench: Bench, name: str, version: str) -> None:
    """The caller is cut off by a reset, so that not even an HTTP/1.0 caller takes it for complete."""
    script = UNFINISHED[name]
    word = bench.script(*script)
    with bench.client() as client:
        client.send(request("GET", f"/api/api/case/{word}", "Connection: keep-alive", version=version))
        if GATE in script:
            assert client.read_until(b"\r\n").startswith(b"HTTP/1.1 200 ")
            client.read_until(b"\r\n\r\n")
        bench.hostile.gate.set()
        got = b""
        with pytest.raises(ConnectionResetError):  # noqa: PT012 - the reset comes behind what was sent
            while data := client.socket.recv(65536):
                got += data
        assert b"\r\n0\r\n\r\n" not in got
        assert not got.startswith(b"0\r\n\r\n")
    bench.expect_clean(None)
    record = until(lambda: [one for one in bench.edge.records() if word in one["path"]], 10, "the record")[0]
    assert record["code"] == "answer-cut-off"


@pytest.mark.parametrize("minor", [b"1.0", b"1.1"])
@pytest.mark.parametrize("pause", [(), (GATE,)])
def test_an_answer_until_the_close_is_whole(bench: Bench, minor: bytes, pause: Script) -> None:
    """RFC 9112 section 6.3, rule 8: without any framing, the end of the connection is the end of the answer."""
    word = bench.script(b"HTTP/" + minor + b" 200 OK\r\n\r\nok-", *pause, b"@", CLOSE)
    with bench.client() as client:
        client.send(get(f"/api/api/case/{word}"))
        until(lambda: bench.seen(word), 10, "the request")
        bench.hostile.gate.set()
        assert client.answer().body == f"ok-{word}".encode()
        bench.expect_clean(client)


def test_an_answer_in_single_bytes_is_whole(bench: Bench) -> None:
    """However the target's writes are cut."""
    for data in (OK, CHUNKED, HINTS + CHUNKED):
        word = next(bench.words)
        bench.hostile.scripts[word] = (tuple(bytes([byte]) for byte in data.replace(b"@", word.encode())),)
        with bench.client() as client:
            client.send(get(f"/api/api/case/{word}"))
            assert client.answer().body == f"ok-{word}".encode()
            bench.expect_clean(client)
