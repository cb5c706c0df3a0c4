"""Caller, exchange and target joined in memory: what one exchange does in cases that were thought of."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from proxy_edge.client import ClientConnection
from proxy_edge.edge import Bundle
from tests.kit.edge import policy
from tests.kit.memory import VIA, MemoryEdge, MemoryTransport, bundle, settle
from tests.proxy_edge.exchanges import KEY, TOKEN, call


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


def test_a_thousand_pipelined_requests_in_one_piece(memory_edge: MemoryEdge) -> None:
    """Refused, forwarded or our own page: all are answered in order, and the stack does not grow."""
    wire = b"".join(
        b"GET /%b HTTP/1.1\r\nHost: e\r\nX-API-Key: %b\r\n\r\n" % (path, KEY)
        for path in (b"api/api/denied", b"health", b"api/nobody") * 334
    )
    transport, targets = run(memory_edge, wire)
    codes = re.findall(rb"HTTP/1\.1 (\d+) ", transport.written)
    assert codes == [b"403", b"200", b"404"] * 334
    assert targets == []


def test_a_bad_chunk_never_completes_upstream(memory_edge: MemoryEdge) -> None:
    """The body was under way; the target's connection is cut and the caller gets 400."""
    head = call(b"POST", b"Transfer-Encoding: chunked")
    transport, (target,) = run(memory_edge, head + b"3\r\nabc\r\n", b"0x3\r\nabc\r\n0\r\n\r\n")
    assert b"abc" in target.written
    assert b"0\r\n\r\n" not in target.written
    assert target.aborted
    assert transport.written.startswith(b"HTTP/1.1 400 ")
    assert transport.ended


def test_continue_is_written_once_and_only_before_the_body(memory_edge: MemoryEdge) -> None:
    """By the edge itself, after the head steps; not when the body came along."""
    expecting = call(b"POST", b"Content-Length: 4", b"Expect: 100-continue")
    transport, (target,) = run(memory_edge, expecting, b"body", answer=b"")
    assert transport.written == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert b"expect" not in target.written.lower()
    assert target.written.endswith(b"\r\n\r\nbody")
    transport, _ = run(memory_edge, expecting + b"body", answer=OK)
    assert transport.written.startswith(b"HTTP/1.1 200 ")


def test_continue_is_not_written_for_a_refused_request(memory_edge: MemoryEdge) -> None:
    """The caller learns the refusal instead and keeps its body."""
    lines = [b"Content-Length: 4", b"Expect: 100-continue"]
    for wire in (
        call(b"POST", *lines).replace(KEY, b"wrong"),
        call(b"POST", *lines).replace(b"/x", b"/denied"),
        call(b"POST", *lines).replace(b"/api/api", b"/api/none"),
        call(b"POST", *lines, b"Content-Length: 4"),
    ):
        transport, targets = run(memory_edge, wire)
        assert transport.written.startswith(b"HTTP/1.1 4")
        assert b"100 Continue" not in transport.written
        assert transport.ended
        assert targets == []


def test_our_own_via_is_a_loop(memory_edge: MemoryEdge) -> None:
    """508, wherever among the Via values it stands."""
    transport, targets = run(memory_edge, call(b"GET", b"Via: 1.1 other", b"Via: 1.0 a, 1.1 " + VIA))
    assert transport.written.startswith(b"HTTP/1.1 508 ")
    assert targets == []


def test_an_early_answer_ends_both_connections(memory_edge: MemoryEdge) -> None:
    """The rest of the body is nobody's: the answer is delivered, the caller closed, the target's connection dropped."""
    transport, (target,) = run(memory_edge, call(b"POST", b"Content-Length: 10") + b"abc", b"def", answer=OK)
    assert transport.written.startswith(b"HTTP/1.1 200 OK")
    assert b"\r\nconnection: close\r\n" in transport.written
    assert transport.written.endswith(b"ok")
    assert transport.ended
    assert target.aborted
    assert target.written.endswith(b"abc")


def test_a_caller_who_leaves_frees_the_target(memory_edge: MemoryEdge) -> None:
    """The connection to the target is dropped, not returned: its answer is still to come."""
    _, (target,) = run(memory_edge, call())
    assert target.aborted


