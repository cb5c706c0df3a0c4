"""A region's permits without processes: limiter cores over a store that can fail, links, and holders that spend.

Holders do what workers do: a lease is spent until its deadline, counted from sending the call, one of a coming window
from its beginning on, counted from hearing the answer, and returned when the limiter asks. Time stands still but when
a test moves it.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter as Tally
from collections.abc import AsyncIterator, Container, Mapping
from contextlib import asynccontextmanager
from typing import Any

from actors.limiter.core import LimiterCore
from actors.tasks import spawn, stop
from models.errors import ExeatError, PeerUnavailable, StoreUnavailable, VersionConflict
from models.planes.permits import (
    Lease,
    Recall,
    RecallRequest,
    ReserveAnswer,
    ReserveRequest,
    Return,
    ReturnRequest,
    Want,
)
from store.interface import ABSENT, ANY, Collection, Page, Stored

NOON_MS = 1_700_049_600_000
"""A beginning of a minute in the middle of a day."""
MINUTE, DAY = ("minute", 60), ("day", 86_400)
Name = tuple[str, int]


class HandClock:
    """A clock moved by hand."""

    def __init__(self, wall_ms: int = NOON_MS) -> None:
        self._wall, self._boot = wall_ms, 10**12

    def wall_ms(self) -> int:
        return self._wall

    def boot_ns(self) -> int:
        return self._boot

    def advance(self, seconds: float) -> None:
        """Time passes."""
        self._boot += round(seconds * 1e9)
        self.jump(seconds)

    def jump(self, seconds: float) -> None:
        """The wall clock is set."""
        self._wall = max(0, self._wall + round(seconds * 1000))


class MemoryStore:
    """Documents with versions, as a Store. fault: `before` or `after`, of the next write; it raises then."""

    def __init__(self) -> None:
        self.documents: dict[tuple[str, str], Stored] = {}
        self.fault = ""
        self.writes = 0
        self.hold: asyncio.Event | None = None
        self.away = False

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def put(
        self, collection: Collection, document_id: str, document: Mapping[str, Any], *, expected: int = ANY
    ) -> int:
        self.writes += 1
        if self.hold is not None:
            await self.hold.wait()
        fault, self.fault = self.fault, ""
        if fault == "before":
            raise StoreUnavailable("as asked")
        found = self.documents.get((collection.name, document_id))
        version = ABSENT if found is None else found.version
        if expected not in {ANY, version}:
            raise VersionConflict("another version")
        self.documents[collection.name, document_id] = Stored(document_id, version + 1, dict(document))
        await asyncio.sleep(0)
        if fault == "after":
            raise StoreUnavailable("as asked")
        return version + 1

    async def get(self, collection: Collection, document_id: str) -> Stored | None:
        await asyncio.sleep(0)
        if self.away:
            raise StoreUnavailable("as asked")
        return self.documents.get((collection.name, document_id))

    async def list(
        self, collection: Collection, *, after: str | None = None, limit: int = 100, **_: Any
    ) -> Page:
        found = sorted(key for name, key in self.documents if name == collection.name and key > (after or ""))
        return Page([self.documents[collection.name, key] for key in found[:limit]])

    async def delete(self, collection: Collection, document_id: str, *, expected: int = ANY) -> bool:
        found = self.documents.get((collection.name, document_id))
        if found is not None and expected not in {ANY, found.version}:
            raise VersionConflict("another version")
        return self.documents.pop((collection.name, document_id), None) is not None

    def ids(self, collection: Collection) -> list[str]:
        """What is in it."""
        return sorted(key for name, key in self.documents if name == collection.name)


class Loan:
    """A lease in a holder's hands."""

    def __init__(self, lease: Lease, incarnation: str, sent_ns: int, received_ns: int) -> None:
        self.number, self.incarnation, self.window = lease.lease, incarnation, lease.window_number
        self.granted = self.left = lease.granted
        self.begins = received_ns + lease.starts_ms * 1_000_000
        self.until = sent_ns + lease.milliseconds * 1_000_000

    def usable(self, now: int) -> int:
        """Calls that can be made of it now."""
        return self.left if self.begins <= now < self.until else 0


