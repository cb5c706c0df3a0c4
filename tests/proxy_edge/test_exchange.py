"""Caller, exchange and target joined in memory: however bytes are split on either side, the result is the same."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from dataclasses import dataclass, field
from typing import Any

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy_edge.client import ClientConnection
from proxy_edge.upstream.connection import UpstreamConnection
from tests.kit.memory import VIA, MemoryEdge, MemoryTransport, settle
from tests.proxy_edge.exchanges import (
    KEY,
    MASKED,
    TOKEN,
    Request,
    call,
    requests,
)

# -- the wire -------------------------------------------------------------------------------------------


@dataclass
class Got:
    """What came out: answers as the caller read them, requests as the target did."""

    caller: list[tuple[int, list[tuple[bytes, bytes]], bytes]] = field(default_factory=list)
    target: list[tuple[bytes, bytes, list[tuple[bytes, bytes]], bytes]] = field(default_factory=list)
    records: list[tuple[Any, ...]] = field(default_factory=list)
    left: bytes = b""


class Target:
    """One connection's far side: reads requests with h11 and answers the n-th one as planned."""

    def __init__(self, connection: UpstreamConnection, transport: MemoryTransport) -> None:
        self.connection, self.transport = connection, transport
        self.reader = h11.Connection(h11.SERVER)
        self.request: h11.Request | None = None
        self.body = b""

    def read(self) -> tuple[bytes, bytes, list[tuple[bytes, bytes]], bytes] | None:
        """The request that is complete now, if one is."""
        if data := self.transport.take():
            self.reader.receive_data(data)
        while True:
            event = self.reader.next_event()
            if isinstance(event, h11.Request):
                self.request = event
            elif isinstance(event, h11.Data):
                self.body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                assert self.request is not None
                assert self.reader.trailing_data == (b"", False)
                done = (self.request.method, self.request.target, list(self.request.headers), self.body)
                self.reader, self.body = h11.Connection(h11.SERVER), b""
                return done
            else:
                return None


async def drive(edge: MemoryEdge, pipeline: list[Request], cuts: list[int], schedule: list[bool]) -> Got:
    """Sends the pipeline cut at `cuts`, answers likewise; `schedule` says whose piece is next."""
    got = Got()
    edge.dialler.connections.clear()
    caller, transport = ClientConnection(edge.edge), MemoryTransport()
    caller.connection_made(transport)
    sending = cut(b"".join(one.wire for one in pipeline), cuts)
    planned = [one.answer for one in pipeline if one.answer is not None]
    answering: list[tuple[Target, bytes | None]] = []
    targets: list[Target] = []
    turns = iter(schedule)
    while True:
        if caller.exchange is not None and caller.exchange.upstream is None:
            await settle()  # it is being connected
        targets.extend(Target(*known) for known in edge.dialler.connections[len(targets) :])
        for target in targets:
            if (request := target.read()) is not None:
                answer = planned[len(got.target)]
                got.target.append(request)
                answering += [(target, piece) for piece in cut(answer.wire, cuts)]
                if answer.closes:
                    answering.append((target, None))
        wants_caller = next(turns, True)
        if sending and transport.reading and (wants_caller or not answering):
            caller.data_received(sending.pop(0))
        elif answering:
            target, piece = answering.pop(0)
            if piece is not None:
                target.connection.data_received(piece)
            else:
                target.connection.eof_received()
                target.connection.connection_lost(None)
        elif sending and not transport.reading:
            pytest.fail("the edge stopped reading for good")
        else:
            break
    assert caller.exchange is None
    got.left = decode(bytes(transport.written), pipeline, got)
    before = edge.records.stat().st_size if edge.records.exists() else 0
    await edge.drain()
    lines = edge.records.read_bytes()[before:].splitlines() if edge.records.exists() else []
    # The keeper puts what ended in the same millisecond in any order; ids count up.
    for record in sorted(map(json.loads, lines), key=lambda one: str(one["requestId"])):
        got.records.append(
            tuple(
                record[name] for name in ("method", "path", "query", "status", "code", "bytesIn", "bytesOut")
            )
        )
        assert record.get("upstream") is None or record["upstream"]["status"] == record["status"]
    edge.edge.pool.close()
    caller.connection_lost(None)
    return got


