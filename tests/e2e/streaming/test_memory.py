"""Bodies pass through the edge in bounded memory, with back-pressure both ways."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.streaming.streams import SMALL_BUFFER, Bench
from tests.kit.bulk import (
    MIB,
    PIECE,
    BodyReader,
    Watch,
    pattern,
    resident,
    send_pattern,
    stalled,
    steady,
)
from tests.kit.edge import until
from tests.kit.raw import get, request


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


# -- helpers --------------------------------------------------------------------------------------------


def worker_time(pid: int) -> tuple[str, ...]:
    """Processor time that a process has used, in hundredths of a second: it stands still when the process waits."""
    return tuple(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13])
