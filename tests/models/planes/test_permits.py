"""Permits on the wire: they come back as they were, and a counter's shard is always the same one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.planes.permits import (
    Lease,
    Recall,
    RecallAnswer,
    RecallRequest,
    ReserveAnswer,
    ReserveRequest,
    Return,
    ReturnRequest,
    Want,
    shard_of,
)

WANT = Want("p", "minute", 60, 10, 3, 5)
VALUES: list[msgspec.Struct] = [
    WANT,
    Return(7, "ab12", 3),
    ReserveRequest(holder="e/0/ff", wants=(WANT, WANT), returns=(Return(1, "x", 0),), shards=4),
    ReserveRequest(holder="e/0/ff", wants=()),
    Lease(5, 9, 28_000_000, 59_999, 17, 2),
    ReserveAnswer(incarnation="ab12", leases=(Lease(0, 0, 1, 1, 0, 1),)),
    ReturnRequest(holder="e/0/ff", returns=()),
    Recall((("p", "minute"), ("p", "day"))),
    Recall((), (("p", "minute"),)),
    Want("p", "minute", 60, 10, 3, 5, ahead=True),
    Lease(5, 9, 28_000_000, 99_999, 17, 2, 39_999),
    RecallRequest(link="l", holders=("a", "b"), after=4),
    RecallRequest(link="l", holders=()),
    RecallAnswer(number=3, recalls={"a": Recall((("p", "minute"),))}),
    RecallAnswer(number=0),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_each_value_comes_back_as_it_was(value: msgspec.Struct) -> None:
    """Through msgpack."""
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(value), type=type(value)) == value


@pytest.mark.parametrize(
    ("value", "old"),
    [
        (WANT, ["p", "minute", 60, 10, 3, 5]),
        (Lease(5, 9, 28_000_000, 59_999, 17, 2), [5, 9, 28_000_000, 59_999, 17, 2]),
        (Recall((("p", "minute"),)), [[["p", "minute"]]]),
    ],
    ids=["Want", "Lease", "Recall"],
)
def test_what_knows_of_no_coming_window_is_understood(value: msgspec.Struct, old: list[Any]) -> None:
    """And understands what does: fields were added at the end only."""
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(old), type=type(value)) == value
    encoded = msgspec.msgpack.decode(msgspec.msgpack.encode(value))
    assert encoded[: len(old)] == old


@pytest.mark.parametrize(
    "payload", [b"", b"\xc1", b"\x80", msgspec.msgpack.encode({"holder": 1, "wants": []})]
)
def test_what_is_no_request_is_refused(payload: bytes) -> None:
    """By the reader, before anything is counted."""
    with pytest.raises(msgspec.DecodeError):
        msgspec.msgpack.decode(payload, type=ReserveRequest)


@given(st.text(max_size=40), st.integers(1, 64))
def test_a_shard_is_in_range_and_stays(key: str, shards: int) -> None:
    """It depends on the key alone, so that all windows of a proxy are in one."""
    assert 0 <= shard_of(key, shards) < shards
    assert shard_of(key, shards) == shard_of(key, shards)
    assert shard_of(key, 1) == 0


def test_shards_are_the_same_in_every_process_and_version() -> None:
    """Workers, links and limiters work them out each for themselves; keys spread evenly."""
    assert [shard_of(f"proxy_{number}", 4) for number in range(8)] == [0, 0, 3, 1, 3, 1, 0, 3]
    spread = [shard_of(f"proxy_{number}", 4) for number in range(4000)]
    assert all(900 < spread.count(shard) < 1100 for shard in range(4))
