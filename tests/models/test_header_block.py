"""The fields of one request: read once, framing beyond doubt, nothing of a credential in its repr."""

from __future__ import annotations

import pytest

from models.errors import RequestHeadTooLarge, RequestMalformed
from models.header_block import HeaderBlock

HOST = b"Host: edge.test\r\n"


def block(*lines: bytes) -> HeaderBlock:
    return HeaderBlock(HOST + b"".join(line + b"\r\n" for line in lines), 100)


def test_pairs_keep_order_and_values() -> None:
    """Names in lower case, values without surrounding blanks, inner ones and colons kept, repeats kept."""
    got = block(b"X-A:\t one two \t", b"x-a:", b"X-B: a:b", b"X-C:\xe4")
    assert got.pairs == [
        (b"host", b"edge.test"),
        (b"x-a", b"one two"),
        (b"x-a", b""),
        (b"x-b", b"a:b"),
        (b"x-c", b"\xe4"),
    ]
    assert (got.length, got.chunked, got.expects, got.via, got.agent) == (None, False, False, b"", b"")
    assert got.nominated == frozenset()


def test_what_the_edge_needs_is_noted() -> None:
    """Framing, expectation, Via, user agent, and what every Connection field lists."""
    got = block(
        b"CONTENT-LENGTH: 007",
        b"Expect: 100-Continue",
        b"Via: 1.1 a",
        b"via: 1.0 b, 1.1 c",
        b"User-Agent: x/1",
        b"Connection: keep-alive, X-One",
        b"connection: x-TWO",
        b"Connection: close",
    )
    assert (got.length, got.expects, got.agent) == (7, True, b"x/1")
    assert got.via == b"1.1 a,1.0 b, 1.1 c,"
    assert got.nominated == {b"keep-alive", b"x-one", b"x-two"}
    assert block(b"Transfer-Encoding: Chunked").chunked


@pytest.mark.parametrize(
    "lines",
    [
        [b"Host: other.test"],
        [b"Content-Length: 3", b"Content-Length: 3"],
        [b"Content-Length: 3", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: chunked", b"Content-Length: 3"],
        [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: gzip, chunked"],
        [b"Transfer-Encoding: "],
        *[
            [b"Content-Length: " + value]
            for value in (b"", b"+3", b"-3", b"3 3", b"0x3", b"\xd9\xa3", b"9" * 19)
        ],
    ],
)
def test_doubtful_framing_is_refused(lines: list[bytes]) -> None:
    """Also where llhttp has a view of its own."""
    with pytest.raises(RequestMalformed):
        block(*lines)


@pytest.mark.parametrize("raw", [b"", b"A: b\r\n", b"Host:\r\n", b"Host: a b\r\n", b"Host: u@a\r\n"])
def test_exactly_one_usable_host(raw: bytes) -> None:
    """None, an empty one and one that is no authority are refused."""
    with pytest.raises(RequestMalformed):
        HeaderBlock(raw, 100)


def test_fields_are_counted() -> None:
    """Up to the limit, and not one more."""
    assert len(HeaderBlock(HOST + b"a: b\r\n" * 9, 10).pairs) == 10
    with pytest.raises(RequestHeadTooLarge):
        HeaderBlock(HOST + b"a: b\r\n" * 10, 10)


def test_its_repr_shows_no_value() -> None:
    """Values may be credentials."""
    assert "canary" not in repr(block(b"Authorization: Bearer canary"))


def test_what_connection_lists_is_not_judged() -> None:
    """A field that never goes on decides nothing; who calls is still read from it."""
    block = HeaderBlock(b"host: e\r\nX-Dry-Run: true\r\nConnection: x-dry-run, close\r\nA: b\r\n", 100)
    assert (b"x-dry-run", b"true") in block.pairs
    assert [name for name, _ in block.judged] == [b"host", b"connection", b"a"]
