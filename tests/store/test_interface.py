"""The contract of store/interface.py, which every adapter passes: versions, order, cursors, concurrency."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from models.errors import StoreUnavailable, VersionConflict
from store.interface import (
    ABSENT,
    ANY,
    Collection,
    Page,
    Store,
    Stored,
    Stream,
    StreamEntry,
    StreamPage,
    Write,
)
from tests.kit.stores import EVENTS, OTHERS, THINGS, StoreKit, opened, writer


async def every(store: Store, collection: Collection, **question: Any) -> list[Stored]:
    """A whole list, page by page."""
    found: list[Stored] = []
    page = Page(())
    while True:
        page = await store.list(collection, cursor=page.cursor, **question)
        found += page.items
        if page.cursor is None:
            return found


async def every_entry(store: Store, stream: Stream, **question: Any) -> list[StreamEntry]:
    """A whole scan, page by page."""
    found: list[StreamEntry] = []
    page = StreamPage(())
    while True:
        page = await store.scan(stream, cursor=page.cursor, **question)
        found += page.entries
        if page.cursor is None:
            return found


def ids(found: list[Stored] | list[StreamEntry]) -> list[str]:
    """What was found, by id."""
    return [item.id for item in found]


async def test_versions_count_writes(store: Store) -> None:
    """A document begins at version 1 and has one more with every write, whatever was expected."""
    assert await store.get(THINGS, "a") is None
    assert await store.put(THINGS, "a", {"n": 1}, expected=ABSENT) == 1
    assert await store.put(THINGS, "a", {"n": 2}, expected=1) == 2
    assert await store.put(THINGS, "a", {"n": 3}) == 3
    assert await store.get(THINGS, "a") == Stored("a", 3, {"n": 3})
    assert await store.get(OTHERS, "a") is None


async def test_a_put_replaces_the_whole_document(store: Store) -> None:
    """Fields that a new document leaves out are gone, from lists by field as well."""
    await store.put(THINGS, "a", {"owner": "o", "n": 1})
    await store.put(THINGS, "a", {"m": 2})
    assert await store.get(THINGS, "a") == Stored("a", 2, {"m": 2})
    assert await every(store, THINGS, where={"owner": "o"}) == []


@pytest.mark.parametrize("expected", [ABSENT, 1, 3])
async def test_another_version_is_a_conflict_and_changes_nothing(store: Store, expected: int) -> None:
    """Neither a put nor a delete happens when the version is not the expected one."""
    await store.put(THINGS, "a", {"n": 1})
    await store.put(THINGS, "a", {"n": 2})
    with pytest.raises(VersionConflict):
        await store.put(THINGS, "a", {"n": 9}, expected=expected)
    with pytest.raises(VersionConflict):
        await store.delete(THINGS, "a", expected=expected)
    assert await store.get(THINGS, "a") == Stored("a", 2, {"n": 2})


async def test_a_version_of_what_is_not_there_is_a_conflict_for_put(store: Store) -> None:
    """A document that was deleted meanwhile is not written again by someone who knew it."""
    with pytest.raises(VersionConflict):
        await store.put(THINGS, "a", {}, expected=1)
    assert await store.get(THINGS, "a") is None


async def test_delete_says_whether_there_was_one(store: Store) -> None:
    """It can be repeated; what is made anew begins at version 1."""
    await store.put(THINGS, "a", {"owner": "o"})
    assert await store.delete(THINGS, "a", expected=1)
    assert not await store.delete(THINGS, "a", expected=1)
    assert not await store.delete(THINGS, "a")
    assert await every(store, THINGS) == []
    assert await every(store, THINGS, where={"owner": "o"}) == []
    assert await store.put(THINGS, "a", {}, expected=ABSENT) == 1


async def test_many_writes_in_one_call_are_each_on_its_own(store: Store) -> None:
    """Each has its new version, or None where another than expected was there, which keeps no other from being written."""
    await store.put(THINGS, "a", {"n": 1})
    await store.put(THINGS, "b", {"owner": "o"})
    writes = [
        Write("a", {"n": 2, "owner": "o"}, 1),
        Write("b", {"n": 2}, ABSENT),
        Write("c", {"n": 2}, ABSENT),
        Write("d", {"n": 2}),
        Write("e", {"n": 2}, 1),
    ]
    assert await store.put_many(THINGS, writes) == [2, None, 1, 1, None]
    assert await store.put_many(THINGS, []) == []
    assert [(one.id, one.version, one.document) for one in await every(store, THINGS)] == [
        ("a", 2, {"n": 2, "owner": "o"}),
        ("b", 1, {"owner": "o"}),
        ("c", 1, {"n": 2}),
        ("d", 1, {"n": 2}),
    ]
    assert ids(await every(store, THINGS, where={"owner": "o"})) == ["a", "b"]
    for bad in (
        [Write("x", {}), Write("x", {})],
        [Write("x", {}), Write("y", {"n": {1}})],
        [Write("x", {}, -2)],
    ):
        with pytest.raises(ValueError):  # noqa: PT011 - which one is not part of the contract
            await store.put_many(THINGS, bad)
    assert await store.get(THINGS, "x") is None


async def test_many_tasks_of_two_stores_lose_no_write(kit: StoreKit, store: Store) -> None:
    """Read, add, write with expected version, from many tasks at once: the sum is exact."""

    async def add(one: Store) -> None:
        while True:
            found = await one.get(THINGS, "sum")
            n, version = (found.document["n"], found.version) if found else (0, ABSENT)
            try:
                await one.put(THINGS, "sum", {"n": n + 1}, expected=version)
            except VersionConflict:
                continue
            return

    async with opened(kit.store()) as second, asyncio.TaskGroup() as tasks:
        for one in (store, second) * 10:
            tasks.create_task(add(one))
    assert await store.get(THINGS, "sum") == Stored("sum", 20, {"n": 20})


async def test_one_of_many_makes_a_document(store: Store) -> None:
    """Of any number that expect none, exactly one write succeeds."""
    outcomes = await asyncio.gather(
        *(store.put(THINGS, "a", {"n": n}, expected=ABSENT) for n in range(10)), return_exceptions=True
    )
    assert sum(outcome == 1 for outcome in outcomes) == 1
    assert sum(isinstance(outcome, VersionConflict) for outcome in outcomes) == 9


async def test_two_processes_lose_no_write(kit: StoreKit, store: Store) -> None:
    """Two processes that count with expected versions, beside this one's open store, reach the exact sum."""
    processes = [await writer("count", kit.place, "40") for _ in range(2)]
    for process in processes:
        await process.communicate()
        assert process.returncode == 0
    found = await store.get(THINGS, "counter")
    assert found == Stored("counter", 80, {"value": 80})


