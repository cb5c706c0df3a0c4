"""One edge and its target, which every test of this folder asks."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.e2e.governed_call.governed_edge import ENVIRONMENT, answer, document
from tests.kit.edge import EdgeProcess, running_edge
from tests.kit.upstream import Upstream


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    with Upstream(answer) as server:
        yield server


@pytest.fixture(scope="session")
def edge(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[EdgeProcess]:
    with socket.socket() as taken:  # bound, never listening: a connection there is refused
        taken.bind(("127.0.0.1", 0))
        with running_edge(
            tmp_path_factory.mktemp("governed"),
            document(upstream.url, taken.getsockname()[1]),
            environment=ENVIRONMENT,
        ) as process:
            yield process
