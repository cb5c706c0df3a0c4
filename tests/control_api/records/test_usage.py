"""A month's usage: its name, its sums, and the client's total."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from control_api.records.counts import Counts
from control_api.records.usage import month_of, shown
from models.errors import Invalid

NOW = int(datetime(2026, 12, 31, 23, 59, tzinfo=UTC).timestamp() * 1000)


def test_a_month_is_read_and_shown_alike() -> None:
    """From 1970 to 9999; the current one when none is named."""
    for text in ("1970-01", "2026-12", "2030-06", "9999-12"):
        assert shown(month_of(text, NOW), {})[0]["month"] == text
    assert shown(month_of(None, NOW), {})[0]["month"] == "2026-12"


@pytest.mark.parametrize(
    "text", ["", "2026", "2026-1", "2026-13", "2026-00", "1969-12", "10000-01", "2026-12-01", "\uff12026-01"]
)
def test_what_is_no_month_is_named(text: str) -> None:
    """By its parameter."""
    with pytest.raises(Invalid) as refused:
        month_of(text, NOW)
    assert [name for name, _ in refused.value.errors] == ["month"]


def test_the_total_comes_first() -> None:
    """Then every proxy by id, over all its days."""
    proxies = {
        "prx_b": {1: Counts(requests=2, granted=2, bytes_in=5), 30: Counts(requests=1, limited=1)},
        "prx_a": {9: Counts(requests=4, denied=3, failed=1, bytes_out=6)},
    }
    total, first, second = shown(month_of("2026-11", NOW), proxies)
    assert (total["proxyId"], first["proxyId"], second["proxyId"]) == (None, "prx_a", "prx_b")
    assert total == {
        "month": "2026-11",
        "proxyId": None,
        "requests": 7,
        "granted": 2,
        "denied": 3,
        "limited": 1,
        "failed": 1,
        "bytesIn": 5,
        "bytesOut": 6,
    }
    assert (second["requests"], second["limited"], first["bytesOut"]) == (3, 1, 6)
