"""One connection to a target, driven byte by byte: what an answer is, where it ends, and when nobody may use it again."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_edge.upstream.connection import UpstreamConnection
from tests.kit.memory import MemoryTransport

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A:  b \r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: t\r\n\r\n"
)


class Exchange:
    """Counts what the connection tells it."""

    def __init__(self) -> None:
        self.advanced = self.writable = 0

    def advance(self) -> None:
        self.advanced += 1

    def upstream_writable(self) -> None:
        self.writable += 1


class Line:
    """A connection in an exchange, with its transport."""

    def __init__(self, *, head: bool = False) -> None:
        self.transport = MemoryTransport()
        self.exchange = Exchange()
        self.connection = UpstreamConnection()
        self.connection.connection_made(self.transport)
        self.connection.begin(self.exchange, head=head)

    def feed(self, *pieces: bytes) -> UpstreamConnection:
        for piece in pieces:
            self.connection.data_received(piece)
        return self.connection


def body(connection: UpstreamConnection) -> bytes:
    return b"".join(connection.take_body())


@given(st.sampled_from([OK, CHUNKED]), st.lists(st.integers(0, 120), max_size=6))
def test_answer_in_any_pieces(wire: bytes, cuts: list[int]) -> None:
    """However an answer is cut, its status, fields and body are the same, and the connection can be reused."""
    edges = [0, *sorted(cuts), len(wire)]
    pieces = [piece for start, end in itertools.pairwise(edges) if (piece := wire[start:end])]
    connection = Line().feed(*pieces)
    assert (connection.status, connection.reason, body(connection)) == (200, b"OK", b"hello")
    assert (connection.complete, connection.broken, connection.reusable) == (True, "", True)
    expected = [(b"content-length", b"5"), (b"x-a", b"b")]
    assert connection.headers == (expected if wire is OK else [(b"transfer-encoding", b"chunked")])


@pytest.mark.parametrize(
    "extra", [b"x", b"\r\nx", OK, b"HTTP/1.1 100 Continue\r\n\r\n"], ids=["byte", "line", "answer", "interim"]
)
@pytest.mark.parametrize("together", [True, False])
def test_bytes_after_the_answer_spoil_the_connection(extra: bytes, *, together: bool) -> None:
    """An answer stands when bytes follow it, and is not altered by them; the connection is not used again."""
    line = Line()
    connection = line.feed(OK + extra) if together else line.feed(OK, extra)
    assert (connection.status, body(connection), connection.complete) == (200, b"hello", True)
    assert connection.broken == ""
    assert not connection.reusable


def test_blank_line_after_the_answer_spoils_the_connection() -> None:
    """Not even a blank line may follow. (In the same read llhttp skips it; it can become part of no answer then.)"""
    assert not Line().feed(OK, b"\r\n").reusable


def test_bytes_on_an_idle_connection_close_it() -> None:
    """A byte that no request asked for ends the connection."""
    line = Line()
    line.feed(OK).end()
    line.feed(b"HTTP/1.1 408 Timeout\r\n\r\n")
    assert line.transport.aborted
    assert line.connection.closed


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0x1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000000000\r\n\r\n",
        b"HTTP/2.0 200 OK\r\nContent-Length: 1\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\n" * 17,
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 201 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 140_000,
        b"nonsense\r\n\r\n",
    ],
)
def test_answer_that_cannot_be_trusted(head: bytes) -> None:
    """What can be read in two ways, or has no end in sight, breaks the answer before anything of it counts."""
    line = Line()
    connection = line.feed(head)
    assert connection.broken
    assert not connection.reusable
    assert line.exchange.advanced


def test_interim_answers_are_none() -> None:
    """1xx answers pass unseen, their fields and bodies' framing too."""
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    connection = Line().feed(interim + OK)
    assert (connection.status, connection.reason, connection.headers[0]) == (
        200,
        b"OK",
        (b"content-length", b"5"),
    )
    assert connection.reusable


def test_head_has_no_body() -> None:
    """The answer to HEAD is complete with its head, whatever length it tells."""
    connection = Line(head=True).feed(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    assert (connection.complete, connection.length, connection.reusable) == (True, 5, True)


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_answers_without_body(status: bytes) -> None:
    """204 and 304 end with their head."""
    connection = Line().feed(b"HTTP/1.1 " + status + b"\r\n\r\n")
    assert (connection.complete, connection.reusable) == (True, True)


def test_close_delimited_answer_ends_with_the_connection() -> None:
    """Without framing the close is the end: complete, never reusable."""
    line = Line()
    connection = line.feed(b"HTTP/1.1 200 OK\r\n\r\nhel", b"lo")
    assert not connection.complete
    connection.eof_received()
    assert (connection.complete, connection.broken, body(connection)) == (True, "", b"hello")
    assert not connection.reusable


def test_reset_is_no_end() -> None:
    """A connection that was reset delimits nothing."""
    line = Line()
    connection = line.feed(b"HTTP/1.1 200 OK\r\n\r\nhel")
    connection.connection_lost(ConnectionResetError())
    assert not connection.complete
    assert connection.broken == "ConnectionResetError"


@pytest.mark.parametrize("part", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", OK[:-1], CHUNKED[:-3]])
def test_end_inside_an_answer_breaks_it(part: bytes) -> None:
    """The end of the connection inside head, length or chunks is a broken answer; `got_bytes` tells whether one began."""
    line = Line()
    if part:
        line.feed(part)
    line.connection.eof_received()
    assert line.connection.broken
    assert not line.connection.complete
    assert line.connection.got_bytes is bool(part)
    told = line.exchange.advanced
    assert told
    line.connection.connection_lost(None)
    assert line.connection.closed


def test_end_takes_back_a_pause() -> None:
    """Reading goes on when the exchange is over, so that the target's close is noticed; also after `abort`."""
    line = Line()
    line.connection.pause()
    line.connection.pause()
    assert not line.transport.is_reading()
    line.feed(OK).end()
    assert line.transport.is_reading()
    assert line.connection.exchange is None
    line.connection.eof_received()
    assert line.transport.closing
    assert line.connection.closed


def test_nothing_is_written_to_a_connection_that_is_gone() -> None:
    """Writing, pausing and resuming after the end do nothing."""
    line = Line()
    line.connection.write(b"GET")
    line.connection.connection_lost(None)
    line.connection.write(b" / HTTP/1.1")
    line.connection.pause()
    line.connection.resume()
    assert bytes(line.transport.written) == b"GET"


def test_back_pressure_of_the_target_is_told() -> None:
    """A target that does not read marks the connection; when it reads again the exchange hears of it, if there is one."""
    line = Line()
    line.connection.pause_writing()
    assert line.connection.write_paused
    line.connection.resume_writing()
    assert (line.connection.write_paused, line.exchange.writable) == (False, 1)
    line.feed(OK).end()
    line.connection.pause_writing()
    line.connection.resume_writing()
    assert line.exchange.writable == 1


def test_next_exchange_meets_nothing_of_the_last() -> None:
    """`begin` leaves no status, field, body or flag of the answer before."""
    line = Line()
    line.feed(CHUNKED).end()
    line.connection.begin(line.exchange, head=False)
    connection = line.feed(b"HTTP/1.1 204 No Content\r\nB: c\r\n\r\n")
    assert (connection.status, connection.headers, connection.take_body(), connection.chunked) == (
        204,
        [(b"b", b"c")],
        [],
        False,
    )
