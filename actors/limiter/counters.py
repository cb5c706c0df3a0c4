"""The arithmetic of one counter: windows, grants, returns, and the ceiling to keep ahead of what is granted.

Plain state without I/O or clock. It must never count less as granted than holders may still spend: what leaves is
taken off again only by a return, and a window, once begun, is never left for an earlier one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from models.limits import MAX_QUOTA, window_of
from models.planes.permits import Want

LONGEST_WINDOW: Final = 366 * 86_400
"""Seconds."""
LONGEST_NAME: Final = 256
"""Characters of a counter's key or window name."""
STEPS: Final = 20
"""Of a limit's `max`, one part in so many is kept ahead: a write each 5 %, and no more than that lost in a crash."""


class Kept(NamedTuple):
    """What the store says of a counter. number: of the window. ceiling: calls of it that may be out or spent.

    maximum: of the limit in the newest policy seen, of `revision`.
    """

    number: int
    ceiling: int
    maximum: int
    revision: int


NOTHING: Final = Kept(-1, 0, 0, -1)
"""Of a counter that the store does not know."""


class Promise(NamedTuple):
    """What must be kept before an answer may leave: `granted` calls of window `number`, and a policy's `maximum`."""

    counter: Counter
    number: int
    granted: int
    maximum: int
    revision: int

    @property
    def kept(self) -> bool:
        """Whether it is. A later window covers every earlier one, which is never granted from again.

        Where calls came back since, it is enough that what is out now is covered: no answer that left relies on more.
        """
        kept = self.counter.kept
        if kept.revision < self.revision or (kept.revision == self.revision and kept.maximum > self.maximum):
            return False
        if not self.granted or kept.number != self.number:
            return not self.granted or kept.number > self.number
        same = self.counter.number == self.number
        return kept.ceiling >= (min(self.granted, self.counter.granted) if same else self.granted)


class Held:
    """What one holder has of one counter.

    leases: calls granted by lease number. asked_ns: boot nanoseconds at which they were recalled, None when they
    were not since the last grant. answered: whether it replied to that. deaf: it was waited for in vain.
    """

    __slots__ = ("answered", "asked_ns", "deaf", "leases")

    def __init__(self) -> None:
        self.leases: dict[int, int] = {}
        self.asked_ns: int | None = None
        self.answered = self.deaf = False


class Counter:
    """One window of one proxy's calls. granted: of window `number`, those that are out and those that were spent.

    maximum, revision: of the newest policy heard. kept: as the store has it. held: by holder, of this window only.
    """

    __slots__ = ("granted", "held", "kept", "key", "maximum", "number", "revision", "seconds", "window")

    def __init__(self, key: str, window: str, seconds: int, kept: Kept = NOTHING, *, first: int = 0) -> None:
        """kept: what earlier incarnations may have granted; all of it is spent. first: its window, without that."""
        self.key, self.window, self.seconds, self.kept = key, window, seconds, kept
        self.number, self.granted = first if kept is NOTHING else kept.number, kept.ceiling
        self.maximum, self.revision = kept.maximum, kept.revision
        self.held: dict[str, Held] = {}

    @property
    def available(self) -> int:
        """Calls that may still be granted; 0 where a lowered limit is overdrawn."""
        return max(0, self.maximum - self.granted)

    def roll(self, now_ms: int) -> list[int]:
        """Moves to the window of `now_ms`, unless that is an earlier one; the leases that ended by it."""
        number = window_of(now_ms, self.seconds)
        if number <= self.number:
            return []
        ended = [lease for held in self.held.values() for lease in held.leases]
        self.number, self.granted = number, 0
        self.held.clear()
        return ended

    def left_ms(self, now_ms: int) -> int:
        """Of the window. Never more than it lasts, where a clock was set back."""
        length = self.seconds * 1000
        return min(length, (self.number + 1) * length - now_ms)

    def adopt(self, maximum: int, revision: int) -> bool:
        """Takes over the limit of a policy, unless it is an older one; whether more is out than that allows."""
        if revision > self.revision:
            self.maximum, self.revision = maximum, revision
        elif revision < self.revision or maximum >= self.maximum:
            return False
        else:
            self.maximum = maximum
        return self.granted > maximum

    def lend(self, holder: str, lease: int, calls: int) -> None:
        """Counts `calls` as granted. They have to be available."""
        held = self.held.get(holder)
        if held is None:
            held = self.held[holder] = Held()
        held.leases[lease] = calls
        held.asked_ns, held.answered = None, False
        self.granted += calls

    def end(self, holder: str, lease: int, unspent: int) -> bool:
        """Ends a lease, once. `unspent` of its calls are grantable again; none when it had fewer."""
        held = self.held.get(holder)
        calls = None if held is None else held.leases.pop(lease, None)
        if held is None or calls is None:
            return False
        if not held.leases:
            del self.held[holder]
        if 0 <= unspent <= calls:
            self.granted -= unspent
        return True

    def give_up(self, holders: Iterable[str]) -> None:
        """Nobody waits any more for those of `holders` that did not answer, until they are heard."""
        for holder in holders:
            held = self.held[holder]
            held.deaf = held.deaf or not held.answered

    def promise(self, *, lent: bool) -> Promise:
        """What an answer given now relies on. lent: whether it grants calls."""
        return Promise(self, self.number, self.granted if lent else 0, self.maximum, self.revision)

    def keep(self) -> Kept:
        """What to write: it covers all that is granted and the next step, and takes back nothing kept before."""
        ceiling = next_ceiling(self.granted, self.maximum) if self.granted else 0
        if self.number == self.kept.number:
            ceiling = max(ceiling, self.kept.ceiling)
        return Kept(self.number, ceiling, self.maximum, self.revision)


def next_ceiling(granted: int, maximum: int) -> int:
    """Ahead of `granted` by a step, but not above the limit."""
    return max(granted, min(maximum, granted + max(1, maximum // STEPS)))


def size_of_grant(available: int, count: int, holders: int) -> int:
    """How many calls to lease to one of `holders` who asks for `count`.

    Half of a fair share, so that every one finds something; down to one as the window empties.
    """
    return min(available, count, max(1, available // (2 * holders)))


def flaw(want: Want) -> str | None:
    """Why a wish cannot be counted; None when it can."""
    if not 0 < len(want.key) <= LONGEST_NAME or not 0 < len(want.window) <= LONGEST_NAME:
        return "a counter has a key and a window"
    if not 0 < want.window_seconds <= LONGEST_WINDOW:
        return "a window has a length"
    if not 0 <= want.max <= MAX_QUOTA or want.count < 1 or want.revision < 0:
        return "a number is out of range"
    return None
