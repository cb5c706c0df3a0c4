"""Caller, exchange and target joined in memory: however bytes are split on either side, the result is the same."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy_edge.client import ClientConnection
from proxy_edge.edge import Bundle
from proxy_edge.upstream.connection import UpstreamConnection
from tests.kit.edge import CALLER_KEY, TARGET_TOKEN, policy
from tests.kit.memory import VIA, MemoryEdge, MemoryTransport, bundle, settle

KEY = CALLER_KEY.encode()
TOKEN = TARGET_TOKEN.encode()
MASKED = b"*" * len(TOKEN)
RULES = [{"ruleId": "no-denied", "effect": "deny", "path": {"pattern": "^/denied"}}]


@pytest.fixture(scope="module", params=["full", "headers"])
def edge(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemoryEdge]:
    home = tmp_path_factory.mktemp("edge")
    document = policy("http://target.test/base", rules=RULES, target={"targetScrub": request.param})
    edge = MemoryEdge(home, document)
    edge.full = request.param == "full"  # type: ignore[attr-defined]  # told to the test beside the edge
    yield edge
    edge.edge.stats.close()


# -- what callers send and targets answer -------------------------------------------------------------


@dataclass
class Answer:
    """What the target sends: `wire`, then perhaps the end of the connection; and what it means."""

    wire: bytes
    closes: bool
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


@dataclass
class Request:
    """What the caller sends, and what the target has to answer when it gets there."""

    wire: bytes
    method: bytes
    target: bytes = b""
    body: bytes = b""
    answer: Answer | None = None
    status: int = 0


PIECES = st.sampled_from([b"x", b"{}", b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"0\r\n\r\n", TOKEN, TOKEN[:9], b"a" * 300,
                          TOKEN + TOKEN[:5], b"Bearer " + TOKEN])  # fmt: skip
BODY = st.lists(PIECES, max_size=4).map(b"".join)


@st.composite
def chunked(draw: st.DrawFn, body: bytes) -> bytes:
    edges = sorted({0, len(body), *(draw(st.integers(0, len(body))) for _ in range(draw(st.integers(0, 3))))})
    pieces = [body[start:end] for start, end in itertools.pairwise(edges)]
    out = b"".join(
        b"%x%b\r\n%b\r\n" % (len(one), draw(st.sampled_from([b"", b";a=b"])), one) for one in pieces if one
    )
    return out + b"0\r\n" + draw(st.sampled_from([b"", b"X-Sum: late\r\n"])) + b"\r\n"


@st.composite
def answers(draw: st.DrawFn, method: bytes) -> Answer:
    status = draw(st.sampled_from([200, 200, 200, 201, 404, 500, 204, 304]))
    body = b"" if status in {204, 304} else draw(BODY)
    headers = [
        (b"content-type", b"text/plain"),
        (b"x-echo", draw(st.sampled_from([b"plain", b"Bearer " + TOKEN]))),
    ]
    lines = b"".join(b"%b: %b\r\n" % pair for pair in headers)
    lines += b"exeat-request-id: forged\r\nKeep-Alive: timeout=5\r\n"
    framing = draw(st.sampled_from(["length", "chunked", "close"]))
    minor = 0 if framing == "close" and draw(st.booleans()) else 1
    closes = framing == "close"
    wire = b""
    if framing == "length":
        lines += b"Content-Length: %d\r\n" % len(body)
        wire = body
    elif framing == "chunked":
        lines += b"Transfer-Encoding: chunked\r\n"
        wire = draw(chunked(body))
    else:
        wire = body
    if draw(st.booleans()):
        lines += b"Connection: close\r\n"
    if method == b"HEAD" or status in {204, 304}:
        wire = body = b""
        closes = False
    interim = draw(st.sampled_from([b"", b"", b"HTTP/1.1 100 Continue\r\n\r\n",
                                    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"]))  # fmt: skip
    head = b"HTTP/1.%d %d Reason\r\n" % (minor, status)
    shown = [(name, value.replace(TOKEN, MASKED)) for name, value in headers]
    return Answer(interim + head + lines + b"\r\n" + wire, closes, status, shown, body)


@st.composite
def requests(draw: st.DrawFn) -> Request:
    kind = draw(st.sampled_from(["sent", "sent", "sent", "sent", "denied", "unknown", "anonymous", "health"]))
    if kind != "sent":
        path, status, key = {
            "denied": (b"/api/api/denied", 403, KEY),
            "unknown": (b"/api/nobody/x", 404, KEY),
            "anonymous": (b"/api/api/x", 401, b"wrong-key-0123456789"),
            "health": (b"/health", 200, KEY),
        }[kind]
        method = draw(st.sampled_from([b"GET", b"HEAD"]))
        wire = b"%b %b HTTP/1.1\r\nHost: e\r\nX-API-Key: %b\r\n\r\n" % (method, path, key)
        return Request(wire, method, status=status)
    method = draw(st.sampled_from([b"GET", b"GET", b"POST", b"POST", b"PUT", b"HEAD", b"DELETE"]))
    suffix = draw(st.sampled_from([b"/items/42?a=b", b"", b"/%7euser/%c3%a4?q=%2f", b"/deep/a%20b"]))
    canonical = {b"": b"/", b"/%7euser/%c3%a4?q=%2f": b"/~user/%C3%A4?q=%2F"}.get(suffix, suffix)
    wire = b"%b /api/api%b HTTP/1.1\r\nHost: e\r\nAuthorization: Bearer %b\r\nX-Own: 1\r\n" % (
        method,
        suffix,
        KEY,
    )
    body = draw(BODY) if method in {b"POST", b"PUT"} else b""
    if draw(st.booleans()):
        wire += b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
    if body or method in {b"POST", b"PUT"}:
        if draw(st.booleans()):
            wire += b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        else:
            wire += b"Transfer-Encoding: chunked\r\n\r\n" + draw(chunked(body))
    else:
        wire += b"\r\n"
    answer = draw(answers(method))
    return Request(wire, method, b"/base" + canonical, body, answer, answer.status)


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
    edge: MemoryEdge, pipeline: list[Request], cuts: list[int], schedule: list[bool]
) -> None:
    """Caller, target and record see what they see when nothing is split, and that is what was meant."""
    with asyncio.Runner() as runner:
        whole = runner.run(drive(edge, pipeline, [], []))
        split = runner.run(drive(edge, pipeline, cuts, schedule))
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
            full = edge.full  # type: ignore[attr-defined]  # see the fixture
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
    edge: MemoryEdge, method: bytes, wire: bytes, cuts: list[int], *, late: bool
) -> None:
    """The caller reads one whole answer and then its next one, or is cut off: never a byte of the one in the other.

    late: the next request comes only when the target has said all.
    """
    written, cut_off = asyncio.run(provoke(edge, method, cut(wire, cuts), late=late))
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


# -- cases --------------------------------------------------------------------------------------------------


def run(
    edge: MemoryEdge, *wires: bytes, answer: bytes = b""
) -> tuple[MemoryTransport, list[MemoryTransport]]:
    """Feeds `wires`, answering every complete request with `answer`; the caller's and the targets' transports."""

    async def main() -> MemoryTransport:
        caller, transport = ClientConnection(edge.edge), MemoryTransport()
        caller.connection_made(transport)
        for wire in wires:
            caller.data_received(wire)
            for _ in range(64):  # a thousand requests take turns with the rest of the loop
                await asyncio.sleep(0)
            for connection, _ in list(edge.dialler.connections):
                if answer and connection.exchange is not None:
                    connection.data_received(answer)
            await settle()
        caller.connection_lost(None)
        await settle()
        await edge.drain()
        return transport

    edge.edge.pool.close()
    edge.dialler.connections.clear()
    return asyncio.run(main()), [transport for _, transport in edge.dialler.connections]


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def call(method: bytes = b"GET", *lines: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join(
        [method + b" /api/api/x HTTP/1.1", b"Host: e", b"X-API-Key: " + KEY, *lines, b"", body]
    )


def test_a_thousand_pipelined_requests_in_one_piece(edge: MemoryEdge) -> None:
    """Refused, forwarded or our own page: all are answered in order, and the stack does not grow."""
    wire = b"".join(
        b"GET /%b HTTP/1.1\r\nHost: e\r\nX-API-Key: %b\r\n\r\n" % (path, KEY)
        for path in (b"api/api/denied", b"health", b"api/nobody") * 334
    )
    transport, targets = run(edge, wire)
    codes = re.findall(rb"HTTP/1\.1 (\d+) ", transport.written)
    assert codes == [b"403", b"200", b"404"] * 334
    assert targets == []


def test_a_bad_chunk_never_completes_upstream(edge: MemoryEdge) -> None:
    """The body was under way; the target's connection is cut and the caller gets 400."""
    head = call(b"POST", b"Transfer-Encoding: chunked")
    transport, (target,) = run(edge, head + b"3\r\nabc\r\n", b"0x3\r\nabc\r\n0\r\n\r\n")
    assert b"abc" in target.written
    assert b"0\r\n\r\n" not in target.written
    assert target.aborted
    assert transport.written.startswith(b"HTTP/1.1 400 ")
    assert transport.ended


