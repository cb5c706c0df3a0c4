"""One proxy's permits at one worker: who waits, what to ask the limiter for, and what its answers change.

Everything is decided here and nothing is done: no clock is read, nothing is sent. All counters of a proxy are asked
for together, by one call at a time, whoever waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Container, Sequence

import msgspec

from models.limits import Limit, Quota, reset_seconds, window_of
from models.planes.permits import ReserveAnswer, Return, Want
from proxy_edge.demand import MEMORY_SECONDS, Demand, next_demand, renewal
from proxy_edge.permit_pool import Counter, Pool, seconds_until
from proxy_edge.permits import Exhausted, Wait

AGAIN_NS = 1_000_000_000
"""Between two questions for a counter of which nothing is left."""
GAP_NS = 250_000_000
"""For how long a coming window's beginning is waited for, when it is certain, without asking."""
SOON_NS = 1_000_000_000
"""Before its beginning a coming window's calls go back with those of the running one: the limiter may be there already."""
_MEMORY_NS = int(MEMORY_SECONDS * 1_000_000_000)


class Plan(msgspec.Struct, eq=False):
    """What one tuple of limits means: its counters, in order, and the pools they had when it was made."""

    desk: Desk
    limits: tuple[Limit, ...]
    counters: tuple[Counter, ...]
    pools: tuple[Pool, ...]

    def renewed(self, now: int) -> Plan:
        """The same with the pools that its counters have now; itself where they are the same."""
        for counter in self.counters:
            if counter.coming is not None:
                self.desk.ended += counter.turn(now)
        if all(pool is counter.pool for pool, counter in zip(self.pools, self.counters, strict=True)):
            return self
        pools = tuple(counter.pool for counter in self.counters)
        return Plan(self.desk, self.limits, self.counters, pools)

    def usable(self, now: int) -> bool:
        """Whether every pool has a call to take."""
        return all(pool.usable(now) for pool in self.pools)

    def begins_soon(self, now: int) -> bool:
        """Whether all that is missing is there once windows begin, which is about now."""
        then = now + GAP_NS
        return all(counter.pool.usable(now) or counter.begins_by(then) for counter in self.counters)

    def exhausted(self, now: int, now_ms: int) -> Exhausted | None:
        """The refusal, where a counter has nothing and the limiter said that nothing is left."""
        ends = [
            counter.dry_until
            for counter in self.counters
            if not counter.pool.usable(now) and counter.dry_until > now
        ]
        if not ends:
            return None
        return Exhausted(self.standing(now, now_ms), seconds_until(max(ends), now))

    def is_known(self, now: int) -> bool:
        """Whether the limiter has said anything about the present window of every counter."""
        return all(one.pool.until > now or one.dry_until > now for one in self.counters)

    def standing(self, now: int, now_ms: int) -> Quota:
        """The quota without taking anything; what is not known counts as nothing left."""
        quota: list[int] = []
        for counter in self.counters:
            pool = counter.pool
            if pool.until > now:
                quota += pool.left + pool.elsewhere, seconds_until(pool.ends, now)
            elif counter.dry_until > now:
                quota += 0, seconds_until(counter.dry_until, now)
            else:
                window = window_of(now_ms, counter.seconds)
                quota += 0, reset_seconds(now_ms, window, counter.seconds)
        return tuple(quota)


class Waiter(msgspec.Struct, eq=False):
    """One caller that waits, with its deadline as a timer."""

    wait: Wait
    plan: Plan
    timer: asyncio.TimerHandle