class Holder:
    """One worker's life, for one proxy."""

    def __init__(self, name: str, clock: HandClock, *, key: str = "p", revision: int = 1) -> None:
        self.name, self.key, self.revision = name, key, revision
        self.clock = clock
        self.loans: dict[Name, list[Loan]] = {}
        self.spent: Tally[tuple[Name, int]] = Tally()
        self.recalled: list[Recall] = []
        self.answers = True

    def request(
        self, maxima: Mapping[Name, int], count: int, *, shards: int = 1, ahead: bool = False
    ) -> ReserveRequest:
        """What it would ask; its used-up leases are returned by it. ahead: of the coming windows."""
        wants = tuple(
            Want(self.key, *name, most, self.revision, count, ahead) for name, most in maxima.items()
        )
        returns = tuple(
            Return(loan.number, loan.incarnation, 0)
            for name in maxima
            for loan in self.loans.get(name, ())
            if not loan.left
        )
        for name in maxima:
            self.loans[name] = [loan for loan in self.loans.get(name, ()) if loan.left]
        return ReserveRequest(holder=self.name, wants=wants, returns=returns, shards=shards)

    def take(self, request: ReserveRequest, answer: ReserveAnswer, sent_ns: int) -> None:
        """Has what was granted, from now on."""
        for want, lease in zip(request.wants, answer.leases, strict=True):
            if lease.granted:
                loans = self.loans.setdefault((want.window, want.window_seconds), [])
                loans.append(Loan(lease, answer.incarnation, sent_ns, self.clock.boot_ns()))

    async def reserve(
        self, core: LimiterCore, maxima: Mapping[Name, int], count: int, *, ahead: bool = False
    ) -> tuple[Lease, ...]:
        """Asks and takes."""
        request, sent = self.request(maxima, count, ahead=ahead), self.clock.boot_ns()
        answer = await core.reserve(request)
        self.take(request, answer, sent)
        return answer.leases

    async def call(self, core: LimiterCore, maxima: Mapping[Name, int], count: int = 1) -> bool:
        """One call under all limits, leased when needed; whether it was admitted."""
        short = {name: most for name, most in maxima.items() if not self.left(name)}
        if short:
            await self.reserve(core, short, count)
        if not all(self.left(name) for name in maxima):
            return False
        for name in maxima:
            self.spend(name)
        return True

    def left(self, name: Name) -> int:
        """Calls it could make now."""
        now = self.clock.boot_ns()
        return sum(loan.usable(now) for loan in self.loans.get(name, ()))

    def spend(self, name: Name, calls: int = 1) -> int:
        """Makes up to so many calls; how many, of which window is in `spent`."""
        made, now = 0, self.clock.boot_ns()
        for loan in self.loans.get(name, ()):
            some = min(loan.usable(now), calls - made)
            loan.left -= some
            made += some
            self.spent[name, loan.window] += some
        return made

    def give_up(
        self, running: Container[tuple[str, str]], ahead: Container[tuple[str, str]] = ()
    ) -> tuple[Return, ...]:
        """Everything of these counters, (key, window), used up or not. ahead: of their coming windows."""
        found, now = [], self.clock.boot_ns()
        for (window, seconds), loans in self.loans.items():
            kept = []
            for loan in loans:
                if (self.key, window) in (ahead if loan.begins > now else running):
                    found.append(Return(loan.number, loan.incarnation, loan.left))
                else:
                    kept.append(loan)
            self.loans[window, seconds] = kept
        return tuple(found)

    async def surrender(self, core: LimiterCore, recall: Recall) -> None:
        """Returns what is recalled at once."""
        self.recalled.append(recall)
        if self.answers:
            returns = self.give_up(recall.counters, recall.ahead)
            await core.give_back(ReturnRequest(holder=self.name, returns=returns))


class Site:
    """One store, one limiter at a time, and links of which each has some holders."""

    def __init__(self, *, patience: float = 1.0, store: Any = None, **options: Any) -> None:
        self.clock, self.store = HandClock(), MemoryStore() if store is None else store
        self._options = {"patience": patience, **options}
        self._names = itertools.count(1)
        self.over = 0
        self.core: LimiterCore = None  # type: ignore[assignment]  # there is one from `start` on
        self._links: dict[str, asyncio.Task[None]] = {}
        self._members: dict[str, dict[str, Holder]] = {}

    async def start(self) -> None:
        """Another incarnation; the links turn to it."""
        self.core = LimiterCore(
            self.store,
            clock=self.clock,
            incarnation=f"i{next(self._names)}",
            uniform=random.uniform,
            on_end=self._ended,
            **self._options,
        )
        await self.core.open()
        for name in list(self._links):
            await self.attach(name)

    def _ended(self) -> None:
        self.over += 1

    async def close(self) -> None:
        """Everything."""
        await stop(*self._links.values())
        await self.core.close()

    async def attach(self, link: str, *holders: Holder) -> None:
        """A link names those it named before and these, from now on."""
        members = self._members.setdefault(link, {})
        members.update({one.name: one for one in holders})
        await self._ask_anew(link)

    async def detach(self, link: str, *holders: Holder) -> None:
        """A link no longer names these."""
        for one in holders:
            self._members[link].pop(one.name, None)
        await self._ask_anew(link)

    async def silence(self, link: str) -> None:
        """It asks nothing any more."""
        await stop(self._links.pop(link))

    async def _ask_anew(self, link: str) -> None:
        if link in self._links:
            await stop(self._links[link])
        self._links[link] = spawn(link, self._follow(link, self.core))
        await asyncio.sleep(0)  # its question is with the limiter when this returns

    async def _follow(self, link: str, core: LimiterCore) -> None:
        after, members = 0, self._members[link]
        while True:
            try:
                asked = RecallRequest(link=link, holders=tuple(members), after=after)
                answer = await core.recalls(asked)
                after = answer.number
                for name, recall in answer.recalls.items():
                    if name in members:
                        await members[name].surrender(core, recall)
            except PeerUnavailable:
                return
            except ExeatError:
                await asyncio.sleep(0)


@asynccontextmanager
async def site(*, patience: float = 1.0, **options: Any) -> AsyncIterator[Site]:
    """A site with a limiter, closed at the end."""
    found = Site(patience=patience, **options)
    await found.start()
    try:
        yield found
    finally:
        await found.close()


async def drain(place: Site, holder: Holder, maxima: Mapping[Name, int]) -> int:
    """How many calls a holder that uses all it gets can make."""
    made = 0
    while await holder.call(place.core, maxima, 10**6):
        made += 1
    return made
