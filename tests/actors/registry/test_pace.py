"""Pauses between attempts: growing, bounded, jittered."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.registry.pace import Backoff


@given(st.integers(0, 2000), st.floats(0, 1))
def test_any_pause_is_between_half_and_all_of_what_is_due(failures: int, where: float) -> None:
    """Whatever the jitter draws, and however many failures there were."""
    pace = Backoff(lambda low, high: low + (high - low) * where, first=0.1, most=5.0)
    for _ in range(failures):
        pace.after_failure()
    due = min(5.0, 0.1 * 2.0 ** min(failures, 30))
    assert due / 2 <= pace.after_failure() <= due
    pace.reset()
    assert 0.05 <= pace.after_failure() <= 0.1
