"""A caller's connection over a transport in memory: what it reads, holds, refuses and lets go of, and when.

Whole exchanges are in test_exchange; here is what a caller can do to the connection itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy_edge.client import NEVER, ClientConnection
from tests.kit.edge import policy
from tests.kit.memory import MemoryEdge, MemoryTransport, settle
from tests.kit.raw import get, request

HEALTH = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
ANSWER = b'{"status":"ok"}'
TRUSTED = "203.0.113.0/24, 10.0.0.0/8, 2001:db8::/32"


class SlowTransport(MemoryTransport):
    """A caller that takes nothing until told; it says when too much is queued, as asyncio does."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._protocol = protocol
        self._high = 1 << 30
        self.queued = 0
        self._full = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        del low
        assert high is not None
        self._high = high

    def write(self, data: bytes | bytearray | memoryview) -> None:
        super().write(data)
        self.queued += len(data)
        if self.queued > self._high and not self._full:
            self._full = True
            self._protocol.pause_writing()

    def drained(self) -> None:
        """The caller takes all of it."""
        self.queued = 0
        if self._full:
            self._full = False
            self._protocol.resume_writing()


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[MemoryEdge]:
    edge = MemoryEdge(tmp_path, policy("http://target.test"), trusted_proxies=TRUSTED)
    yield edge
    edge.edge.stats.close()


def connect(edge: MemoryEdge) -> tuple[ClientConnection, MemoryTransport]:
    client, transport = ClientConnection(edge.edge), MemoryTransport()
    client.connection_made(transport)
    return client, transport


def connect_slowly(edge: MemoryEdge) -> tuple[ClientConnection, SlowTransport]:
    client = ClientConnection(edge.edge)
    transport = SlowTransport(client)
    client.connection_made(transport)
    return client, transport


# -- who called -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "address"),
    [
        ([], "203.0.113.7"),
        ([b"198.51.100.1"], "198.51.100.1"),
        ([b"192.0.2.66, 198.51.100.1"], "198.51.100.1"),
        ([b"192.0.2.66", b"198.51.100.1"], "198.51.100.1"),
        ([b"192.0.2.66, 198.51.100.1, 10.1.2.3"], "198.51.100.1"),
        ([b"192.0.2.66, 198.51.100.1 ,10.1.2.3", b"10.9.9.9,203.0.113.8"], "198.51.100.1"),
        ([b"2001:db8::1, 2001:db9::1, 2001:db8::2"], "2001:db9::1"),
        ([b"10.1.2.3, 10.1.2.4"], "203.0.113.7"),
        ([b"198.51.100.1, unknown"], "203.0.113.7"),
        ([b"198.51.100.1, 10.1.2.3:80"], "203.0.113.7"),
        ([b"198.51.100.1,"], "203.0.113.7"),
        ([b"\xff"], "203.0.113.7"),
    ],
)
def test_address_behind_trusted_proxies(edge: MemoryEdge, fields: list[bytes], address: str) -> None:
    """X-Forwarded-For is read from the right, past trusted proxies only; what is no address is not guessed at."""
    client, _ = connect(edge)
    assert client.caller_address([(b"x-forwarded-for", value) for value in fields]) == address


def test_address_from_a_stranger(tmp_path: Path) -> None:
    """A peer that is no trusted proxy is the caller, whatever it says."""
    for name, trusted in (("none", ""), ("others", "10.0.0.0/8")):
        edge = MemoryEdge(tmp_path / name, policy("http://target.test"), trusted_proxies=trusted)
        client, _ = connect(edge)
        assert client.caller_address([(b"x-forwarded-for", b"198.51.100.1")]) == "203.0.113.7"
        edge.edge.stats.close()


# -- callers that do not read -----------------------------------------------------------------------


def feed_while_read(client: ClientConnection, transport: MemoryTransport, piece: bytes, most: int) -> int:
    """Sends `piece` again and again while the connection reads, at most `most` times; how often it did."""
    for count in range(most):
        if not transport.is_reading():
            return count
        client.data_received(piece)
    return most