async def test_what_was_acknowledged_outlives_a_kill(kit: StoreKit) -> None:
    """A writer killed in the middle loses nothing it acknowledged and leaves no half of a batch."""
    for _ in range(2):
        process = await writer("write", kit.place)
        assert process.stdout
        acknowledged = -1
        while acknowledged < 30:
            line = await process.stdout.readline()
            acknowledged = int(line) if line.strip().isdigit() else acknowledged
        process.kill()
        rest, _ = await process.communicate()
        acknowledged = max(acknowledged, *(int(line) for line in rest.split()), 0)
        async with opened(kit.store()) as store:
            found = {item.id: item for item in await every(store, THINGS, limit=1000)}
            entries = await every_entry(store, EVENTS, limit=1000)
            last = found.pop("last").document["rank"]
            assert last >= acknowledged
            assert sorted(found) == [f"{number:08d}" for number in range(len(found))]
            assert len(found) >= last + 1
            assert len(entries) % 5 == 0
            assert len(entries) >= 5 * (acknowledged + 1)
            for number in range(len(found)):
                assert found[f"{number:08d}"].document["rank"] == number
                await store.delete(THINGS, f"{number:08d}")
            await store.trim(EVENTS, before_ms=2**62)


async def test_documents_come_back_as_they_were(store: Store) -> None:
    """Every JSON value and bytes, with any string as a field's name: operators, dots, NUL, nothing at all."""
    document = {
        "$where": {"$gt": ""},
        "a.b.c": [1, -1, 0, 2**63 - 1, -(2**63), 1.5, True, False, None],
        "": "",
        "\0": "a\0b",
        "nested": {"$set": {"x": [{"y": [[]]}]}},
        "bytes": b"\x00\xff" * 100,
        "_id": "mine",
        "text": "ünïcödé \U0001f600 '; DROP TABLE documents; --",
        "owner": "$ne",
    }
    await store.put(THINGS, "a", document)
    found = await store.get(THINGS, "a")
    assert found is not None
    assert found.document == document
    assert [type(value) for value in found.document["a.b.c"]] == [type(value) for value in document["a.b.c"]]
    await store.append(EVENTS, [StreamEntry("e", "k", 1, document | {"status": 1, "actor": "x"})])
    (entry,) = (await store.scan(EVENTS)).entries
    assert entry.document == document | {"status": 1, "actor": "x"}


