"""Our own generator on real sockets: it measures, and refuses to when an answer is wrong."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from scripts.bench.errors import LoadError
from scripts.bench.load import Sample, from_latencies, request_bytes
from scripts.bench.load.client import many_connections, one_connection
from scripts.bench.processes import free_port

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
BAD = b"HTTP/1.1 503 No\r\nContent-Length: 5\r\n\r\nhello"
GENERATORS: list[Callable[[int, bytes, int, float], Sample]] = [
    one_connection,
    lambda port, request, size, seconds: many_connections(port, request, size, 8, seconds),
]
both = pytest.mark.parametrize("generate", GENERATORS, ids=["one", "many"])


class Answering(asyncio.Protocol):
    """Gives the answers in turn, one per request, then closes the connection."""

    def __init__(self, answers: Callable[[int], bytes | None], live: set[asyncio.Transport]) -> None:
        self._answers, self._live, self._count = answers, live, 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._live.add(transport)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._live.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        for _ in range(data.count(b"\r\n\r\n")):
            self._count += 1
            answer = self._answers(self._count)
            if answer is None:
                self._transport.close()
            else:
                self._transport.write(answer)


@contextmanager
def serving(answers: Callable[[int], bytes | None]) -> Iterator[int]:
    """A server in a thread of its own; the number of a connection's request picks its answer."""
    loop = asyncio.new_event_loop()
    live: set[asyncio.Transport] = set()
    server = loop.run_until_complete(loop.create_server(lambda: Answering(answers, live), "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        while live:
            for transport in list(live):
                transport.abort()
            loop.run_until_complete(asyncio.sleep(0))
        loop.close()


@both
def test_good_answers_are_measured(generate: Callable[[int, bytes, int, float], Sample]):
    """A rate, and percentiles in microseconds that are in order."""
    with serving(lambda _: GOOD) as port:
        sample = generate(port, request_bytes(port, "/", {"X-API-Key": "k"}), 5, 0.2)
    assert sample.requests > 10
    assert 0.1 < sample.seconds < 2
    assert 0 < sample.p50_us <= sample.p99_us < 2e6
    assert sample.rate == pytest.approx(sample.requests / sample.seconds)


@both
@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        (lambda count: BAD if count == 3 else GOOD, "answer 3 had status 503"),
        (lambda count: None if count == 3 else GOOD, "connection closed after 2 answers"),
    ],
    ids=["refused", "closed"],
)
def test_one_wrong_answer_is_no_measurement(generate, answers, reason: str):
    """Whatever the rate was until then."""
    with serving(answers) as port, pytest.raises(LoadError) as failed:
        generate(port, request_bytes(port, "/", {}), 5, 5.0)
    assert failed.value.detail == reason


@both
def test_nobody_listening_is_no_measurement(generate: Callable[[int, bytes, int, float], Sample]):
    """A peer that died fails its row."""
    with pytest.raises(LoadError, match="ConnectionRefusedError"):
        generate(free_port(), b"", 5, 0.1)


def test_percentiles_are_in_microseconds():
    """Nearest rank over all latencies."""
    sample = from_latencies([number * 1000 for number in range(100, 0, -1)], 2.0)
    assert (sample.requests, sample.p50_us, sample.p99_us, sample.rate) == (100, 51.0, 100.0, 50.0)
    with pytest.raises(LoadError, match="no answer"):
        from_latencies([], 1.0)


def test_the_request_is_one_head():
    """Both generators send the same kind of request."""
    assert request_bytes(80, "/a", {"X-API-Key": "k"}) == (
        b"GET /a HTTP/1.1\r\nHost: 127.0.0.1:80\r\nX-API-Key: k\r\n\r\n"
    )
