"""Roll-ups: they say what a naive recount of the records says, however the records are cut into batches."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import GRANTED
from models.planes.records import BUCKETS_MS, Rollup
from models.record import Closing, Opening, join, lines
from models.rollups import rollups

FIRST_MS = 1_700_000_000_000
AMOUNTS = ("requests", "granted", "denied", "limited", "failed", "bytes_in", "bytes_out")

durations_ns = st.one_of(
    st.integers(0, 90_000_000_000), st.sampled_from([int(bound * 1_000_000) for bound in BUCKETS_MS])
)
closings = st.builds(
    lambda status, code, took, bytes_in, bytes_out: Closing(
        status, code, (5, 5 + took) if took is not None else (), None, bytes_in, bytes_out
    ),
    st.none() | st.sampled_from([200, 401, 403, 404, 429, 499, 502]),
    st.none() | st.sampled_from([GRANTED, "rule-denied", "limit-exceeded", "client-aborted"]),
    st.none() | durations_ns,
    st.integers(0, 2**40),
    st.integers(0, 2**40),
)


def opening(number: int, proxy: str, after_ms: int) -> Opening:
    """Of request `number`, so many milliseconds after the first moment."""
    return Opening(
        f"req_{number}",
        f"client of {proxy}",
        proxy,
        "us-east-1",
        None,
        FIRST_MS + after_ms,
        b"GET",
        b"/x",
        b"",
        None,
        (),
        (),
        "127.0.0.1",
        b"",
        3,
    )


@st.composite
def texts(draw: st.DrawFn) -> list[bytes]:
    """Lines of records, of few proxies and minutes."""
    drawn = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["p1", "p2", "p\u00e9\n"]), st.integers(0, 150_000), st.none() | closings
            ),
            max_size=25,
        )
    )
    records = [
        join(opening(number, proxy, after), closing) for number, (proxy, after, closing) in enumerate(drawn)
    ]
    return lines(records).splitlines(keepends=True)


def recount(text: bytes) -> dict[tuple[Any, ...], Counter[str]]:
    """By client, proxy and minute: amounts, and latencies under their bucket's number. Written down naively."""
    found: dict[tuple[Any, ...], Counter[str]] = {}
    for one in map(json.loads, text.splitlines()):
        minute = int(datetime.fromisoformat(one["receivedAt"][:16] + "Z").timestamp()) // 60
        sums = found.setdefault((one["clientId"], one["proxyId"], minute), Counter())
        if one["code"] == GRANTED:
            kind = "granted"
        elif one["status"] in {401, 403}:
            kind = "denied"
        elif one["status"] == 429:
            kind = "limited"
        else:
            kind = "failed"
        sums.update({"requests": 1, kind: 1})
        sums.update({"bytes_in": one["bytesIn"] or 0, "bytes_out": one["bytesOut"] or 0})
        if one["durationMs"] is not None:
            sums[str(sum(one["durationMs"] > bound for bound in BUCKETS_MS))] += 1
    return found


def amounts(added: Iterable[Rollup]) -> dict[tuple[Any, ...], Counter[str]]:
    """The sums of roll-ups, in the form of `recount`."""
    found: dict[tuple[Any, ...], Counter[str]] = {}
    for one in added:
        sums = found.setdefault((one.client_id, one.proxy_id, one.minute), Counter())
        sums.update({name: getattr(one, name) for name in AMOUNTS})
        sums.update({str(place): count for place, count in enumerate(one.latencies)})
    return found


@given(texts())
def test_rollups_equal_a_recount_of_the_records(found: list[bytes]) -> None:
    """One per client, proxy and minute, sorted; every amount as counted by hand."""
    text = b"".join(found)
    added = rollups(text)
    keys = [(one.client_id, one.proxy_id, one.minute) for one in added]
    assert keys == sorted(set(keys))
    counted = recount(text)
    assert amounts(added) == counted
    for one in added:
        assert one.requests == one.granted + one.denied + one.limited + one.failed
        assert len(one.latencies) == len(BUCKETS_MS) + 1


@given(texts(), st.lists(st.integers(0, 25), max_size=6))
def test_batches_add_up_to_the_same_wherever_they_are_cut(found: list[bytes], cuts: list[int]) -> None:
    """Sums of the roll-ups of parts are those of the whole."""
    places = sorted({min(cut, len(found)) for cut in cuts} | {0, len(found)})
    parts = [b"".join(found[start:end]) for start, end in pairwise(places)]
    assert amounts(one for part in parts for one in rollups(part)) == amounts(rollups(b"".join(found)))


RECORD = lines([join(opening(1, "p1", 0), None)])


@pytest.mark.parametrize(
    "text",
    [
        b"text",
        b"{}\n",
        b"null\n",
        RECORD + RECORD[:-20],
        RECORD + b"\xff\n",
        RECORD.replace(b'000Z"', b'000"'),
        RECORD.replace(b'"clientId":"client of p1"', b'"clientId":7'),
        RECORD.replace(b'"bytesIn":null', b'"bytesIn":-1'),
        RECORD.replace(b'"status":"unknown"', b'"status":"other"'),
    ],
    ids=["text", "empty", "null", "cut off", "no UTF-8", "no zone", "number", "negative", "status"],
)
def test_what_is_no_record_is_refused_and_not_quoted(text: bytes) -> None:
    """Nothing is left out in silence; the error says nothing of what the line held."""
    with pytest.raises(ValueError, match=r"\Aa line is not a record\Z"):
        rollups(text)
