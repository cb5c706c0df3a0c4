"""Leases of one worker: had once for all who wait, never used past their end, renewed, dropped; the clock is the test's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import CredentialUnavailable, LinkUnavailable, Refused
from proxy_edge import leases as subject
from tests.kit.edge_region import until
from tests.kit.leases import SECOND, Table, decided, key, wanted


async def turn(times: int = 6) -> None:
    """Lets tasks that wait for nothing run."""
    for _ in range(times):
        await asyncio.sleep(0)


async def test_first_use_waits_and_the_next_finds_it() -> None:
    """There is none until it was asked for; then it is found without asking."""
    table = Table()
    assert table.leases.get(key()) is None
    found = await table.had()
    assert found is not None
    assert found.header_line == b"a: secret-of-sender\r\n"
    assert table.leases.get(key()) is found
    assert (table.vault.asked, len(table.leases), table.leases.failures) == ([["sender"]], 1, 0)
    assert "secret" not in repr(table.leases)


async def test_all_who_wait_share_one_question() -> None:
    """Any number for one key, and all keys that are wanted in one turn of the loop."""
    one, two, three = key("one"), key("two"), key("one", "else.test")
    table = Table(one, two, three)
    waits = [table.leases.want(of) for of in (one, two, one, three, two)]
    await decided(*waits)
    assert table.vault.asked == [["one", "two", "one"]]
    assert all(wait.ready for wait in waits)


async def test_who_comes_while_it_is_asked_joins() -> None:
    """No second question is under way for a key."""
    table = Table()
    table.vault.open.clear()
    first = table.leases.want(key())
    await turn()
    second = table.leases.want(key())
    await turn()
    table.vault.open.set()
    await decided(first, second)
    assert table.vault.asked == [["sender"]]


async def test_many_keys_go_in_bounded_questions() -> None:
    """A capability never wants more than the vault takes."""
    keys = [key(f"c{number}") for number in range(300)]
    table = Table(*keys)
    await decided(*[table.leases.want(of) for of in keys])
    assert [len(asked) for asked in table.vault.asked] == [128, 128, 44]


@given(
    life=st.integers(1, 60_000),
    moves=st.lists(st.integers(0, 20_000), max_size=12),
)
async def test_no_lease_is_used_after_its_end(life: int, moves: list[int]) -> None:
    """Whatever the clock does and nobody looks after it: from its end on it is not there."""
    table = Table()
    table.vault.life = life / 1000
    await table.had()
    start = table.clock.ns
    for move in moves:
        table.clock.ns += move * 1_000_000
        alive = table.clock.ns < start + life * 1_000_000
        assert (table.leases.get(key()) is not None) is alive


async def test_life_counts_from_sending() -> None:
    """What the answer took is not added to the lease."""
    table = Table()
    table.vault.open.clear()
    wait = table.leases.want(key())
    await turn()
    table.clock.ns += 59 * SECOND
    table.vault.open.set()
    await decided(wait)
    assert table.leases.get(key()) is not None
    table.clock.ns += 1 * SECOND
    assert table.leases.get(key()) is None


async def test_renewed_at_half_life_while_used() -> None:
    """Not before; not when nobody used it for minutes; and the lines made of one version stay the same object."""
    table = Table()
    first = await table.had()
    table.clock.ns += 29 * SECOND
    table.leases._sweep()
    await turn()
    assert len(table.vault.asked) == 1
    table.clock.ns += 1 * SECOND
    table.leases._sweep()
    await turn()
    assert len(table.vault.asked) == 2
    table.clock.ns += 29 * SECOND
    assert table.leases.get(key()) is first
    for _ in range(20):  # nobody uses it any more
        table.clock.ns += 25 * SECOND
        table.leases._sweep()
        await turn()
    asked = len(table.vault.asked)
    assert 5 < asked < 12
    assert len(table.leases) == 0


async def test_vault_away_is_asked_every_second_while_the_lease_serves() -> None:
    """It serves to its end, is gone then, and each attempt that failed is counted."""
    table = Table()
    await table.had()
    table.vault.fail = LinkUnavailable("away")
    table.clock.ns += 30 * SECOND
    for second in range(30):
        table.leases._sweep()
        await turn()
        assert table.leases.get(key()) is not None, second
        table.clock.ns += SECOND
    assert table.leases.get(key()) is None
    assert (len(table.vault.asked), table.leases.failures) == (31, 30)
    table.vault.fail = None
    assert await table.had() is not None


async def test_who_waits_is_served_when_the_vault_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The question is asked again while somebody waits."""
    monkeypatch.setattr(subject, "AGAIN_SECONDS", 0.001)
    table = Table()
    table.vault.fail = LinkUnavailable("away")
    wait = table.leases.want(key())
    await until(lambda: len(table.vault.asked) > 3)
    table.vault.fail = None
    await decided(wait)
    assert wait.ready


