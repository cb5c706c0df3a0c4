"""Every silence has an end: each deadline of API.md section 3, set short, on real sockets.

What is measured is that the cut comes, what it looks like on both sides, and that it does not come early.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kit.bulk import PIECE, pattern, stalled
from tests.kit.edge import EdgeProcess, policy, running_edge, until
from tests.kit.hand import HandUpstream
from tests.kit.raw import RawClient, get, request

FIRST_BYTE, HEAD, KEEPALIVE, BODY_IDLE, CONNECT, ANSWER = 0.7, 0.9, 1.1, 0.8, 0.6, 0.7
EARLY = 0.3
"""The edge's clock for deadlines moves in steps of a tenth of a second."""


class Setup:
    """One edge with short deadlines. Targets: by hand (`api`), with one connection (`one`), unreachable (`mute`)."""

    def __init__(self, edge: EdgeProcess, hand: HandUpstream, one: HandUpstream) -> None:
        self.edge, self.hand, self.one = edge, hand, one

    def client(self, **options: Any) -> RawClient:
        return RawClient(self.edge.port, 20.0, **options)

    def record(self, path: str) -> dict[str, Any]:
        """The record of the one request with this path."""
        records = until(lambda: [one for one in self.edge.records() if one["path"] == path], 5, path)
        assert len(records) == 1
        found: dict[str, Any] = records[0]
        return found


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    with HandUpstream() as hand, HandUpstream() as one, full_listener() as mute:
        document = policy(hand.url, target={"targetTimeoutMs": int(ANSWER * 1000)})
        for name, url, fields in (
            ("one", one.url, {"targetConnections": 1, "targetTimeoutMs": 5000}),
            ("mute", f"http://127.0.0.1:{mute}", {}),
        ):
            target, proxy = document["targets"][0], document["proxies"][0]
            document["targets"].append({**target, "targetId": name, "targetBaseURL": url, **fields})
            document["proxies"].append(
                {**proxy, "proxyId": f"{name}-proxy", "proxyAlias": name, "proxyTargetId": name}
            )
        environment = {
            "EXEAT_FIRST_BYTE_SECONDS": str(FIRST_BYTE),
            "EXEAT_HEAD_SECONDS": str(HEAD),
            "EXEAT_KEEPALIVE_SECONDS": str(KEEPALIVE),
            "EXEAT_BODY_IDLE_SECONDS": str(BODY_IDLE),
            "EXEAT_CONNECT_SECONDS": str(CONNECT),
        }
        home = tmp_path_factory.mktemp("deadlines")
        with running_edge(home, document, environment=environment) as edge:
            yield Setup(edge, hand, one)


@contextlib.contextmanager
def full_listener() -> Iterator[int]:
    """A port whose queue of connections is full, so that a further SYN is never answered."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        with contextlib.ExitStack() as stack:
            for _ in range(8):
                one = stack.enter_context(socket.socket())
                one.setblocking(False)
                one.connect_ex(listener.getsockname())
            yield listener.getsockname()[1]


@contextlib.contextmanager
def not_before(seconds: float) -> Iterator[None]:
    """The block takes at least `seconds`, and not absurdly longer."""
    began = time.monotonic()
    yield
    assert seconds - EARLY <= time.monotonic() - began < seconds + 8


# -- the request ----------------------------------------------------------------------------------------


def test_a_silent_connection_is_closed(setup: Setup) -> None:
    """Who connects and says nothing is closed without an answer."""
    with not_before(FIRST_BYTE), setup.client() as client:
        assert client.closed()


@pytest.mark.parametrize("begun", [b"G", b"GET /met", b"GET /api/api/x HTTP/1.1\r\nHost: edge"])
def test_a_slow_head_is_answered_with_408_or_closed(setup: Setup, begun: bytes) -> None:
    """A head that does not end in time is refused and the connection closed; dripping it gains nothing."""
    with setup.client() as client:
        client.send(begun)
        with not_before(HEAD):
            client.socket.settimeout(0.1)
            seen = drip(client, b"GET /api/api/x HTTP/1.1\r\nHost: edge.test\r\nX-Slow: "[len(begun) :])
        assert seen == b"" or seen.startswith(b"HTTP/1.1 408 ")
        if len(begun) > 20:
            assert b"exeat-proxy-code: request-timeout\r\n" in seen
            assert b"connection: close\r\n" in seen


def test_a_slow_second_head_is_answered_with_408(setup: Setup) -> None:
    """On a kept connection the same deadline holds from the first byte of the next request on."""
    with setup.client() as client:
        served(setup, client)
        client.send(b"GET /api/api/second")
        with not_before(HEAD):
            answer = client.answer()
        assert (answer.status, answer.get("exeat-proxy-code")) == (408, "request-timeout")
        assert client.closed()


def test_a_silent_kept_connection_is_closed(setup: Setup) -> None:
    """Between requests a connection may idle for the keep-alive time only."""
    with setup.client() as client:
        served(setup, client)
        with not_before(KEEPALIVE):
            assert client.closed()


def test_blank_lines_do_not_keep_a_connection(setup: Setup) -> None:
    """Line ends between requests are no request: dripping them does not hold a connection for ever."""
    with setup.client() as client:
        served(setup, client)
        client.socket.settimeout(0.02)
        began = time.monotonic()
        seen = drip(client, b"\r\n" * 1000)
        assert time.monotonic() - began < 20
        assert seen == b"" or seen.startswith(b"HTTP/1.1 4")


@pytest.mark.parametrize("framing", ["Content-Length: 100", "Transfer-Encoding: chunked"])
def test_a_slow_body_is_answered_with_408_and_never_completed(setup: Setup, framing: str) -> None:
    """A body that stops coming is refused; the target's connection is cut inside the request."""
    path = f"/slow-{framing[0]}"
    begun = b"5\r\nhello\r\n" if "chunked" in framing else b"hello"
    with setup.client() as client:
        client.send(request("POST", f"/api/api{path}", framing) + begun)
        with setup.hand.accept() as peer:
            peer.head()
            assert peer.read(len(begun)) == begun
            with not_before(BODY_IDLE):
                answer = client.answer()
            assert (answer.status, answer.get("exeat-proxy-code")) == (408, "request-timeout")
            assert answer.get("connection") == "close"
            assert peer.closed()
            assert peer.buffer == b""
        assert client.closed()
    assert setup.record(path)["status"] == 408


