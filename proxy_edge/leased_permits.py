"""Permits from leases of the region's RateLimiter: taken from memory while they last, renewed before they run out.

Where callers come often, the coming window's are leased before it begins, so that its turn needs no limiter. A lease
is never spent outside of its window, however late the loop is or however long the machine slept, and a call is never
made without one. What the limiter does not answer admits nothing: callers wait, then they are refused.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

import msgspec

from models.clock import Clock
from models.errors import LimiterUnavailable, LinkUnavailable, Refused
from models.limits import Limit, Quota
from models.planes.frames import Surrender
from models.planes.permits import ReserveAnswer, ReserveRequest, Return, ReturnRequest, shard_of
from proxy_edge.permit_desk import Desk, Plan, Waiter
from proxy_edge.permits import Exhausted, Outcome, Permit, Wait
from proxy_edge.tasks import spawn

WAIT_SECONDS = 10.0
"""How long a caller waits for a permit (DESIGN section 5)."""
ASK_SECONDS = 4.0
"""How long one question may take; a limiter that recalls leases of others first needs about one."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 1.0
"""Between questions that came to nothing, while somebody waits."""
LEAD_SECONDS = 30.0, 40.0
"""Before a window ends the next one is asked for; each worker and proxy at a moment of its own."""
AHEAD_PAUSE_SECONDS = 1.0, 4.0
"""Until that is asked again, when there was no answer."""
SLACK_SECONDS = 0.001
"""A timer may be early by so much."""
RETURN_SECONDS, RETURN_ATTEMPTS = 1.0, 3
MOST_RETURNS = 4096
"""Leases ended by one call."""
REFUSED_NS = 60 * 1_000_000_000
"""Between two log lines about a limiter that refuses."""

_NS = 1_000_000_000
_ROUND_UP = _NS - 1

_log = logging.getLogger("exeat.edge.permits")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(ReserveAnswer).decode

Call: TypeAlias = Callable[[str, str, bytes, float, int], Awaitable[bytes]]
"""role, method, payload, seconds, shard: `actors.link_client.LinkClient.call`. Raises LinkUnavailable, Refused."""


class Counts(Protocol):
    """Where the numbers for operators go: `proxy_edge.stats.Stats`."""

    def permits_taken(self, admitted: int, calls: int) -> None:
        """So many more calls were admitted, so many more questions asked."""
        ...


