"""Feed and uplink over HTTP, with the region's own key."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from control_api.handlers import feed
from models.planes.feed import UPLINK_MAX, FeedAnswer, Uplink
from models.planes.state import RegionState
from tests.kit.api import REGIONS, Api, fields
from tests.kit.plane import VERIFIER
from tests.kit.recorded import batch, record, report, send

US, EU = REGIONS


async def test_a_region_follows_over_http(core: Api) -> None:
    """The answer is the struct of models.planes.feed, and verifies."""
    await core.stack()
    key = f"r-{US}"
    answer = await core.get(f"/regions/{US}/feed?after=-1&wait=0", token=key)
    assert answer.status_code == 200, answer.text
    found = msgspec.json.decode(answer.content, type=FeedAnswer)
    assert found.delta is not None
    state = RegionState.empty(US).apply(found.delta, VERIFIER)
    assert len(state.documents) == 4
    later = await core.get(f"/regions/{US}/feed?after={state.revision}&wait=0.05", token=f"Bearer {key}")
    assert msgspec.json.decode(later.content, type=FeedAnswer).delta is None


async def test_a_report_is_taken(core: Api) -> None:
    """204, and the certificate is checked against the enrolled identity."""
    report = Uplink(certificate=core.plane.vaults[US].certificate(5))
    body = msgspec.json.encode(report)
    path = f"/regions/{US}/uplink"
    taken = await core.call("POST", path, token=f"r-{US}", content=body)
    assert (taken.status_code, taken.content) == (204, b"")
    false = msgspec.json.encode(Uplink(certificate=core.plane.vaults[EU].certificate(6)))
    assert fields(await core.call("POST", path, token=f"r-{US}", content=false)) == ["certificate"]
    assert (await core.call("POST", path, token=f"r-{US}", content=b"{")).status_code == 400
    assert fields(await core.call("POST", path, token=f"r-{US}", content=b'{"edges": 5}')) == ["body"]
    assert (await core.call("POST", path, token=f"r-{US}", content=b"[" * 100_000)).status_code in {400, 422}


async def test_records_are_taken_and_change_nothing_else(core: Api) -> None:
    """204 when they are stored; what the region said before of edges and credentials stands."""
    ids = await core.stack()
    await core.plane.feed.uplink(US, Uplink(failing={ids["sender"]: "no room"}))
    mine = {"client_id": core.client, "proxy_id": ids["proxy"]}
    sent = batch(1, [record("req_1", **mine), record("req_2", **mine)])
    for _ in range(2):
        taken = await send(core, sent)
        assert (taken.status_code, taken.content) == (204, b"")
    assert len((await core.get("{c}/requests")).json()["requests"]) == 2
    assert core.plane.feed.status(US).failing == {ids["sender"]: "no room"}
    both = msgspec.json.encode(
        Uplink(failing={}, results=(), edges=(), records=(batch(2, [record("req_3", **mine)]),))
    )
    path = f"/regions/{US}/uplink"
    assert (await core.call("POST", path, token=f"r-{US}", content=both)).status_code == 204
    certified = Uplink(certificate=core.plane.vaults[US].certificate(9), records=(batch(3, []),))
    answer = await core.call("POST", path, token=f"r-{US}", content=msgspec.json.encode(certified))
    assert answer.status_code == 204
    assert core.plane.ledger.regions.get(US).certificate_ms == 9


async def test_bad_records_are_named_and_nothing_is_stored(core: Api) -> None:
    """By the place of their batch; a region speaks for itself only."""
    ids = await core.stack()
    mine = {"client_id": core.client, "proxy_id": ids["proxy"]}
    good, strange = (
        batch(1, [record("req_1", **mine)]),
        batch(1, [record("req_2", region=EU, **mine)], "other"),
    )
    assert fields(await send(core, good, strange)) == ["records[1]"]
    assert fields(await send(core, batch(1, [record("req_2", region=EU, **mine)]), region=EU)) == [
        "records[0]"
    ]
    assert fields(
        await send(core, batch(1, [record("req_1", client_id="cli_x", proxy_id=ids["proxy"])]))
    ) == ["records[0]"]
    assert (await core.get("{c}/requests")).json()["requests"] == []


async def test_reports_may_be_long_and_not_endless(core: Api) -> None:
    """Several batches in one; beyond the limit 413, and nothing of it is read before the key is known."""
    ids = await core.stack()
    mine = {"client_id": core.client, "proxy_id": ids["proxy"]}
    long = [
        batch(number, [record(f"req_{number}_{n}", path="/" + "x" * 8_000, **mine) for n in range(100)])
        for number in range(1, 6)
    ]
    assert 4 << 20 < len(report(*long)) < UPLINK_MAX
    assert (await send(core, *long)).status_code == 204
    assert len((await core.get("{c}/requests?limit=1000")).json()["requests"]) == 500
    path = f"/v1/regions/{US}/uplink"
    assert await told(core, path, f"r-{US}", UPLINK_MAX + 1) == (
        413,
        f"The body is longer than {UPLINK_MAX} bytes",
    )
    assert await told(core, path, f"r-{EU}", UPLINK_MAX + 1) == (401, "The region key is not valid")
    assert (await told(core, f"/v1/clients/{core.client}/targets", core.token, 2 << 20))[0] == 413


async def told(core: Api, path: str, token: str, length: int) -> tuple[int, str]:
    """What is answered to the head of a POST alone: status and detail."""
    reader, writer = await asyncio.open_connection("127.0.0.1", core.port)
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: {token}\r\ncontent-length: {length}\r\n\r\n"
    writer.write(head.encode())
    status = int((await reader.readline()).split()[1])
    fields = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
    (size,) = [int(field.partition(":")[2]) for field in fields if field.startswith("content-length:")]
    problem = msgspec.json.decode(await reader.readexactly(size))
    writer.close()
    return status, problem["detail"]


@pytest.mark.parametrize("key", ["", "u-not-a-region-key", f"r-{EU}", "r-short", "owner"])
async def test_nothing_but_the_regions_own_key_is_accepted(core: Api, key: str) -> None:
    """401 for a user's token, another region's key and an unknown region alike."""
    token = core.token if key == "owner" else key
    assert (await core.get(f"/regions/{US}/feed", token=token)).status_code == 401
    assert (await core.post(f"/regions/{US}/uplink", {}, token=token)).status_code == 401
    assert (await core.get("/regions/nowhere/feed", token=f"r-{US}")).status_code == 401


async def test_bad_parameters_are_named(core: Api) -> None:
    """By their names."""
    for query, field in (
        ("after=-2", "after"),
        ("after=x", "after"),
        ("wait=-1", "wait"),
        ("wait=31", "wait"),
        ("a=1", "a"),
    ):
        assert fields(await core.get(f"/regions/{US}/feed?{query}", token=f"r-{US}")) == [field]
    assert feed.poll.__doc__
