"""What one worker holds of one counter: calls leased for a window, when they end, and which leases they are of.

Plain state and arithmetic, no I/O. A call is in a pool once: taking it, retiring the pool and handing it back each
remove it, so that no more is ever spent or returned than was granted.
"""

from __future__ import annotations

from models.limits import Limit
from models.planes.permits import Lease, Return, Want

NS_PER_MS = 1_000_000
_NS_PER_SECOND = 1_000_000_000


class Pool:
    """The calls of one window. Times are boot nanoseconds.

    left: calls that may be made before `until`, never after. ends: when the window is surely over. low: renew when
    fewer are left, -1 for never. elsewhere: how many more this worker can count on. mark: `left` when use was last
    measured, moved with every grant.
    """

    __slots__ = ("elsewhere", "ends", "leases", "left", "low", "mark", "number", "until")

    def __init__(self, number: int) -> None:
        """number: of the window."""
        self.number = number
        self.left = self.mark = self.until = self.ends = self.elsewhere = 0
        self.low = -1
        self.leases: list[tuple[int, str, int]] = []
        """(number, incarnation, granted) of each that was not ended, oldest first."""

    def usable(self, now: int) -> bool:
        """Whether a call can be taken."""
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
    """One counter as a worker knows it: its pool, and whether the limiter said that nothing is left.

    max, revision: of the limit as a policy last had it. dry_until: boot nanoseconds until which nothing is left
    anywhere; again: when it may be asked for all the same.
    """

    __slots__ = ("again", "dry_until", "key", "max", "name", "pool", "revision", "seconds")

    def __init__(self, limit: Limit) -> None:
        self.key, self.name, self.seconds = limit.key, limit.name, limit.window_seconds
        self.max, self.revision = limit.max, 0
        self.pool = Pool(-1)
        self.dry_until = self.again = 0

    def want(self, count: int) -> Want:
        """The wish for so many calls."""
        return Want(self.key, self.name, self.seconds, self.max, self.revision, count)

    def take(self, lease: Lease, incarnation: str, sent: int, received: int) -> None:
        """What came of a wish. sent, received: boot nanoseconds of call and answer."""
        pool = self.pool
        if pool.number != lease.window_number or pool.until <= received:
            pool.retire()
            pool = self.pool = Pool(lease.window_number)
        pool.elsewhere = lease.remaining // max(1, lease.holders)
        if lease.granted > 0:
            pool.add(lease, incarnation, sent, received)
            self.dry_until = 0
        else:
            self.dry_until = received + lease.milliseconds * NS_PER_MS

    def forget(self) -> None:
        """The limit is another one: what was said about the old one's end does not hold."""
        self.dry_until = self.again = 0


def seconds_until(then: int, now: int) -> int:
    """Whole seconds between two boot times, rounded up; at least 1."""
    return max(1, (then - now + _NS_PER_SECOND - 1) // _NS_PER_SECOND)
