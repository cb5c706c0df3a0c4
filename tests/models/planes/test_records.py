"""Batches on their way: they come back as they were, and the largest fits through every door on that way."""

from __future__ import annotations

from itertools import pairwise

import msgspec

from actors.link_client import LONGEST_PAYLOAD
from actors.recorder.core import MOST_TOGETHER
from models.planes.feed import UPLINK_MAX, Uplink
from models.planes.records import BUCKETS_MS, MOST_BYTES, MOST_RECORDS, Batch, RecordBatch, Rollup, Taken

ROLLUP = Rollup(
    client_id="cli_" + "c" * 26,
    proxy_id="prx_" + "p" * 26,
    minute=28_333_333,
    requests=1,
    granted=1,
    denied=0,
    limited=0,
    failed=0,
    bytes_in=1 << 40,
    bytes_out=1 << 40,
    latencies=(0,) * (len(BUCKETS_MS) + 1),
)
LONGEST_SOURCE = "s" * 256


def test_buckets_rise() -> None:
    """Each bound above the one before, from a millisecond to a minute."""
    assert all(lower < higher for lower, higher in pairwise(BUCKETS_MS))
    assert (BUCKETS_MS[0], BUCKETS_MS[-1]) == (1, 60_000)


def test_batches_are_msgpack_to_the_recorder_and_json_from_there() -> None:
    """Whatever bytes the lines are of."""
    lines = bytes(range(256))
    for value in (Batch(source="h/s", number=7, lines=lines), Taken(source="h/s", number=7)):
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(value), type=type(value)) == value
    report = Uplink(records=(RecordBatch(source="h/s", number=7, lines=lines, rollups=(ROLLUP,)),))
    text = msgspec.json.encode(report)
    assert b'"bytesOut":' in text
    assert msgspec.json.decode(text, type=Uplink) == report


def test_the_largest_batch_fits_into_a_call() -> None:
    """Of the link's client, which refuses longer ones."""
    batch = Batch(source=LONGEST_SOURCE, number=2**62, lines=bytes(MOST_BYTES))
    assert len(msgspec.msgpack.encode(batch)) <= LONGEST_PAYLOAD


def test_the_largest_report_fits_into_the_uplink() -> None:
    """Of records of 600 bytes, each of a proxy and minute of its own."""
    lines = bytes(MOST_BYTES)
    count = MOST_TOGETHER // MOST_BYTES
    rollups = (ROLLUP,) * MOST_RECORDS
    batch = RecordBatch(source=LONGEST_SOURCE, number=2**62, lines=lines, rollups=rollups)
    assert len(msgspec.json.encode(Uplink(records=(batch,) * count))) <= UPLINK_MAX
    small = RecordBatch(source=LONGEST_SOURCE, number=2**62, lines=bytes(600 * MOST_RECORDS), rollups=rollups)
    count = MOST_TOGETHER // (600 * MOST_RECORDS)
    assert len(msgspec.json.encode(Uplink(records=(small,) * count))) <= UPLINK_MAX
