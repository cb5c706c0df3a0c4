"""Telemetry: counts per minute, hour or day, as the roll-ups have them, with percentiles of the latency.

Pure. A bucket without requests is left out.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from control_api.records.counts import Counts
from control_api.records.rollups import DAY, HOUR, MINUTE, Cells, Grain
from models.clock import iso_ms
from models.errors import Invalid

INTERVALS: Final = {grain.name: grain for grain in (MINUTE, HOUR, DAY)}
MOST_BUCKETS: Final = 10_000
SPAN_MS: Final = 3_600_000
"""Of what is shown when `from` is left out."""
PERCENTS: Final = (50, 95, 99)


class Span(NamedTuple):
    """Whole buckets, numbered since 1970, both ends included."""

    grain: Grain
    first: int
    last: int


def span_of(interval: str, from_ms: int | None, to_ms: int | None, now_ms: int) -> Span:
    """The buckets that [from, to) touches. to: now when left out; from: an hour before `to`.

    Raises Invalid naming `interval`, `from` or `to`.
    """
    grain = INTERVALS.get(interval)
    if grain is None:
        raise _refused("interval", f"must be one of {', '.join(INTERVALS)}")
    end = now_ms if to_ms is None else to_ms
    begin = max(0, end - SPAN_MS) if from_ms is None else from_ms
    if from_ms is None and begin >= end:
        raise _refused("to", "must be later than the beginning of 1970")
    if begin >= end:
        raise _refused("from", "must be earlier than `to`, which is now when left out")
    found = Span(grain, begin // grain.step_ms, (end - 1) // grain.step_ms)
    if found.last - found.first >= MOST_BUCKETS:
        raise _refused("from", f"lies more than {MOST_BUCKETS} buckets before `to`")
    return found


def shown(grain: Grain, cells: Cells) -> list[dict[str, Any]]:
    """The buckets of API.md, oldest first. at: the beginning of each."""
    return [
        {"at": iso_ms(cell * grain.step_ms), **counted(counts), **_latency(counts)}
        for cell, counts in sorted(cells.items())
    ]


def counted(counts: Counts) -> dict[str, int]:
    """The flat counters in wire names."""
    return {
        "requests": counts.requests,
        "granted": counts.granted,
        "denied": counts.denied,
        "limited": counts.limited,
        "failed": counts.failed,
        "bytesIn": counts.bytes_in,
        "bytesOut": counts.bytes_out,
    }


def _latency(counts: Counts) -> dict[str, float | None]:
    found = counts.percentiles(PERCENTS)
    return {f"p{percent}": value for percent, value in zip(PERCENTS, found, strict=True)}


def _refused(field: str, message: str) -> Invalid:
    return Invalid("A query parameter cannot be accepted", errors=((field, message),))
