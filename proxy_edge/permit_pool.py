"""What one worker holds of one counter: calls leased for a window, when they begin and end, and of which leases they are.

Plain state and arithmetic, no I/O. A call is in a pool once: taking it, retiring the pool and handing it back each
remove it, so that no more is ever spent or returned than was granted. Nothing is spent before its window has surely
begun, or after it may have ended.
"""

from __future__ import annotations

from models.limits import Limit
from models.planes.permits import Lease, Return, Want

NS_PER_MS = 1_000_000
_NS_PER_SECOND = 1_000_000_000


class Pool:
    """The calls of one window. Times are boot nanoseconds.

    left: calls that may be made from `begins` on and before `until`, never after. ends: when the window is surely
    over. low: renew when fewer are left, -1 for never. elsewhere: how many more this worker can count on. mark: `left`
    when use was last measured, moved with every grant.
    """

    __slots__ = ("begins", "elsewhere", "ends", "leases", "left", "low", "mark", "number", "until")

    def __init__(self, number: int) -> None:
        """number: of the window."""
        self.number = number
        self.left = self.mark = self.begins = self.until = self.ends = self.elsewhere = 0
        self.low = -1
        self.leases: list[tuple[int, str, int]] = []
        """(number, incarnation, granted) of each that was not ended, oldest first."""

    def usable(self, now: int) -> bool:
        """Whether a call can be taken, of a window that has begun."""
        return self.left > 0 and now < self.until

    def used(self) -> int:
        """Calls taken since the last look."""
        used, self.mark = self.mark - self.left, self.left
        return used

    def add(self, lease: Lease, incarnation: str, sent: int, received: int) -> None:
        """Takes a grant in, if it is one that is not here yet. sent, received: when its call was made and answered."""
        if any(known[:2] == (lease.lease, incarnation) for known in self.leases):
            return
        until, ends = (at + lease.milliseconds * NS_PER_MS for at in (sent, received))
        # Of several deadlines the first: each holds for calls that cannot be told apart from the others.
        self.until = min(self.until or until, until)
        self.ends = min(self.ends or ends, ends)
        if lease.starts_ms:  # counted from the answer, as the end is from the question: never too early
            self.begins = max(self.begins, received + lease.starts_ms * NS_PER_MS)
        self.left += lease.granted
        self.mark += lease.granted
        self.leases.append((lease.lease, incarnation, lease.granted))

    def spent(self) -> list[Return]:
        """Ends the leases of which nothing is left; the oldest are spent first."""
        open_calls = sum(granted for _, _, granted in self.leases)
        returns = []
        while self.leases and open_calls - self.leases[0][2] >= self.left:
            number, incarnation, granted = self.leases.pop(0)
            open_calls -= granted
            returns.append(Return(number, incarnation, 0))
        return returns

    def give_up(self) -> list[Return]:
        """Ends every lease and hands all that is left back; what no lease accounts for is lost."""
        left, returns = self.left, []
        for number, incarnation, granted in reversed(self.leases):
            unspent = min(left, granted)
            left -= unspent
            returns.append(Return(number, incarnation, unspent))
        self.mark -= self.left
        self.left = self.elsewhere = 0
        self.low = -1
        self.leases.clear()
        return returns

    def retire(self) -> None:
        """Nothing can be taken from it, or put back into it, any more."""
        self.left = self.until = 0