def test_a_body_that_keeps_coming_has_no_total_deadline(setup: Setup) -> None:
    """Only silence is cut off: a body may take many times the idle deadline."""
    with setup.client() as client:
        client.send(request("POST", "/api/api/steady", "Content-Length: 9"))
        with setup.hand.accept() as peer:
            peer.head()
            for _ in range(9):
                assert not readable(client, BODY_IDLE / 4)
                client.send(b".")
                assert peer.read(1) == b"."
            peer.answer(b"done", "Connection: close")
        assert client.answer().body == b"done"


# -- the target -----------------------------------------------------------------------------------------


def test_a_target_that_never_answers_is_504(setup: Setup) -> None:
    """After targetTimeoutMs without a head the caller is told so and its connection stays usable."""
    with setup.client() as client:
        client.send(get("/api/api/mute"))
        with setup.hand.accept() as peer:
            peer.head()
            with not_before(ANSWER):
                answer = client.answer()
            assert (answer.status, answer.get("exeat-proxy-code")) == (504, "target-timeout")
            assert peer.closed()
        served(setup, client)
    assert setup.record("/mute")["code"] == "target-timeout"


def test_a_target_that_drips_its_head_is_504(setup: Setup) -> None:
    """The deadline is for the whole head; bytes of it do not move it."""
    with setup.client() as client:
        client.send(get("/api/api/drip"))
        with setup.hand.accept() as peer, not_before(ANSWER):
            peer.head()
            peer.send(b"HTTP/1.1 200 OK\r\n")
            until(lambda: readable(client, 0.1) or drop(peer.socket, b"X-More: 1\r\n"), 10)
            assert client.answer().status == 504


def test_interim_answers_do_not_move_the_deadline(setup: Setup) -> None:
    """A target that says 103 again and again has not answered."""
    with setup.client() as client:
        client.send(get("/api/api/hints"))
        with setup.hand.accept() as peer, not_before(ANSWER):
            peer.head()
            until(lambda: readable(client, 0.2) or drop(peer.socket, b"HTTP/1.1 103 Early Hints\r\n\r\n"), 10)
            assert client.answer().status == 504


def test_a_target_that_reads_no_body_is_504(setup: Setup) -> None:
    """A body that the target does not take ends with the target's timeout, not with the caller's."""
    with setup.client() as client:
        client.send(request("POST", "/api/api/full", f"Content-Length: {1 << 30}"))
        with setup.hand.accept() as peer:
            peer.head()
            with not_before(0.3):
                stalled([client.socket], lambda one: one.send(pattern(0, PIECE)), quiet=0.3)
                answer = client.answer()
            assert (answer.status, answer.get("exeat-proxy-code")) == (504, "target-timeout")


