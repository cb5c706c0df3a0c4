"""Answers of POSTs that change nothing, by Idempotency-Key."""

from __future__ import annotations

import pytest

from control_api.ledger.change import Replay
from control_api.ledger.projection import REPLAY_MS
from control_api.results import Results
from models.errors import Conflict


def used(key: str, digest: str = "d", whose: str = "tok_a") -> Replay:
    return Replay(whose, key, digest, 200, "target", "tgt_a")


def test_an_answer_is_kept_for_a_day_and_for_one_request() -> None:
    """Per token; another request with the key is a conflict."""
    results = Results()
    results.keep(used("k"), 1000, {"status": 200})
    assert results.get(used("k"), 1000 + REPLAY_MS - 1) == {"status": 200}
    assert results.get(used("k"), 1000 + REPLAY_MS) is None
    assert results.get(used("k", whose="tok_b"), 1000) is None
    with pytest.raises(Conflict):
        results.get(used("k", "other"), 1000)


def test_the_oldest_goes_first() -> None:
    """There are never more than it may keep."""
    results = Results(most=2)
    for key in ("a", "b", "c"):
        results.keep(used(key), 1, {})
    assert results.get(used("a"), 1) is None
    assert results.get(used("c"), 1) == {}
