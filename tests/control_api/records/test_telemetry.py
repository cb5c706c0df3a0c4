"""Which buckets are asked for, and how they are shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_api.records.counts import Counts
from control_api.records.rollups import DAY, HOUR, MINUTE, Grain
from control_api.records.telemetry import MOST_BUCKETS, Span, counted, shown, span_of
from models.errors import Invalid

NOW = 1_800_000_123_456


def test_the_default_is_the_last_hour_by_minute() -> None:
    """Up to now; whole buckets, so one more than sixty when now is inside one."""
    span = span_of("minute", None, None, NOW)
    assert span == Span(MINUTE, (NOW - 3_600_000) // 60_000, (NOW - 1) // 60_000)
    assert span_of("hour", None, NOW - 7_200_000, NOW).last == (NOW - 7_200_001) // 3_600_000


@given(
    begin=st.integers(0, 10**13),
    length=st.integers(1, (MOST_BUCKETS - 1) * MINUTE.step_ms),
    grain=st.sampled_from([MINUTE, HOUR, DAY]),
)
def test_every_moment_asked_for_is_in_a_bucket(begin: int, length: int, grain: Grain) -> None:
    """From `from`, inclusive, to `to`, exclusive; no more buckets than that takes."""
    span = span_of(grain.name, begin, begin + length, NOW)
    assert span.first * grain.step_ms <= begin < (span.first + 1) * grain.step_ms
    assert span.last * grain.step_ms < begin + length <= (span.last + 1) * grain.step_ms


@pytest.mark.parametrize(
    ("interval", "begin", "end", "field"),
    [
        ("second", None, None, "interval"),
        ("", None, None, "interval"),
        ("minute", NOW, None, "from"),
        ("minute", 5, 5, "from"),
        ("minute", 6, 5, "from"),
        ("minute", None, 0, "to"),
        ("minute", 0, MOST_BUCKETS * 60_000 + 1, "from"),
    ],
)
def test_what_cannot_be_shown_is_named(interval: str, begin: int | None, end: int | None, field: str) -> None:
    """By its parameter."""
    with pytest.raises(Invalid) as refused:
        span_of(interval, begin, end, NOW)
    assert [name for name, _ in refused.value.errors] == [field]


def test_exactly_the_most_buckets_are_shown() -> None:
    """One more is refused, see above."""
    assert span_of("minute", 0, MOST_BUCKETS * 60_000, NOW) == Span(MINUTE, 0, MOST_BUCKETS - 1)


def test_buckets_are_shown_in_the_order_of_time() -> None:
    """With their begin; percentiles are null where nothing has a duration."""
    latencies = Counts().latencies
    latencies[3] = 4
    cells = {
        30: Counts(requests=4, denied=4, latencies=latencies),
        2: Counts(requests=1, failed=1, bytes_out=7),
    }
    first, second = shown(HOUR, cells)
    assert first == {
        "at": "1970-01-01T02:00:00.000Z",
        **counted(cells[2]),
        "p50": None,
        "p95": None,
        "p99": None,
    }
    assert second["at"] == "1970-01-02T06:00:00.000Z"
    assert (second["requests"], second["denied"], second["p50"], second["p99"]) == (4, 4, 5.0, 5.0)
    assert shown(DAY, {}) == []
