"""The arithmetic of one counter: its running window and the one after it, grants, and the ceilings to keep ahead of them.

Plain state without I/O or clock. A window, once begun, is never left for an earlier one, and what was granted of the
coming one before it began stays granted.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from actors.limiter.window import Window
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

    maximum: of the limit in the newest policy seen, of `revision`. ahead: the ceiling of the window after it.
    """

    number: int
    ceiling: int
    maximum: int
    revision: int
    ahead: int = 0

    @property
    def last(self) -> int:
        """The latest window of which anything may have been granted."""
        return self.number + (self.ahead > 0)

    def covers(self, number: int, calls: int) -> bool:
        """Whether so many calls of a window may be out. One before `number` is never granted from again."""
        return number < self.number or calls <= self.of(number)

    def of(self, number: int) -> int:
        """The ceiling of a window, 0 where there is none."""
        return {self.number: self.ceiling, self.number + 1: self.ahead}.get(number, 0)


NOTHING: Final = Kept(-1, 0, 0, -1)
"""Of a counter that the store does not know."""


class Promise(NamedTuple):
    """What must be kept before an answer may leave: `granted` calls of window `number`, and a policy's `maximum`.

    running: the window that had begun then. That, too, must be known to whoever comes next with a clock set back.
    """

    counter: Counter
    running: int
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
        if not self.granted:
            return True
        if kept.number < self.running:
            return False
        window = self.counter.window(self.number)
        return kept.covers(self.number, self.granted if window is None else min(self.granted, window.granted))


class Counter:
    """The calls of one proxy in windows of one length. running: of now; coming: the one after it.

    maximum, revision: of the newest policy heard. kept: as the store has it.
    """

    __slots__ = ("coming", "kept", "key", "maximum", "name", "revision", "running", "seconds")

    def __init__(self, key: str, name: str, seconds: int, kept: Kept = NOTHING, *, first: int = 0) -> None:
        """kept: what earlier incarnations may have granted; all of it is spent. first: its window, without that."""
        self.key, self.name, self.seconds, self.kept = key, name, seconds, kept
        self.running = Window(first if kept is NOTHING else kept.number, kept.ceiling)
        self.coming = Window(self.running.number + 1, kept.ahead)
        self.maximum, self.revision = kept.maximum, kept.revision

    def available(self, *, ahead: bool = False) -> int:
        """Calls that may still be granted; 0 where a lowered limit is overdrawn."""
        return max(0, self.maximum - (self.coming if ahead else self.running).granted)

    def window(self, number: int) -> Window | None:
        """One of the two, by number."""
        return next((one for one in (self.running, self.coming) if one.number == number), None)

    def roll(self, now_ms: int) -> list[int]:
        """Moves to the window of `now_ms`, unless that is an earlier one; the leases that ended by it.

        By one, what was granted ahead stays granted; by more, nobody can spend it any more.
        """
        running, number = self.running, window_of(now_ms, self.seconds)
        if number <= running.number:
            return []
        ended = running.leases()
        if number == running.number + 1:
            self.running = self.coming
        else:
            ended += self.coming.leases()
            self.running = Window(number)
        self.coming = Window(number + 1)
        return ended

    def left_ms(self, now_ms: int) -> int:
        """Of the running window. Never more than it lasts, where a clock was set back."""
        length = self.seconds * 1000
        return min(length, (self.running.number + 1) * length - now_ms)

    def is_set_back(self, now_ms: int) -> bool:
        """Whether the running window has not begun yet, so that nobody knows when the coming one will."""
        return window_of(now_ms, self.seconds) < self.running.number

    def adopt(self, maximum: int, revision: int) -> list[Window]:
        """Takes over the limit of a policy, unless it is an older one; the windows of which more is out than that allows."""
        if revision > self.revision:
            self.maximum, self.revision = maximum, revision
        elif revision < self.revision or maximum >= self.maximum:
            return []
        else:
            self.maximum = maximum
        return [one for one in (self.running, self.coming) if one.granted > maximum]

    def end(self, holder: str, lease: int, unspent: int) -> bool:
        """Ends a lease, once; whichever window it is of."""
        return self.running.end(holder, lease, unspent) or self.coming.end(holder, lease, unspent)

    def promise(self, window: Window, *, lent: bool) -> Promise:
        """What an answer given now relies on. lent: whether it grants calls of `window`."""
        granted = window.granted if lent else 0
        return Promise(self, self.running.number, window.number, granted, self.maximum, self.revision)

    def keep(self) -> Kept:
        """What to write: it covers all that is granted and the next step, and takes back nothing kept before."""
        now, then = (
            max(next_ceiling(one.granted, self.maximum) if one.granted else 0, self.kept.of(one.number))
            for one in (self.running, self.coming)
        )
        return Kept(self.running.number, now, self.maximum, self.revision, then)


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
