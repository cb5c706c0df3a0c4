"""Requests, telemetry and usage (sdk/records.py), against the Core API itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sdk import ApiProblem, ExeatClient, UnexpectedAnswer
from sdk.records import Bucket, Request, Usage
from tests.kit.api import Api
from tests.kit.api import api as running
from tests.kit.plane import HandClock
from tests.kit.recorded import AT, batch, record, send
from tests.sdk.tiny_api import Server

MOMENT = datetime.fromtimestamp(AT / 1000 + 10, UTC)


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Api]:
    """A running Core API whose time is a minute after AT."""
    async with running(tmp_path, clock=HandClock(AT + 60_000)) as found:
        yield found


async def test_what_proxies_did_is_read(core: Api) -> None:
    """By plain names with real types; lists item by item."""
    proxy = (await core.stack())["proxy"]
    mine = {"client_id": core.client, "proxy_id": proxy}
    granted = [record(f"req_{n}", AT + 10_000 - n * 1000, **mine) for n in range(5)]
    denied = record("req_9", AT + 1_000, status=403, code="rule-denied", credential_id=None, **mine)
    assert (await send(core, batch(1, [*granted, denied]))).status_code == 204
    async with ExeatClient(f"http://127.0.0.1:{core.port}", core.token) as api:
        every = [one async for one in api.requests.each(core.client, page_size=2)]
        assert [one.id for one in every] == ["req_0", "req_1", "req_2", "req_3", "req_4", "req_9"]
        assert isinstance(every[0], Request)
        assert (every[0].received_at, every[0].status, every[-1].credential_id) == (MOMENT, 200, None)
        assert every[0].decision is not None
        assert every[0].timings["upstream"] == 12.0
        page = await api.requests.page(
            core.client, proxy_id=proxy, status=200, code="proxy-access-granted", after=granted[3].received_at,
            before=MOMENT, limit=10, credential_id="cred_one",
        )  # fmt: skip
        assert [one.id for one in page.items] == ["req_1", "req_2"]
        assert (await api.requests.get(core.client, "req_9", proxy_id=proxy)) == every[-1]
        with pytest.raises(ApiProblem, match="404"):
            await api.requests.get(core.client, "req_none")

        (bucket,) = await api.telemetry(core.client, proxy_id=proxy, interval="hour")
        assert isinstance(bucket, Bucket)
        assert (bucket.requests, bucket.granted, bucket.denied, bucket.p99) == (6, 5, 1, 15.0)
        assert (
            await api.telemetry(
                core.client, start=MOMENT.replace(year=2020), end="2020-06-01T00:00:00Z", interval="day"
            )
            == ()
        )
        with pytest.raises(ApiProblem, match="422"):
            await api.telemetry(core.client, start=MOMENT, end=MOMENT)
        total, of_proxy = await api.usage(core.client)
        assert isinstance(total, Usage)
        assert (total.month, total.proxy_id, of_proxy.proxy_id, of_proxy.bytes_out) == (
            "2027-01",
            None,
            proxy,
            1500,
        )
        assert [one.requests for one in await api.usage(core.client, month="2026-12")] == [0]


async def test_an_answer_without_its_list_is_unexpected(api: ExeatClient, server: Server) -> None:
    """As of every other route."""
    server.state.faults = [(200, {"message": "Success"}, {}), (200, {"usage": [{"month": 5}]}, {})]
    with pytest.raises(UnexpectedAnswer, match="no list telemetry"):
        await api.telemetry("c")
    with pytest.raises(UnexpectedAnswer, match="Usage"):
        await api.usage("c")
