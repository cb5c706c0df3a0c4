"""One edge and its three targets, for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.streaming.streams import SMALL_BUFFER, Bench, document
from tests.kit.bulk import (
    MIB,
    PatternUpstream,
)
from tests.kit.edge import running_edge
from tests.kit.hand import HandUpstream
from tests.kit.raw import RawClient, get


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with (
        HandUpstream(receive_buffer=SMALL_BUFFER) as hand,
        HandUpstream() as one,
        PatternUpstream() as bulk,
    ):
        home = tmp_path_factory.mktemp("streaming")
        with running_edge(home, document(hand, bulk, one)) as edge:
            with RawClient(edge.port) as client:  # whatever is made once is made before memory is measured
                for size in (2 * MIB, 0):
                    client.send(get(f"/api/bulk/chunked/{size}"))
                    assert client.answer().status == 200
            yield Bench(edge, hand, one, bulk)
        assert bulk.failures == []
