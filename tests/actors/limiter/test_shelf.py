"""Accounts between store and memory: loaded once, written together, ended by the first write that fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from actors.limiter.account import Account
from actors.limiter.ceilings import CEILINGS, Entry
from actors.limiter.counters import Kept, Promise
from actors.limiter.shelf import Shelf
from actors.tasks import spawn, stop
from models.errors import PeerUnavailable
from models.planes.permits import Want
from tests.kit.limiter import MINUTE, NOON_MS, MemoryStore
from tests.kit.link import until

WANT = Want("p", *MINUTE, 100, 1, 1)


class Bench:
    """A shelf over a store that can fail."""

    def __init__(self) -> None:
        self.store, self.over = MemoryStore(), 0
        self.shelf = Shelf(self.store, self._ended)

    def _ended(self) -> None:
        self.over += 1

    def lend(self, account: Account, calls: int) -> Promise:
        """Grants calls of this minute."""
        counter = account.counter(WANT, 0)
        counter.roll(NOON_MS)
        counter.adopt(100, 1)
        counter.running.lend("h", counter.running.granted, calls)
        return counter.promise(counter.running, lent=True)

    def kept(self) -> Kept:
        """The one ceiling there is."""
        [row] = self.store.documents[CEILINGS.name, "p"].document["counters"]
        return Kept(*row[2:])


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """An open one."""
    found = Bench()
    await found.shelf.open()
    yield found
    await found.shelf.close()


async def test_all_who_use_a_proxy_use_the_same_account(bench: Bench) -> None:
    """Also when they come while it is being loaded."""
    found: list[Account] = []

    async def use() -> None:
        async with bench.shelf.using("p") as account:
            found.append(account)

    await asyncio.gather(*(use() for _ in range(5)))
    assert len(set(map(id, found))) == 1
    assert found[0].users == 0


async def test_one_write_serves_all_who_wait_and_what_is_kept_needs_none(bench: Bench) -> None:
    """Ceilings are ahead of what is granted."""
    async with bench.shelf.using("p") as account:
        promises = [bench.lend(account, 1) for _ in range(10)]
        await asyncio.gather(*(bench.shelf.keep(account, [one]) for one in promises))
        assert bench.store.writes == 1
        await bench.shelf.keep(account, [bench.lend(account, 5)])
        assert bench.store.writes == 1
        await bench.shelf.keep(account, [bench.lend(account, 1)])
    assert bench.store.writes == 2
    assert bench.kept().ceiling == 21


async def test_what_is_granted_during_a_write_waits_for_the_next(bench: Bench) -> None:
    """The first write cannot cover it."""
    bench.store.hold = asyncio.Event()
    async with bench.shelf.using("p") as account:
        first = spawn("first", bench.shelf.keep(account, [bench.lend(account, 1)]))
        await until(lambda: bench.store.writes)
        second = spawn("second", bench.shelf.keep(account, [bench.lend(account, 50)]))
        bench.store.hold.set()
        await first
        await second
        assert bench.store.writes == 2
        assert bench.kept().ceiling == 56


async def test_what_comes_back_during_a_write_need_not_be_covered(bench: Bench) -> None:
    """Only what is out when the answer leaves; else the answer would wait for a ceiling that nobody needs."""
    bench.store.hold = asyncio.Event()
    async with bench.shelf.using("p") as account:
        first = spawn("first", bench.shelf.keep(account, [bench.lend(account, 1)]))
        await until(lambda: bench.store.writes)
        bench.lend(account, 50)
        second = spawn("second", bench.shelf.keep(account, [bench.lend(account, 2)]))
        assert account.counters[MINUTE].end("h", 1, 50)
        bench.store.hold.set()
        await first
        await second
        assert account.counters[MINUTE].running.granted == 3
        assert bench.store.writes == 1


async def test_a_caller_that_leaves_does_not_stop_the_write(bench: Bench) -> None:
    """Others wait for it, and its outcome must be known."""
    bench.store.hold = asyncio.Event()
    async with bench.shelf.using("p") as account:
        promise = bench.lend(account, 1)
        first = spawn("first", bench.shelf.keep(account, [promise]))
        second = spawn("second", bench.shelf.keep(account, [promise]))
        await until(lambda: bench.store.writes)
        await stop(first)
        bench.store.hold.set()
        await second
    assert promise.kept
    assert not bench.over


@pytest.mark.parametrize("fault", ["before", "after"])
async def test_a_write_that_fails_ends_everything_once(bench: Bench, fault: str) -> None:
    """For all who wait and all who come; whether it was carried out is not known, so nothing more is written."""
    bench.store.fault = fault
    async with bench.shelf.using("p") as account:
        promise = bench.lend(account, 1)
        said = await asyncio.gather(
            *(bench.shelf.keep(account, [promise]) for _ in range(3)), return_exceptions=True
        )
        assert [type(one) for one in said] == [PeerUnavailable] * 3
        with pytest.raises(PeerUnavailable):
            await bench.shelf.keep(account, [promise])
    assert (bench.over, bench.store.writes) == (1, 1)
    with pytest.raises(PeerUnavailable):
        bench.shelf.check()


async def test_a_ceiling_that_another_wrote_ends_it_as_well(bench: Bench) -> None:
    """Of two incarnations one goes on."""
    other = Bench()
    other.store = bench.store
    other.shelf = Shelf(bench.store, other._ended)
    async with bench.shelf.using("p") as account, other.shelf.using("p") as second:
        await bench.shelf.keep(account, [bench.lend(account, 1)])
        with pytest.raises(PeerUnavailable):
            await other.shelf.keep(second, [other.lend(second, 1)])
    assert (bench.over, other.over) == (0, 1)


async def test_a_store_that_cannot_be_read_ends_nothing(bench: Bench) -> None:
    """The next one to ask may find it again."""
    bench.store.away = True
    with pytest.raises(PeerUnavailable):
        async with bench.shelf.using("p"):
            pass
    bench.store.away = False
    async with bench.shelf.using("p"):
        pass
    assert not bench.over


async def test_only_what_is_idle_is_let_go_and_only_what_is_not_in_memory_deleted(bench: Bench) -> None:
    """An account in use stays whatever the clock says; what is let go can be loaded again."""
    later = NOON_MS + 2 * 3_600_000
    async with bench.shelf.using("p") as account:
        await bench.shelf.keep(account, [bench.lend(account, 1)])
        assert bench.shelf.let_go(later) == []
        await bench.shelf.delete(later, lambda _: True)
    assert bench.shelf.let_go(NOON_MS) == []
    await bench.shelf.delete(later, lambda _: True)
    assert bench.store.ids(CEILINGS) == ["p"]
    assert bench.shelf.let_go(later) == [account]
    await bench.shelf.delete(later, lambda _: False)  # another shard's
    assert bench.store.ids(CEILINGS) == ["p"]
    await bench.shelf.delete(later, lambda _: True)
    assert bench.store.ids(CEILINGS) == []
    assert bench.shelf.first(60) == NOON_MS // 60_000 + 1
    async with bench.shelf.using("p") as fresh:
        assert fresh.counters == {}


async def test_many_proxies_are_gone_through_part_by_part(bench: Bench) -> None:
    """One sweep looks at so many; the next goes on, and after the last it begins again."""
    for number in range(450):
        entry = {"counters": [[*MINUTE, number, 1, 1, 1]]}
        await bench.store.put(CEILINGS, f"p{number:03}", entry)
    left = []
    for _ in range(4):
        await bench.shelf.delete(NOON_MS, lambda key: key != "p000")
        left.append(len(bench.store.ids(CEILINGS)))
    assert left == [251, 51, 1, 1]
    assert bench.shelf._swept is None


def test_an_account_is_what_the_store_has() -> None:
    """Under its version, all of it spent."""
    account = Account(Entry("p", 3, {MINUTE: Kept(7, 40, 100, 2)}))
    assert (account.key, account.version, len(account.counters)) == ("p", 3, 1)
    assert (account.counters[MINUTE].running.number, account.counters[MINUTE].available()) == (7, 60)