@pytest.mark.parametrize(
    "name", ["$where", "a.b", "a\0b", "", " ", "'", '"', "%", "_", "$gt", "{}", "é", "\x7f"]
)
async def test_any_string_is_an_id_and_a_value(store: Store, name: str) -> None:
    """Ids, keys and indexed values that mean something elsewhere are data here, and match only themselves."""
    await store.put(THINGS, name, {"owner": name})
    await store.put(THINGS, f"{name}x", {"owner": f"{name}x"})
    assert await store.get(THINGS, name) == Stored(name, 1, {"owner": name})
    assert ids(await every(store, THINGS, where={"owner": name})) == [name]
    await store.append(EVENTS, [StreamEntry(name, name, 5, {"actor": name})])
    await store.append(EVENTS, [StreamEntry(f"{name}x", f"{name}x", 6, {"actor": f"{name}x"})])
    assert ids(await every_entry(store, EVENTS, key=name, where={"actor": name})) == [name]
    assert await store.delete(THINGS, name)
    assert ids(await every(store, THINGS)) == [f"{name}x"]


async def test_the_document_is_taken_at_the_call(store: Store) -> None:
    """What its owner does to it afterwards is not stored."""
    document: dict[str, Any] = {"n": [1]}
    waiting = asyncio.gather(store.put(THINGS, "a", document))
    await asyncio.sleep(0)
    document["n"].append(2)
    await waiting
    assert await store.get(THINGS, "a") == Stored("a", 1, {"n": [1]})


@pytest.mark.parametrize(
    "bad",
    [
        {"a": "\ud800"},
        {"\udfff": 1},
        {"a": {"b": ["\ud800"]}},
        {"a": {"\ud800": 1}},
        {"a": 2**63},
        {"a": [-(2**63) - 1]},
        {"a": float("nan")},
        {"a": float("inf")},
        {"a": {1: 2}},
        {1: 2},
        pytest.param({"a": object()}, id="object"),
        {"a": {1, 2}},
        {"owner": 1.5},
        {"owner": True},
        {"owner": ["x"]},
        {"owner": "x" * 1025},
        {"a": b"x" * 16 * 1024 * 1024},
    ],
    ids=lambda bad: ascii(bad)[:40],
)
async def test_what_cannot_be_kept_is_refused(store: Store, bad: Any) -> None:
    """Lone surrogates, integers beyond 64 bits and everything that is neither JSON nor bytes: ValueError, and nothing stored."""
    with pytest.raises(ValueError, match=r"field|document") as error:
        await store.put(THINGS, "a", bad)
    assert type(error.value) is ValueError
    entries = [StreamEntry("x", "k", 1, {}), StreamEntry("e", "k", 1, {"actor": bad.get("owner")} | bad)]
    with pytest.raises(ValueError, match=r"field|document"):
        await store.append(EVENTS, entries)
    assert await store.get(THINGS, "a") is None
    assert (await store.scan(EVENTS)).entries == ()


async def test_deep_nesting_is_refused(store: Store) -> None:
    """A document may be nested, but not until someone's stack ends."""
    value: Any = 1
    for _ in range(5000):
        value = [value]
    with pytest.raises(ValueError, match="nested deeper"):
        await store.put(THINGS, "a", {"a": value})


