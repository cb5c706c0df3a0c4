"""What records add up to per proxy and minute, as of `models.planes.records.Rollup`. Pure.

Counts and sums are of exactly the lines that were handed in, so that batches cut anywhere add up to the same. A line
that is no record makes all of them worth nothing: it is never left out.
"""

from __future__ import annotations

from bisect import bisect_left
from datetime import datetime
from typing import Annotated, Literal

import msgspec

from models.errors import GRANTED
from models.planes.records import BUCKETS_MS, Rollup

_DENIED, _LIMITED = frozenset((401, 403)), 429
_Amount = Annotated[int, msgspec.Meta(ge=0)]


class _Line(msgspec.Struct, rename="camel", gc=False):
    """What of a record is added up; the rest is not looked at."""

    client_id: str
    proxy_id: str
    received_at: Annotated[datetime, msgspec.Meta(tz=True)]
    duration_ms: Annotated[float, msgspec.Meta(ge=0)] | None
    status: int | Literal["unknown"] | None
    code: str | None
    bytes_in: _Amount | None
    bytes_out: _Amount | None


class _Sums:
    """One minute of one proxy, as it grows."""

    __slots__ = ("bytes_in", "bytes_out", "denied", "failed", "granted", "latencies", "limited")

    def __init__(self) -> None:
        self.granted = self.denied = self.limited = self.failed = self.bytes_in = self.bytes_out = 0
        self.latencies = [0] * (len(BUCKETS_MS) + 1)

    def add(self, line: _Line) -> None:
        if line.code == GRANTED:
            self.granted += 1
        elif line.status in _DENIED:
            self.denied += 1
        elif line.status == _LIMITED:
            self.limited += 1
        else:
            self.failed += 1
        self.bytes_in += line.bytes_in or 0
        self.bytes_out += line.bytes_out or 0
        if line.duration_ms is not None:
            self.latencies[bisect_left(BUCKETS_MS, line.duration_ms)] += 1


_decode_lines = msgspec.json.Decoder(_Line).decode_lines


def rollups(lines: bytes) -> tuple[Rollup, ...]:
    """What these records (NDJSON, whole lines) add, sorted by client, proxy and minute. Raises ValueError.

    A record counts as granted by its code, whatever the target's status; only one that is not can be denied
    or limited by its status.
    """
    try:
        found = _decode_lines(lines)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Its text may quote the line.
        raise ValueError("a line is not a record") from None
    sums: dict[tuple[str, str, int], _Sums] = {}
    for line in found:
        key = line.client_id, line.proxy_id, int(line.received_at.timestamp()) // 60
        if (one := sums.get(key)) is None:
            one = sums[key] = _Sums()
        one.add(line)
    return tuple(_rollup(key, one) for key, one in sorted(sums.items()))


def _rollup(key: tuple[str, str, int], sums: _Sums) -> Rollup:
    client_id, proxy_id, minute = key
    return Rollup(
        client_id=client_id,
        proxy_id=proxy_id,
        minute=minute,
        requests=sums.granted + sums.denied + sums.limited + sums.failed,
        granted=sums.granted,
        denied=sums.denied,
        limited=sums.limited,
        failed=sums.failed,
        bytes_in=sums.bytes_in,
        bytes_out=sums.bytes_out,
        latencies=tuple(sums.latencies),
    )
