"""The edge serves TLS as it serves plain HTTP: calls, bodies, events, aborts, refusals and deadlines."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kit.bulk import MIB, BodyReader, PatternUpstream, Watch, pattern, send_pattern, stalled
from tests.kit.edge import CALLER_KEY, ROOT, TARGET_TOKEN, EdgeProcess, policy, running_edge
from tests.kit.hand import HandUpstream
from tests.kit.raw import RawClient, get, request
from tests.kit.tls import AUTHORITY, ended_badly, status
from tests.kit.upstream import Upstream

# -- towards callers ------------------------------------------------------------------------------------


class Served:
    """An edge that serves TLS; `hand` and `bulk` are plain targets behind it (`bulk` has its own alias)."""

    def __init__(self, edge: EdgeProcess, hand: HandUpstream, one: HandUpstream) -> None:
        self.edge, self.hand, self.one = edge, hand, one

    def client(self, **options: Any) -> RawClient:
        context = ssl.create_default_context()
        AUTHORITY.configure_trust(context)
        return RawClient(self.edge.port, 20.0, tls=context, **options)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("served")
    with HandUpstream() as hand, HandUpstream() as one, PatternUpstream() as bulk:
        document = policy(hand.url)
        for name, url, fields in (("bulk", bulk.url, {}), ("one", one.url, {"targetConnections": 1})):
            target, proxy = document["targets"][0], document["proxies"][0]
            document["targets"].append({**target, "targetId": name, "targetBaseURL": url, **fields})
            document["proxies"].append(
                {**proxy, "proxyId": f"{name}-proxy", "proxyAlias": name, "proxyTargetId": name}
            )
        environment = {
            **certificate(home),
            "EXEAT_HEAD_SECONDS": "1",
            "EXEAT_FIRST_BYTE_SECONDS": "1",
        }
        with running_edge(home, document, environment=environment) as edge:
            yield Served(edge, hand, one)
        assert bulk.failures == []


def test_calls_over_tls_are_answered_in_order(served: Served) -> None:
    """Pipelined requests in one TLS record, and one request over many records."""
    with served.client() as client:
        client.send(b"".join(get(f"/api/bulk/length/{size}") for size in range(1, 30)))
        for size in range(1, 30):
            assert client.answer().body == bytes(pattern(0, size))
        for byte in get("/api/bulk/chunked/7"):
            client.send(bytes([byte]))
        assert client.answer().body == bytes(pattern(0, 7))


def test_own_pages_are_served_over_tls(served: Served) -> None:
    """Health, readiness and metrics, whoever owns the connection."""
    for path in ("/health", "/ready", "/metrics"):
        with served.client() as client:
            client.send(get(path, key=None))
            assert client.answer().status == 200


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_large_bodies_stream_over_tls(served: Served, framing: str) -> None:
    """Both ways, whole, with flat memory."""
    size = 64 * MIB
    line = f"Content-Length: {size}" if framing == "length" else "Transfer-Encoding: chunked"
    with served.client() as client, Watch(served.edge.worker_pids()[0]) as watch:
        client.send(get(f"/api/bulk/{framing}/{size}"))
        reader = BodyReader(client.socket)
        assert reader.body(reader.head()) == size
        client.send(request("POST", "/api/bulk/upload", line))
        send_pattern(client.socket, size, chunked=framing == "chunked")
        assert client.answer().body == str(size).encode()
        assert watch.growth < 32 * MIB


def test_events_are_not_delayed_over_tls(served: Served) -> None:
    """Each piece reaches the caller before the target writes the next."""
    with served.client() as client:
        client.send(get("/api/api/events"))
        with served.hand.accept() as peer:
            peer.head()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\nConnection: close\r\n\r\n")
            seen = b""
            while not seen.endswith(b"\r\n\r\n"):
                seen += client.socket.recv(1)
            for number in range(20):
                event = b"data: %03d\n" % number
                peer.send(event)
                got = b""
                while len(got) < len(event):
                    got += client.socket.recv(len(event) - len(got))
                assert got == event


@pytest.mark.parametrize("way", ["notice", "close", "reset"])
def test_an_abort_over_tls_frees_the_connection_to_the_target(served: Served, way: str) -> None:
    """However a caller leaves, its exchange ends upstream and its place serves the next request."""
    with served.client() as client:
        client.send(get("/api/one/left"))
        with served.one.accept() as peer:
            peer.head()
            leave(client, way)
            assert peer.closed(5)
    next_on_one(served)


def test_an_abort_of_a_paused_answer_over_tls_frees_the_connection(served: Served) -> None:
    """A caller that stopped reading and then leaves is noticed although nothing can be written to it."""
    with served.client(receive_buffer=65536) as client:
        client.send(get("/api/one/left"))
        with served.one.accept() as peer:
            peer.head()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
            sent = stalled([peer.socket], lambda one: one.send(pattern(0, MIB // 4)))
            assert sent < 64 * MIB
            leave(client, "reset")
            assert peer.closed(5)
    next_on_one(served)


def test_refusals_arrive_over_tls(served: Served) -> None:
    """A refused head, and an early answer inside an upload, reach the caller before the connection ends."""
    with served.client() as client:
        client.send(request("POST", "/api/api/x", "Bad Name: 1", body=b"x" * 10_000))
        assert client.answer().status == 400
        assert client.closed()
    with served.client() as client:
        client.send(request("POST", "/api/api/early", "Content-Length: 1000000") + b"x" * 50_000)
        with served.hand.accept() as peer:
            peer.head()
            peer.answer(b"enough", status="413 Payload Too Large")
            answer = client.answer()
        assert (answer.status, answer.body) == (413, b"enough")
        assert answer.get("connection") == "close"
        assert client.closed()


def test_an_answer_that_breaks_is_not_ended_properly_over_tls(served: Served) -> None:
    """A caller must not take half an answer for a whole one: no close_notify, a reset."""
    with served.client() as client:
        client.send(request("GET", "/api/api/broken", version="1.0"))
        with served.hand.accept() as peer:
            peer.head()
            peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n")
            assert client.socket.recv(65536)
        assert ended_badly(client)


def test_deadlines_hold_over_tls(served: Served) -> None:
    """A silent connection is closed, a slow head is 408."""
    with served.client() as client:
        assert client.closed()
    with served.client() as client:
        client.send(b"GET /api/api/x HTTP/1.1\r\n")
        assert client.answer().status == 408
        assert client.closed()


def test_a_handshake_has_a_deadline(served: Served) -> None:
    """Who connects to the TLS port and says nothing, or never finishes its hello, is closed as well."""
    for begun in (b"", b"\x16\x03\x01\x02\x00\x01"):
        with RawClient(served.edge.port, 10.0) as client:
            client.send(begun)
            assert client.closed()


def test_idle_tls_callers_do_not_hold_up_the_stop(tmp_path: Path) -> None:
    """A kept connection whose owner never answers our close_notify ends soon after SIGTERM all the same."""
    environment = certificate(tmp_path)
    with (
        Upstream() as upstream,
        running_edge(tmp_path, policy(upstream.url), environment=environment) as edge,
    ):
        context = ssl.create_default_context()
        AUTHORITY.configure_trust(context)
        with RawClient(edge.port, tls=context) as idle, RawClient(edge.port, tls=context) as fresh:
            assert status(idle, "/api/api/x") == 200
            began = time.monotonic()
            assert edge.stop() == 0
            assert time.monotonic() - began < 10
            assert fresh.closed()


def test_plain_http_is_not_served_on_the_tls_port(served: Served) -> None:
    """There is no fallback."""
    with RawClient(served.edge.port) as client:
        client.send(get("/health", key=None))
        with contextlib.suppress(EOFError, ConnectionError, ValueError, IndexError):
            assert client.answer().status != 200


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"EXEAT_HOST": "0.0.0.0"}, "EXEAT_HOST"),
        ({"EXEAT_HOST": "::"}, "EXEAT_HOST"),
        ({"EXEAT_TLS_CERTIFICATE": "chain.pem"}, "EXEAT_TLS_KEY"),
        ({"EXEAT_TLS_CERTIFICATE": "missing.pem", "EXEAT_TLS_KEY": "key.pem"}, "EXEAT_TLS_CERTIFICATE"),
    ],
)
def test_an_open_address_without_tls_is_refused(
    tmp_path: Path, environment: dict[str, str], named: str
) -> None:
    """What would serve callers in clear to the world does not start, and says which setting to change."""
    (tmp_path / "policy.yaml").write_text(yaml.safe_dump(policy("http://127.0.0.1:9")))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "scripts.cli",
            "edge",
            "--policy",
            tmp_path / "policy.yaml",
            "--home",
            tmp_path / "home",
            "--port",
            "0",
        ],
        cwd=ROOT,
        env={
            "PATH": "/usr/bin:/bin",
            "TEST_CALLER_KEY": CALLER_KEY,
            "TEST_TARGET_TOKEN": TARGET_TOKEN,
            **environment,
        },
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 78
    assert named.encode() in done.stderr
    assert b"Traceback" not in done.stderr


# -- helpers --------------------------------------------------------------------------------------------


def certificate(home: Path) -> dict[str, str]:
    """Settings that make an edge serve TLS as `localhost`, with files below `home`."""
    home.mkdir(exist_ok=True)
    issued = AUTHORITY.issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(str(home / "chain.pem"))
    issued.private_key_pem.write_to_path(str(home / "key.pem"))
    return {"EXEAT_TLS_CERTIFICATE": str(home / "chain.pem"), "EXEAT_TLS_KEY": str(home / "key.pem")}


def leave(client: RawClient, way: str) -> None:
    """Ends the caller's connection: with a close_notify, with a bare FIN, or with a reset."""
    if way == "notice":
        client.socket.settimeout(5)
        with contextlib.suppress(OSError, ssl.SSLError):
            client.socket.unwrap()  # type: ignore[attr-defined]  # it is an SSLSocket here
        return
    if way == "reset":
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    socket.socket(fileno=client.socket.detach()).close()


def next_on_one(served: Served) -> None:
    """The target with a single connection answers the next request."""
    with served.client() as client:
        client.send(get("/api/one/next"))
        with served.one.accept() as peer:
            assert peer.head().target == "/next"
            peer.answer(b"next", "Connection: close")
        assert client.answer().body == b"next"