def test_continue_is_written_once_and_only_before_the_body(edge: MemoryEdge) -> None:
    """By the edge itself, after the head steps; not when the body came along."""
    expecting = call(b"POST", b"Content-Length: 4", b"Expect: 100-continue")
    transport, (target,) = run(edge, expecting, b"body", answer=b"")
    assert transport.written == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert b"expect" not in target.written.lower()
    assert target.written.endswith(b"\r\n\r\nbody")
    transport, _ = run(edge, expecting + b"body", answer=OK)
    assert transport.written.startswith(b"HTTP/1.1 200 ")


def test_continue_is_not_written_for_a_refused_request(edge: MemoryEdge) -> None:
    """The caller learns the refusal instead and keeps its body."""
    lines = [b"Content-Length: 4", b"Expect: 100-continue"]
    for wire in (
        call(b"POST", *lines).replace(KEY, b"wrong"),
        call(b"POST", *lines).replace(b"/x", b"/denied"),
        call(b"POST", *lines).replace(b"/api/api", b"/api/none"),
        call(b"POST", *lines, b"Content-Length: 4"),
    ):
        transport, targets = run(edge, wire)
        assert transport.written.startswith(b"HTTP/1.1 4")
        assert b"100 Continue" not in transport.written
        assert transport.ended
        assert targets == []


