"""A target, a tenant of one's own, and connections to the workers of the shared installation."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.planes.changes import HERE, Enforced
from tests.kit.governed import Governed, Workers
from tests.kit.planes import RunningHome
from tests.kit.upstream import Upstream


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


@pytest.fixture(scope="module")
def workers(shared_home: RunningHome) -> Iterator[Workers]:
    """Connections to the workers of the edge of the first region."""
    with Workers(shared_home.edge_port(HERE), shared_home.workers) as found:
        yield found


@pytest.fixture
def one(shared_home: RunningHome, upstream: Upstream) -> Governed:
    """A tenant of its own, in force."""
    return shared_home.govern(upstream.url)


@pytest.fixture
def enforced(shared_home: RunningHome, workers: Workers) -> Enforced:
    return Enforced(shared_home, workers)
