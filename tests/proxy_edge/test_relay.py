"""The answer's way back, at the seams that splits of valid answers do not reach."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from proxy_edge.client import ClientConnection
from tests.kit.edge import policy
from tests.kit.memory import MemoryEdge, MemoryTransport, settle
from tests.kit.raw import get, request

GZIP = b"Content-Encoding: gzip\r\n"


@pytest.fixture
def edge(tmp_path: Path) -> MemoryEdge:
    return MemoryEdge(tmp_path, policy("http://target.test", target={"targetTimeoutMs": 2000}))


def exchanged(edge: MemoryEdge, sent: bytes, answer: bytes) -> tuple[bytes, float]:
    """What the caller gets for one request, and its deadline on the edge's clock just after."""

    async def main() -> tuple[bytes, float]:
        caller, transport = ClientConnection(edge.edge), MemoryTransport()
        caller.connection_made(transport)
        caller.data_received(sent)
        await settle()
        edge.dialler.connections[0][0].data_received(answer)
        got, deadline = transport.take(), caller.deadline
        caller.connection_lost(None)
        edge.edge.pool.close()
        return got, deadline

    return asyncio.run(main())


def test_after_the_head_silence_inside_the_answer_counts(edge: MemoryEdge) -> None:
    """An answer whose body begins later than targetTimeoutMs after its head is not cut for that."""
    got, deadline = exchanged(edge, get("/api/api/x"), b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 200 ")
    assert deadline == edge.edge.now + edge.edge.settings.body_idle_seconds


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (get("/api/api/x"), b"HTTP/1.1 304 Not Modified\r\n" + GZIP + b"\r\n"),
        (request("HEAD", "/api/api/x"), b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n" + GZIP + b"\r\n"),
        (get("/api/api/x"), b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Encoding: identity\r\n\r\nok"),
    ],
    ids=["304", "HEAD", "identity"],
)
def test_an_answer_without_an_encoded_body_is_scrubbed_and_passes(
    edge: MemoryEdge, sent: bytes, answer: bytes
) -> None:
    """A content coding only stands in the scrub's way where there is a body in it."""
    got, _ = exchanged(edge, sent, answer)
    assert got.split(b" ")[1] == answer.split(b" ")[1]


@pytest.mark.parametrize("coding", [b"gzip", b"br", b"gzip, identity", b"x"])
def test_an_encoded_body_is_refused(edge: MemoryEdge, coding: bytes) -> None:
    """What the full scrub cannot read goes nowhere (502 scrub-failed)."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Encoding: %b\r\n\r\nabcd" % coding
    got, _ = exchanged(edge, get("/api/api/x"), answer)
    assert got.startswith(b"HTTP/1.1 502 ")
    assert b"exeat-proxy-code: scrub-failed\r\n" in got
    assert b"abcd" not in got


class CountingClock:
    """Wall time that is a second later each time it is asked."""

    def __init__(self) -> None:
        self.seconds = 1_700_000_000

    def wall_ms(self) -> int:
        self.seconds += 1
        return self.seconds * 1000

    def boot_ns(self) -> int:
        return 0


@pytest.mark.parametrize("path", ["/api/api/x", "/api/api/denied"])
def test_a_record_tells_when_the_request_came(tmp_path: Path, path: str) -> None:
    """ReceivedAt is the moment at which the exchange began, not that of its opening or its end."""
    rules = [{"effect": "deny", "path": {"pattern": "^/denied"}}]
    edge = MemoryEdge(tmp_path, policy("http://target.test", rules=rules, proxyMaxRequestsPerMinute=10))
    edge.edge.clock = CountingClock()

    async def main() -> None:
        caller, transport = ClientConnection(edge.edge), MemoryTransport()
        caller.connection_made(transport)
        caller.data_received(get(path))
        await settle()
        for connection, _ in edge.dialler.connections:
            connection.data_received(b"HTTP/1.1 204 No Content\r\n\r\n")
        caller.connection_lost(None)
        edge.edge.pool.close()
        await edge.drain()

    asyncio.run(main())
    (record,) = [json.loads(line) for line in edge.records.read_text().splitlines()]
    assert record["receivedAt"] == "2023-11-14T22:13:21.000Z"