def test_our_own_via_is_a_loop(edge: MemoryEdge) -> None:
    """508, wherever among the Via values it stands."""
    transport, targets = run(edge, call(b"GET", b"Via: 1.1 other", b"Via: 1.0 a, 1.1 " + VIA))
    assert transport.written.startswith(b"HTTP/1.1 508 ")
    assert targets == []


def test_an_early_answer_ends_both_connections(edge: MemoryEdge) -> None:
    """The rest of the body is nobody's: the answer is delivered, the caller closed, the target's connection dropped."""
    transport, (target,) = run(edge, call(b"POST", b"Content-Length: 10") + b"abc", b"def", answer=OK)
    assert transport.written.startswith(b"HTTP/1.1 200 OK")
    assert b"\r\nconnection: close\r\n" in transport.written
    assert transport.written.endswith(b"ok")
    assert transport.ended
    assert target.aborted
    assert target.written.endswith(b"abc")


def test_a_caller_who_leaves_frees_the_target(edge: MemoryEdge) -> None:
    """The connection to the target is dropped, not returned: its answer is still to come."""
    _, (target,) = run(edge, call())
    assert target.aborted


def test_pipelined_requests_wait_in_a_bounded_queue(edge: MemoryEdge) -> None:
    """While the first has no answer, at most sixteen wait and the connection is not read from."""

    async def main() -> tuple[MemoryTransport, int, bytes]:
        caller, transport = ClientConnection(edge.edge), MemoryTransport()
        caller.connection_made(transport)
        caller.data_received(call() * 1000)
        await settle()
        paused = not transport.reading
        answered = 0
        while edge.dialler.connections[0][0].exchange is not None:
            edge.dialler.connections[0][0].data_received(OK)
            answered += 1
        assert paused
        caller.connection_lost(None)
        await edge.drain()
        edge.edge.pool.close()
        return transport, answered, bytes(transport.written)

    edge.dialler.connections.clear()
    transport, answered, written = asyncio.run(main())
    assert answered == written.count(b"HTTP/1.1 200 OK") == 1000
    assert transport.reading