def test_answers_that_nobody_reads_stay_few(edge: MemoryEdge) -> None:
    """A caller that pipelines without end and takes no answer makes the edge hold little, and reading stops."""
    client, transport = connect_slowly(edge)
    sent = feed_while_read(client, transport, HEALTH * 10, 1 << 14) * 10
    assert sent < 4096, "never stopped reading"
    assert transport.queued < 192 * 1024
    assert len(client._parser.messages) + client._parser.held // len(HEALTH) < 64
    for _ in range(10 * sent):
        transport.drained()
    assert transport.written.count(ANSWER) == sent
    assert transport.is_reading()
    assert client._parser.held == 0


def test_body_behind_answers_that_nobody_reads_stays_small(edge: MemoryEdge) -> None:
    """A body whose request cannot be begun, because the answers before it are not taken, is not collected without end."""
    client, transport = connect_slowly(edge)
    head = b"POST /api/api/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n"
    while not client._unread:
        client.data_received(HEALTH)
    client.data_received(head)
    sent = feed_while_read(client, transport, bytes(65536), 1024)
    assert sent <= 8
    assert transport.queued < 192 * 1024


async def test_requests_behind_one_in_flight_stay_few(edge: MemoryEdge) -> None:
    """While the target is awaited 16 requests or 64 KiB are held; then reading stops, and goes on as they are answered."""
    client, transport = connect(edge)
    client.data_received(get("/api/api/first"))
    await settle()
    sent = feed_while_read(client, transport, HEALTH, 1000)
    assert sent <= 17
    [(upstream, _)] = edge.dialler.connections
    upstream.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst")
    assert transport.written.count(ANSWER) == sent
    assert transport.is_reading()
    client.data_received(HEALTH)
    assert transport.written.count(ANSWER) == sent + 1


async def test_queue_is_bounded_by_bytes_too(edge: MemoryEdge) -> None:
    """Few large requests behind one in flight stop the reading as well."""
    client, transport = connect(edge)
    client.data_received(get("/api/api/first"))
    await settle()
    body = request("POST", "/api/api/second", body=bytes(100_000))
    sent = feed_while_read(client, transport, body[:4096], 1) + feed_while_read(
        client, transport, bytes(4096), 20
    )
    assert 16 <= sent < 20


async def test_answer_that_nobody_reads_stops_the_target(edge: MemoryEdge) -> None:
    """A caller that takes no more of an answer pauses the target; when it does, the target is read again."""
    client, transport = connect_slowly(edge)
    client.data_received(get("/api/api/x"))
    await settle()
    [(upstream, line)] = edge.dialler.connections
    upstream.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    pieces = 0
    while line.is_reading() and pieces < 100:
        upstream.data_received(bytes(10_000))
        pieces += 1
    assert pieces < 20
    transport.drained()
    assert line.is_reading()
    client.connection_lost(None)
    assert line.aborted


# -- callers that leave -----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["eof", "lost", "cut off"])
async def test_abort_frees_the_target(edge: MemoryEdge, how: str) -> None:
    """A caller that leaves in flight ends its exchange: the target's connection is dropped, the record is closed."""
    client, _ = connect(edge)
    client.data_received(get("/api/api/x"))
    await settle()
    [(_, line)] = edge.dialler.connections
    if how == "eof":
        client.eof_received()
    elif how == "lost":
        client.connection_lost(ConnectionResetError())
    else:
        client.cut_off()
    assert line.aborted
    assert client.exchange is None
    assert edge.recorder.depth == 1


async def test_abort_while_dialling_keeps_the_connection_for_others(edge: MemoryEdge) -> None:
    """A connection dialled for a caller that left serves the next one."""
    client, _ = connect(edge)
    client.data_received(get("/api/api/x"))
    client.connection_lost(None)
    await settle()
    [(upstream, line)] = edge.dialler.connections
    assert not line.written
    other, _ = connect(edge)
    other.data_received(get("/api/api/y"))
    assert line.take().startswith(b"GET /y ")
    assert len(edge.dialler.connections) == 1
    assert upstream.reused