class Counter:
    """One counter as a worker knows it: its pools, and whether the limiter said that nothing is left.

    max, revision: of the limit as a policy last had it. pool: of the running window; coming: of the one after it, where
    anything of that is held. asked: the window during which the one after it was asked for. dry_until: boot nanoseconds
    until which nothing is left anywhere; again: when it may be asked for all the same.
    """

    __slots__ = ("again", "asked", "coming", "dry_until", "key", "max", "name", "pool", "revision", "seconds")

    def __init__(self, limit: Limit) -> None:
        self.key, self.name, self.seconds = limit.key, limit.name, limit.window_seconds
        self.max, self.revision = limit.max, 0
        self.pool = Pool(-1)
        self.coming: Pool | None = None
        self.asked = -1
        self.dry_until = self.again = 0

    def want(self, count: int, *, ahead: bool = False) -> Want:
        """The wish for so many calls. ahead: of the coming window."""
        return Want(self.key, self.name, self.seconds, self.max, self.revision, count, ahead)

    def take(self, lease: Lease, incarnation: str, sent: int, received: int) -> list[Return]:
        """What came of a wish, and what is to be returned. sent, received: boot nanoseconds of call and answer."""
        ahead = lease.starts_ms > 0
        running = lease.window_number - ahead
        returns: list[Return] = []
        if self.coming is not None and self.coming.number <= running:
            returns = self._begin(self.coming)  # whatever the clock says: the limiter counts for it already
        if ahead:
            earlier = lease.window_number <= self.pool.number
        else:
            earlier = lease.window_number < self.pool.number and self.pool.usable(received)
        if earlier or (ahead and not lease.granted):
            return returns + ([Return(lease.lease, incarnation, lease.granted)] if lease.granted else [])
        coming, pool = self.coming, self.pool
        if ahead:
            if coming is None or coming.number != lease.window_number:
                returns += self.give_up(running=False)
                coming = self.coming = Pool(lease.window_number)
            pool = coming
        elif pool.number != lease.window_number or pool.until <= received:
            pool = self._follow(Pool(lease.window_number))
        pool.elsewhere = lease.remaining // max(1, lease.holders)
        if lease.granted > 0:
            pool.add(lease, incarnation, sent, received)
        if not ahead:
            self.dry_until = 0 if lease.granted > 0 else received + lease.milliseconds * NS_PER_MS
        return returns

    def turn(self, now: int) -> list[Return]:
        """Goes over to the coming window, once that has begun and the running one is of no use; what is to be returned."""
        coming = self.coming
        if coming is None or coming.begins > now or self.pool.usable(now):
            return []
        return self._begin(coming)

    def give_up(self, *, running: bool = True, ahead: bool = True) -> list[Return]:
        """Ends the leases of either window and hands all that is left back."""
        returns = self.pool.give_up() if running else []
        if ahead and self.coming is not None:
            returns += self.coming.give_up()
            self.coming = None
        return returns

    def ahead_at(self, now: int, lead: int) -> int | None:
        """When to ask for the coming window, `lead` before the running one ends; None when not at all or once more."""
        until = self.pool.until
        return until - lead if now < until and self.asked != self.pool.number else None

    def begins_by(self, then: int) -> bool:
        """Whether there will be calls of the coming window by `then`."""
        return self.coming is not None and self.coming.left > 0 and self.coming.begins <= then

    def may_begin_by(self, then: int) -> bool:
        """Whether the coming window may be running by `then`, for the limiter at least."""
        return self.coming is not None and self.coming.until - self.seconds * _NS_PER_SECOND <= then

    def forget(self) -> None:
        """The limit or the window is another one: what was said about the old one's end does not hold."""
        self.dry_until = self.again = 0

    def _begin(self, coming: Pool) -> list[Return]:
        # Its window is over for callers; where the limiter's clock was set back, it may not be for the limiter.
        returns = [one for one in self.pool.give_up() if one.unspent]
        self.coming = None
        self._follow(coming)
        self.forget()
        return returns

    def _follow(self, pool: Pool) -> Pool:
        """Another pool from here on, which goes on measuring the use of the one before."""
        pool.mark += self.pool.used()
        self.pool.retire()
        self.pool = pool
        return pool


def seconds_until(then: int, now: int) -> int:
    """Whole seconds between two boot times, rounded up; at least 1."""
    return max(1, (then - now + _NS_PER_SECOND - 1) // _NS_PER_SECOND)
