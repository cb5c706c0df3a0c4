"""The arithmetic of windows and the decision about one call, against a model that packs nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.limits import (
    MAX_QUOTA,
    Limit,
    decide,
    pack,
    request_limits,
    reset_seconds,
    standing,
    unpack,
    window_of,
)

MINUTE_MS, DAY_MS = 60_000, 86_400_000
NOON = int(datetime(2026, 11, 23, 12, 0, 30, 250_000, tzinfo=UTC).timestamp() * 1000)

moments = st.integers(min_value=0, max_value=4_102_444_800_000)  # until 2100
lengths = st.sampled_from([1, 60, 3600, 86_400])


def terms(per_minute: int, per_day: int) -> tuple[tuple[int, int, int], ...]:
    return ((0, MINUTE_MS, per_minute), (1, DAY_MS, per_day))


def test_windows_are_utc_calendar_minutes_and_days():
    """A minute begins at its second 0 and a day at midnight UTC."""
    midnight = int(datetime(2026, 11, 23, tzinfo=UTC).timestamp() * 1000)
    assert window_of(midnight, 86_400) == window_of(midnight - 1, 86_400) + 1
    assert window_of(midnight, 60) == window_of(midnight - 1, 60) + 1
    assert window_of(midnight, 86_400) == window_of(midnight + DAY_MS - 1, 86_400)


@given(moments, lengths)
def test_reset_is_between_one_second_and_the_whole_window(now_ms, window_seconds):
    """Waiting for the announced seconds always ends in the next window, and never a second too late."""
    window = window_of(now_ms, window_seconds)
    seconds = reset_seconds(now_ms, window, window_seconds)
    assert 1 <= seconds <= window_seconds
    assert window_of(now_ms + seconds * 1000, window_seconds) == window + 1
    assert window_of(now_ms + (seconds - 1) * 1000, window_seconds) == window


@given(
    st.integers(0, 2**28 - 1), st.integers(0, MAX_QUOTA), st.integers(0, 2**28 - 1), st.integers(0, MAX_QUOTA)
)
def test_packed_counters_keep_both_numbers_and_order_by_window(window, count, other, other_count):
    """Packing loses nothing, fits 64 bits, and a later window is always the larger number."""
    assert unpack(pack(window, count)) == (window, count)
    assert pack(window, count) < 2**64
    assert (window, count) < (other, other_count) or pack(window, count) >= pack(other, other_count)


def test_a_fresh_call_is_admitted_and_its_own_quota_is_already_gone():
    """The first call of a window leaves max - 1 and the seconds until each window ends."""
    stored, quota, retry_after = decide(terms(100, 1000), [0, 0], NOON)
    assert retry_after == 0
    assert quota == (99, 30, 999, 43_170)
    assert stored == [(0, pack(window_of(NOON, 60), 1)), (1, pack(window_of(NOON, 86_400), 1))]


def test_a_refused_call_stores_nothing_and_names_the_longest_exhausted_window():
    """Retry-After waits for the last of the exhausted windows, not for one that has room."""
    minute, day = window_of(NOON, 60), window_of(NOON, 86_400)
    assert decide(terms(5, 1000), [pack(minute, 5), pack(day, 5)], NOON) == ([], (0, 30, 995, 43_170), 30)
    assert decide(terms(5, 7), [pack(minute, 5), pack(day, 7)], NOON) == ([], (0, 30, 0, 43_170), 43_170)
    assert decide(terms(5, 7), [pack(minute, 1), pack(day, 7)], NOON) == ([], (4, 30, 0, 43_170), 43_170)


def test_a_lowered_limit_keeps_the_count_and_never_shows_less_than_nothing():
    """Seven calls under a limit lowered to three leave 0, not -4, and nothing is admitted."""
    counters = [pack(window_of(NOON, 60), 7), 0]
    assert standing(terms(3, 10), counters, NOON)[0] == 0
    assert decide(terms(3, 10), counters, NOON)[2] == 30
    assert decide(terms(8, 10), counters, NOON)[1][0] == 0


def test_a_limit_of_zero_admits_nothing():
    """0 is a limit like any other: every call waits for a window that never has room."""
    assert decide(terms(0, 10), [0, 0], NOON) == ([], (0, 30, 10, 43_170), 30)


def test_a_clock_set_back_meets_the_window_it_left():
    """An hour back, the minute counter is still that of the later minute, and so is its reset."""
    counters = [pack(window_of(NOON, 60), 5), pack(window_of(NOON, 86_400), 5)]
    earlier = NOON - 3_600_000
    assert decide(terms(5, 9), counters, earlier) == ([], (0, 3630, 4, 46_770), 3630)
    stored, quota, _ = decide(terms(6, 9), counters, earlier)
    assert unpack(stored[0][1]) == (window_of(NOON, 60), 6)
    assert quota[:2] == (0, 3630)


@given(
    st.integers(0, 6),
    st.integers(0, 12),
    st.lists(st.integers(-3 * DAY_MS, 3 * DAY_MS) | st.integers(-2 * MINUTE_MS, 2 * MINUTE_MS), max_size=60),
)
def test_no_walk_of_the_clock_admits_more_than_a_window_holds(per_minute, per_day, steps):
    """Whatever the clock does, calls admitted to a window stay within both limits and match the model."""
    counters = [0, 0]
    newest, admitted, now_ms = [0, 0], {}, NOON
    for step in steps:
        now_ms = max(0, now_ms + step)
        windows = [max(newest[0], now_ms // MINUTE_MS), max(newest[1], now_ms // DAY_MS)]
        used = [admitted.get((kind, window), 0) for kind, window in enumerate(windows)]
        before = list(counters)
        stored, quota, retry_after = decide(terms(per_minute, per_day), counters, now_ms)
        assert counters == before
        for place, counter in stored:
            counters[place] = counter
        room = used[0] < per_minute and used[1] < per_day
        assert (retry_after == 0) == bool(stored) == room
        taken = int(room)
        assert quota[::2] == (per_minute - used[0] - taken, per_day - used[1] - taken)
        if room:
            newest = windows
            for kind, window in enumerate(windows):
                admitted[kind, window] = used[kind] + 1
        else:
            assert retry_after >= 1
    assert all(count <= (per_minute, per_day)[kind] for (kind, _), count in admitted.items())


def test_a_proxys_limits_are_the_ones_it_states():
    """Only the fields that are set make limits, minute before day."""
    assert request_limits("prx_a", None, None) == ()
    assert request_limits("prx_a", 100, None) == (Limit("prx_a", "minute", 60, 100),)
    assert request_limits("prx_a", 100, 1000) == (
        Limit("prx_a", "minute", 60, 100),
        Limit("prx_a", "day", 86_400, 1000),
    )


@pytest.mark.parametrize(("window_seconds", "maximum"), [(0, 1), (60, -1), (60, MAX_QUOTA + 1)])
def test_limits_out_of_range_are_refused(window_seconds, maximum):
    """A window has a length, and a maximum fits its counter."""
    with pytest.raises(ValueError, match=r"at least one second|is between"):
        Limit("prx_a", "minute", window_seconds, maximum)
