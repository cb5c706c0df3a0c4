"""Clocks: wall time in milliseconds, boot time that never goes back, and the text of a moment."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from models.clock import SystemClock, iso_ms


def test_wall_time_is_utc_milliseconds() -> None:
    """Since the epoch, as records and windows need it."""
    before = time.time_ns() // 1_000_000
    now = SystemClock().wall_ms()
    assert before <= now <= time.time_ns() // 1_000_000


def test_boot_time_never_goes_back() -> None:
    """Nanoseconds, suspended time included."""
    clock = SystemClock()
    times = [clock.boot_ns() for _ in range(100)]
    assert times == sorted(times)
    assert abs(times[0] - time.clock_gettime_ns(time.CLOCK_BOOTTIME)) < 10_000_000_000


@pytest.mark.parametrize(
    ("wall_ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_795_428_000_000, "2026-11-23T10:00:00.000Z"),
        (1_795_428_000_007, "2026-11-23T10:00:00.007Z"),
        (1_795_428_059_999, "2026-11-23T10:00:59.999Z"),
    ],
)
def test_iso_8601(wall_ms: int, text: str) -> None:
    """UTC with milliseconds, never rounded up into the next second."""
    assert iso_ms(wall_ms) == text
    assert datetime.fromisoformat(text) == datetime.fromtimestamp(wall_ms / 1000, UTC)
