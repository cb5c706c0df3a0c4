"""Any history of holders, crashes, edits and clocks: never more than the limit, and without losses exactly all of it.

What may be spent is counted by the holders themselves, for the window that each lease names, so that it does not
depend on anything the limiter believes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors.limiter.ceilings import CEILINGS
from actors.limiter.core import LimiterCore
from actors.limiter.counters import Kept
from models.errors import PeerUnavailable
from models.limits import window_of
from models.planes.permits import Lease, ReserveRequest, ReturnRequest
from tests.kit.limiter import DAY, MINUTE, Holder, Name, Site

T = TypeVar("T")

LINKS = {"l1": 2, "l2": 2}
maxima = st.sampled_from([0, 1, 2, 7, 10, 40, 1000])
names = st.sampled_from([(MINUTE,), (DAY,), (MINUTE, DAY)])
counts = st.sampled_from([1, 2, 5, 30, 10**6])
places = st.integers(0, sum(LINKS.values()) - 1)


class History(RuleBasedStateMachine):
    """One proxy with two limits, four holders at two links, and one store."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.site = self.run(self.made())
        self.holders: list[Holder] = []
        self.past: list[Holder] = []
        self.lives = 0
        self.policies: list[dict[Name, int]] = []
        self.heard: dict[Name, int] = {MINUTE: 0, DAY: 0}
        self.maybe: set[tuple[Name, int]] = set()
        self.dirty: set[tuple[Name, int]] = set()
        self.latest: dict[Name, int] = {MINUTE: 0, DAY: 0}
        self.returned: list[ReturnRequest] = []
        self.asked: list[tuple[Holder, ReserveRequest]] = []
        self.zombie: LimiterCore | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """On this history's loop."""
        return self.loop.run_until_complete(asyncio.wait_for(work, 30))

    async def made(self) -> Site:
        found = Site(patience=0.02)
        await found.start()
        return found

    def teardown(self) -> None:
        if self.zombie is not None:
            self.run(self.zombie.close())
        self.run(self.site.close())
        self.loop.close()

    # What is so

    def in_force(self, name: Name, revision: int = 0) -> list[int]:
        """The limit of the newest policy heard; several while it is not known which that is."""
        heard = max(self.heard[name], revision)
        known = {heard, *(one for of, one in self.maybe if of == name and one > heard)}
        return [self.policies[one][name] for one in known]

    def allowed(self, revision: int = 0) -> dict[Name, int]:
        """The most that may be in force for whoever asks with a policy."""
        return {name: max(self.in_force(name, revision)) for name in (MINUTE, DAY)}

    def committed(self, name: Name, window: int, *, but: Collection[Holder] = ()) -> int:
        """Calls of a window that were made or can still be made; those not made by some holders left out."""
        spent = sum(one.spent[name, window] for one in [*self.holders, *self.past])
        loans = [loan for one in self.holders if one not in but for loan in one.loans.get(name, ())]
        return spent + sum(loan.left for loan in loans if loan.window == window)

    def spoil(self) -> None:
        """What is granted in the windows that are now may be lost in part."""
        for name in (MINUTE, DAY):
            now = window_of(self.site.clock.wall_ms(), name[1])
            for number in (self.latest[name], max(now, self.latest[name])):
                self.dirty |= {(name, number), (name, number + 1)}

    async def restart(self) -> None:
        """Another incarnation."""
        self.spoil()
        await self.site.core.close()
        await self.site.start()

    async def ask(
        self,
        holder: Holder,
        request: ReserveRequest,
        fate: str = "heard",
        bound: dict[Name, int] | None = None,
    ) -> tuple[Lease, ...]:
        """One question, and what becomes of its answer; every grant is within what is allowed."""
        sent = self.site.clock.boot_ns()
        revision = holder.revision
        try:
            answer = await self.site.core.reserve(request)
        except PeerUnavailable:
            self.spoil()
            self.maybe |= {((want.window, want.window_seconds), want.revision) for want in request.wants}
            return ()
        bound = bound or self.allowed(revision)
        for want, lease in zip(request.wants, answer.leases, strict=True):
            name = want.window, want.window_seconds
            self.heard[name] = max(self.heard[name], revision)
            length = name[1] * 1000
            assert 0 < lease.milliseconds - length * want.ahead <= length
            assert lease.starts_ms == (lease.milliseconds - length) * want.ahead
            if lease.granted:
                running = lease.window_number - want.ahead
                assert lease.granted <= want.count
                assert self.committed(name, lease.window_number) + lease.granted <= bound[name]
                assert running >= self.latest[name], "a window came back"
                self.latest[name] = running
                assert self.kept(name).covers(
                    lease.window_number, self.committed(name, lease.window_number) + lease.granted
                )
            if fate == "lost":
                self.dirty.add((name, lease.window_number))
        if fate != "lost":
            holder.take(request, answer, sent)
        return answer.leases

    def kept(self, name: Name) -> Kept:
        """What the store has of a counter."""
        rows = self.site.store.documents[CEILINGS.name, "p"].document["counters"]
        [found] = [Kept(*numbers) for window, seconds, *numbers in rows if (window, seconds) == name]
        return found

    def request(
        self, place: int, wanted: tuple[Name, ...], count: int, *, ahead: bool = False
    ) -> tuple[Holder, ReserveRequest]:
        """What a holder would ask with the policy it has."""
        holder = self.holders[place]
        policy = self.policies[holder.revision]
        return holder, holder.request({name: policy[name] for name in wanted}, count, ahead=ahead)

    # What happens

    @initialize(minute=maxima, day=maxima)
    def begins(self, minute: int, day: int) -> None:
        """With one policy that all know."""
        self.policies.append({MINUTE: minute, DAY: day})
        for link, members in LINKS.items():
            found = [self.born() for _ in range(members)]
            self.holders += found
            self.run(self.site.attach(link, *found))

    def born(self) -> Holder:
        """Another life of a worker, with the newest policy."""
        self.lives += 1
        return Holder(f"h{self.lives}", self.site.clock, revision=len(self.policies) - 1)

    @rule(
        place=places,
        wanted=names,
        count=counts,
        ahead=st.booleans(),
        fate=st.sampled_from(["heard", "heard", "heard", "lost"]),
    )
    def reserves(self, place: int, wanted: tuple[Name, ...], count: int, ahead: bool, fate: str) -> None:
        """A holder asks, of the running windows or the coming ones; its answer may be lost."""
        asked = self.request(place, wanted, count, ahead=ahead)
        self.asked.append(asked)
        self.run(self.ask(*asked, fate))

    @rule(
        wanted=names,
        count=counts,
        who=st.dictionaries(places, st.sampled_from([False, False, True]), min_size=2, max_size=4),
    )
    def reserve_at_once(self, wanted: tuple[Name, ...], count: int, who: dict[int, bool]) -> None:
        """Several ask at the same time, some of them ahead."""
        asked = [self.request(place, wanted, count, ahead=ahead) for place, ahead in who.items()]
        known = [self.allowed(), *(self.allowed(holder.revision) for holder, _ in asked)]
        bound = {name: max(one[name] for one in known) for name in (MINUTE, DAY)}

        async def all_of_them() -> None:
            await asyncio.gather(*(self.ask(*one, bound=bound) for one in asked))

        self.run(all_of_them())

    @precondition(lambda self: self.asked)
    @rule(which=st.integers(0, 100), heard=st.booleans())
    def asks_the_same_again(self, which: int, heard: bool) -> None:
        """A request that was carried out before, byte for byte."""
        holder, request = self.asked[which % len(self.asked)]
        if holder in self.holders:
            revision, holder.revision = holder.revision, request.wants[0].revision
            self.run(self.ask(holder, request, "heard" if heard else "lost"))
            holder.revision = revision

    @rule(place=places, name=st.sampled_from([MINUTE, DAY]), calls=st.integers(1, 50))
    def spends(self, place: int, name: Name, calls: int) -> None:
        """Calls go out."""
        self.holders[place].spend(name, calls)

    @rule(place=places, minute=st.booleans(), day=st.booleans())
    def returns(self, place: int, minute: bool, day: bool) -> None:
        """Of its own accord; leases of earlier incarnations, too."""
        holder = self.holders[place]
        counters = [("p", "minute")] * minute + [("p", "day")] * day
        request = ReturnRequest(holder=holder.name, returns=holder.give_up(counters, counters))
        self.returned.append(request)
        self.give_back(request)

    @precondition(lambda self: self.returned)
    @rule(which=st.integers(0, 100))
    def returns_the_same_again(self, which: int) -> None:
        """A return that was carried out before."""
        self.give_back(self.returned[which % len(self.returned)])

    def give_back(self, request: ReturnRequest) -> None:
        try:
            self.run(self.site.core.give_back(request))
        except PeerUnavailable:
            self.spoil()

    @rule(minute=maxima, day=maxima)
    def is_edited(self, minute: int, day: int) -> None:
        """A new policy, which no holder has yet."""
        self.policies.append({MINUTE: minute, DAY: day})

    @rule(place=places)
    def learns(self, place: int) -> None:
        """A holder gets the newest policy."""
        self.holders[place].revision = len(self.policies) - 1

    @rule(seconds=st.sampled_from([0.5, 3, 20, 61, 4000, 90_000]))
    def time_passes(self, seconds: float) -> None:
        """On all clocks."""
        self.site.clock.advance(seconds)

    @rule(seconds=st.sampled_from([-200_000, -4000, -61, -1, 1, 59, 4000, 200_000]))
    def the_clock_is_set(self, seconds: float) -> None:
        """Forwards or back; the boot clock does not notice, so that holders begin a window when they were told to."""
        now = self.site.clock.boot_ns()
        for one in self.holders:
            for name, loans in one.loans.items():
                self.dirty |= {(name, loan.window) for loan in loans if loan.begins > now}
        self.site.clock.jump(seconds)

    @rule(keep=st.booleans())
    def crashes(self, keep: bool) -> None:
        """The limiter's process ends; or is thought to have, and goes on beside its successor."""
        self.spoil()
        old = self.site.core
        if keep and self.zombie is None:
            self.zombie = old
        else:
            self.run(old.close())
        self.run(self.site.start())

    @precondition(lambda self: self.zombie is not None)
    @rule(place=places, wanted=names, count=counts, ahead=st.booleans())
    def reserves_of_the_one_before(
        self,
        place: int,
        wanted: tuple[Name, ...],
        count: int,
        ahead: bool,
    ) -> None:
        """Which grants only what it has a ceiling for, under the policies it knew."""
        holder, request = self.request(place, wanted, count, ahead=ahead)
        sent = self.site.clock.boot_ns()
        assert self.zombie is not None
        self.spoil()
        self.maybe |= {((want.window, want.window_seconds), want.revision) for want in request.wants}
        try:
            answer = self.run(self.zombie.reserve(request))
        except PeerUnavailable:
            return
        holder.take(request, answer, sent)
        for want, lease in zip(request.wants, answer.leases, strict=True):
            name = want.window, want.window_seconds
            most = max(policy[name] for policy in self.policies)
            assert lease.granted == 0 or self.committed(name, lease.window_number) <= most
            self.dirty.add((name, lease.window_number))

    @rule(fault=st.sampled_from(["before", "after"]))
    def the_store_fails(self, fault: str) -> None:
        """At the next write, which is carried out or not; whoever asked for it hears nothing."""
        self.site.store.fault = fault

    @rule(place=places)
    def dies(self, place: int) -> None:
        """A worker ends with what it has, and another one comes."""
        old = self.holders[place]
        for name, loans in old.loans.items():
            self.dirty |= {(name, loan.window) for loan in loans if loan.left}
        self.past.append(old)
        new = self.holders[place] = self.born()
        link = "l1" if place < LINKS["l1"] else "l2"
        self.run(self.site.detach(link, old))
        self.run(self.site.attach(link, new))

    @rule(place=places, answers=st.booleans())
    def hangs(self, place: int, answers: bool) -> None:
        """A worker does not answer recalls, or does again."""
        self.holders[place].answers = answers

    @rule()
    def sweeps(self) -> None:
        """Old ceilings are deleted, if the store lets them; all incarnations that there are do so, twice a minute."""
        self.site.store.fault = ""
        if self.zombie is not None:
            self.run(self.zombie.sweep())
        self.run(self.site.core.sweep())
        if not len(self.site.core._shelf) and not self.site.store.ids(CEILINGS):
            # Not used for an hour: which policy it heard last is forgotten. No worker serves one that old.
            self.heard = dict.fromkeys(self.heard, 0)
            self.maybe.clear()

    @rule(place=places, name=st.sampled_from([MINUTE, DAY]))
    def one_takes_all(self, place: int, name: Name) -> None:
        """Where nothing was lost, a holder gets every call of the window that is not spent, whoever has it."""
        self.site.store.fault = ""
        for one in self.holders:
            one.answers = True
        lease = self.run(self.all_of(place, name))
        if lease is not None and (name, lease.window_number) not in self.dirty:
            others = [one for one in self.holders if one is not self.holders[place]]
            assert self.committed(name, lease.window_number, but=others) >= min(self.in_force(name))

    async def all_of(self, place: int, name: Name) -> Lease | None:
        await self.site.attach("l1", *self.holders[: LINKS["l1"]])
        await self.site.attach("l2", *self.holders[LINKS["l1"] :])
        last, dry = None, 0
        while dry < 3:
            self.site.clock._boot += 1_100_000_000  # whoever was asked before is asked again
            leases = await self.ask(*self.request(place, (name,), 10**6))
            last = leases[0] if leases else last
            dry = 0 if leases and leases[0].granted else dry + 1
            for _ in range(5):
                await asyncio.sleep(0)
        return last

    @invariant()
    def one_that_is_over_is_replaced(self) -> None:
        """As Ray does."""
        if self.policies and self.site.over:
            self.site.over = 0
            self.run(self.restart())

    @invariant()
    def nothing_was_ever_admitted_above_the_highest_limit(self) -> None:
        """Whatever else happened."""
        for name in (MINUTE, DAY):
            windows = {
                window for one in [*self.holders, *self.past] for known, window in one.spent if known == name
            } | {loan.window for one in self.holders for loan in one.loans.get(name, ())}
            most = max((policy[name] for policy in self.policies), default=0)
            assert all(self.committed(name, window) <= most for window in windows)


TestHistory = History.TestCase
TestHistory.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
