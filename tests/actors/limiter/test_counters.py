"""The arithmetic of one counter: nothing is lost, nothing counts twice, no window comes back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.limiter.counters import NOTHING, Counter, Kept, flaw, next_ceiling, size_of_grant
from models.limits import MAX_QUOTA
from models.planes.permits import Want

MINUTE_MS = 60_000
amounts = st.integers(0, MAX_QUOTA)


def counter(maximum: int = 100, *, kept: Kept = NOTHING, now_ms: int = 0) -> Counter:
    """A minute's counter with a limit, in the window of `now_ms`."""
    found = Counter("p", "minute", 60, kept)
    found.roll(now_ms)
    found.adopt(maximum, 1)
    return found


@given(amounts, st.integers(1, MAX_QUOTA), st.integers(1, 5000))
def test_a_grant_is_never_more_than_asked_for_or_left_and_never_nothing_while_some_is(
    available: int, count: int, holders: int
) -> None:
    """Whatever the numbers; and two holders of all can never have it all between them at once."""
    found = size_of_grant(available, count, holders)
    assert 0 <= found <= min(available, count)
    assert (found == 0) == (available == 0)
    assert found <= max(1, available // 2)


def test_grants_shrink_to_one_as_the_window_empties() -> None:
    """Four holders that ask for everything in turn use 1,000 up, the last of it one by one."""
    left, sizes = 1000, []
    while left:
        sizes.append(size_of_grant(left, 1000, 4))
        left -= sizes[-1]
    assert sum(sizes) == 1000
    assert sizes[0] == 125
    assert sizes[-8:] == [1] * 8
    assert len(sizes) < 60


@given(amounts, amounts)
def test_the_next_ceiling_covers_what_is_granted_and_stays_within_the_limit(
    granted: int, maximum: int
) -> None:
    """It is one step ahead, so that a crash loses no more than that."""
    found = next_ceiling(granted, maximum)
    assert granted <= found <= max(granted, maximum)
    assert found - granted <= max(1, maximum // 20)
    assert granted >= maximum or found > granted


def test_a_new_window_is_full_and_its_leases_are_its_own() -> None:
    """Leases of the old one end with it."""
    one = counter(now_ms=5 * MINUTE_MS)
    one.running.lend("h", 7, 100)
    assert one.available() == 0
    assert one.roll(5 * MINUTE_MS + 59_999) == []
    assert one.roll(6 * MINUTE_MS) == [7]
    assert (one.running.number, one.available(), one.running.held) == (6, 100, {})
    assert not one.end("h", 7, 100)
    assert one.available() == 100


def test_the_coming_window_becomes_the_running_one() -> None:
    """With its grants and its leases; a leap leaves both behind."""
    one = counter(now_ms=5 * MINUTE_MS)
    one.running.lend("h", 7, 100)
    one.coming.lend("h", 8, 30)
    assert (one.available(), one.available(ahead=True)) == (0, 70)
    assert one.roll(6 * MINUTE_MS) == [7]
    assert (one.running.number, one.available(), one.available(ahead=True)) == (6, 70, 100)
    one.coming.lend("h", 9, 10)
    assert one.end("h", 8, 30)
    assert one.end("h", 9, 4)
    assert (one.running.granted, one.coming.granted) == (0, 6)
    one.coming.lend("h", 10, 1)
    assert one.roll(8 * MINUTE_MS) == [10]
    assert (one.running.number, one.running.granted, one.coming.granted) == (8, 0, 0)


def test_a_clock_that_goes_back_changes_nothing() -> None:
    """The window stays, with what was granted, and lasts no longer than a window for any lease."""
    one = counter(now_ms=5 * MINUTE_MS)
    one.running.lend("h", 1, 60)
    assert one.roll(0) == []
    assert (one.running.number, one.available()) == (5, 40)
    assert one.left_ms(0) == MINUTE_MS
    assert one.left_ms(5 * MINUTE_MS + 1) == MINUTE_MS - 1


def test_what_was_kept_counts_as_spent() -> None:
    """In its window; a later one begins anew."""
    kept = Kept(5, 70, 100, 1)
    assert counter(kept=kept, now_ms=5 * MINUTE_MS).available() == 30
    assert counter(kept=kept, now_ms=4 * MINUTE_MS).available() == 30
    assert counter(kept=kept, now_ms=6 * MINUTE_MS).available() == 100


def test_of_two_policies_the_newer_one_holds() -> None:
    """Whoever asks with an older one; of two limits of one revision the lower."""
    one = counter(100)
    assert not one.adopt(500, 0)
    assert one.maximum == 100
    assert not one.adopt(500, 2)
    assert one.maximum == 500
    assert not one.adopt(600, 2)
    assert not one.adopt(400, 2)
    assert one.maximum == 400


def test_a_lowered_limit_grants_nothing_more_and_says_so() -> None:
    """More is out than it allows."""
    one = counter(100)
    one.running.lend("h", 1, 60)
    assert one.adopt(50, 2)
    assert one.available() == 0
    assert one.end("h", 1, 60)
    assert one.available() == 50


def test_a_promise_is_kept_by_its_window_or_a_later_one_and_by_its_policy_or_a_newer_one() -> None:
    """What is granted needs a ceiling; what is not needs only that the policy is known."""
    one = counter(100, now_ms=5 * MINUTE_MS)
    silent = one.promise(one.running, lent=False)
    one.running.lend("h", 1, 10)
    promise = one.promise(one.running, lent=True)
    for kept, holds, told in (
        (NOTHING, False, False),
        (Kept(5, 9, 100, 1), False, True),
        (Kept(4, 50, 100, 1), False, True),
        (Kept(5, 10, 100, 0), False, False),
        (Kept(5, 10, 101, 1), False, False),
        (Kept(5, 10, 100, 1), True, True),
        (Kept(6, 0, 100, 1), True, True),
        (Kept(5, 10, 999, 2), True, True),
    ):
        one.kept = kept
        assert (promise.kept, silent.kept) == (holds, told), kept


def test_a_promise_of_the_coming_window_is_kept_by_a_ceiling_of_its_own() -> None:
    """Then by that of the window when it runs; a grant of a running window only by what says that it runs."""
    one = counter(100, now_ms=5 * MINUTE_MS)
    one.coming.lend("h", 1, 10)
    ahead = one.promise(one.coming, lent=True)
    one.roll(6 * MINUTE_MS)
    one.running.lend("h", 2, 5)
    running = one.promise(one.running, lent=True)
    for kept, first, second in (
        (Kept(5, 50, 100, 1), False, False),
        (Kept(5, 0, 100, 1, 9), False, False),
        (Kept(5, 0, 100, 1, 15), True, False),
        (Kept(6, 9, 100, 1), False, False),
        (Kept(6, 10, 100, 1), True, False),
        (Kept(6, 15, 100, 1), True, True),
        (Kept(4, 0, 100, 1, 50), False, False),
        (Kept(7, 0, 100, 1), True, True),
    ):
        one.kept = kept
        assert (ahead.kept, running.kept) == (first, second), kept


def test_what_is_written_takes_nothing_back_within_a_window() -> None:
    """Ahead of what is granted, never behind what was kept; a window without grants has no ceiling."""
    one = counter(100, now_ms=5 * MINUTE_MS)
    assert one.keep() == Kept(5, 0, 100, 1)
    one.running.lend("h", 1, 10)
    assert one.keep() == Kept(5, 15, 100, 1)
    one.kept = one.keep()
    assert one.end("h", 1, 10)
    assert one.keep() == Kept(5, 15, 100, 1)
    one.coming.lend("h", 2, 20)
    assert one.keep() == Kept(5, 15, 100, 1, 25)
    one.kept = one.keep()
    assert one.end("h", 2, 20)
    one.roll(6 * MINUTE_MS)
    assert one.keep() == Kept(6, 25, 100, 1)
    one.roll(8 * MINUTE_MS)
    assert one.keep() == Kept(8, 0, 100, 1)


@pytest.mark.parametrize(
    "want",
    [
        Want("", "minute", 60, 1, 1, 1),
        Want("k" * 257, "minute", 60, 1, 1, 1),
        Want("k", "", 60, 1, 1, 1),
        Want("k", "minute", 0, 1, 1, 1),
        Want("k", "minute", 10**9, 1, 1, 1),
        Want("k", "minute", 60, -1, 1, 1),
        Want("k", "minute", 60, MAX_QUOTA + 1, 1, 1),
        Want("k", "minute", 60, 1, -1, 1),
        Want("k", "minute", 60, 1, 1, 0),
    ],
    ids=["no-key", "long-key", "no-window", "no-length", "too-long", "below", "above", "revision", "count"],
)
def test_what_cannot_be_counted_is_named(want: Want) -> None:
    """Before anything is counted."""
    assert flaw(want)
    assert flaw(Want("k", "minute", 60, 0, 0, 1)) is None