class LeasedPermits:
    """The permits of one worker in link mode; all of it belongs to one event loop.

    admitted: permits taken and not given back. calls: questions to the limiter.
    """

    __slots__ = (
        "_boot_ns",
        "_call",
        "_chance",
        "_closing",
        "_desks",
        "_first_pause",
        "_holder",
        "_plans",
        "_refused_ns",
        "_revision",
        "_shards",
        "_told",
        "_wait_seconds",
        "_wall_ms",
        "admitted",
        "calls",
    )

    def __init__(
        self,
        call: Call,
        clock: Clock,
        *,
        holder: str,
        shards: int = 1,
        wait_seconds: float = WAIT_SECONDS,
        first_pause: float = FIRST_PAUSE_SECONDS,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """holder: names this life of the worker. shards: limiters in the region. chance: uniform 0 to 1."""
        self._call, self._boot_ns, self._wall_ms = call, clock.boot_ns, clock.wall_ms
        self._holder, self._shards = holder, shards
        self._wait_seconds, self._first_pause, self._chance = wait_seconds, first_pause, chance
        self._desks: dict[str, Desk] = {}
        self._plans: dict[tuple[Limit, ...], Plan] = {}
        self._revision, self._closing = 0, False
        self._refused_ns = -REFUSED_NS
        self._told = (0, 0)
        self.admitted = self.calls = 0

    def govern(self, revision: int) -> None:
        """From here on the limits given to `take` are of this revision of the policy. What is held is kept."""
        # Plans are made anew, so that a limit's `max` goes to the limiter with the revision that has it.
        self._revision = revision
        self._plans.clear()
        now = self._boot_ns()
        for desk in [one for one in self._desks.values() if one.idle(now)]:
            self._disarm(desk)
            del self._desks[desk.key]

    # -- for requests -----------------------------------------------------------------------------

    def take(self, limits: tuple[Limit, ...], now_ms: int) -> Permit | Exhausted | Wait:
        """One call under all of `limits` or none of them; now_ms: wall time since the epoch, milliseconds."""
        plan = self._plans.get(limits)
        if plan is None:
            plan = self._resolve(limits)
        now = self._boot_ns()
        pools = plan.pools
        for pool in pools:
            if pool.left < 1 or pool.until <= now:
                return self._short(plan, now, now_ms)
        return self._spend(plan, now)

    def give_back(self, permit: Permit) -> None:
        """Returns a permit of which nothing went upstream; counts once, and only within its window."""
        plan, permit.held = permit.held, None
        if not isinstance(plan, Plan):
            return
        self.admitted -= 1
        now = self._boot_ns()
        for pool in plan.pools:
            if now < pool.until:
                pool.left += 1
        if plan.desk.waiting:
            self._serve(plan.desk)

    def look(self, limits: tuple[Limit, ...], now_ms: int) -> Quota:
        """The quota as it stands. Raises LimiterUnavailable where nothing is known of a window yet."""
        now = self._boot_ns()
        plan = (self._plans.get(limits) or self._resolve(limits)).renewed(now)
        if not plan.is_known(now):
            raise LimiterUnavailable("nothing is known of this window yet")
        return plan.standing(now, now_ms)

    # -- for the link -----------------------------------------------------------------------------

    def surrender(self, frame: Surrender) -> None:
        """The limiter wants back what is unspent of some counters: nothing of it is spent from here on."""
        now = self._boot_ns()
        windows: dict[str, tuple[set[str], set[str]]] = {}
        for place, counters in enumerate((frame.recall.counters, frame.recall.ahead)):
            for key, window in counters:
                windows.setdefault(key, (set(), set()))[place].add(window)
        returned: dict[int, list[Return]] = {}
        for key, (names, ahead) in windows.items():
            desk = self._desks.get(key)
            found = [] if desk is None else desk.surrender(now, names, ahead)
            # An answer of nothing says that nothing is held.
            if found or names:
                returned.setdefault(shard_of(key, self._shards), []).extend(found)
        for shard, returns in returned.items():
            spawn("return permits", self._return(shard, returns))

    async def close(self) -> None:
        """Returns everything unspent, as far as that is possible now. Nothing may be taken from here on."""
        self._closing, now = True, self._boot_ns()
        for desk in self._desks.values():
            self._disarm(desk)
        asking = [desk.task for desk in self._desks.values() if desk.task is not None]
        if asking:
            # What is granted to a question under way goes back as well.
            await asyncio.wait(asking, timeout=RETURN_SECONDS)
        returned: dict[int, list[Return]] = {}
        for desk in self._desks.values():
            returned.setdefault(desk.shard, []).extend(one for one in desk.surrender(now) if one.unspent)
        await asyncio.gather(
            *(self._return(shard, returns, attempts=1) for shard, returns in returned.items() if returns)
        )

    def tell(self, counts: Counts) -> None:
        """Hands over how much was admitted and asked since the last time."""
        admitted, calls = self.admitted, self.calls
        before, asked_before = self._told
        if admitted > before or calls > asked_before:
            # What was given back is not counted a second time when it is taken again.
            self._told = (max(admitted, before), calls)
            counts.permits_taken(max(0, admitted - before), calls - asked_before)

    # -- inside -----------------------------------------------------------------------------------

    def _resolve(self, limits: tuple[Limit, ...]) -> Plan:
        """The plan of limits not seen in this revision."""
        key = limits[0].key
        desk = self._desks.get(key)
        if desk is None:
            lead = int(_between(LEAD_SECONDS, self._chance()) * _NS)
            desk = self._desks[key] = Desk(key, shard_of(key, self._shards), lead)
        plan = self._plans[limits] = desk.resolve(limits, self._revision)
        return plan

    def _spend(self, plan: Plan, now: int) -> Permit:
        """Takes one call of each pool, which the caller has looked at in the same breath."""
        quota: Quota = ()
        for pool in plan.pools:
            left = pool.left = pool.left - 1
            quota += (left + pool.elsewhere, (pool.ends - now + _ROUND_UP) // _NS)
            if left < pool.low:
                pool.low = -1
                plan.desk.plan = plan
                self._ask_soon(plan.desk)
        self.admitted += 1
        return Permit(quota, plan)

    def _short(self, plan: Plan, now: int, now_ms: int) -> Permit | Exhausted | Wait:
        """Something is missing: other pools, a refusal, or a wait while the limiter is asked."""
        desk = plan.desk
        plan = desk.plan = self._plans[plan.limits] = plan.renewed(now)
        if plan.usable(now):
            return self._spend(plan, now)
        refusal = plan.exhausted(now, now_ms)
        if refusal is not None:
            if any(counter.dry_until and counter.again <= now for counter in plan.counters):
                self._ask_soon(desk)
            return refusal
        wait = Wait(self.give_back)
        timer = asyncio.get_running_loop().call_later(self._wait_seconds, self._too_late, desk, wait)
        desk.waiting.append(Waiter(wait, plan, timer))
        if not plan.begins_soon(now):
            self._ask_soon(desk)
        self._arm(desk)
        return wait

    def _arm(self, desk: Desk) -> None:
        """Sets the one timer of a desk to when there is something to do next."""
        self._disarm(desk)
        now = self._boot_ns()
        at = None if self._closing else desk.alarm(now)
        if at is not None:
            delay = max(0, at - now) / _NS + SLACK_SECONDS
            desk.timer = asyncio.get_running_loop().call_later(delay, self._ring, desk)

    def _disarm(self, desk: Desk) -> None:
        timer, desk.timer = desk.timer, None
        if timer is not None:
            timer.cancel()

    def _ring(self, desk: Desk) -> None:
        """A window may have begun, or the next one is to be asked for, unless callers have stopped."""
        desk.timer = None
        self._serve(desk)
        now = self._boot_ns()
        due = desk.due(now)
        if desk.waiting or (due and not desk.stopped(now)):
            self._ask_soon(desk)
        elif not due:
            self._arm(desk)

    def _ask_soon(self, desk: Desk) -> None:
        """Asks in the loop's next turn, for all who are short by then; by one task per desk."""
        if desk.task is None and not self._closing:
            desk.task = spawn("reserve permits", self._ask(desk))

    async def _ask(self, desk: Desk) -> None:
        """Asks once, and again until nobody waits."""
        first = pause = self._first_pause
        try:
            while True:
                answered = await self._reserve(desk)
                desk.watch(failed=not answered)
                if not answered:
                    later = _between(AHEAD_PAUSE_SECONDS, self._chance())
                    desk.retry_at = self._boot_ns() + int(later * _NS)
                served = self._serve(desk)
                if not desk.waiting:
                    return
                if served:
                    pause = first
                    continue
                self._arm(desk)
                await asyncio.sleep(max(first, pause * (0.5 + self._chance() / 2)))
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        finally:
            desk.task = None
            self._arm(desk)

    async def _reserve(self, desk: Desk) -> bool:
        """One question, and what came of it; False when there was no answer."""
        sent = self._boot_ns()
        wanted = desk.wants(sent)
        if not wanted:
            return True
        ended = desk.ended[:MOST_RETURNS]
        request = ReserveRequest(
            holder=self._holder,
            wants=tuple(want for _, want in wanted),
            returns=tuple(ended),
            shards=self._shards,
        )
        self.calls += 1
        try:
            answer = _decode(
                await self._call("limiter", "reserve", _encode(request), ASK_SECONDS, desk.shard)
            )
        except (LinkUnavailable, msgspec.DecodeError):
            return False
        except Refused as error:
            self._tell_refused(error)
            return False
        if len(answer.leases) != len(wanted):
            return False
        done = set(ended)
        desk.ended = [one for one in desk.ended if one not in done]
        desk.take(wanted, answer, sent, self._boot_ns())
        return True

    def _tell_refused(self, error: Refused) -> None:
        now = self._boot_ns()
        if now - self._refused_ns >= REFUSED_NS:
            self._refused_ns = now
            _log.error("limiter refuses", extra={"reason": error.detail, "shards": self._shards})

    def _serve(self, desk: Desk) -> bool:
        """Gives those who wait, in their order, what there is; whether anybody was served."""
        decided: list[tuple[Wait, Outcome]] = []
        waiting = desk.waiting
        while waiting:
            waiter = waiting[0]
            if not waiter.wait.abandoned:
                outcome = self._outcome(waiter.plan)
                if outcome is None:
                    break
                decided.append((waiter.wait, outcome))
            waiter.timer.cancel()
            waiting.popleft()
        # Only now: whoever is called back may come here again.
        for wait, decision in decided:
            wait.resolve(decision)
        return bool(decided)

    def _outcome(self, plan: Plan) -> Permit | Exhausted | None:
        """For one who waits, whose policy may not be in force any more; None while there is nothing to say."""
        now = self._boot_ns()
        plan = plan.renewed(now)
        return self._spend(plan, now) if plan.usable(now) else plan.exhausted(now, self._wall_ms())

    def _too_late(self, desk: Desk, wait: Wait) -> None:
        for waiter in desk.waiting:
            if waiter.wait is wait:
                desk.waiting.remove(waiter)
                break
        if wait.outcome is None:
            wait.resolve(LimiterUnavailable("no permit in time"))

    async def _return(self, shard: int, returns: list[Return], attempts: int = RETURN_ATTEMPTS) -> None:
        """Ends leases; tried again, because a return counts once however often it comes. What fails stays spent."""
        for at in range(0, max(1, len(returns)), MOST_RETURNS):
            payload = _encode(
                ReturnRequest(holder=self._holder, returns=tuple(returns[at : at + MOST_RETURNS]))
            )
            for attempt in range(attempts):
                try:
                    await self._call("limiter", "give_back", payload, RETURN_SECONDS, shard)
                    break
                except (LinkUnavailable, Refused):
                    if attempt + 1 < attempts:
                        await asyncio.sleep(self._first_pause * 2**attempt)


def _between(bounds: tuple[float, float], chance: float) -> float:
    low, high = bounds
    return low + (high - low) * chance