def decode(data: bytes, pipeline: list[Request], got: Got) -> bytes:
    """Reads the caller's answers with h11; what is left afterwards must be nothing."""
    for request in pipeline:
        reader = h11.Connection(h11.CLIENT)
        reader.send(h11.Request(method=request.method, target=b"/", headers=[(b"Host", b"e")]))
        reader.send(h11.EndOfMessage())
        reader.receive_data(data)
        head: h11.Response | None = None
        body = b""
        while not isinstance(event := reader.next_event(), h11.EndOfMessage):
            assert event is not h11.NEED_DATA, (request, got.caller, data)
            if isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
        assert head is not None
        got.caller.append((head.status_code, normal(list(head.headers)), normal_body(body)))
        data = reader.trailing_data[0]
    return data


def normal(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(name, b"ID" if name == b"exeat-request-id" else value) for name, value in headers]


def normal_body(body: bytes) -> bytes:
    return re.sub(rb"req_[0-9a-f]{24}", b"ID", body)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % max(1, len(data)) for place in cuts)})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


# -- the property -----------------------------------------------------------------------------------------


@given(
    pipeline=st.lists(requests(), min_size=1, max_size=5),
    cuts=st.lists(st.integers(0, 5000), max_size=10) | st.just(list(range(3000))),
    schedule=st.lists(st.booleans(), max_size=30),
)
@settings(max_examples=200, deadline=None)
def test_any_split_gives_the_same_on_both_sides(
    memory_edge: MemoryEdge, pipeline: list[Request], cuts: list[int], schedule: list[bool]
) -> None:
    """Caller, target and record see what they see when nothing is split, and that is what was meant."""
    with asyncio.Runner() as runner:
        whole = runner.run(drive(memory_edge, pipeline, [], []))
        split = runner.run(drive(memory_edge, pipeline, cuts, schedule))
    assert split.caller == whole.caller
    assert split.target == whole.target
    assert split.records == whole.records
    assert whole.left == split.left == b""
    sent = [one for one in pipeline if one.answer is not None]
    assert [(method, path, body) for method, path, _, body in whole.target] == [
        (one.method, one.target, one.body) for one in sent
    ]
    for _, _, headers, _ in whole.target:
        names = [name for name, _ in headers]
        assert headers.count((b"authorization", b"Bearer " + TOKEN)) == names.count(b"authorization") == 1
        assert headers.count((b"via", b"1.1 " + VIA)) == 1
        assert not {b"upgrade", b"connection", b"x-api-key", b"expect"} & set(names)
        assert KEY not in b"".join(value for _, value in headers)
    for request, (status, headers, body) in zip(pipeline, whole.caller, strict=True):
        assert status == request.status
        if request.answer is not None:
            full = memory_edge.full  # type: ignore[attr-defined]  # see the fixture
            shown = request.answer.body.replace(TOKEN, MASKED) if full else request.answer.body
            assert body == shown
            ours = {b"exeat-proxy-code", b"exeat-proxy-message", b"exeat-request-id", b"content-length",
                    b"transfer-encoding", b"connection"}  # fmt: skip
            assert [pair for pair in headers if pair[0] not in ours] == request.answer.headers
            assert [value for name, value in headers if name == b"exeat-request-id"] == [b"ID"]


# -- targets that say anything ------------------------------------------------------------------------------

STATUS = st.sampled_from(
    [b"HTTP/1.1 200 OK"] * 6
    + [b"HTTP/1.0 200 OK", b"HTTP/1.1 204 No", b"HTTP/1.1 304 No", b"HTTP/1.1 100 Go", b"HTTP/1.1 103 Hints"]
    + [b"HTTP/1.1 150 Odd"] * 3
    + [b"HTTP/1.1 101 Switch"]
)
FIELDS = st.lists(
    st.sampled_from([b"Content-Length: 4"] * 5 + [b"Transfer-Encoding: chunked"] * 3
                    + [b"Content-Length: 0", b"Content-Length: 90", b"Connection: close", b"X: EVIL", b"X : y", b" folded"]),
    max_size=2,
)  # fmt: skip
BODIES = st.sampled_from([b"EVIL"] * 5 + [b"4\r\nEVIL\r\n0\r\n\r\n"] * 3
                         + [b"", b"EV", b"EVILEVIL", b"4\r\nEVIL\r\n", b"4\r\nEVILxx", b"0\r\n\r\n", b"5;", b"\r\n", b"x" * 90])  # fmt: skip