@pytest.mark.parametrize("part", ["heads", "bodies", "targets"])
def test_the_queue_is_bounded_in_bytes(edge: MemoryEdge, part: str) -> None:
    """Behind the request in progress 64 KiB wait at most, heads counted as well; its own size does not count."""
    large = b"x" * 7000
    waiting = {
        "heads": call(b"GET", b"X-Large: " + large),
        "bodies": call(b"POST", b"Content-Length: %d" % len(large), body=large),
        "targets": call().replace(b"/api/api/x", b"/api/api/" + large),
    }[part]

    async def main() -> list[bool]:
        caller, transport = ClientConnection(edge.edge), MemoryTransport()
        caller.connection_made(transport)
        reading = []
        for wire in (call(b"GET", b"X-Large: " + large * 9), *[waiting] * 10):
            caller.data_received(wire)
            await settle()
            reading.append(transport.reading)
        caller.connection_lost(None)
        await edge.drain()
        return reading

    edge.edge.pool.close()
    edge.dialler.connections.clear()
    assert asyncio.run(main()) == [True] * 10 + [False]


def test_an_unexpected_fault_ends_one_exchange(edge: MemoryEdge, monkeypatch: pytest.MonkeyPatch) -> None:
    """500 to this caller, nothing of the fault's text anywhere, and the next request is served."""
    limit = edge.edge.leases

    class Broken(dict[str, Any]):
        def get(self, *_: object) -> Any:
            raise RuntimeError("canary")

    edge.edge.leases = Broken()
    transport, _ = run(edge, call())
    edge.edge.leases = limit
    assert transport.written.startswith(b"HTTP/1.1 500 ")
    assert b"canary" not in transport.written
    transport, _ = run(edge, call(), answer=OK)
    assert transport.written.startswith(b"HTTP/1.1 200 ")


def test_request_ids_are_in_the_answer_and_the_record(edge: MemoryEdge, tmp_path: Path) -> None:
    """The same one, so that a caller can be helped."""
    transport, _ = run(edge, call(), answer=OK)
    (identity,) = re.findall(rb"exeat-request-id: (\S+)\r\n", transport.written)
    assert json.loads(edge.records.read_bytes().splitlines()[-1])["requestId"] == identity.decode()


def test_the_same_fields_are_judged_anew_by_a_new_policy(edge: MemoryEdge, tmp_path: Path) -> None:
    """What a connection's parser kept of fields it saw before holds for one policy only."""
    before = Bundle(edge.edge.policy, edge.edge.leases)
    denied = policy("http://target.test", proxyDefaultRuleEffect="deny")
    other = policy("http://target.test", caller={"credentialSecret": {"key": {"env": "TEST_TARGET_TOKEN"}}})
    rotated = policy("http://target.test", sender={"credentialSecret": {"token": {"env": "TEST_CALLER_KEY"}}})
    policies = [bundle(tmp_path / str(at), one) for at, one in enumerate((denied, other, rotated))]

    async def main() -> MemoryTransport:
        caller, transport = ClientConnection(edge.edge), MemoryTransport()
        caller.connection_made(transport)
        for enforced in (before, *policies, before):
            edge.edge.apply(enforced)
            for _ in range(2):
                caller.data_received(call())
                await settle()
                for connection, _ in edge.dialler.connections:
                    if connection.exchange is not None:
                        connection.data_received(OK)
        caller.connection_lost(None)
        await edge.drain()
        return transport

    edge.edge.pool.close()
    edge.dialler.connections.clear()
    transport = asyncio.run(main())
    codes = re.findall(rb"HTTP/1\.1 (\d+) ", transport.written)
    assert codes == [b"200"] * 2 + [b"403"] * 2 + [b"401"] * 2 + [b"200"] * 4
    sent = b"".join(bytes(one.written) for _, one in edge.dialler.connections)
    assert re.findall(rb"authorization: Bearer (\S+)", sent) == [TOKEN, TOKEN, KEY, KEY, TOKEN, TOKEN]
