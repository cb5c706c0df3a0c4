"""Bodies pass through the edge as they come: bounded memory, back-pressure both ways, no delay, prompt aborts."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.bulk import (
    MIB,
    PIECE,
    BodyReader,
    PatternUpstream,
    Watch,
    pattern,
    resident,
    send_pattern,
    stalled,
    steady,
)
from tests.kit.edge import TARGET_TOKEN, EdgeProcess, policy, running_edge, until
from tests.kit.hand import HandUpstream
from tests.kit.raw import RawClient, get, request

SMALL_BUFFER = 64 * 1024


class Bench:
    """One edge before three targets: by hand (alias `api`), in bulk (`bulk`), by hand with one connection (`one`)."""

    def __init__(
        self, edge: EdgeProcess, hand: HandUpstream, one: HandUpstream, bulk: PatternUpstream
    ) -> None:
        self.edge, self.hand, self.one, self.bulk = edge, hand, one, bulk

    @property
    def worker(self) -> int:
        return self.edge.worker_pids()[0]

    def requests(self) -> int:
        """How many requests the bulk target has begun to answer."""
        return self.bulk.requests

    def client(self, **options: Any) -> RawClient:
        return RawClient(self.edge.port, 20.0, **options)


def document(hand: HandUpstream, bulk: PatternUpstream, one: HandUpstream) -> dict[str, Any]:
    whole = policy(hand.url)
    for name, url, fields in (
        ("bulk", bulk.url, {}),
        ("one", one.url, {"targetConnections": 1}),
    ):
        whole["targets"].append({**whole["targets"][0], "targetId": name, "targetBaseURL": url, **fields})
        whole["proxies"].append(
            {**whole["proxies"][0], "proxyId": f"{name}-proxy", "proxyAlias": name, "proxyTargetId": name}
        )
    return whole


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with (
        HandUpstream(receive_buffer=SMALL_BUFFER) as hand,
        HandUpstream() as one,
        PatternUpstream() as bulk,
    ):
        home = tmp_path_factory.mktemp("streaming")
        with running_edge(home, document(hand, bulk, one)) as edge:
            with RawClient(edge.port) as client:  # whatever is made once is made before memory is measured
                for size in (2 * MIB, 0):
                    client.send(get(f"/api/bulk/chunked/{size}"))
                    assert client.answer().status == 200
            yield Bench(edge, hand, one, bulk)
        assert bulk.failures == []


@contextlib.contextmanager
def background(work: Callable[[], None]) -> Iterator[None]:
    """Runs `work` on a thread during the block and raises what it raised."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised again below, in the test's own thread
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield
    thread.join(60)
    assert not thread.is_alive()
    if failures:
        raise failures[0]


# -- memory ---------------------------------------------------------------------------------------------


def test_callers_that_stop_reading_hold_at_most_a_mebibyte_each(bench: Bench) -> None:
    """Eight callers take nothing of an endless answer: the targets are paused and the edge's memory stays small."""
    with contextlib.ExitStack() as stack:
        peers = []
        for _ in range(8):
            client = stack.enter_context(bench.client(receive_buffer=SMALL_BUFFER))
            client.send(get("/api/api/endless"))
            peer = stack.enter_context(bench.hand.accept())
            peer.head()
            peers.append(peer)
        before = resident(bench.worker)
        for peer in peers:
            peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        piece = b"%x\r\n%b\r\n" % (PIECE, bytes(pattern(0, PIECE)))
        # What the kernel buffers on the way is not the edge's memory: push until no target can write any more.
        sent = stalled([peer.socket for peer in peers], lambda one: one.send(piece))
        assert sent < 8 * 64 * MIB
        assert resident(bench.worker) - before < 8 * MIB


def test_pipelining_callers_that_stop_reading_hold_at_most_a_mebibyte_each(bench: Bench) -> None:
    """Answers of pipelined requests are not piled up for a caller that takes none; all come once it reads."""
    requests, size = 200, 100 * 1024
    body = bytes(pattern(0, size))
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(bench.client(receive_buffer=SMALL_BUFFER)) for _ in range(4)]
        before = resident(bench.worker)
        for client in clients:
            client.send(get(f"/api/bulk/length/{size}") * requests)
        steady(lambda: worker_time(bench.worker))
        assert resident(bench.worker) - before < 4 * MIB
        for client in clients:
            for _ in range(requests):
                answer = client.answer()
                assert (answer.status, answer.body) == (200, body)


