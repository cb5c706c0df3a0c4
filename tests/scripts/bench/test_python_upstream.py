"""The fallback target's answers: framed, and the same documents that nginx gives."""

from __future__ import annotations

import json

import httptools

from scripts.bench import governance
from scripts.bench.python_upstream import Target, answer
from scripts.bench.upstream import answer_body


class Written:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.data, self.closed = b"", False

    def write(self, data: bytes) -> None:
        self.data += data

    def close(self) -> None:
        self.closed = True


def body(response: bytes) -> bytes:
    """The body of one complete response, as a parser finds it."""
    pieces: list[bytes] = []

    class Reader:
        on_body = staticmethod(pieces.append)

    httptools.HttpResponseParser(Reader()).feed_data(response)
    return b"".join(pieces)


def test_each_path_has_its_document():
    """Load, what was seen, what is repeated, and anything else."""
    assert body(answer(governance.LOAD_PATH.encode(), b"", has_key=False, token=b"t")) == answer_body()
    seen = answer(governance.SEEN_PATH.encode(), b"Bearer t", has_key=True, token=b"t")
    assert json.loads(body(seen)) == {"authorization": "injected", "apiKey": "present"}
    echo = answer(governance.ECHO_PATH.encode(), b"Bearer t", has_key=False, token=b"t")
    assert json.loads(body(echo)) == {"echo": "Bearer t"}
    assert b"X-Echo: Bearer t\r\n" in echo
    assert json.loads(body(answer(b"/", b"", has_key=False, token=b"t"))) == {"reached": True}


def test_one_connection_forgets_the_request_before():
    """Headers of the first request do not colour the second; a broken one ends the connection."""
    target, transport = Target(b"t"), Written()
    target.connection_made(transport)
    path = governance.SEEN_PATH
    target.data_received(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\n\r\n".encode())
    assert b'"authorization":"injected"' in transport.data
    transport.data = b""
    target.data_received(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert b'"authorization":"missing"' in transport.data
    target.data_received(b"nonsense\r\n\r\n")
    assert transport.closed