async def test_questions_that_cannot_be_meant_are_refused(store: Store) -> None:
    """Surrogates in ids, fields without an index, two fields, no limit, collections of another layout."""
    bad = "\ud800"
    stranger, stream = Collection("strangers"), Stream("strangers")
    for call in (
        lambda: store.get(THINGS, bad),
        lambda: store.put(THINGS, bad, {}),
        lambda: store.put(THINGS, "x" * 1025, {}),
        lambda: store.put(THINGS, "a", {}, expected=-2),
        lambda: store.delete(THINGS, bad),
        lambda: store.list(THINGS, after=bad),
        lambda: store.list(THINGS, where={"text": "x"}),
        lambda: store.list(THINGS, where={"$where": "x"}),
        lambda: store.list(THINGS, where={"owner": "x", "rank": 1}),
        lambda: store.list(THINGS, where={"owner": bad}),
        lambda: store.list(THINGS, where={"rank": 2**63}),
        lambda: store.list(THINGS, where={"owner": {"$gt": ""}}),  # type: ignore[dict-item]  # what a careless caller passes on
        lambda: store.list(THINGS, limit=0),
        lambda: store.scan(EVENTS, key=bad),
        lambda: store.scan(EVENTS, where={"text": "x"}),
        lambda: store.scan(EVENTS, from_ms=2**63),
        lambda: store.scan(EVENTS, limit=-1),
        lambda: store.append(EVENTS, [StreamEntry("a", "k", 2**63, {})]),
        lambda: store.append(EVENTS, [StreamEntry(bad, "k", 1, {})]),
        lambda: store.trim(EVENTS, before_ms=2**64),
        lambda: store.get(stranger, "a"),
        lambda: store.put(Collection("things", indexes=("owner",)), "a", {}),
        lambda: store.scan(stream),
    ):
        with pytest.raises(ValueError) as error:  # noqa: PT011 - the type is the contract
            await call()
        assert type(error.value) is ValueError


async def test_lists_are_in_the_order_of_bytes(store: Store) -> None:
    """Ids are compared as UTF-8, in both directions, and `after` leaves its own id out."""
    names = ["", "\0", "A", "Z", "a", "a\0", "aa", "b", "é", "\uffff", "\U0001f600"]
    for name in reversed(names):
        await store.put(THINGS, name, {})
    assert names == sorted(names, key=str.encode)
    assert ids(await every(store, THINGS, limit=3)) == names
    assert ids(await every(store, THINGS, descending=True, limit=3)) == names[::-1]
    assert ids(await every(store, THINGS, after="a", limit=2)) == names[5:]
    assert ids(await every(store, THINGS, after="a", descending=True, limit=2)) == names[3::-1]
    assert ids(await every(store, THINGS, after="M")) == names[3:]


async def test_values_of_different_types_differ(store: Store) -> None:
    """An integer and the string of its digits are two values; a document without the field matches neither."""
    await store.put(THINGS, "int", {"rank": 1})
    await store.put(THINGS, "text", {"rank": "1"})
    await store.put(THINGS, "none", {"rank": None})
    await store.put(THINGS, "absent", {})
    assert ids(await every(store, THINGS, where={"rank": 1})) == ["int"]
    assert ids(await every(store, THINGS, where={"rank": "1"})) == ["text"]


async def test_nothing_stable_is_missed_or_doubled_while_others_write(store: Store) -> None:
    """A list that is read page by page, while documents come and go around it."""
    for number in range(0, 40, 2):
        await store.put(THINGS, f"{number:03d}", {"owner": "o"})
    seen: list[str] = []
    page = Page(())
    while True:
        page = await store.list(THINGS, where={"owner": "o"}, cursor=page.cursor, limit=3)
        seen += ids(list(page.items))
        if page.cursor is None:
            break
        await store.put(THINGS, f"{len(seen):03d}", {"owner": "p"})  # odd or even: may leave the list
        await store.put(THINGS, f"{len(seen) + 3:03d}x", {"owner": "o"})
    changed = {f"{number:03d}" for number in range(3, 40, 3)}
    stable = {f"{number:03d}" for number in range(0, 40, 2)} - changed
    assert len(seen) == len(set(seen))
    assert stable <= set(seen)