def test_an_answer_behind_one_that_is_not_read_is_paused_too(bench: Bench) -> None:
    """A large answer that begins while the caller still owes reading of the one before does not pile up."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(bench.client(receive_buffer=SMALL_BUFFER)) for _ in range(4)]
        before = resident(bench.worker)
        for client in clients:
            client.send(get(f"/api/bulk/length/{100 * 1024}") * 12 + get(f"/api/bulk/chunked/{128 * MIB}"))
        steady(lambda: worker_time(bench.worker))
        assert resident(bench.worker) - before < 4 * MIB


def test_an_unread_answer_delays_no_other_caller(bench: Bench) -> None:
    """Whenever one caller stops reading, another's request to the same target is answered at once."""
    path = f"/api/bulk/length/{100 * 1024}"
    served = [0]

    def begun() -> bool:
        return bench.requests() > served[0]

    with bench.client(receive_buffer=SMALL_BUFFER) as greedy, bench.client() as other:
        for _ in range(300):
            served[0] = bench.requests()
            greedy.send(get(path))
            try:
                until(begun, 0.5)
            except AssertionError:
                return  # the edge begins no more of the greedy caller's requests
            other.send(get("/api/bulk/length/1"))
            assert other.answer().body == bytes(pattern(0, 1))
    pytest.fail("the edge never held back a caller that does not read")


def test_targets_that_stop_reading_hold_at_most_a_mebibyte_each(bench: Bench) -> None:
    """Eight targets take nothing of an endless upload: the callers are paused and the edge's memory stays small."""
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(8):
            client = stack.enter_context(bench.client())
            client.send(request("POST", "/api/api/endless", "Transfer-Encoding: chunked"))
            stack.enter_context(bench.hand.accept()).head()
            clients.append(client)
        before = resident(bench.worker)
        piece = b"%x\r\n%b\r\n" % (PIECE, bytes(pattern(0, PIECE)))
        sent = stalled([client.socket for client in clients], lambda one: one.send(piece))
        assert sent < 8 * 64 * MIB
        assert resident(bench.worker) - before < 8 * MIB


def test_a_slow_target_gets_the_whole_body_in_the_end(bench: Bench) -> None:
    """A paused upload goes on where it stood when the target reads again."""
    size = 24 * MIB
    with bench.client() as client:
        head = request("POST", "/api/api/upload", f"Content-Length: {size}")

        def upload() -> None:
            client.send(head)
            send_pattern(client.socket, size, chunked=False)

        with background(upload), bench.hand.accept() as peer:
            reader = BodyReader(peer.socket)
            seen = reader.head()
            steady(lambda: worker_time(bench.worker))  # nothing moves until the target reads
            assert reader.body(seen) == size
            peer.answer(b"thanks")
        assert client.answer().body == b"thanks"


def test_a_slow_caller_gets_the_whole_answer_in_the_end(bench: Bench) -> None:
    """A paused answer goes on where it stood when the caller reads again."""
    size = 24 * MIB
    with bench.client(receive_buffer=SMALL_BUFFER) as client:
        client.send(get(f"/api/bulk/chunked/{size}"))
        reader = BodyReader(client.socket)
        head = reader.head()
        steady(lambda: worker_time(bench.worker))  # nothing moves until the caller reads
        assert reader.body(head) == size


@pytest.mark.parametrize(("framing", "size"), [("length", 256 * MIB), ("chunked", 1024 * MIB)])
def test_a_large_answer_passes_with_flat_memory(bench: Bench, framing: str, size: int) -> None:
    """Every byte of an answer arrives, scrub on, without the edge's memory following its size."""
    with bench.client() as client, Watch(bench.worker) as watch:
        client.send(get(f"/api/bulk/{framing}/{size}"))
        reader = BodyReader(client.socket)
        assert reader.body(reader.head()) == size
        assert watch.growth < 32 * MIB


@pytest.mark.parametrize(("framing", "size"), [("length", 1024 * MIB), ("chunked", 256 * MIB)])
def test_a_large_request_passes_with_flat_memory(bench: Bench, framing: str, size: int) -> None:
    """Every byte of a request arrives without the edge's memory following its size."""
    line = f"Content-Length: {size}" if framing == "length" else "Transfer-Encoding: chunked"
    with bench.client() as client, Watch(bench.worker) as watch:
        client.send(request("POST", "/api/bulk/upload", line))
        send_pattern(client.socket, size, chunked=framing == "chunked")
        assert client.answer().body == str(size).encode()
        assert watch.growth < 32 * MIB


def test_a_large_answer_until_the_close_passes(bench: Bench) -> None:
    """An answer that only the target's close ends arrives whole, in our own framing."""
    size = 8 * MIB
    with bench.client() as client:
        client.send(get(f"/api/bulk/close/{size}"))
        reader = BodyReader(client.socket)
        head = reader.head()
        assert b"transfer-encoding: chunked\r\n" in head
        assert reader.body(head) == size


