"""An edge before targets by hand and in bulk, and readers of what it streams."""

from __future__ import annotations

from typing import Any

from tests.kit.bulk import (
    PatternUpstream,
)
from tests.kit.edge import EdgeProcess, policy
from tests.kit.hand import HandUpstream
from tests.kit.raw import RawClient, get

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


def answered(bench: Bench) -> None:
    """The target with a single connection answers the next request."""
    with bench.client() as client:
        client.send(get("/api/one/next"))
        with bench.one.accept() as peer:
            assert peer.head().target == "/next"
            peer.answer(b"next", "Connection: close")
        assert client.answer().body == b"next"
