"""The recorder's reports over real HTTP: what the control plane gets, and what its answers come to."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from actors.recorder.core import Malformed, RecorderCore
from actors.recorder.uplink_client import UplinkClient
from models.errors import PeerUnavailable
from models.planes.feed import Uplink
from models.planes.records import RecordBatch
from models.rollups import rollups
from models.secret import Secret
from tests.actors.recorder.batches import batch
from tests.kit.feed import KEY, REGION, FeedServer, Plane


def report(*numbers: int) -> list[RecordBatch]:
    """Batches with these numbers, as the core sends them."""
    found = [batch(number) for number in numbers]
    return [
        RecordBatch(source=one.source, number=one.number, lines=one.lines, rollups=rollups(one.lines))
        for one in found
    ]


@pytest.fixture
async def server() -> AsyncIterator[FeedServer]:
    """A control plane's uplink on loopback."""
    found = FeedServer(Plane())
    await found.start()
    yield found
    await found.stop()


@pytest.fixture
async def client(server: FeedServer) -> AsyncIterator[UplinkClient]:
    found = UplinkClient(server.url, REGION, lambda: Secret(KEY), timeout=0.5, whole=1.0)
    yield found
    await found.close()


async def test_batches_arrive_as_they_are(server: FeedServer, client: UplinkClient) -> None:
    """With the region's key, and nothing else in the report."""
    sent = report(1, 2)
    await client.send(sent)
    assert server.uplinks == [Uplink(records=tuple(sent))]
    assert server.keys == [KEY]


def problem(*fields: str) -> bytes:
    """A problem+json that is about these fields."""
    return json.dumps(
        {"status": 422, "errors": [{"field": field, "message": "wrong"} for field in fields]}
    ).encode()


@pytest.mark.parametrize(
    ("status", "body", "places"),
    [
        (422, problem("records[1]"), {1}),
        (422, problem("records[0]", "records[2].lines[7]"), {0, 2}),
        (422, problem("records[3]", "body", "certificate"), set()),
        (422, b"no JSON", set()),
        (422, b'{"errors": 7}', set()),
        (413, b"", set()),
    ],
    ids=["one", "two", "others", "text", "form", "too large"],
)
async def test_malformed_batches_are_told_by_their_places(
    server: FeedServer, client: UplinkClient, status: int, body: bytes, places: set[int]
) -> None:
    """Those that were sent, and no others."""
    server.uplink_status, server.uplink_body = status, body
    with pytest.raises(Malformed) as caught:
        await client.send(report(1, 2, 3))
    assert caught.value.places == places


@pytest.mark.parametrize("status", [200, 302, 401, 404, 500, 503])
async def test_any_other_answer_means_to_come_again(
    server: FeedServer, client: UplinkClient, status: int
) -> None:
    """Also a success of another sort: only 204 says that all is stored."""
    server.uplink_status = status
    with pytest.raises(PeerUnavailable, match=f"answered {status}"):
        await client.send(report(1))


async def test_a_recorder_over_http_refuses_what_is_malformed_and_delivers_the_rest(
    server: FeedServer, client: UplinkClient
) -> None:
    """A region that has gone and is back changes nothing about that."""
    core = RecorderCore(client)
    port = server.port
    await server.stop()
    with pytest.raises(PeerUnavailable):
        await core.take(batch(1))
    await server.start(port)
    assert (await core.take(batch(1))).number == 1
    assert [one.records[0].number for one in server.uplinks] == [1]
