"""Records on their way from an edge to the control plane: numbered batches, and what they add to per-minute roll-ups.

A batch is fixed once it has a number: whoever sends it again sends the same bytes. It is acknowledged only when the
control store has it. Nothing here may hold a secret.
"""

from __future__ import annotations

import msgspec

BUCKETS_MS: tuple[float, ...] = (
    1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700,
    1000, 1500, 2000, 3000, 5000, 7000, 10_000, 15_000, 20_000, 30_000, 60_000,
)  # fmt: skip
"""Upper bounds of a latency histogram's buckets, milliseconds; one more bucket holds what is above the last."""

MOST_RECORDS = 1024
"""In one batch."""
MOST_BYTES = 900_000
"""Of NDJSON in one batch, unless a single record is larger."""


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """source: names the spool it comes from, for ever (`{edge id}/{spool id}`). number: rising from 1; a death may leave a gap.

    lines: NDJSON as of `models.record.lines`, whole lines.
    """

    source: str
    number: int
    lines: bytes


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """The control store has every batch of `source` up to `number`."""

    source: str
    number: int


class Rollup(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What one batch adds to one minute of one proxy.

    minute: of `receivedAt`, minutes since the epoch. granted: code `proxy-access-granted`; denied: status 401 or 403;
    limited: 429; failed: every other one; their sum is `requests`. latencies: len(BUCKETS_MS) + 1 counts of records that
    have a duration. bytes_in, bytes_out: sums.
    """

    client_id: str
    proxy_id: str
    minute: int
    requests: int
    granted: int
    denied: int
    limited: int
    failed: int
    bytes_in: int
    bytes_out: int
    latencies: tuple[int, ...]


class RecordBatch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch as it goes up: in `Uplink.records`. rollups: of exactly these lines."""

    source: str
    number: int
    lines: bytes
    rollups: tuple[Rollup, ...]