class Desk:
    """One proxy's counters and callers. task: the one that asks for them, while there is one.

    plan: of the last caller that found too little. ended: leases that the limiter is to be told the end of. timer: to
    the next `alarm`, when there is one. retry_at: boot nanoseconds before which a coming window is not asked for again.
    """

    __slots__ = (
        "_counters",
        "_lead",
        "demand",
        "ended",
        "key",
        "plan",
        "retry_at",
        "shard",
        "task",
        "timer",
        "waiting",
    )

    def __init__(self, key: str, shard: int, lead: int) -> None:
        """lead: nanoseconds before a window's end at which the one after it is asked for."""
        self.key, self.shard, self._lead = key, shard, lead
        self.timer: asyncio.TimerHandle | None = None
        self.retry_at = 0
        self.waiting: deque[Waiter] = deque()
        self.ended: list[Return] = []
        self.demand = Demand()
        self.task: asyncio.Task[None] | None = None
        self.plan: Plan | None = None
        self._counters: dict[tuple[str, int], Counter] = {}

    def resolve(self, limits: tuple[Limit, ...], revision: int) -> Plan:
        """The plan of limits as the policy of that revision has them.

        A counter is found by its window, whatever its `max` was. Where that is lower now, what is held goes back: it
        was granted under the old one.
        """
        counters = []
        for limit in limits:
            counter = self._counters.get((limit.name, limit.window_seconds))
            if counter is None:
                counter = self._counters[limit.name, limit.window_seconds] = Counter(limit)
            if counter.max != limit.max:
                counter.forget()
            if counter.max > limit.max:
                self.ended += counter.give_up()
            counter.max, counter.revision = limit.max, revision
            counters.append(counter)
        return Plan(self, limits, tuple(counters), tuple(counter.pool for counter in counters))

    def wants(self, now: int) -> list[tuple[Counter, Want]]:
        """What to ask for now; at most one call's worth. Measures the demand, and ends what is spent or over."""
        counters = self._concerned()
        for counter in counters:
            self.ended += counter.turn(now)
        used = max((counter.pool.used() for counter in counters), default=0)
        self.demand = next_demand(self.demand, used, len(self.waiting), now)
        count = self.demand.count
        wanted = []
        for counter in counters:
            pool = counter.pool
            if pool.until > now:
                self.ended += pool.spent()
            else:
                self.ended += (one for one in pool.give_up() if one.unspent)
            if pool.left >= renewal(count) or (counter.dry_until > now and counter.again > now):
                continue
            counter.again = now + AGAIN_NS
            wanted.append((counter, counter.want(count - pool.left)))
        wanted.extend(
            (counter, counter.want(missing, ahead=True))
            for counter in counters
            if (missing := self._missing_ahead(counter, now))
        )
        return wanted

    def take(
        self, wanted: Sequence[tuple[Counter, Want]], answer: ReserveAnswer, sent: int, received: int
    ) -> None:
        """What came of it. sent, received: boot nanoseconds of call and answer."""
        for (counter, want), lease in zip(wanted, answer.leases, strict=True):
            self.ended += counter.take(lease, answer.incarnation, sent, received)
            if want.ahead:  # whatever came of it
                counter.asked = lease.window_number - (lease.starts_ms > 0)
            if want.max > counter.max:  # lowered while we asked
                self.ended += counter.give_up()

    def watch(self, *, failed: bool) -> None:
        """Says below how many calls to ask again, before anybody has to wait."""
        for counter in self._concerned():
            pool = counter.pool
            if not self.demand.ahead or counter.dry_until:
                pool.low = -1
            elif failed:
                pool.low = pool.left // 2  # the less is left, the sooner again
            else:
                pool.low = renewal(min(pool.left, self.demand.count))
            if counter.coming is not None:
                counter.coming.low = renewal(min(counter.coming.left, self.demand.count))

    def due(self, now: int) -> bool:
        """Whether a coming window is to be asked for."""
        return any(self._is_due(counter, now) for counter in self._concerned())

    def stopped(self, now: int) -> bool:
        """Whether there have been no callers for so long that the coming window is asked for when there are some again."""
        looked = self.demand.at_ns
        return (
            not self.waiting
            and (looked is None or now - looked >= _MEMORY_NS)
            and all(counter.pool.mark == counter.pool.left for counter in self._concerned())
        )

    def alarm(self, now: int) -> int | None:
        """Boot nanoseconds at which to look again: a window begins for who waits, or the coming one is to be asked for."""
        times = []
        for counter in self._concerned():
            coming, asks = counter.coming, counter.ahead_at(now, self._lead)
            if self.waiting and coming is not None and coming.begins > now:
                times.append(coming.begins)
            if self.demand.ahead and asks is not None and self.retry_at < counter.pool.until:
                times.append(max(asks, self.retry_at))
        return min(times, default=None)

    def surrender(
        self, now: int, windows: Container[str] | None = None, ahead: Container[str] = ()
    ) -> list[Return]:
        """Gives up what is held of these windows, and says the end of whatever is known.

        windows: that are running, by name; of all, coming ones included, when left out. ahead: coming ones. What
        comes in a moment counts as running.
        """
        returns, self.ended = self.ended, []
        for counter in self._counters.values():
            running = windows is None or counter.name in windows
            soon = windows is None or (running and counter.may_begin_by(now + SOON_NS))
            returns += counter.give_up(running=running, ahead=soon or counter.name in ahead)
        return returns

    def idle(self, now: int) -> bool:
        """Whether there is nothing here that is worth keeping."""
        return not (
            self.task is not None
            or self.waiting
            or any(
                one.pool.until > now
                or one.dry_until > now
                or (one.coming is not None and one.coming.until > now)
                for one in self._counters.values()
            )
        )

    def _is_due(self, counter: Counter, now: int) -> bool:
        asks = counter.ahead_at(now, self._lead) if self.demand.ahead else None
        return asks is not None and asks <= now

    def _missing_ahead(self, counter: Counter, now: int) -> int:
        """Calls of the coming window to ask for: when it is time, and on occasion as many as demand has grown since."""
        count, coming = self.demand.count, counter.coming
        if self._is_due(counter, now):
            return count
        if coming is None or now >= counter.pool.until or coming.left >= renewal(count):
            return 0
        return count - coming.left

    def _concerned(self) -> tuple[Counter, ...]:
        """The counters that callers want now; one that a policy dropped is left alone."""
        plans = [waiter.plan for waiter in self.waiting]
        if self.plan is not None:
            plans.append(self.plan)
        return tuple(dict.fromkeys(counter for plan in plans for counter in plan.counters))