async def test_waits_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each after its own time, as unavailable; then nobody asks any more, and the next one is asked for anew."""
    monkeypatch.setattr(subject, "AGAIN_SECONDS", 0.001)
    table = Table(wait_seconds=0.02)
    table.vault.fail = LinkUnavailable("away")
    wait = table.leases.want(key())
    await decided(wait)
    assert isinstance(wait.refusal, CredentialUnavailable)
    assert table.leases.failures == 1
    await until(lambda: not table.leases._asking)
    asked = len(table.vault.asked)
    table.vault.fail = None
    assert await table.had() is not None
    assert len(table.vault.asked) == asked + 1


async def test_refusal_fails_at_once_and_is_remembered_for_a_second() -> None:
    """Who waits is told, who comes within a second is not asked for, who comes later is."""
    table = Table()
    table.vault.denied["sender"] = "wrong-client"
    wait = table.leases.want(key())
    await decided(wait)
    assert isinstance(wait.refusal, CredentialUnavailable)
    with pytest.raises(CredentialUnavailable):
        table.leases.want(key())
    assert len(table.vault.asked) == 1
    table.clock.ns += SECOND
    del table.vault.denied["sender"]
    assert await table.had() is not None


@pytest.mark.parametrize(
    ("reason", "serves"), [("revoked", False), ("expired", False), ("unknown", True), ("damaged", True)]
)
async def test_refused_renewal(reason: str, *, serves: bool) -> None:
    """What is for ever ends the lease; what a vault may mend lets it live."""
    table = Table()
    await table.had()
    table.vault.denied["sender"] = reason
    table.clock.ns += 31 * SECOND
    table.leases._sweep()
    await turn()
    assert (table.leases.get(key()) is not None) is serves


async def test_host_that_is_refused_fails_at_once() -> None:
    """A capability refused whole is no reason to drop what lives."""
    one, two = key("one"), key("two")
    table = Table(one, two)
    await table.had(one)
    table.vault.fail = Refused("vault.grant")
    wait = table.leases.want(two)
    await decided(wait)
    assert isinstance(wait.refusal, CredentialUnavailable)
    table.clock.ns += 31 * SECOND
    table.leases._sweep()
    await turn()
    assert table.leases.get(one) is not None


async def test_revocation_drops_the_lease_and_tells_who_waits() -> None:
    """At once; a lease that is on its way is not taken; no new one is asked for."""
    one, two = key("one"), key("two")
    table = Table(one, two)
    await table.had(one)
    table.vault.open.clear()
    wait = table.leases.want(two)
    await turn()
    called: list[int] = []
    wait.on_ready(lambda: called.append(1))
    table.leases.revoke(frozenset({"one", "two"}))
    assert table.leases.get(one) is None
    assert called == []  # not from inside: the policy it will be judged by is not in force yet
    await turn()
    assert called == [1]
    table.vault.open.set()
    await turn()
    assert table.leases.get(two) is None
    for of in (one, two):
        with pytest.raises(CredentialUnavailable):
            table.leases.want(of)
    table.govern()  # whatever a policy says later
    with pytest.raises(CredentialUnavailable):
        table.leases.want(one)


async def test_policy_decides_what_may_be_leased() -> None:
    """What is no longer wanted is dropped, what needs no lease is there, names are known without one."""
    old, new, free = key("old"), key("new"), key("free")
    table = Table(old)
    with pytest.raises(CredentialUnavailable):
        table.leases.want(new)
    await table.had(old)
    table.vault.open.clear()
    table.keys = (new,)
    table.govern(free=frozenset({free}), names={"new": frozenset({b"k"})})
    assert table.leases.get(old) is None
    nothing = table.leases.get(free)
    assert nothing is not None
    assert (nothing.header_line, nothing.query) == (b"", b"")
    assert (table.leases.query_names(new), table.leases.query_names(free)) == ({b"k"}, frozenset())
    wait = table.leases.want(new)
    table.keys = ()
    table.govern()
    await decided(wait)
    assert wait.refusal is not None
    assert table.leases.get(free) is None


async def test_new_version_is_leased_at_once() -> None:
    """One in use serves until the new one is there; one that nobody uses is dropped; none goes back."""
    used, idle = key("used"), key("idle")
    table = Table(used, idle)
    first = await table.had(used)
    keeping = asyncio.ensure_future(table.leases.keep())
    await turn()
    table.vault.versions["used"] = 2
    table.govern(versions={"used": 2})
    assert table.leases.get(used) is first
    await until(lambda: table.leases.get(used) not in {first, None})
    second = table.leases.get(used)
    keeping.cancel()

    table.vault.versions["used"] = 1
    table.clock.ns += 31 * SECOND
    failures = table.leases.failures
    table.leases._sweep()
    await turn()
    assert (table.leases.get(used), table.leases.failures) == (second, failures + 1)

    table.vault.life = 1e6
    table.vault.versions["used"] = 2
    await table.had(idle)
    table.clock.ns += int(subject.USED_SECONDS * SECOND)
    table.govern(versions={"idle": 2})
    assert table.leases.get(idle) is None


async def test_who_waits_behind_a_renewal_that_fails_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their lease ran out while it was renewed; the renewal fails; they still get theirs."""
    monkeypatch.setattr(subject, "AGAIN_SECONDS", 0.001)
    table = Table()
    await table.had()
    table.clock.ns += 31 * SECOND
    table.vault.open.clear()
    table.vault.fail = LinkUnavailable("away")
    table.leases._sweep()
    await turn()
    table.clock.ns += 31 * SECOND
    wait = table.leases.want(key())
    table.vault.open.set()
    await until(lambda: len(table.vault.asked) > 2)
    table.vault.fail = None
    await decided(wait)
    assert wait.ready


async def test_lease_for_one_use_is_not_kept() -> None:
    """It has a question of its own; a refusal, an absence and a revocation are all unavailable."""
    table = Table()
    assert (await table.leases.once(wanted(key()))).header_line.startswith(b"a: ")
    assert len(table.leases) == 0
    for prepare in failures(table):
        prepare()
        with pytest.raises(CredentialUnavailable):
            await table.leases.once(wanted(key()))


def failures(table: Table) -> list[Callable[[], object]]:
    return [
        lambda: table.vault.denied.update(sender="unknown"),
        lambda: setattr(table.vault, "fail", LinkUnavailable("away")),
        lambda: setattr(table.vault, "fail", Refused("no")),
        lambda: table.leases.revoke(frozenset({"sender"})),
    ]
