"""Counters and percentiles: exact sums, and bounds that the true percentile is never above."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from control_api.records.counts import Counts
from control_api.records.lines import LARGEST_BYTES
from models.planes.records import BUCKETS_MS
from models.record import Record, lines
from models.rollups import rollups
from tests.kit.recorded import record

PERCENTS = (1, 50, 95, 99, 100)
DURATIONS = st.lists(st.floats(0, BUCKETS_MS[-1]) | st.sampled_from(BUCKETS_MS), min_size=1, max_size=60)


def counted(*records: Record) -> Counts:
    """Counts of these."""
    found = Counts()
    for one in rollups(lines(records)):
        found.add(one)
    return found


def some(**fields: Any) -> Record:
    """One record."""
    return record("req_1", **fields)


def test_a_record_is_counted_as_everywhere() -> None:
    """As models.rollups counts it."""
    found = counted(some(), some(status=403, code="rule-denied"), some(status=429, code="limit-exceeded"))
    assert (found.requests, found.granted, found.denied, found.limited, found.failed) == (3, 1, 1, 1, 0)
    assert (found.bytes_in, found.bytes_out, sum(found.latencies)) == (30, 750, 3)


PARTS = st.lists(st.tuples(st.none() | st.floats(0, 1e6), st.integers(0, LARGEST_BYTES)), max_size=20)


@given(PARTS, st.integers(0, 20))
def test_parts_add_up_to_the_whole(parts: list[tuple[float | None, int]], cut: int) -> None:
    """In any split; what was added stays as it is."""
    records = [some(duration_ms=duration, bytes_in=size, bytes_out=None) for duration, size in parts]
    first, second = counted(*records[:cut]), counted(*records[cut:])
    before = msgspec.json.encode(second)
    first.add(second)
    assert first == counted(*records)
    assert msgspec.json.encode(second) == before
    assert sum(first.latencies) == sum(duration is not None for duration, _ in parts)


@given(DURATIONS)
def test_a_percentile_is_the_upper_bound_of_its_bucket(durations: list[float]) -> None:
    """The nearest-rank percentile is not above it, and is above the bound before it."""
    found = counted(*(some(duration_ms=one) for one in durations)).percentiles(PERCENTS)
    ordered = sorted(durations)
    for percent, bound in zip(PERCENTS, found, strict=True):
        true = ordered[-(-len(ordered) * percent // 100) - 1]
        assert bound == BUCKETS_MS[bisect_left(BUCKETS_MS, true)]


def test_the_ends_of_the_histogram() -> None:
    """Nothing has no percentile; what is beyond the last bound is answered with it."""
    assert Counts().percentiles(PERCENTS) == [None] * len(PERCENTS)
    assert counted(some(duration_ms=1e9)).percentiles((50,)) == [BUCKETS_MS[-1]]
    assert counted(some(duration_ms=0)).percentiles((50,)) == [BUCKETS_MS[0]]


def test_sums_stay_within_what_stores_keep() -> None:
    """Bytes stop at 2^63 - 1."""
    found = Counts(bytes_in=2**63 - 5, bytes_out=2**63 - 1)
    found.add(counted(some()))
    assert (found.bytes_in, found.bytes_out) == (2**63 - 1, 2**63 - 1)
