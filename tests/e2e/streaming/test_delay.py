"""Bodies pass through the edge without delay, and an abort at either end is heeded promptly."""

from __future__ import annotations

import socket
import struct

import pytest

from tests.e2e.streaming.streams import SMALL_BUFFER, Bench, BodyStart, answered
from tests.kit.bulk import (
    PIECE,
    BodyReader,
    pattern,
    stalled,
)
from tests.kit.edge import TARGET_TOKEN, until
from tests.kit.raw import RawClient, get, request

# -- delay ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("framing", ["chunked", "close"])
def test_events_are_not_delayed(bench: Bench, framing: str) -> None:
    """Each server-sent event reaches the caller before the target writes the next one, with the scrub on."""
    with bench.client() as client:
        client.send(get("/api/api/events", "Accept: text/event-stream"))
        with bench.hand.accept() as peer:
            peer.head()
            line = b"Transfer-Encoding: chunked" if framing == "chunked" else b"Connection: close"
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n%b\r\n\r\n" % line)
            stream = ChunkStream(client)
            assert b"text/event-stream" in stream.head()
            for number in range(50):
                event = b"id: %d\ndata: %b\n\n" % (number, b"x" * (number * 37))
                peer.send(b"%x\r\n%b\r\n" % (len(event), event) if framing == "chunked" else event)
                assert stream.read(len(event)) == event
            if framing == "chunked":
                peer.send(b"0\r\n\r\n")
            peer.socket.shutdown(socket.SHUT_WR)
            assert stream.end() == b""


def test_only_the_beginning_of_a_secret_is_held_back(bench: Bench) -> None:
    """Of an event that ends as the secret begins, everything before that arrives at once, the rest with the next."""
    begun = TARGET_TOKEN[:9].encode()
    with bench.client() as client:
        client.send(get("/api/api/events"))
        with bench.hand.accept() as peer:
            peer.head()
            peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            stream = ChunkStream(client)
            stream.head()
            event = b"data: " + begun
            peer.send(b"%x\r\n%b\r\n" % (len(event), event))
            assert stream.read(6) == b"data: "
            assert stream.silent()
            peer.send(b"1\r\n!\r\n0\r\n\r\n")
            assert stream.read(10) == begun + b"!"
            assert stream.end() == b""


def test_a_request_body_is_not_delayed(bench: Bench) -> None:
    """Each piece of an upload reaches the target before the caller sends the next."""
    with bench.client() as client:
        client.send(request("POST", "/api/api/live", "Transfer-Encoding: chunked"))
        with bench.hand.accept() as peer:
            assert peer.head().get("transfer-encoding") == "chunked"
            for number in range(20):
                line = b"line %d\n" % number
                client.send(b"%x\r\n%b\r\n" % (len(line), line))
                assert peer.read_until(b"\n\r\n") == b"%x\r\n%b\r\n" % (len(line), line)
            client.send(b"0\r\n\r\n")
            assert peer.read(5) == b"0\r\n\r\n"
            peer.answer(b"done")
        assert client.answer().body == b"done"


def test_the_head_arrives_before_the_body(bench: Bench) -> None:
    """The caller gets status and fields while the target still thinks about the body."""
    with bench.client() as client:
        client.send(get("/api/api/slow"))
        with bench.hand.accept() as peer:
            peer.head()
            peer.send(b"HTTP/1.1 201 Created\r\nContent-Length: 4\r\n\r\n")
            reader = BodyReader(client.socket)
            assert reader.head().startswith(b"HTTP/1.1 201 ")
            peer.send(bytes(pattern(0, 4)))
            reader.checker.feed(client.socket.recv(4, socket.MSG_WAITALL))
            assert reader.checker.position == 4


# -- aborts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("phase", ["before the answer", "inside the answer", "inside the request"])
def test_an_abort_frees_the_connection_to_the_target(bench: Bench, phase: str, reset: bool) -> None:
    """A caller that leaves ends its exchange upstream, and its place serves the next request."""
    path = f"/{phase}/{reset}".replace(" ", "-")
    with bench.client() as client:
        if phase == "inside the request":
            client.send(request("POST", f"/api/one{path}", "Content-Length: 100") + b"begun")
        else:
            client.send(get(f"/api/one{path}"))
        with bench.one.accept() as peer:
            peer.head()
            if phase == "inside the request":
                assert peer.read(5) == b"begun"
            if phase == "inside the answer":
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun")
                assert b"begun" in BodyStart(client).until(b"begun")
            if reset:
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.socket.close()
            assert peer.closed(5)
    answered(bench)
    record = until(lambda: next((one for one in bench.edge.records() if one["path"] == path), None), 5)
    assert record["code"] == "client-aborted"


def test_an_abort_while_waiting_for_a_connection_leaves_the_queue(bench: Bench) -> None:
    """A caller that leaves while all connections are busy takes its place in the queue with it."""
    with bench.client() as first:
        first.send(get("/api/one/first"))
        with bench.one.accept() as peer:
            peer.head()
            with bench.client() as second, bench.client() as third:
                second.send(get("/api/one/second"))
                third.send(get("/api/one/third"))
                second.socket.close()
                until(lambda: any(one["path"] == "/second" for one in bench.edge.records()), 5)
                peer.answer(b"for the first")
                assert first.answer().body == b"for the first"
                assert peer.head().target == "/third"
                peer.answer(b"for the third")
                assert third.answer().body == b"for the third"


def test_an_abort_of_a_paused_answer_frees_the_connection(bench: Bench) -> None:
    """A caller that stopped reading and then leaves is noticed although nothing can be written to it."""
    with bench.client(receive_buffer=SMALL_BUFFER) as client:
        client.send(get("/api/one/left"))
        with bench.one.accept() as peer:
            peer.head()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
            stalled([peer.socket], lambda one: one.send(pattern(0, PIECE)))
            client.socket.close()
            assert peer.closed(5)
    answered(bench)


# -- helpers --------------------------------------------------------------------------------------------


class ChunkStream:
    """A chunked answer read as it arrives, however the edge cut it into chunks."""

    def __init__(self, client: RawClient) -> None:
        self._client = client
        self._body = b""

    def head(self) -> bytes:
        return BodyStart(self._client).until(b"\r\n\r\n")

    def read(self, size: int) -> bytes:
        while len(self._body) < size:
            assert self._chunk(), self._body
        data, self._body = self._body[:size], self._body[size:]
        return data

    def end(self) -> bytes:
        """What is left of the body until its last chunk."""
        while self._chunk():
            pass
        return self._body

    def silent(self) -> bool:
        """Whether nothing comes for a moment."""
        self._client.socket.settimeout(0.3)
        try:
            return self._client.socket.recv(1) == b""
        except TimeoutError:
            return True
        finally:
            self._client.socket.settimeout(20)

    def _chunk(self) -> int:
        connection = self._client.socket
        size = int(BodyStart(self._client).until(b"\r\n"), 16)
        data = connection.recv(size + 2, socket.MSG_WAITALL)
        assert data[size:] == b"\r\n"
        self._body += data[:size]
        return size