def test_a_caller_of_http_1_0_gets_an_answer_until_the_close(bench: Bench) -> None:
    """HTTP/1.0 knows no chunks: what has no length ends with the connection."""
    size = 2 * MIB
    with bench.client() as client:
        client.send(request("GET", f"/api/bulk/chunked/{size}", version="1.0"))
        reader = BodyReader(client.socket)
        head = reader.head()
        assert b"transfer-encoding" not in head
        assert b"connection: close\r\n" in head
        assert reader.body(head) == size


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


# -- framing --------------------------------------------------------------------------------------------


def test_an_early_answer_ends_the_upload(bench: Bench) -> None:
    """An answer inside the request's body reaches the caller at once; neither connection is used again."""
    with bench.client() as client:
        client.send(request("POST", "/api/one/early", f"Content-Length: {64 * MIB}") + b"begun")
        with bench.one.accept() as peer:
            peer.head()
            peer.answer(b"too large", status="413 Payload Too Large")
            answer = client.answer()
            assert (answer.status, answer.body) == (413, b"too large")
            assert answer.get("connection") == "close"
            assert answer.get("exeat-proxy-code") == "proxy-access-granted"
            assert peer.closed(5)
            assert len(peer.buffer) < 64 * MIB
        assert client.closed()
    answered(bench)


@pytest.mark.parametrize("size", [MIB // 2, 64 * MIB])
def test_an_early_answer_survives_a_caller_that_goes_on_sending(bench: Bench, size: int) -> None:
    """A caller that only looks for the answer after its whole upload still finds it."""
    with bench.client() as client:
        client.send(request("POST", "/api/api/early", f"Content-Length: {size}"))
        with bench.hand.accept() as peer:
            peer.head()
            peer.answer(b"enough")
            assert peer.closed(5)
        with contextlib.suppress(ConnectionError):
            send_pattern(client.socket, size, chunked=False)
        assert client.answer().body == b"enough"


def test_a_continue_comes_from_the_edge_before_the_body(bench: Bench) -> None:
    """`Expect: 100-continue` is answered by the edge once the head was accepted, and not forwarded."""
    with bench.client() as client:
        client.send(request("PUT", "/api/api/put", "Content-Length: 5", "Expect: 100-continue"))
        start = BodyStart(client)
        assert start.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"hello")
        with bench.hand.accept() as peer:
            head = peer.head()
            assert head.get("expect") is None
            assert peer.read(5) == b"hello"
            peer.answer(b"stored", status="201 Created")
        assert client.answer().status == 201


def test_a_refused_request_gets_no_continue(bench: Bench) -> None:
    """Who is refused by the head is told so at once and never invited to send the body."""
    with bench.client() as client:
        client.send(
            request(
                "PUT", "/api/api/put", "Content-Length: 5", "Expect: 100-continue", key="not-the-key-000000"
            )
        )
        assert BodyStart(client).until(b"\r\n").startswith(b"HTTP/1.1 401 ")


def test_trailers_are_dropped(bench: Bench) -> None:
    """Fields behind a chunked body pass in neither direction."""
    with bench.client() as client:
        client.send(
            request("POST", "/api/api/t", "Transfer-Encoding: chunked", "Trailer: X-Sum")
            + b"3;ext=1\r\nabc\r\n0\r\nX-Sum: 1\r\nX-Other: 2\r\n\r\n"
        )
        with bench.hand.accept() as peer:
            assert peer.head().get("trailer") is None
            assert peer.read_until(b"0\r\n\r\n") == b"3\r\nabc\r\n0\r\n\r\n"
            peer.send(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
                b"3;ext=1\r\nxyz\r\n0\r\nX-Sum: 1\r\n\r\n"
            )
            raw = BodyStart(client).until(b"0\r\n\r\n")
            assert b"x-sum" not in raw.lower()
            assert b"trailer" not in raw.lower()
            assert b"ext" not in raw
            # The connection is whole on both sides: it serves another request.
            client.send(get("/api/api/next"))
            assert peer.head().target == "/next"
            peer.answer(b"next")
            assert client.answer().body == b"next"


# -- helpers --------------------------------------------------------------------------------------------


class BodyStart:
    """The raw bytes a client gets, as they are on the wire."""

    def __init__(self, client: RawClient) -> None:
        self._client = client

    def until(self, mark: bytes) -> bytes:
        seen = b""
        while mark not in seen:
            data = self._client.socket.recv(1)
            assert data, seen
            seen += data
        return seen


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


def worker_time(pid: int) -> tuple[str, ...]:
    """Processor time that a process has used, in hundredths of a second: it stands still when the process waits."""
    return tuple(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13])


def answered(bench: Bench) -> None:
    """The target with a single connection answers the next request."""
    with bench.client() as client:
        client.send(get("/api/one/next"))
        with bench.one.accept() as peer:
            assert peer.head().target == "/next"
            peer.answer(b"next", "Connection: close")
        assert client.answer().body == b"next"
