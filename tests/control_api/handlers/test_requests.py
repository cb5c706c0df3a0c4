"""Requests over the Core API: filters, pages, single ones, and whose they are."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from control_api.handlers import requests
from models.record import Record
from tests.kit.api import Api, fields, one
from tests.kit.recorded import AT, batch, record, send

CODES = ((200, "proxy-access-granted"), (403, "rule-denied"), (429, "limit-exceeded"))


async def filled(core: Api, count: int = 30) -> list[Record]:
    """So many records of the client's proxy, in the order in which they were sent."""
    ids = await core.stack()
    records = []
    for n in range(count):
        status, code = CODES[n % 3]
        mine = {"client_id": core.client, "proxy_id": ids["proxy"], "status": status, "code": code}
        records.append(record(f"req_{n:03d}", AT + n * 1000, credential_id=f"cred_{n % 2}", **mine))
    assert (await send(core, batch(1, records))).status_code == 204
    return records


async def listed(core: Api, path: str, **query: Any) -> list[dict[str, Any]]:
    """A whole list, page by page."""
    found, cursor = [], None
    while True:
        params = {**query, **({} if cursor is None else {"cursor": cursor})}
        answer = await core.get(path, params=params)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert page["message"] == "Success"
        assert len(page["requests"]) <= query.get("limit", 100)
        found += page["requests"]
        cursor = page.get("nextCursor")
        if cursor is None:
            return found


async def test_a_record_is_shown_as_it_was_written(core: Api) -> None:
    """Under its proxy and under its client; also alone."""
    records = await filled(core, 1)
    path = f"{{c}}/proxies/{core.made['proxy']}/requests"
    shown = msgspec.json.decode(msgspec.json.encode(records[0]))
    for place in (path, "{c}/requests"):
        assert await listed(core, place) == [shown]
        answer = await core.get(f"{place}/req_000")
        assert one(answer) == shown
        assert answer.headers["content-type"] == "application/json"


async def test_filters_are_combined_and_pages_are_the_list(core: Api) -> None:
    """Newest first, whatever the size of the pages."""
    records = await filled(core)
    every = [one.request_id for one in reversed(records)]
    path = f"{{c}}/proxies/{core.made['proxy']}/requests"

    async def ids(**query: Any) -> list[str]:
        found = [
            [one["requestId"] for one in await listed(core, place, **query)]
            for place in (path, "{c}/requests")
        ]
        assert found[0] == found[1]
        return found[0]

    assert await ids() == await ids(limit=7) == every
    assert await ids(status=403, limit=4) == every[1::3]
    assert await ids(code="limit-exceeded") == every[0::3]
    assert await ids(credentialId="cred_1", limit=1) == every[0::2]
    assert await ids(status=403, credentialId="cred_1", limit=2) == every[4::6]
    assert await ids(status=200, code="rule-denied") == await ids(status="unknown") == []
    after, before = records[10].received_at, records[20].received_at
    assert await ids(processedAfter=after, processedBefore=before) == every[10:19]
    assert await ids(processedAfter=after, processedBefore=before, status=429, limit=1) == every[12:19:3]


async def test_any_status_that_a_target_can_answer_can_be_asked_for(core: Api) -> None:
    """The same range in which records are taken."""
    ids = await core.stack()
    mine = {"client_id": core.client, "proxy_id": ids["proxy"], "code": "proxy-access-granted"}
    statuses = (100, 599, 600, 999)
    records = [record(f"req_{status}", AT, status=status, **mine) for status in statuses]
    assert (await send(core, batch(1, records))).status_code == 204
    for status in statuses:
        found = await listed(core, "{c}/requests", status=status)
        assert [one["requestId"] for one in found] == [f"req_{status}"]


async def test_records_of_a_deleted_proxy_stay_under_the_client(core: Api) -> None:
    """The proxy's own path is gone with it."""
    records = await filled(core, 3)
    proxy = core.made["proxy"]
    await core.delete(f"{{c}}/proxies/{proxy}")
    assert len(await listed(core, "{c}/requests")) == len(records)
    assert one(await core.get("{c}/requests/req_001"))["proxyId"] == proxy
    for path in ("requests", "requests/req_001", "telemetry"):
        assert (await core.get(f"{{c}}/proxies/{proxy}/{path}")).status_code == 404


async def test_nothing_of_a_client_is_seen_by_another(core: Api) -> None:
    """Neither in lists nor by id, neither under the other's path nor with the other's proxy in one's own."""
    await filled(core, 3)
    proxy, mine = core.made["proxy"], core.client
    core.client = await core.new_client("Other")
    assert await listed(core, "{c}/requests") == await listed(core, "{c}/requests", status=200) == []
    assert (await core.get("{c}/requests/req_001")).status_code == 404
    for path in ("requests", "requests/req_001", "telemetry"):
        assert (await core.get(f"{{c}}/proxies/{proxy}/{path}")).status_code == 404
    _, token = await core.new_user()
    core.client = mine
    for path in ("requests", "requests/req_001", "telemetry", "billing/usage"):
        assert (await core.get(f"{{c}}/{path}", token=token)).status_code == 404
    for missing in ("req_999", "%00", "a%2Fb", "$ne"):
        assert (await core.get(f"{{c}}/requests/{missing}")).status_code == 404


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=99", "status"),
        ("status=1000", "status"),
        ("status=2xx", "status"),
        ("status=", "status"),
        ("status=%EF%BC%92%EF%BC%90%EF%BC%90", "status"),
        ("code=Rule%20denied", "code"),
        ("code=", "code"),
        ("credentialId=%24ne", "credentialId"),
        ("credentialId=", "credentialId"),
        ("processedAfter=yesterday", "processedAfter"),
        ("processedBefore=5", "processedBefore"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("cursor=none", "cursor"),
        ("cursor=none&status=200&code=rule-denied", "cursor"),
        ("status[$ne]=200", "?"),
        ("proxyId=prx_1", "proxyId"),
    ],
)
async def test_bad_parameters_are_named(core: Api, query: str, field: str) -> None:
    """By their names."""
    assert fields(await core.get(f"{{c}}/requests?{query}")) == [field]
    assert requests.list_all.__doc__


async def test_a_cursor_of_another_question_is_refused(core: Api) -> None:
    """As everywhere."""
    await filled(core, 6)
    cursor = (await core.get("{c}/requests?limit=1")).json()["nextCursor"]
    answer = await core.get("{c}/requests", params={"limit": 1, "cursor": cursor, "status": 200})
    assert fields(answer) == ["cursor"]


async def test_records_that_are_away_stop_nothing_else(core: Api) -> None:
    """503 for what needs them, reports of records included; policy is written as ever."""
    records = await filled(core, 3)
    place = core.home / "records.db"
    place.rename(place.with_suffix(".away"))
    for path in ("requests", "requests/req_001", "telemetry", "billing/usage"):
        answer = await core.get(f"{{c}}/{path}")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert (await send(core, batch(2, records))).status_code == 503
    assert (
        await core.patch(f"{{c}}/proxies/{core.made['proxy']}", {"proxyActive": False})
    ).status_code == 200
    place.with_suffix(".away").rename(place)
    assert (await send(core, batch(2, records))).status_code == 204
    assert len(await listed(core, "{c}/requests")) == 3
