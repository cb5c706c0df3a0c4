"""One edge and its two targets, for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.refused_requests.refusals import HEAD_SECONDS, RULES, Bench
from tests.kit.edge import policy, running_edge
from tests.kit.hand import HandUpstream
from tests.kit.upstream import Upstream


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with Upstream() as upstream, HandUpstream() as hand:
        document = policy(upstream.url, rules=RULES)
        document["targets"].append({"targetId": "hand", "targetName": "Hand", "targetBaseURL": hand.url})
        document["proxies"].append(
            {
                **document["proxies"][0],
                "proxyId": "hand-proxy",
                "proxyAlias": "hand",
                "proxyTargetId": "hand",
                "rules": [],
            }
        )
        environment = {"EXEAT_HEAD_SECONDS": str(HEAD_SECONDS)}
        home = tmp_path_factory.mktemp("refused")
        with running_edge(home, document, environment=environment) as edge:
            yield Bench(edge, upstream, hand)
