"""Numbers about the edge's work, kept per worker in one shared page and shown as Prometheus metrics.

Each worker writes its own row only, so no lock is needed, and whichever worker answers `/metrics` adds up
all rows. A metric never carries a path, address, credential or anything else of a request.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from models.errors import GRANTED, Refusal, refusals

_log = logging.getLogger("exeat.edge.stats")

ABORTED: Final = "client-aborted"
CUT_OFF: Final = "answer-cut-off"
_CODES = (GRANTED, ABORTED, CUT_OFF, Refusal.code, *(kind.code for kind in refusals()))
_COUNTERS = (
    *("bytes_in", "bytes_out", "masks", "records_lost", "unauthenticated", "lease_failures"),
    *("permits", "limiter_calls"),
)
_FIRST = len(_CODES)
_GAUGES = (
    "connections",
    "record_depth",
    "policy_revision",
    "loop_lag_us",
    "broken_proxies",
    "policy_age_seconds",
    "leases",
)
_SHARED_COUNTERS = frozenset({"spool_removed"})
_BUCKETS = 26
"""Powers of two of a microsecond: up to 33 s, the last one unbounded."""
_COLUMNS = len(_CODES) + len(_COUNTERS) + len(_GAUGES) + _BUCKETS + 1
_ROW_BYTES = _COLUMNS * 8
_HEAD = b"exeatST1" + _COLUMNS.to_bytes(8, "little")
_ADDRESSES = 1024
_SAMPLE_SECONDS = 1.0


class Stats:
    """One worker's row. The file is made by whoever comes first and keeps the rows of all workers there ever were."""

    def __init__(
        self,
        path: Path,
        index: int,
        workers: int,
        now: Callable[[], float],
        *,
        shared: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        """shared: gauges of the whole edge that are nobody's own, by name."""
        self._now, self._shared = now, shared
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if os.pread(fd, len(_HEAD), 0) != _HEAD:
                os.ftruncate(fd, 0)  # new, or of a version with other columns: the numbers begin anew
                os.pwrite(fd, _HEAD, 0)
            size = max(os.fstat(fd).st_size, len(_HEAD) + _ROW_BYTES * workers)
            os.ftruncate(fd, size)
            self._map = mmap.mmap(fd, size)
        finally:
            fcntl.flock(fd, fcntl.LOCK_UN)  # by hand: the map keeps a copy of the descriptor
            os.close(fd)
        self._whole = memoryview(self._map)
        self._cells = self._whole[len(_HEAD) :].cast("Q")
        self._rows = (size - len(_HEAD)) // _ROW_BYTES
        first = index * _COLUMNS
        self._row = self._cells[first : first + _COLUMNS]
        self._code = {code: place for place, code in enumerate(_CODES)}
        self._counter = {name: place for place, name in enumerate(_COUNTERS, len(_CODES))}
        gauges = len(_CODES) + len(_COUNTERS)
        self._gauge = {name: place for place, name in enumerate(_GAUGES, gauges)}
        self._bucket = gauges + len(_GAUGES)
        for place in self._gauge.values():
            self._row[place] = 0
        self._refused: dict[str, int] = {}
        self._sampled = 0.0

    def answered(self, code: str) -> None:
        """One more answer with this public code."""
        self._row[self._code.get(code, 3)] += 1

    def completed(self, duration_ns: int, bytes_in: int, bytes_out: int, masks: int) -> None:
        """Time and volume of one request of an authenticated caller."""
        row = self._row
        microseconds = duration_ns // 1000
        row[self._bucket + min(microseconds.bit_length(), _BUCKETS - 1)] += 1
        row[self._bucket + _BUCKETS] += microseconds
        if bytes_in:
            row[_FIRST] += bytes_in
        if bytes_out:
            row[_FIRST + 1] += bytes_out
        if masks:
            row[_FIRST + 2] += masks

    def record_lost(self) -> None:
        """A record was dropped, as the proxy's record policy allows."""
        self._row[self._counter["records_lost"]] += 1

    def lease_failed(self, count: int) -> None:
        """So many more times a lease could not be had."""
        self._row[self._counter["lease_failures"]] += count

    def permits_taken(self, admitted: int, calls: int) -> None:
        """So many more calls admitted under limits, and questions to the limiter for them."""
        self._row[self._counter["permits"]] += admitted
        self._row[self._counter["limiter_calls"]] += calls

    def refused_before_authentication(self, address: str, code: str) -> None:
        """Counts a refusal per address and logs a sample; it never blocks and never grows without bound."""
        self._row[self._counter["unauthenticated"]] += 1
        if address not in self._refused and len(self._refused) >= _ADDRESSES:
            self._refused.pop(next(iter(self._refused)))
        count = self._refused[address] = self._refused.get(address, 0) + 1
        now = self._now()
        if now - self._sampled >= _SAMPLE_SECONDS:
            self._sampled = now
            _log.info(
                "refused before authentication", extra={"client": address, "code": code, "count": count}
            )

    def gauge(self, name: str, value: int) -> None:
        """Sets one of this worker's gauges."""
        self._row[self._gauge[name]] = max(0, value)

    def render(self) -> bytes:
        """All workers' numbers in Prometheus text format."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Rows(self._total, self._gauge_values, self._shared))
        return generate_latest(registry)

    def close(self) -> None:
        """Lets the page go."""
        self._row.release()
        self._cells.release()
        self._whole.release()
        self._map.close()

    def _total(self, place: int) -> int:
        return sum(self._cells[row * _COLUMNS + place] for row in range(self._rows))

    def _gauge_values(self) -> dict[str, list[int]]:
        return {
            name: [self._cells[row * _COLUMNS + place] for row in range(self._rows)]
            for name, place in self._gauge.items()
        }


class _Rows(Collector):
    def __init__(
        self,
        total: Callable[[int], int],
        gauges: Callable[[], dict[str, list[int]]],
        shared: Callable[[], Mapping[str, int]],
    ) -> None:
        self._total = total
        self._gauges, self._shared = gauges, shared

    def collect(self) -> Iterator[Metric]:
        answers = CounterMetricFamily("exeat_requests", "Answers by public code", labels=["code"])
        for place, code in enumerate(_CODES):
            answers.add_metric([code], self._total(place))
        yield answers
        for place, name in enumerate(_COUNTERS, len(_CODES)):
            yield CounterMetricFamily(f"exeat_{name}", _HELP[name], value=self._total(place))
        for name, values in self._gauges().items():
            family = GaugeMetricFamily(f"exeat_{name}", _HELP[name], labels=["worker"])
            for worker, value in enumerate(values):
                family.add_metric([str(worker)], value)
            yield family
        for name, value in self._shared().items():
            family_of = CounterMetricFamily if name in _SHARED_COUNTERS else GaugeMetricFamily
            yield family_of(f"exeat_{name}", _HELP[name], value=value)
        first = len(_CODES) + len(_COUNTERS) + len(_GAUGES)
        running = 0
        buckets = []
        for exponent in range(_BUCKETS):
            running += self._total(first + exponent)
            bound = "+Inf" if exponent == _BUCKETS - 1 else repr((1 << exponent) / 1e6)
            buckets.append((bound, running))
        duration = HistogramMetricFamily("exeat_request_duration_seconds", "From first byte to last")
        duration.add_metric([], buckets, self._total(first + _BUCKETS) / 1e6)
        yield duration


_HELP = {
    "bytes_in": "Request body bytes forwarded",
    "bytes_out": "Answer body bytes forwarded",
    "masks": "Occurrences of an injected secret masked in answers",
    "records_lost": "Records dropped because the ring was full",
    "unauthenticated": "Refusals before authentication",
    "lease_failures": "Times a lease of a target credential could not be had",
    "permits": "Calls admitted under limits by leases of the region's limiter",
    "limiter_calls": "Questions to the region's limiter",
    "connections": "Connections of callers",
    "record_depth": "Records not acknowledged by their sink",
    "spool_depth": "Records on disk that the control plane does not have yet",
    "spool_refused": "Records on disk that the control plane would not have",
    "spool_removed": "Records that the control plane would not have, removed from disk for newer ones",
    "policy_revision": "Revision of the policy in force",
    "loop_lag_us": "How late the worker's ticker last ran, in microseconds",
    "broken_proxies": "Proxies that could not be compiled",
    "policy_age_seconds": "Seconds since the policy's source vouched for it",
    "leases": "Leases of target credentials held",
}
