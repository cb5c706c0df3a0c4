"""The ledger with a store that fails, keys that are used again, and an audit list that misses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from control_api.layout import LAYOUT, MIGRATIONS
from control_api.ledger.change import CHANGES, Draft, Item, Replay
from control_api.ledger.ledger import Ledger, rebuild
from control_api.ledger.projection import REPLAY_MS, Projection, differences
from models.errors import Conflict, NotJson, StoreError, StoreUnavailable, Unavailable
from store.interface import ANY, Collection
from store.sqlite import SqliteStore
from tests.kit.plane import CLIENT, SIGNER, HandClock, Plane, plane, target


class FaultyStore(SqliteStore):
    """A store that goes away around one insert into the log. when: `before` or `after` it is done."""

    when = ""
    away = False

    async def put(
        self, collection: Collection, document_id: str, document: Mapping[str, Any], *, expected: int = ANY
    ) -> int:
        fault = self.when if collection is CHANGES else ""
        if fault == "before":
            raise StoreUnavailable("gone before")
        version = await super().put(collection, document_id, document, expected=expected)
        if fault == "after":
            raise StoreUnavailable("gone after")
        return version

    async def get(self, collection: Collection, document_id: str) -> Any:
        if self.away:
            raise StoreUnavailable("gone")
        return await super().get(collection, document_id)


def drafting(*items: Item) -> Any:
    """A `decide` that always wants the same."""
    return lambda _projection, _revision, _now: Draft(action="create", client_id=CLIENT, items=items)


async def faulty(place: Path) -> tuple[FaultyStore, Ledger]:
    """A ledger over a store that can fail."""
    store = FaultyStore(place, LAYOUT, migrations=MIGRATIONS)
    await store.open()
    ledger = Ledger(store, SIGNER, HandClock())
    await ledger.open()
    return store, ledger


async def test_a_write_whose_outcome_is_unknown_is_looked_up(tmp_path: Path) -> None:
    """The store failed after it had written: the write is there, and is answered as such, once."""
    store, ledger = await faulty(tmp_path / "control.db")
    store.when = "after"
    written = await ledger.write(drafting(target("tgt_a")), actor="usr_1")
    assert written.revision == ledger.projection.revision == 1
    await ledger.close()
    assert (await rebuild(store)).revision == 1
    await store.close()


async def test_a_write_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """The store failed before it wrote anything: 503, and nothing of it in log or projection."""
    store, ledger = await faulty(tmp_path / "control.db")
    store.when = "before"
    with pytest.raises(Unavailable):
        await ledger.write(drafting(target("tgt_a")), actor="usr_1")
    assert ledger.projection.revision == 0
    store.when = ""
    await ledger.write(drafting(target("tgt_a")), actor="usr_1")
    assert ledger.projection.revision == 1
    await ledger.close()
    await store.close()


async def test_a_write_that_cannot_be_looked_up_is_not_doubled(tmp_path: Path) -> None:
    """503 for now; asked again with the same key, it turns out to have been done."""
    store, ledger = await faulty(tmp_path / "control.db")
    store.when, store.away = "after", True
    replay = Replay("tok_1", "key", "digest", 201, "target", "tgt_a")
    with pytest.raises(Unavailable):
        await ledger.write(drafting(target("tgt_a")), actor="usr_1", replay=replay)
    store.when, store.away = "", False
    again = Replay("tok_1", "key", "digest", 201, "target", "tgt_b")
    written = await ledger.write(drafting(target("tgt_b")), actor="usr_1", replay=again)
    assert (written.replayed, written.revision) == (True, 1)
    assert [one.id for one in ledger.projection.list("target")] == ["tgt_a"]
    await ledger.close()
    await store.close()


async def test_a_refusal_of_decide_writes_nothing(tmp_path: Path) -> None:
    """What `decide` raises comes out, and the log stays as it is."""

    def refuse(_projection: Projection, _revision: int, _now_ms: int) -> Draft:
        raise Conflict("no")

    async with plane(tmp_path / "control.db") as here:
        with pytest.raises(Conflict):
            await here.ledger.write(refuse, actor="usr_1")
        assert here.ledger.projection.revision == 0


async def test_an_idempotency_key_is_kept_for_a_day(tmp_path: Path) -> None:
    """The same request is answered with its first write, another one is a conflict, a day later it is new."""
    clock = HandClock()
    first = Replay("tok_1", "key", "digest", 201, "target", "tgt_a")
    async with plane(tmp_path / "control.db", clock=clock) as here:
        await here.ledger.write(drafting(target("tgt_a")), actor="usr_1", replay=first)
        other = Replay("tok_1", "key", "another", 201, "target", "tgt_b")
        with pytest.raises(Conflict):
            await here.ledger.write(drafting(target("tgt_b")), actor="usr_1", replay=other)
        await here.ledger.write(
            drafting(target("tgt_b")),
            actor="usr_1",
            replay=Replay("tok_2", "key", "digest", 201, "target", "tgt_b"),
        )
    clock.ms += REPLAY_MS - 1
    async with plane(tmp_path / "control.db", clock=clock) as here:
        again = await here.ledger.write(drafting(target("tgt_c")), actor="usr_1", replay=first)
        assert (again.replayed, again.revision, again.change.items[0].id) == (True, 1, "tgt_a")
        clock.ms += 1
        late = Replay("tok_1", "key", "digest", 201, "target", "tgt_c")
        fresh = await here.ledger.write(drafting(target("tgt_c")), actor="usr_1", replay=late)
        assert (fresh.replayed, fresh.revision) == (False, 3)


async def test_time_in_the_log_never_goes_back(tmp_path: Path) -> None:
    """A clock that is set back does not make a later change older."""
    clock = HandClock()
    async with plane(tmp_path / "control.db", clock=clock) as here:
        first = await here.write("create", target("tgt_a"))
        clock.ms -= 10_000
        second = await here.write("create", target("tgt_b"))
        assert second.change.at_ms == first.change.at_ms


async def written_history(here: Plane, clock: HandClock) -> None:
    """Ten changes of one client, one each second, between those of another."""
    for number in range(10):
        clock.ms += 1000
        name = f"tgt_{number % 2}"
        await here.ledger.write(drafting(target(name, targetTimeoutMs=number + 1)), actor=f"usr_{number % 5}")
        await here.write(
            "create", Item("client", f"cli_{number}", f"cli_{number}", after={}), client_id="cli_o"
        )


async def test_history_is_filtered_and_goes_on(tmp_path: Path) -> None:
    """Newest first, by client, resource, actor and time; a cursor leads through all of it once."""
    clock = HandClock()
    start = clock.ms
    async with plane(tmp_path / "control.db", clock=clock) as here:
        await written_history(here, clock)
        everything, cursor = await here.ledger.history(CLIENT)
        assert cursor is None
        assert [change.at_ms for change, _ in everything] == [start + 1000 * n for n in range(10, 0, -1)]

        by_actor, _ = await here.ledger.history(CLIENT, actor="usr_3")
        assert [change.actor for change, _ in by_actor] == ["usr_3", "usr_3"]
        by_resource, _ = await here.ledger.history(CLIENT, resource_id="tgt_1")
        assert len(by_resource) == 5
        before, after = start + 8000, start + 3000
        by_time, cursor = await here.ledger.history(CLIENT, after_ms=after, before_ms=before)
        assert [change.at_ms - start for change, _ in by_time] == [7000, 6000, 5000, 4000]
        assert cursor is None

        pages, cursor = [], None
        while True:
            page, cursor = await here.ledger.history(CLIENT, resource_id="tgt_0", cursor=cursor, limit=2)
            pages.append([change.revision for change, _ in page])
            if cursor is None:
                break
        found = [revision for page in pages for revision in page]
        assert [len(page) for page in pages] == [2, 2, 1]
        assert found == [entry.change.revision for entry in everything if entry.item.id == "tgt_0"]


@pytest.mark.parametrize(
    "cursor", ["x", "-1", "", "1", "1-", "1" * 30 + "-0", "\N{ARABIC-INDIC DIGIT ONE}-0"]
)
async def test_a_cursor_that_is_none_of_ours_is_refused(cursor: str, tmp_path: Path) -> None:
    """400 for it, not a page from anywhere."""
    async with plane(tmp_path / "control.db") as here:
        with pytest.raises(NotJson):
            await here.ledger.history(CLIENT, cursor=cursor)


async def test_a_hole_in_the_log_is_refused_at_start(tmp_path: Path) -> None:
    """A log that lost an entry is not followed past it."""
    async with plane(tmp_path / "control.db") as here:
        for number in range(3):
            await here.write("create", target(f"tgt_{number}"))
    store = SqliteStore(tmp_path / "control.db", LAYOUT, migrations=MIGRATIONS)
    await store.open()
    await store.delete(CHANGES, f"{2:020d}")
    with pytest.raises(StoreError, match="hole"):
        await rebuild(store)
    await store.close()


async def test_propagation_waits_for_every_region(tmp_path: Path) -> None:
    """True as soon as the last of them acknowledged, False when the time is over, True at once for none."""
    async with plane(tmp_path / "control.db") as here:
        ledger = here.ledger
        assert await ledger.propagated(5, ())
        assert not await ledger.propagated(5, ("us", "eu"), 0.01)
        ledger.regions.acknowledge("us", 7)
        waiting = asyncio.ensure_future(ledger.propagated(5, ("us", "eu"), 5.0))
        await asyncio.sleep(0)
        ledger.regions.acknowledge("eu", 5)
        assert await waiting


async def test_an_acknowledgement_at_another_process_counts(tmp_path: Path) -> None:
    """It is stored, and looked up by whoever waits for it; it never goes back."""
    async with plane(tmp_path / "control.db") as one, plane(tmp_path / "control.db") as other:
        waiting = asyncio.ensure_future(other.ledger.propagated(5, ("us",), 5.0))
        one.ledger.regions.acknowledge("us", 5)
        one.ledger.keep_soon()
        assert await waiting
        other.ledger.regions.acknowledge("us", 3)
        assert other.ledger.acknowledged("us") == 5


async def test_what_is_kept_equals_what_the_log_gives(tmp_path: Path) -> None:
    """Two processes keep one projection between them; it ends where the log does."""
    async with plane(tmp_path / "control.db") as one, plane(tmp_path / "control.db") as other:
        for number in range(20):
            await (one if number % 3 else other).write("create", target(f"tgt_{number % 7}"))
        await one.write("delete", Item("target", "tgt_3", CLIENT))
        await other.write("delete", Item("target", "tgt_4", CLIENT))
    async with plane(tmp_path / "control.db") as here:
        assert differences(here.ledger.projection, await rebuild(here.store)) == []
        assert {one.id for one in here.ledger.projection.list("target")} == {
            f"tgt_{n}" for n in (0, 1, 2, 5, 6)
        }
