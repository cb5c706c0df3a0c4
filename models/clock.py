"""Time as a parameter: wall time for records and windows, monotonic time for deadlines.

Nothing here sleeps, and no other module of the product calls `time.time` itself, so that a test can
hand in a clock it moves by hand.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time in milliseconds since the epoch, and CLOCK_BOOTTIME in nanoseconds."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970-01-01T00:00:00Z."""
        ...

    def boot_ns(self) -> int:
        """Nanoseconds since boot, suspended time included; never goes back."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970-01-01T00:00:00Z."""
        return time.time_ns() // 1_000_000

    def boot_ns(self) -> int:
        """Nanoseconds since boot, suspended time included; never goes back."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def iso_ms(wall_ms: int) -> str:
    """ISO 8601 UTC with milliseconds, as API.md section 2 asks (`2026-11-23T10:00:00.000Z`)."""
    moment = datetime.fromtimestamp(wall_ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{wall_ms % 1000:03d}Z"