@pytest.mark.parametrize(
    "framing", ["Content-Length: 100", "Transfer-Encoding: chunked", "Connection: close"]
)
def test_a_target_silent_inside_its_answer_resets_the_caller(setup: Setup, framing: str) -> None:
    """An answer that stops coming cannot be completed: the caller sees a reset, never a proper end."""
    path = f"/half-{len(framing)}"
    with setup.client() as client:
        client.send(get(f"/api/api{path}"))
        with setup.hand.accept() as peer:
            peer.head()
            begun = b"5\r\nbegun\r\n" if "chunked" in framing else b"begun"
            peer.send(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n%b" % (framing.encode(), begun))
            with not_before(BODY_IDLE):
                assert reset(client)
            assert peer.closed()
    record = setup.record(path)
    assert (record["status"], record["code"]) == (200, "answer-cut-off")


def test_an_answer_that_keeps_coming_has_no_total_deadline(setup: Setup) -> None:
    """Only silence is cut off: an answer may take many times the idle deadline."""
    with setup.client() as client:
        client.send(get("/api/api/steady-answer"))
        with setup.hand.accept() as peer:
            peer.head()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n")
            client.socket.recv(65536)
            for _ in range(9):
                assert peer.silent(BODY_IDLE / 4)
                peer.send(b".")
                assert client.socket.recv(10) == b"."


def test_a_caller_that_stops_reading_is_cut_off(setup: Setup) -> None:
    """Who takes nothing of its answer for the body idle deadline is reset, and the target's connection freed."""
    with setup.client(receive_buffer=65536) as client:
        client.send(get("/api/api/unread"))
        with setup.hand.accept() as peer:
            peer.head()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
            stalled([peer.socket], lambda one: one.send(pattern(0, PIECE)), quiet=0.3)
            assert peer.closed(15)
        assert reset(client)
    assert setup.record("/unread")["code"] == "answer-cut-off"


def test_a_caller_that_never_takes_finished_answers_is_cut_off(setup: Setup) -> None:
    """Whole answers that wait to be read do not hold a connection for ever either."""
    with setup.client(receive_buffer=65536) as client, contextlib.ExitStack() as stack:
        client.send(get("/api/api/finished") * 100)
        peer = stack.enter_context(setup.hand.accept())
        body = bytes(pattern(0, PIECE))
        try:
            for _ in range(100):
                peer.head()
                peer.answer(body)
        except (EOFError, TimeoutError, ConnectionError):
            pass
        # Not read until the edge gave up: then a reset, or the end of what the kernel still held.
        until(lambda: not established(client), 15, "cut off")


def test_a_target_that_cannot_be_connected_to_in_time_is_502(setup: Setup) -> None:
    """No handshake within the connect deadline: the target is unreachable, and nothing was sent."""
    with setup.client() as client:
        client.send(get("/api/mute/connect"))
        with not_before(CONNECT):
            answer = client.answer()
        assert (answer.status, answer.get("exeat-proxy-code")) == (502, "target-unreachable")
        served(setup, client)
    assert setup.record("/connect")["code"] == "target-unreachable"


def test_a_saturated_target_is_503(setup: Setup) -> None:
    """With every connection busy and the queue full the next caller is refused at once; the queue is served."""
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(setup.client())
        first.send(get("/api/one/0"))
        peer = stack.enter_context(setup.one.accept())
        assert peer.head().target == "/0"
        queued: list[RawClient] = []
        refused = None
        while refused is None:
            assert len(queued) < 50
            client = stack.enter_context(setup.client())
            client.send(get(f"/api/one/{len(queued) + 1}"))
            if readable(client, 0.15):
                refused = client
            else:
                queued.append(client)
        answer = refused.answer()
        assert (answer.status, answer.get("exeat-proxy-code")) == (503, "target-saturated")
        assert queued
        peer.answer(b"0")
        assert first.answer().body == b"0"
        for number, client in enumerate(queued, 1):
            assert peer.head().target == f"/{number}"
            peer.answer(b"%d" % number)
            assert client.answer().body == b"%d" % number


def test_a_place_in_the_queue_has_a_deadline(setup: Setup) -> None:
    """Who waits for a connection too long is told that the target is saturated."""
    with setup.client() as first, setup.client() as second:
        first.send(get("/api/one/busy"))
        with setup.one.accept() as peer:
            peer.head()
            second.send(get("/api/one/waits"))
            with not_before(CONNECT):
                answer = second.answer()
            assert (answer.status, answer.get("exeat-proxy-code")) == (503, "target-saturated")
            peer.answer(b"", "Connection: close")
            assert first.answer().status == 200


# -- helpers --------------------------------------------------------------------------------------------


def served(setup: Setup, client: RawClient) -> None:
    """A whole call on `client`, so that its connection is a kept one."""
    client.send(get("/api/api/served"))
    with setup.hand.accept() as peer:
        peer.head()
        peer.answer(b"ok", "Connection: close")
    assert client.answer().body == b"ok"


def readable(client: RawClient, seconds: float) -> bool:
    """Whether something arrives for the client within `seconds`."""
    return bool(select.select([client.socket], [], [], seconds)[0])


def reset(client: RawClient) -> bool:
    """Reads on until the connection ends; whether it ended with a reset."""
    try:
        while client.socket.recv(1 << 20):
            pass
    except ConnectionResetError:
        return True
    return False


def drop(connection: socket.socket, data: bytes) -> bool:
    """Sends `data` where anybody still listens; False, so that a condition goes on waiting."""
    with contextlib.suppress(OSError):
        connection.sendall(data)
    return False


def drip(client: RawClient, data: bytes) -> bytes:
    """Sends one byte each time the socket's timeout passes without an answer; what came, up to the close."""
    seen = b""
    for byte in data:
        with contextlib.suppress(OSError):
            client.socket.sendall(bytes([byte]))
        try:
            piece = client.socket.recv(65536)
        except TimeoutError:
            continue
        except ConnectionError:
            return seen
        if not piece:
            return seen
        seen += piece
    raise AssertionError("never cut off")


def established(client: RawClient) -> bool:
    """Whether the kernel still holds the connection open in both directions (tcp(7), TCP_INFO)."""
    state = client.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    return state == 1