async def test_a_cursor_fits_its_question_only(store: Store) -> None:
    """Another collection, field, direction or beginning, garbage, and a scan's cursor: ValueError."""
    for number in range(4):
        await store.put(THINGS, str(number), {"owner": "o"})
        await store.append(EVENTS, [StreamEntry(str(number), "k", number, {"status": 1})])
    cursor = (await store.list(THINGS, limit=1)).cursor
    assert cursor is not None
    entries = (await store.scan(EVENTS, key="k", limit=1)).cursor
    assert entries is not None
    assert ids(list((await store.list(THINGS, limit=2, cursor=cursor)).items)) == ["1", "2"]
    for call in (
        lambda: store.list(OTHERS, cursor=cursor),
        lambda: store.list(THINGS, cursor=cursor, where={"owner": "o"}),
        lambda: store.list(THINGS, cursor=cursor, descending=True),
        lambda: store.list(THINGS, cursor=cursor, after="0"),
        lambda: store.list(THINGS, cursor=entries),
        lambda: store.list(THINGS, cursor=""),
        lambda: store.list(THINGS, cursor=cursor[:-1]),
        lambda: store.list(THINGS, cursor="é\ud800"),
        lambda: store.list(THINGS, cursor="AAAA"),
        lambda: store.scan(EVENTS, cursor=entries),
        lambda: store.scan(EVENTS, key="l", cursor=entries),
        lambda: store.scan(EVENTS, key="k", cursor=entries, descending=False),
        lambda: store.scan(EVENTS, key="k", cursor=entries, from_ms=0),
        lambda: store.scan(EVENTS, key="k", cursor=entries, where={"status": 1}),
        lambda: store.scan(EVENTS, key="k", cursor=cursor),
    ):
        with pytest.raises(ValueError, match="cursor"):
            await call()


async def test_a_page_that_ends_exactly_has_no_cursor(store: Store) -> None:
    """The cursor is None at the end, also when the last page is full, and for an empty collection."""
    assert await store.list(THINGS) == Page(())
    for name in "abcd":
        await store.put(THINGS, name, {})
    first = await store.list(THINGS, limit=2)
    second = await store.list(THINGS, limit=2, cursor=first.cursor)
    assert ids(list(second.items)) == ["c", "d"]
    assert second.cursor is None


async def test_entries_are_stored_once(kit: StoreKit, store: Store) -> None:
    """An id that is there stays as it is, within a batch, in a later one, and after a reopen."""
    first = [StreamEntry("a", "k", 1, {"n": 1}), StreamEntry("a", "k", 2, {"n": 2})]
    assert await store.append(EVENTS, first) == 1
    assert await store.append(EVENTS, [*first, StreamEntry("b", "l", 3, {})]) == 1
    assert await store.append(EVENTS, []) == 0
    async with opened(kit.store()) as second:
        assert await second.append(EVENTS, iter(first)) == 0
    assert await every_entry(store, EVENTS) == [StreamEntry("b", "l", 3, {}), first[0]]


async def test_appends_at_once_count_each_entry_once(kit: StoreKit, store: Store) -> None:
    """Overlapping batches from two stores at the same time: every entry is new exactly once."""
    async with opened(kit.store()) as second:
        counts = await asyncio.gather(
            *(
                one.append(EVENTS, [StreamEntry(str(n), "k", n, {}) for n in range(first, first + 20)])
                for first in range(0, 50, 10)
                for one in (store, second)
            )
        )
    assert sum(counts) == 60
    assert len(await every_entry(store, EVENTS)) == 60


