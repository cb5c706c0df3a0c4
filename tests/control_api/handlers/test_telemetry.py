"""Telemetry over the Core API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from control_api.handlers import telemetry
from models.clock import iso_ms
from tests.kit.api import Api, api, fields
from tests.kit.plane import HandClock
from tests.kit.recorded import AT, batch, record, send

MINUTE = 60_000
ZERO = {"granted": 0, "denied": 0, "limited": 0, "failed": 0}


async def buckets(core: Api, path: str, **query: Any) -> list[dict[str, Any]]:
    """What is answered."""
    answer = await core.get(f"{path}/telemetry", params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["telemetry"]
    return found


async def test_buckets_say_what_happened(tmp_path: Path) -> None:
    """By minute, hour and day; a client's are the sum of its proxies', those that were deleted included."""
    clock = HandClock(AT)
    async with api(tmp_path, clock=clock) as core:
        first = (await core.stack())["proxy"]
        mine = {"client_id": core.client}
        records = [
            record("req_1", AT, proxy_id=first, duration_ms=4.0, **mine),
            record(
                "req_2", AT + 1, proxy_id=first, duration_ms=90.0, status=429, code="limit-exceeded", **mine
            ),
            record("req_3", AT + 5 * MINUTE, proxy_id="prx_gone", status=502, code="target-invalid", **mine),
            record(
                "req_4",
                AT + 90 * MINUTE,
                proxy_id=first,
                status="unknown",
                code=None,
                duration_ms=None,
                **mine,
            ),
        ]
        assert (await send(core, batch(1, records))).status_code == 204

        clock.ms = AT + 10 * MINUTE
        both = {"requests": 2, "bytesIn": 20, "bytesOut": 500, **ZERO, "granted": 1, "limited": 1}
        begin = {"at": iso_ms(AT), **both, "p50": 5.0, "p95": 100.0, "p99": 100.0}
        assert await buckets(core, f"{{c}}/proxies/{first}") == [begin]
        gone = {
            "at": iso_ms(AT + 5 * MINUTE),
            "requests": 1,
            "bytesIn": 10,
            "bytesOut": 250,
            **ZERO,
            "failed": 1,
        }
        gone |= {"p50": 15.0, "p95": 15.0, "p99": 15.0}
        assert await buckets(core, "{c}") == [begin, gone]

        span = {"from": iso_ms(AT), "to": iso_ms(AT + 91 * MINUTE)}
        last = (await buckets(core, f"{{c}}/proxies/{first}", **span))[-1]
        assert (last["at"], last["failed"], last["p50"]) == (iso_ms(AT + 90 * MINUTE), 1, None)
        by_hour = await buckets(core, "{c}", interval="hour", **span)
        assert [(one["at"], one["requests"]) for one in by_hour] == [
            (iso_ms(AT), 3),
            (iso_ms(AT + 60 * MINUTE), 1),
        ]
        (by_day,) = await buckets(core, "{c}", interval="day", **span)
        assert (by_day["at"], by_day["requests"]) == (iso_ms(AT - AT % 86_400_000), 4)
        assert await buckets(core, "{c}", **{**span, "from": iso_ms(AT + 91 * MINUTE - 1)}) == [last]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("interval=second", "interval"),
        ("from=now", "from"),
        ("to=1969-12-31T23:59:59Z", "to"),
        ("from=2027-01-02T00:00:00Z&to=2027-01-01T00:00:00Z", "from"),
        ("from=2027-01-01T00:00:00Z&to=2027-01-07T22:40:00.001Z", "from"),
        ("limit=5", "limit"),
    ],
)
async def test_bad_parameters_are_named(core: Api, query: str, field: str) -> None:
    """By their names; 10,001 buckets are one too many."""
    assert fields(await core.get(f"{{c}}/telemetry?{query}")) == [field]
    assert telemetry.read.__doc__


async def test_ten_thousand_buckets_may_be_asked_for(core: Api) -> None:
    """Without requests there are none to show."""
    span = {"from": "2027-01-01T00:00:00Z", "to": "2027-01-07T22:40:00Z"}
    assert await buckets(core, "{c}", **span) == []