RIGHT = st.sampled_from(
    [
        ([b"Content-Length: 4"], b"EVIL"),
        ([b"Transfer-Encoding: chunked"], b"4\r\nEVIL\r\n0\r\n\r\n"),
        ([b"Content-Length: 0"], b""),
        ([], b""),
    ]
)
SPEECH = st.lists(
    st.tuples(STATUS, RIGHT | RIGHT | st.tuples(FIELDS, BODIES)).map(
        lambda one: b"\r\n".join([one[0], *one[1][0], b"", one[1][1]])
    ),
    max_size=3,
).map(b"".join)
"""Nearly answers: status lines, fields and bodies that do not always belong together."""
NOISE = st.sampled_from([b"", b"", b"", b"", b"\r\n", b"\0", b"H", b"EVIL", b"HTTP/1.1 200 OK\r\n", b"\n"])


@given(
    method=st.sampled_from([b"GET", b"HEAD", b"POST"]),
    wire=st.tuples(SPEECH, NOISE).map(b"".join),
    cuts=st.lists(st.integers(0, 500), max_size=6) | st.just(list(range(500))),
    late=st.booleans(),
)
@settings(max_examples=400, deadline=None)
def test_whatever_a_target_says_stays_in_its_exchange(
    memory_edge: MemoryEdge, method: bytes, wire: bytes, cuts: list[int], *, late: bool
) -> None:
    """The caller reads one whole answer and then its next one, or is cut off: never a byte of the one in the other.

    late: the next request comes only when the target has said all.
    """
    written, cut_off = asyncio.run(provoke(memory_edge, method, cut(wire, cuts), late=late))
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method=method, target=b"/", headers=[(b"Host", b"e")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(written)
    status, closes = 0, False
    while not isinstance(event := reader.next_event(), h11.EndOfMessage):
        if event is h11.NEED_DATA:
            assert cut_off
            return
        if isinstance(event, h11.Response):
            status, closes = event.status_code, (b"connection", b"close") in list(event.headers)
    rest = reader.trailing_data[0]
    if closes or cut_off:
        assert rest == b""
    else:
        assert status >= 200
        assert rest.startswith(b"HTTP/1.1 200 OK\r\nx-next: yes\r\n")
        assert rest.endswith(b"\r\n\r\nnext")
        assert b"EVIL" not in rest


async def provoke(edge: MemoryEdge, method: bytes, pieces: list[bytes], *, late: bool) -> tuple[bytes, bool]:
    """One call answered with `pieces` and then the end, then one answered rightly; what the caller got."""
    edge.dialler.connections.clear()
    caller, transport = ClientConnection(edge.edge), MemoryTransport()
    caller.connection_made(transport)
    body = b"body" if method == b"POST" else b""
    first = call(method, b"Content-Length: %d" % len(body), body=body)
    caller.data_received(first if late else first + call())
    await settle()
    hostile, _ = edge.dialler.connections[0]
    exchange = hostile.exchange
    for piece in pieces:
        # Once another request is out on this connection, bytes on it are an answer to that one.
        if hostile.exchange is None or hostile.exchange is exchange:
            hostile.data_received(piece)
    await settle()
    if hostile.exchange is exchange and not hostile.closed:
        hostile.eof_received()
        hostile.connection_lost(None)
    if late and not transport.ended and not transport.closing:
        caller.data_received(call())
    await settle()
    for connection, _ in edge.dialler.connections:
        if connection.exchange is not None and connection.exchange is not exchange:
            connection.data_received(b"HTTP/1.1 200 OK\r\nX-Next: yes\r\nContent-Length: 4\r\n\r\nnext")
    await settle()
    cut_off = transport.aborted
    caller.connection_lost(None)
    await edge.drain()
    edge.edge.pool.close()
    return bytes(transport.written), cut_off