async def test_entries_are_fetched_by_id(store: Store) -> None:
    """Those that are there, each once, whatever its key; an entry of another stream or a document is none."""
    entries = [StreamEntry(name, f"k{name}", n, {"n": n}) for n, name in enumerate(("a", "b", "\0", "é"))]
    await store.append(EVENTS, entries)
    await store.put(THINGS, "z", {})
    found = await store.fetch(EVENTS, ["é", "a", "none", "a", "\0", "z"])
    assert sorted(found, key=lambda entry: entry.at_ms) == [entries[0], entries[2], entries[3]]
    assert list(await store.fetch(EVENTS, [])) == []
    await store.trim(EVENTS, before_ms=1)
    assert list(await store.fetch(EVENTS, ["a"])) == []


async def test_trim_takes_the_oldest(store: Store) -> None:
    """Only before the time, at most as many as told, over all keys; indexes forget them too."""
    await store.append(
        EVENTS, [StreamEntry(f"{n:02d}", f"k{n % 2}", n // 2, {"status": 1}) for n in range(20)]
    )
    assert await store.trim(EVENTS, before_ms=5, limit=4) == 4
    assert await store.trim(EVENTS, before_ms=5) == 6
    assert await store.trim(EVENTS, before_ms=5) == 0
    kept = [f"{n:02d}" for n in range(10, 20)]
    assert ids(await every_entry(store, EVENTS, descending=False)) == kept
    assert ids(await every_entry(store, EVENTS, where={"status": 1}, descending=False)) == kept
    assert await store.append(EVENTS, [StreamEntry("00", "k", 0, {})]) == 1


async def test_data_outlives_a_close(kit: StoreKit) -> None:
    """What one store wrote, the next one over the same data reads."""
    async with opened(kit.store()) as first:
        await first.put(THINGS, "a", {"owner": "o"})
        await first.append(EVENTS, [StreamEntry("e", "k", 1, {"status": 2})])
    async with opened(kit.store()) as second:
        assert await second.get(THINGS, "a") == Stored("a", 1, {"owner": "o"})
        assert ids(await every(second, THINGS, where={"owner": "o"})) == ["a"]
        assert ids(await every_entry(second, EVENTS, where={"status": 2})) == ["e"]


async def test_open_and_close_can_be_repeated(kit: StoreKit) -> None:
    """Twice is as once, also at once; a closed store opens again; a store that is not open is unavailable."""
    store = kit.store()
    await store.close()
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await store.get(THINGS, "a")
        await asyncio.gather(store.open(), store.open())
        await store.put(THINGS, "a", {}, expected=ANY)
        await asyncio.gather(store.close(), store.close())
    for call in (
        lambda: store.put(THINGS, "a", {}),
        lambda: store.put_many(THINGS, []),
        lambda: store.list(THINGS),
        lambda: store.delete(THINGS, "a"),
        lambda: store.append(EVENTS, []),
        lambda: store.scan(EVENTS),
        lambda: store.fetch(EVENTS, []),
        lambda: store.trim(EVENTS, before_ms=1),
    ):
        with pytest.raises(StoreUnavailable):
            await call()


async def test_calls_under_way_are_finished_by_close(store: Store) -> None:
    """A close waits for what was asked before it."""
    puts = asyncio.gather(*(store.put(THINGS, str(n), {}) for n in range(20)))
    await asyncio.sleep(0)
    await store.close()
    assert await puts == [1] * 20


async def test_a_store_whose_data_went_away_is_unavailable(kit: StoreKit) -> None:
    """Reads and writes say so and nothing is acknowledged; so does the next open."""
    async with opened(kit.store(timeout=2)) as store:
        await store.put(THINGS, "a", {})
        await kit.go_away()
        for call in (
            lambda: store.put(THINGS, "b", {}),
            lambda: store.get(THINGS, "a"),
            lambda: store.list(THINGS),
            lambda: store.append(EVENTS, [StreamEntry("e", "k", 1, {})]),
            lambda: store.scan(EVENTS),
        ):
            with pytest.raises(StoreUnavailable):
                await call()


async def test_a_cancelled_call_leaves_the_store_usable(store: Store) -> None:
    """A caller that goes away costs nobody else anything."""
    calls = [asyncio.ensure_future(store.put(THINGS, str(n), {})) for n in range(20)]
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert outcomes[1::2] == [1] * 10
    assert await store.put(THINGS, "end", {}) == 1
