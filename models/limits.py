"""The arithmetic of request limits: fixed UTC calendar windows, packed counters, and the decision.

A counter is one integer, the window's number above the calls admitted in it, so that moving to a new
window and counting are a single store and no crash can tear them apart. Nothing here keeps or changes
a counter: `decide` says what should be stored, and its caller stores it.
"""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias

import msgspec

COUNT_BITS = 36
MAX_QUOTA = (1 << COUNT_BITS) - 1
"""The largest `max` of a limit; the 28 bits above it hold minute numbers until the year 2480."""

WindowName: TypeAlias = Literal["minute", "day"]

Term: TypeAlias = tuple[int, int, int]
"""A limit as `decide` wants it: (place of its counter, window in milliseconds, max)."""

Quota: TypeAlias = tuple[int, ...]
"""Per limit, in order and flat: calls remaining, whole seconds until the window resets."""


class Limit(msgspec.Struct, frozen=True, cache_hash=True):
    """At most `max` calls per window of `window_seconds` for everything that counts under `key`.

    key: whose calls are counted, a proxy id. (key, name) identifies the counter, `max` does not: an
    edited limit meets the count of the old one. ValueError where a number is out of range.
    """

    key: str
    name: WindowName
    window_seconds: int
    max: int

    def __post_init__(self) -> None:
        if self.window_seconds < 1:
            raise ValueError("a window lasts at least one second")
        if not 0 <= self.max <= MAX_QUOTA:
            raise ValueError(f"a limit is between 0 and {MAX_QUOTA}")


class Counters(Protocol):
    """Anything that is read like a list of packed counters."""

    def __getitem__(self, place: int, /) -> int:
        """The packed counter at `place`; 0 is a counter that was never used."""
        ...


def request_limits(key: str, per_minute: int | None, per_day: int | None) -> tuple[Limit, ...]:
    """The limits of one proxy from proxyMaxRequestsPerMinute and proxyMaxRequestsPerDay."""
    minute = () if per_minute is None else (Limit(key, "minute", 60, per_minute),)
    day = () if per_day is None else (Limit(key, "day", 86_400, per_day),)
    return minute + day


def window_of(now_ms: int, window_seconds: int) -> int:
    """The number of the UTC calendar window that `now_ms` (since the epoch) falls into."""
    return now_ms // (window_seconds * 1000)


def reset_seconds(now_ms: int, window: int, window_seconds: int) -> int:
    """Whole seconds from `now_ms` until `window` ends, rounded up: at least 1 while it lasts.

    It exceeds `window_seconds` where `window` is ahead of the clock.
    """
    return ((window + 1) * window_seconds * 1000 - now_ms + 999) // 1000


def pack(window: int, count: int) -> int:
    """One counter; of two counters the one in the later window is the larger number."""
    return window << COUNT_BITS | count


def unpack(counter: int) -> tuple[int, int]:
    """The window's number and the calls admitted in it."""
    return counter >> COUNT_BITS, counter & MAX_QUOTA


def decide(
    terms: tuple[Term, ...], counters: Counters, now_ms: int
) -> tuple[list[tuple[int, int]], Quota, int]:
    """Judges one call against all its limits before any is touched.

    Returns what to store, pairs of place and counter, empty where the call is refused; the quota that is
    left then; and 0, or where refused the seconds until the longest exhausted window resets. A stored
    window later than the clock's stays in force, so a clock set back refills nothing.
    """
    stored: list[tuple[int, int]] = []
    quota: list[int] = []
    for place, window_ms, maximum in terms:
        # `unpack` and `reset_seconds`, inlined: this loop runs once per proxied call.
        counter = counters[place]
        window = now_ms // window_ms
        count = counter - (window << COUNT_BITS)
        if count < 0:  # the stored window is over
            counter -= count
            count = 0
        elif count > MAX_QUOTA:  # the stored window is ahead of the clock
            window, count = unpack(counter)
        if count >= maximum:
            refused = standing(terms, counters, now_ms)
            resets = zip(refused[::2], refused[1::2], strict=True)
            return [], refused, max(reset for remaining, reset in resets if not remaining)
        stored.append((place, counter + 1))
        quota += maximum - count - 1, ((window + 1) * window_ms - now_ms + 999) // 1000
    return stored, tuple(quota), 0


def standing(terms: tuple[Term, ...], counters: Counters, now_ms: int) -> Quota:
    """The quota as it stands, without taking anything; 0 remaining where a lowered limit is overdrawn."""
    quota: list[int] = []
    for place, window_ms, maximum in terms:
        window, count = unpack(max(counters[place], pack(now_ms // window_ms, 0)))
        quota += (max(0, maximum - count), reset_seconds(now_ms, window, window_ms // 1000))
    return tuple(quota)
