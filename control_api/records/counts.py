"""What records add up to: flat counters and a histogram of latencies, and percentiles read from it.

Pure. Adding is associative and commutative, so parts may be joined in any order.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

import msgspec

from models.planes.records import BUCKETS_MS, Rollup

_BUCKETS: Final = len(BUCKETS_MS) + 1
_MOST: Final = 2**63 - 1


def _empty() -> list[int]:
    return [0] * _BUCKETS


class Counts(msgspec.Struct, array_like=True, gc=False):
    """As of `models.planes.records.Rollup`, without what it is of.

    A new field goes to the end and has a default: documents of an older version are still in stores.
    """

    requests: int = 0
    granted: int = 0
    denied: int = 0
    limited: int = 0
    failed: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    latencies: list[int] = msgspec.field(default_factory=_empty)

    def add(self, other: Counts | Rollup) -> None:
        """Adds what another one counted, which stays as it is. Sums of bytes stop at 2^63 - 1."""
        self.requests += other.requests
        self.granted += other.granted
        self.denied += other.denied
        self.limited += other.limited
        self.failed += other.failed
        self.bytes_in = min(self.bytes_in + other.bytes_in, _MOST)
        self.bytes_out = min(self.bytes_out + other.bytes_out, _MOST)
        self.latencies = [one + more for one, more in zip(self.latencies, other.latencies, strict=True)]

    def percentiles(self, percents: Sequence[int]) -> list[float | None]:
        """Per percent p, milliseconds: at least p % of the durations are not above it; None without a duration.

        The nearest-rank percentile (the ⌈p/100 · n⌉-th smallest of n) lies in some bucket; the answer is that
        bucket's upper bound, not interpolated: never below the truth, and above it by less than one bucket. Only what
        lies beyond the last bound is answered with that bound, which is then too small.
        """
        reached = list(accumulate(self.latencies))
        total = reached[-1]
        if not total:
            return [None] * len(percents)
        places = (bisect_left(reached, -(-total * percent // 100)) for percent in percents)
        return [float(BUCKETS_MS[min(place, _BUCKETS - 2)]) for place in places]
