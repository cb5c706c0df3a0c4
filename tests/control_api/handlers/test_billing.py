"""A month's usage over the Core API."""

from __future__ import annotations

from pathlib import Path

from control_api.handlers import billing
from tests.kit.api import Api, api, fields
from tests.kit.plane import HandClock
from tests.kit.recorded import AT, batch, record, send

MONTH_MS = 31 * 86_400_000


async def test_the_clients_total_and_every_proxy(tmp_path: Path) -> None:
    """Of the current month, or of the one that is named; other clients' are not in it."""
    async with api(tmp_path, clock=HandClock(AT)) as core:
        mine = {"client_id": core.client}
        records = [
            record("req_1", AT, proxy_id="prx_a", **mine),
            record("req_2", AT, proxy_id="prx_b", status=403, code="rule-denied", bytes_out=7, **mine),
            record("req_3", AT + 1, proxy_id="prx_b", **mine),
            record("req_4", AT - MONTH_MS, proxy_id="prx_a", **mine),
            record("req_5", AT, proxy_id="prx_c", client_id="cli_other"),
        ]
        assert (await send(core, batch(1, records))).status_code == 204
        answer = await core.get("{c}/billing/usage")
        assert answer.status_code == 200
        assert answer.json() == {
            "usage": [
                {"month": "2027-01", "proxyId": proxy, **counts}
                for proxy, counts in (
                    (None, counted(requests=3, granted=2, denied=1, bytesIn=30, bytesOut=507)),
                    ("prx_a", counted(requests=1, granted=1, bytesIn=10, bytesOut=250)),
                    ("prx_b", counted(requests=2, granted=1, denied=1, bytesIn=20, bytesOut=257)),
                )
            ],
            "message": "Success",
        }
        before = (await core.get("{c}/billing/usage?month=2026-12")).json()["usage"]
        assert [(one["proxyId"], one["requests"]) for one in before] == [(None, 1), ("prx_a", 1)]
        empty = (await core.get("{c}/billing/usage?month=2020-02")).json()["usage"]
        assert empty == [{"month": "2020-02", "proxyId": None, **counted()}]


def counted(**given: int) -> dict[str, int]:
    """Counters, 0 where nothing is given."""
    names = ("requests", "granted", "denied", "limited", "failed", "bytesIn", "bytesOut")
    return {name: given.get(name, 0) for name in names}


async def test_bad_parameters_are_named(core: Api) -> None:
    """By their names."""
    assert fields(await core.get("{c}/billing/usage?month=2026-13")) == ["month"]
    assert fields(await core.get("{c}/billing/usage?year=2026")) == ["year"]
    assert billing.usage.__doc__