def test_bytes_after_the_end_are_thrown_away(edge: MemoryEdge) -> None:
    """After a refusal that closes, the caller may finish its sentence, silent for a moment and not without end."""
    client, transport = connect(edge)
    client.data_received(b"nonsense\r\n\r\n")
    assert transport.take().startswith(b"HTTP/1.1 400 ")
    assert transport.ended
    client.data_received(HEALTH)
    assert (transport.take(), transport.aborted) == (b"", False)
    began = edge.edge.now
    for seconds in range(60):
        edge.edge.now = began + seconds
        client.data_received(bytes(1 << 16))
        assert client.deadline == min(edge.edge.now + 2, began + 30)
    assert not transport.aborted  # that is the deadline's to do


def test_moment_after_the_end_is_short(edge: MemoryEdge) -> None:
    """A caller that does not close after a refusal is cut off at the deadline."""
    client, transport = connect(edge)
    client.data_received(b"nonsense\r\n\r\n")
    assert edge.edge.now < client.deadline < edge.edge.now + 5
    client.deadline_passed()
    assert transport.aborted


# -- time -------------------------------------------------------------------------------------------


def test_deadlines_between_requests(edge: MemoryEdge) -> None:
    """Idle: keep-alive. Inside a head: the head's deadline, which its bytes do not move. After it: keep-alive again."""
    client, transport = connect(edge)
    settings = edge.edge.settings
    client.data_received(HEALTH)
    assert client.deadline == edge.edge.now + settings.keepalive_seconds
    client.data_received(HEALTH[:10])
    deadline = edge.edge.now + settings.head_seconds
    edge.edge.now += 3
    client.data_received(HEALTH[10:20])
    assert client.deadline == deadline
    client.data_received(HEALTH[20:])
    assert client.deadline == edge.edge.now + settings.keepalive_seconds
    client.data_received(b"GET")
    client.deadline_passed()
    assert b"HTTP/1.1 408 " in transport.written
    assert transport.ended


def test_idle_connection_closes_silently(edge: MemoryEdge) -> None:
    """At the end of keep-alive nothing is said."""
    client, transport = connect(edge)
    client.data_received(HEALTH)
    transport.take()
    client.deadline_passed()
    assert (transport.take(), transport.closing) == (b"", True)


async def test_target_has_its_own_time(edge: MemoryEdge) -> None:
    """While the answer is awaited the target's timeout counts, and its end is 504."""
    client, transport = connect(edge)
    client.data_received(get("/api/api/x"))
    await settle()
    assert client.deadline == edge.edge.now + 30
    client.deadline_passed()
    assert transport.take().startswith(b"HTTP/1.1 504 ")
    assert not transport.closing
    assert client.deadline != NEVER


# -- the end of the edge ----------------------------------------------------------------------------


async def test_drain(edge: MemoryEdge) -> None:
    """Idle connections close, a begun head and a request in flight are served, and say that they are the last."""
    (idle, idle_line), (begun, begun_line), (busy, busy_line), (late, late_line) = (
        connect(edge) for _ in range(4)
    )
    idle.data_received(HEALTH)
    begun.data_received(HEALTH[:10])
    busy.data_received(get("/api/api/x"))
    await settle()
    late.data_received(get("/api/api/y"))
    await settle()
    upstream, answering = (connection for connection, _ in edge.dialler.connections)
    answering.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n#")
    edge.edge.drain()
    assert [line.closing for line in (idle_line, begun_line, busy_line, late_line)] == [
        True,
        False,
        False,
        False,
    ]
    begun.data_received(HEALTH[10:])
    assert b"connection: close" in begun_line.written
    assert begun_line.closing
    upstream.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert b"connection: close" in busy_line.written
    assert busy_line.closing
    answering.data_received(b"####")
    assert late_line.written.endswith(b"\r\n\r\n#####")
    assert late_line.closing


def test_nothing_happens_on_a_connection_that_is_gone(edge: MemoryEdge) -> None:
    """Writing, governing, ending and timing out after the loss do nothing, and the edge forgets the connection."""
    client, transport = connect(edge)
    client.connection_lost(None)
    client.write(b"x")
    client.govern_reading()
    client.reset()
    client.deadline_passed()
    client.drain()
    assert not transport.written
    assert client not in edge.edge.clients
