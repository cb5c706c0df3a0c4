"""Link server and real clients on a real socket: updates to everybody, calls and commands to the right one."""

from __future__ import annotations

import asyncio

import pytest

from models.errors import LinkUnavailable, Refused
from models.planes.frames import (
    PROTOCOL,
    Call,
    Run,
    Update,
    Welcome,
    encode,
)
from tests.actors.link.site import Site
from tests.kit.link import until


async def test_two_workers_get_every_update_in_order(site: Site) -> None:
    """Each verifies every step for itself and ends where the link is."""
    first, second = await site.worker(0), await site.worker(1)
    for revision in range(1, 41):
        site.publish(site.region.change(revision, **{f"t{revision % 7}": str(revision)}))
        await asyncio.sleep(0)
    await until(lambda: first.revision == second.revision == 40)
    for one in (first, second):
        assert one.revisions == list(range(1, 41))
        assert one.state.documents == site.region.state.documents
    assert [update.delta.base for update in first.updates if update.delta] == list(range(40))
    await until(lambda: site.server.workers == ((0, 40), (1, 40)))


async def test_a_new_worker_gets_what_it_misses_at_once(site: Site) -> None:
    """Everything for one that has nothing, the manifest alone for one that is up to date."""
    site.publish(site.region.change(3, a="1", b="1"))
    site.publish(site.region.change(6, b="2"))
    whole = await site.worker(0)
    await until(lambda: whole.updates)
    assert whole.updates[0].delta is not None
    assert (whole.updates[0].delta.base, len(whole.updates[0].delta.upserts)) == (0, 2)
    current = await site.raw()
    current.hello(index=1, revision=6)
    await until(lambda: len(site.server.workers) == 2)
    site.server.close()
    welcome, update = await current.rest()
    assert welcome == Welcome(PROTOCOL)
    assert update == Update(None, None, site.region.state.signed)


async def test_a_worker_from_a_snapshot_gets_the_difference(site: Site) -> None:
    """From the revision in its hello, when the link has seen that."""
    site.publish(site.region.change(3, a="1", b="1"))
    site.publish(site.region.change(6, b="2"))
    raw = await site.raw()
    raw.hello(revision=3)
    await until(lambda: site.server.workers)
    site.server.close()
    _, update = await raw.rest()
    assert isinstance(update, Update)
    assert update.delta is not None
    assert (update.delta.base, [one.id for one in update.delta.upserts]) == (3, ["b"])


async def test_calls_of_many_workers_come_back_to_the_right_ones(site: Site) -> None:
    """Concurrent calls of several workers, each with its own numbers."""
    workers = [await site.worker(index) for index in range(4)]
    asked = [(one, f"{index}-{number}".encode()) for index, one in enumerate(workers) for number in range(50)]
    answers = await asyncio.gather(*(one.client.call("vault", "grant", text, 5.0) for one, text in asked))
    assert answers == [text[::-1] for _, text in asked]


async def test_refused_and_unavailable_reach_the_caller(site: Site) -> None:
    """Each as its own error."""
    one = await site.worker(0)
    with pytest.raises(Refused):
        await one.client.call("vault", "grant", b"refuse", 5.0)
    with pytest.raises(Refused):
        await one.client.call("vault", "obey", b"", 5.0)
    site.actors.away = True
    with pytest.raises(LinkUnavailable):
        await one.client.call("vault", "grant", b"", 5.0)


async def test_commands_go_to_one_worker_in_turn_and_results_come_back(site: Site) -> None:
    """Each command runs once; without a worker it is dropped."""
    _, signed = site.region.command("c")
    assert site.server.run_command(signed) is False
    first, second = await site.worker(0), await site.worker(1)
    assert all(site.server.run_command(signed) for _ in range(4))
    await until(lambda: len(first.runs) == len(second.runs) == 2)
    assert first.runs[0] == Run(signed)
    first.client.done(b"result")
    await until(lambda: site.done)
    assert site.done == [b"result"]


async def test_a_keeper_delivers_records_and_is_nobody_else(site: Site) -> None:
    """It is no worker, hears of no policy and no command; its large batches go to the recorder and nowhere else."""
    keeper, worker = await site.keeper(), await site.worker(1)
    site.publish(site.region.change(1, a="1"))
    await until(lambda: site.server.workers == ((1, 1),))
    _, signed = site.region.command("c")
    assert all(site.server.run_command(signed) for _ in range(3))
    await until(lambda: len(worker.runs) == 3)
    batch = bytes(900_000)
    assert (await keeper.call("recorder", "take", batch, 5.0)).endswith(b".take(30) " + batch)
    for role, method in (("vault", "grant"), ("limiter", "reserve"), ("recorder", "ready")):
        with pytest.raises(Refused):
            await keeper.call(role, method, b"", 5.0)
    with pytest.raises(Refused):
        await worker.client.call("recorder", "take", b"", 5.0)
    assert site.actors.grants == 0


async def test_calls_of_a_worker_that_leaves_are_forgotten(site: Site) -> None:
    """Nothing waits for an answer that nobody reads."""
    raw = await site.raw()
    raw.hello()
    raw.writer.write(encode(Call(1, "vault", "grant", b"")))
    site.actors.hold.clear()
    await until(lambda: site.actors.grants)
    (one,) = site.server._all
    raw.close()
    await until(lambda: not one._calls)
    assert site.server.workers == ()


async def test_of_two_workers_with_one_index_both_must_enforce(site: Site) -> None:
    """A worker being replaced and its successor count as one, at what both have."""
    for revision in (7, 5):
        raw = await site.raw()
        raw.hello(index=2, revision=revision)
    await until(lambda: len(site.server._all) == 2 and site.progress >= 2)
    assert site.server.workers == ((2, 5),)