def test_pipelined_requests_wait_in_a_bounded_queue(memory_edge: MemoryEdge) -> None:
    """While the first has no answer, at most sixteen wait and the connection is not read from."""

    async def main() -> tuple[MemoryTransport, int, bytes]:
        caller, transport = ClientConnection(memory_edge.edge), MemoryTransport()
        caller.connection_made(transport)
        caller.data_received(call() * 1000)
        await settle()
        paused = not transport.reading
        answered = 0
        while memory_edge.dialler.connections[0][0].exchange is not None:
            memory_edge.dialler.connections[0][0].data_received(OK)
            answered += 1
        assert paused
        caller.connection_lost(None)
        await memory_edge.drain()
        memory_edge.edge.pool.close()
        return transport, answered, bytes(transport.written)

    memory_edge.dialler.connections.clear()
    transport, answered, written = asyncio.run(main())
    assert answered == written.count(b"HTTP/1.1 200 OK") == 1000
    assert transport.reading


@pytest.mark.parametrize("part", ["heads", "bodies", "targets"])
def test_the_queue_is_bounded_in_bytes(memory_edge: MemoryEdge, part: str) -> None:
    """Behind the request in progress 64 KiB wait at most, heads counted as well; its own size does not count."""
    large = b"x" * 7000
    waiting = {
        "heads": call(b"GET", b"X-Large: " + large),
        "bodies": call(b"POST", b"Content-Length: %d" % len(large), body=large),
        "targets": call().replace(b"/api/api/x", b"/api/api/" + large),
    }[part]

    async def main() -> list[bool]:
        caller, transport = ClientConnection(memory_edge.edge), MemoryTransport()
        caller.connection_made(transport)
        reading = []
        for wire in (call(b"GET", b"X-Large: " + large * 9), *[waiting] * 10):
            caller.data_received(wire)
            await settle()
            reading.append(transport.reading)
        caller.connection_lost(None)
        await memory_edge.drain()
        return reading

    memory_edge.edge.pool.close()
    memory_edge.dialler.connections.clear()
    assert asyncio.run(main()) == [True] * 10 + [False]


def test_an_unexpected_fault_ends_one_exchange(
    memory_edge: MemoryEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """500 to this caller, nothing of the fault's text anywhere, and the next request is served."""
    limit = memory_edge.edge.leases

    class Broken(dict[str, Any]):
        def get(self, *_: object) -> Any:
            raise RuntimeError("canary")

    memory_edge.edge.leases = Broken()
    transport, _ = run(memory_edge, call())
    memory_edge.edge.leases = limit
    assert transport.written.startswith(b"HTTP/1.1 500 ")
    assert b"canary" not in transport.written
    transport, _ = run(memory_edge, call(), answer=OK)
    assert transport.written.startswith(b"HTTP/1.1 200 ")


def test_request_ids_are_in_the_answer_and_the_record(memory_edge: MemoryEdge, tmp_path: Path) -> None:
    """The same one, so that a caller can be helped."""
    transport, _ = run(memory_edge, call(), answer=OK)
    (identity,) = re.findall(rb"exeat-request-id: (\S+)\r\n", transport.written)
    assert json.loads(memory_edge.records.read_bytes().splitlines()[-1])["requestId"] == identity.decode()


def test_the_same_fields_are_judged_anew_by_a_new_policy(memory_edge: MemoryEdge, tmp_path: Path) -> None:
    """What a connection's parser kept of fields it saw before holds for one policy only."""
    before = Bundle(memory_edge.edge.policy, memory_edge.edge.leases)
    denied = policy("http://target.test", proxyDefaultRuleEffect="deny")
    other = policy("http://target.test", caller={"credentialSecret": {"key": {"env": "TEST_TARGET_TOKEN"}}})
    rotated = policy("http://target.test", sender={"credentialSecret": {"token": {"env": "TEST_CALLER_KEY"}}})
    policies = [bundle(tmp_path / str(at), one) for at, one in enumerate((denied, other, rotated))]

    async def main() -> MemoryTransport:
        caller, transport = ClientConnection(memory_edge.edge), MemoryTransport()
        caller.connection_made(transport)
        for enforced in (before, *policies, before):
            memory_edge.edge.apply(enforced)
            for _ in range(2):
                caller.data_received(call())
                await settle()
                for connection, _ in memory_edge.dialler.connections:
                    if connection.exchange is not None:
                        connection.data_received(OK)
        caller.connection_lost(None)
        await memory_edge.drain()
        return transport

    memory_edge.edge.pool.close()
    memory_edge.dialler.connections.clear()
    transport = asyncio.run(main())
    codes = re.findall(rb"HTTP/1\.1 (\d+) ", transport.written)
    assert codes == [b"200"] * 2 + [b"403"] * 2 + [b"401"] * 2 + [b"200"] * 4
    sent = b"".join(bytes(one.written) for _, one in memory_edge.dialler.connections)
    assert re.findall(rb"authorization: Bearer (\S+)", sent) == [TOKEN, TOKEN, KEY, KEY, TOKEN, TOKEN]
