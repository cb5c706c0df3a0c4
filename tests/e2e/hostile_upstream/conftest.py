"""One edge before one hostile target, for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.hostile_upstream.scripts import TIMEOUT_MS, Bench, Hostile
from tests.kit.edge import policy, running_edge
from tests.kit.raw import RawClient
from tests.kit.upstream import RawUpstream


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    hostile = Hostile()
    with RawUpstream(hostile.session) as upstream:
        document = policy(upstream.url)
        target, proxy = document["targets"][0], document["proxies"][0]
        document["targets"].append({**target, "targetId": "brief", "targetTimeoutMs": TIMEOUT_MS})
        document["proxies"].append(
            {**proxy, "proxyId": "brief-proxy", "proxyAlias": "brief", "proxyTargetId": "brief"}
        )
        environment = {"EXEAT_TARGET_KEEPALIVE_SECONDS": "600"}  # no unsafe request avoids a kept connection
        home = tmp_path_factory.mktemp("hostile")
        with running_edge(home, document, environment=environment) as edge:
            bench = Bench(edge, hostile, upstream, onlooker=RawClient(edge.port, 20.0))
            yield bench
            hostile.gate.set()
            bench.onlooker.socket.close()
