"""What modules of one invariant share: an edge before a target that echoes secrets, and an edge in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.invariants.canary_line import ENVIRONMENT, document
from tests.invariants.judged import Desk
from tests.kit.edge import EdgeProcess, running_edge
from tests.kit.hand import HandUpstream


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EdgeProcess, HandUpstream]]:
    with HandUpstream() as upstream:
        home = tmp_path_factory.mktemp("sealed")
        with running_edge(home, document(upstream.url), environment=ENVIRONMENT) as edge:
            yield edge, upstream


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    one = Desk(tmp_path_factory.mktemp("desk"))
    yield one
    one.close()
