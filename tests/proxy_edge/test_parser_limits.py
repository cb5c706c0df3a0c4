"""The request parser's bounds: its limits hold to the byte, a full queue holds bytes back, deadlines know what is open."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from models.errors import RequestHeadTooLarge
from proxy_edge.parser import RequestParser
from tests.proxy_edge.pipelines import CHUNKED, GET, HEAD, HOST, LIMITS, bytewise, cut, parse

# -- limits -----------------------------------------------------------------------------------------


def ways(data: bytes) -> list[list[bytes]]:
    """Unsplit, in network-sized reads, cut before each of the last bytes, and byte by byte."""
    reads = [data[at : at + 1460] for at in range(0, len(data), 1460)]
    ends = [[data[:-back], data[-back:]] for back in range(1, 8)]
    return [[data], reads, *ends, bytewise(data)]


def line_of(size: int) -> bytes:
    """A request whose request line has `size` bytes."""
    return b"GET /" + b"a" * (size - 14) + b" HTTP/1.1\r\nHost: a\r\n\r\n"


def head_of(size: int) -> bytes:
    """A request whose head has `size` bytes, blank line included, padded with a field and with blanks."""
    start = b"GET / HTTP/1.1\r\nHost: a\r\nA: "
    return start + b" " * 30_000 + b"b" * (size - len(start) - 30_000 - 4) + b"\r\n\r\n"


def extended(size: int) -> bytes:
    """A chunked request with `size` bytes of extensions and trailers."""
    half = size // 2
    trailer = b"A: " + b"b" * (size - half - 5) + b"\r\n"
    return CHUNKED + b"3;" + b"e" * (half - 1) + b"\r\nabc\r\n0\r\n" + trailer + b"\r\n"


@pytest.mark.parametrize(
    ("make", "most"),
    [
        (line_of, LIMITS.request_line_bytes),
        (head_of, LIMITS.head_bytes),
        (extended, LIMITS.trailer_bytes),
        (lambda size: GET + HOST + b"A: b\r\n" * (size - 1) + b"\r\n", LIMITS.head_fields),
    ],
    ids=["request line", "head", "chunk extensions and trailers", "fields"],
)
def test_limits_hold_to_the_byte_under_every_split(make: Callable[[int], bytes], most: int) -> None:
    """The largest is accepted and one more is 431, however the bytes arrive (API.md section 3)."""
    for pieces in ways(make(most)):
        assert [(one.complete, one.refusal) for one in parse(pieces)] == [(True, None)]
    for pieces in ways(make(most + 1)):
        assert [(one.complete, one.refusal) for one in parse(pieces)] == [(False, RequestHeadTooLarge)]


def test_a_request_line_without_end_is_cut_off() -> None:
    """It is refused when it passes the limit, not when it ends."""
    (got,) = parse([b"GET /" + b"a" * 9000])
    assert got.refusal is RequestHeadTooLarge


def test_a_head_without_end_is_cut_off() -> None:
    """A field that never ends is refused when the head passes its limit."""
    (got,) = parse([GET + b"A: ", *[b"b" * 1000] * 66])
    assert got.refusal is RequestHeadTooLarge


def test_small_chunks_are_no_overhead() -> None:
    """Honest framing of a body in chunks of one byte never counts as extensions."""
    body = b"".join(b"1\r\n%c\r\n" % (at % 256) for at in range(20_000))
    for pieces in ([CHUNKED + body + b"0\r\n\r\n"], cut(CHUNKED + body + b"0\r\n\r\n", range(0, 10**6, 997))):
        (got,) = parse(pieces)
        assert (got.complete, len(got.body)) == (True, 20_000)


def test_small_chunks_do_not_pay_for_extensions() -> None:
    """Many chunks buy no room: more than 16 KiB of extensions is refused, before or after them."""
    chunks = b"1\r\na\r\n" * 5000
    for rest in (
        chunks + b"1;" + b"e" * 16_384 + b"\r\na\r\n",
        b"1;" + b"e" * 16_384 + b"\r\na\r\n" + chunks,
    ):
        (got,) = parse([CHUNKED + rest + b"0\r\n\r\n"])
        assert got.refusal is RequestHeadTooLarge
        (got,) = parse([CHUNKED + b"1;ex\r\na\r\n" * 5500 + b"0\r\n\r\n"])
        assert got.refusal is RequestHeadTooLarge


def test_bodies_have_no_limit_here() -> None:
    """A large body passes in pieces; it is the exchange that holds back."""
    parser = RequestParser(LIMITS)
    parser.feed(HEAD + b"Content-Length: 50000000\r\n\r\n")
    total = 0
    for _ in range(50):
        parser.feed(b"\r\n\r\n" * 250_000)
        total += sum(map(len, parser.messages[0].take_body()))
    assert (total, parser.messages[0].complete) == (50_000_000, True)


# -- the queue --------------------------------------------------------------------------------------


def test_a_full_queue_holds_bytes_back() -> None:
    """Sixteen requests wait behind the one in progress; the rest stays unparsed until one leaves."""
    parser = RequestParser(LIMITS)
    parser.feed(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(1000)))
    seen = []
    while parser.messages:
        assert len(parser.messages) <= LIMITS.pipelined_requests + 1
        seen.append(parser.messages.popleft().target)
        parser.resume()
    assert seen == [b"/%d" % number for number in range(1000)]
    assert parser.held == 0


def test_a_full_queue_still_reads_the_body_under_way() -> None:
    """The last request's own body is not held back: it may be what everything waits for."""
    parser = RequestParser(LIMITS)
    parser.feed(GET + HOST + b"\r\n")
    for _ in range(LIMITS.pipelined_requests):
        parser.feed(HEAD + b"Content-Length: 2\r\n\r\n")
        assert parser.reading_body
        parser.feed(b"ab")
    parser.feed(GET + HOST + b"\r\n")
    assert len(parser.messages) == LIMITS.pipelined_requests + 1
    assert parser.held == len(GET + HOST) + 2


# -- what a connection's deadlines need ---------------------------------------------------------------


def test_it_tells_what_is_incomplete() -> None:
    """Reading a head and reading a body are told apart, and neither holds between messages."""
    parser = RequestParser(LIMITS)
    states = []
    for piece in (
        b"\r\n",
        b"P",
        b"OST /x HTTP/1.1\r\nHost: a\r\nContent-Le",
        b"ngth: 2\r\n\r\n",
        b"a",
        b"b",
        b"\r\n",
    ):
        parser.feed(piece)
        states.append((parser.reading_head, parser.reading_body))
    head, body, idle = (True, False), (False, True), (False, False)
    assert states == [idle, head, head, body, body, idle, idle]


def test_it_ends_with_a_refusal_or_a_close() -> None:
    """After either no further message can come."""
    for data in (b"nonsense\r\n\r\n", GET + HOST + b"Connection: close\r\n\r\n"):
        parser = RequestParser(LIMITS)
        for piece in (data, GET + HOST + b"\r\n"):
            parser.feed(piece)
            assert len(parser.messages) == 1


def test_via_values_are_gathered() -> None:
    """All of them, so that our own is found wherever it stands."""
    parser = RequestParser(LIMITS)
    parser.feed(GET + HOST + b"Via: 1.1 one\r\nVIA: 1.1 two, 1.1 three\r\n\r\n")
    assert parser.messages[0].block.via == b"1.1 one,1.1 two, 1.1 three,"
