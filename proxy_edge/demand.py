"""How many permits a worker is to have: what was used lately, doubling while that runs dry, bounded by the measured rate.

Values and pure functions. It must never be more than callers wait for, or are likely to use, within REACH_SECONDS:
what one worker holds and does not use, others have to wait for.
"""

from __future__ import annotations

from math import ceil, inf

import msgspec

REACH_SECONDS = 30.0
"""For how long, at the measured rate, what is held may last: longer than a Ray head takes to come back."""

MEMORY_SECONDS = 10.0
"""How far back the measured rate looks."""


class Demand(msgspec.Struct, frozen=True, gc=False):
    """What one proxy's callers use at one worker.

    count: permits to have. ahead: whether callers come often enough to ask before they wait. calls, seconds: what
    the rate is measured by. at_ns: boot nanoseconds of the last look; None before the first.
    """

    count: int = 0
    ahead: bool = False
    calls: float = 0.0
    seconds: float = 0.0
    at_ns: int | None = None


def next_demand(before: Demand, used: int, waiting: int, now_ns: int) -> Demand:
    """The demand now that permits are short.

    used: permits spent since `before`. waiting: callers that wait for one. now_ns: boot nanoseconds.
    """
    elapsed = 0.0 if before.at_ns is None else max(0, now_ns - before.at_ns) / 1e9
    calls, seconds = before.calls + max(0, used), before.seconds + elapsed
    if seconds > MEMORY_SECONDS:
        calls, seconds = calls * MEMORY_SECONDS / seconds, MEMORY_SECONDS
    reach = REACH_SECONDS * calls / seconds if seconds else calls * inf if calls else 0.0
    count = max(1, waiting, ceil(min(2 * before.count, reach)))
    return Demand(count, reach >= 1, calls, seconds, now_ns)


def renewal(count: int) -> int:
    """Of `count` permits, below how many others are asked for: three quarters, rounded up."""
    return (3 * count + 3) // 4
