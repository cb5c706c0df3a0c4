"""Counters and percentiles: exact sums, and bounds that the true percentile is never above."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_api.records.counts import Counts
from control_api.records.lines import Line, read_line
from models.planes.records import BUCKETS_MS
from tests.kit.recorded import US, record

PERCENTS = (1, 50, 95, 99, 100)
DURATIONS = st.lists(st.floats(0, BUCKETS_MS[-1]) | st.sampled_from(BUCKETS_MS), min_size=1, max_size=60)


def counted(*lines: Line) -> Counts:
    """Counts of these."""
    found = Counts()
    for line in lines:
        found.count(line)
    return found


def line(**fields: Any) -> Line:
    """One record, read."""
    return read_line(msgspec.json.encode(record("req_1", **fields)), US)


@pytest.mark.parametrize(
    ("status", "code", "sort"),
    [
        (200, "proxy-access-granted", "granted"),
        (403, "proxy-access-granted", "granted"),
        (429, "proxy-access-granted", "granted"),
        (403, "rule-denied", "denied"),
        (401, "credential-rejected", "denied"),
        (429, "limit-exceeded", "limited"),
        (502, "target-unreachable", "failed"),
        (499, "aborted", "failed"),
        ("unknown", None, "failed"),
        (None, None, "failed"),
    ],
)
def test_every_record_is_one_of_four(status: Any, code: str | None, sort: str) -> None:
    """By the proxy's code first: what the target refused was granted by us."""
    found = counted(line(status=status, code=code))
    sorts = ("granted", "denied", "limited", "failed")
    assert [getattr(found, one) for one in sorts] == [int(one == sort) for one in sorts]
    assert (found.requests, found.bytes_in, found.bytes_out, sum(found.latencies)) == (1, 10, 250, 1)


@given(
    st.lists(st.tuples(st.none() | st.floats(0, 1e6), st.integers(0, 1 << 48)), max_size=20),
    st.integers(0, 20),
)
def test_parts_add_up_to_the_whole(parts: list[tuple[float | None, int]], cut: int) -> None:
    """In any split; what was added stays as it is."""
    lines = [line(duration_ms=duration, bytes_in=size, bytes_out=None) for duration, size in parts]
    first, second = counted(*lines[:cut]), counted(*lines[cut:])
    before = msgspec.json.encode(second)
    first.add(second)
    assert first == counted(*lines)
    assert msgspec.json.encode(second) == before
    assert sum(first.latencies) == sum(duration is not None for duration, _ in parts)


@given(DURATIONS)
def test_a_percentile_is_the_upper_bound_of_its_bucket(durations: list[float]) -> None:
    """The nearest-rank percentile is not above it, and is above the bound before it."""
    found = counted(*(line(duration_ms=one) for one in durations)).percentiles(PERCENTS)
    ordered = sorted(durations)
    for percent, bound in zip(PERCENTS, found, strict=True):
        true = ordered[-(-len(ordered) * percent // 100) - 1]
        assert bound == BUCKETS_MS[bisect_left(BUCKETS_MS, true)]


def test_the_ends_of_the_histogram() -> None:
    """Nothing has no percentile; what is beyond the last bound is answered with it."""
    assert Counts().percentiles(PERCENTS) == [None] * len(PERCENTS)
    assert counted(line(duration_ms=1e9)).percentiles((50,)) == [BUCKETS_MS[-1]]
    assert counted(line(duration_ms=0)).percentiles((50,)) == [BUCKETS_MS[0]]


def test_sums_stay_within_what_stores_keep() -> None:
    """Bytes stop at 2^63 - 1."""
    found = Counts(bytes_in=2**63 - 5, bytes_out=2**63 - 1)
    found.add(counted(line()))
    assert (found.bytes_in, found.bytes_out) == (2**63 - 1, 2**63 - 1)
