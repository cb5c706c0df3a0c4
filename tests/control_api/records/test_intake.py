"""The intake of records: whatever is sent again, cut off or sent by several at once, all is stored and counted once."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_api.records.intake import Intake
from control_api.records.layout import RECORDS, RECORDS_LAYOUT, ROLLUPS, SOURCES
from control_api.records.rollups import Rollups, additions
from models.errors import Invalid, StoreUnavailable
from models.planes.records import MOST_RECORDS, RecordBatch
from models.rollups import rollups
from store.interface import Store, StreamEntry
from store.sqlite import SqliteStore
from tests.kit.recorded import AT, US, batch, owned, record
from tests.kit.stores import ROOT, opened

EU = "eu-west-1"
CODES = ((200, "proxy-access-granted"), (403, "rule-denied"), (429, "limit-exceeded"), ("unknown", None))


def intake_of(store: Any) -> Intake:
    """One that knows no proxy."""
    return Intake(store, owned())


async def stored(store: Store) -> list[StreamEntry]:
    """Every record."""
    found: list[StreamEntry] = []
    cursor = None
    while True:
        page = await store.scan(RECORDS, cursor=cursor, limit=1000)
        found += page.entries
        cursor = page.cursor
        if cursor is None:
            return found


async def check_sums(store: Store) -> list[str]:
    """Every roll-up equals the records that are stored; the ids of these."""
    entries = await stored(store)
    expected = additions(rollups(b"".join(entry.document["line"] + b"\n" for entry in entries)))
    documents = await store.list(ROLLUPS, limit=1000)
    assert {one.id for one in documents.items} == {place.id for place in expected}
    kept = Rollups(store)
    for place, cells in expected.items():
        assert await kept.read(place.grain, place.client_id, place.proxy_id, min(cells), max(cells)) == cells
    return [entry.id for entry in entries]


class Cut:
    """A store whose n-th write fails: not done, or done and not told."""

    def __init__(self, store: Store, writes: int, *, done: bool) -> None:
        self._store, self._left, self._done = store, writes, done

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name not in {"append", "put", "put_many"}:
            return method

        async def writing(*arguments: Any, **named: Any) -> Any:
            self._left -= 1
            if self._left:
                return await method(*arguments, **named)
            if self._done:
                await method(*arguments, **named)
            raise StoreUnavailable("cut off by the test")

        return writing


RECORDED = st.tuples(
    st.integers(0, 11),  # which request: few, so that sources bring the same
    st.sampled_from(["cli_a", "cli_b"]),
    st.sampled_from(["prx_a", "prx_b"]),
    st.integers(0, 3) | st.just(70),  # minutes
    st.sampled_from(CODES),
)
BATCHES = st.lists(st.lists(RECORDED, max_size=5), min_size=1, max_size=4)
STEP = st.tuples(
    st.sampled_from(["a", "b"]),
    st.integers(0, 3),  # how far back a batch is sent again; 0 is the next one
    st.sampled_from([0, 1]),  # by which process
    st.none() | st.tuples(st.integers(1, 4), st.booleans()),  # cut off at which write
)


@settings(max_examples=30, deadline=None)
@given(sources=st.fixed_dictionaries({"a": BATCHES, "b": BATCHES}), steps=st.lists(STEP, max_size=12))
def test_any_redelivery_ends_in_the_same(sources: dict[str, list[Any]], steps: list[Any]) -> None:
    """Batches again, any write cut off, two processes: as if every batch had come once, each record counted once."""
    batches = {
        source: [
            batch(
                number,
                [
                    record(
                        f"req_{n}", AT + minute * 60_000, client_id=client, proxy_id=proxy, status=s, code=c
                    )
                    for n, client, proxy, minute, (s, c) in records
                ],
                source,
            )
            for number, records in enumerate(lists, 1)
        ]
        for source, lists in sources.items()
    }

    async def example(directory: Path) -> None:
        layouts = [SqliteStore(directory / "records.db", RECORDS_LAYOUT) for _ in range(2)]
        done = {"a": 0, "b": 0}
        async with opened(layouts[0]) as first, opened(layouts[1]) as second:
            for source, back, process, cut in [*steps, *(("a", 0, 0, None),) * 4, *(("b", 0, 1, None),) * 4]:
                index = max(0, done[source] - back)
                if index == len(batches[source]):
                    continue
                store = (first, second)[process]
                intake = intake_of(store if cut is None else Cut(store, cut[0], done=cut[1]))
                try:
                    await intake.take(US, [batches[source][index]])
                except StoreUnavailable:
                    continue  # it comes again
                done[source] = max(done[source], index + 1)
            found = await check_sums(first)
            expected = {f"{US}/req_{one[0]}" for lists in sources.values() for many in lists for one in many}
            assert sorted(found) == sorted(expected)
            for source, many in batches.items():
                settled = await first.get(SOURCES, f"{US}/{source}")
                assert settled is not None
                assert settled.document == {"number": len(many)}

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(example(Path(directory)))


async def test_the_same_and_other_batches_at_once(store: Store, tmp_path: Path) -> None:
    """Two stores of one file, several sources, every batch sent by both at the same time: nothing lost or doubled."""
    async with opened(SqliteStore(tmp_path / "records.db", RECORDS_LAYOUT)) as other:
        intakes = [intake_of(store), intake_of(other), intake_of(store)]
        for number in range(1, 6):
            await asyncio.gather(
                *(
                    intake.take(
                        US,
                        [batch(number, [record(f"req_{source}_{number}"), record(f"req_{number}")], source)],
                    )
                    for intake in intakes
                    for source in ("a", "b", "c")
                )
            )
    assert len(await check_sums(store)) == 5 * 4


async def test_two_processes_lose_nothing(store: Store, tmp_path: Path) -> None:
    """Real ones, on one file, each with sources of its own and one that both have."""
    place = str(tmp_path / "records.db")
    arguments = [("x", "1", "12"), ("y", "1", "12")]
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "-m", "tests.kit.record_sender", place, *one),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(ROOT)},
        )
        for one in (*arguments, arguments[0])
    ]
    assert [await process.wait() for process in processes] == [0, 0, 0]
    assert len(await check_sums(store)) == 12 * (2 * 3 + 1)


async def test_a_number_that_was_taken_has_no_effect_and_a_gap_does_no_harm(store: Store) -> None:
    """Numbers only grow."""
    intake = intake_of(store)
    await intake.take(US, [batch(5, [record("req_5")])])
    await intake.take(US, [batch(4, [record("req_4")]), batch(9, [])])
    await intake.take(US, [batch(9, [record("req_9")])])
    assert await check_sums(store) == [f"{US}/req_5"]


async def test_regions_are_apart(store: Store) -> None:
    """Neither the sources nor the request ids of one are another's."""
    intake = intake_of(store)
    await intake.take(EU, [batch(1_000, [record("req_1", region=EU)])])
    await intake.take(US, [batch(1, [record("req_1")])])
    assert sorted(await check_sums(store)) == [f"{EU}/req_1", f"{US}/req_1"]


def lines_of(*lines: bytes) -> RecordBatch:
    """A batch of these lines as they are."""
    return RecordBatch(source="s", number=1, lines=b"\n".join(lines), rollups=())


GOOD = msgspec.json.encode(record("req_1"))


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        pytest.param(lines_of(GOOD, b"{", b""), "line 2 is not a record", id="line"),
        pytest.param(lines_of(GOOD), "ends inside a line", id="cut-line"),
        pytest.param(lines_of(GOOD, b"", b""), "line 2 is not a record", id="blank-line"),
        pytest.param(batch(1, [record("r", region=EU)]), "line 1 is of another region", id="region"),
        pytest.param(
            batch(1, [record("r", proxy_id="prx_theirs")]), "line 1 is of a proxy of another", id="proxy"
        ),
        pytest.param(batch(0, []), "has a number that is none", id="number"),
        pytest.param(batch(2**63, []), "has a number that is none", id="large-number"),
        pytest.param(batch(1, [], ""), "has a source that is none", id="no-source"),
        pytest.param(batch(1, [], "x" * 257), "has a source that is none", id="long-source"),
        pytest.param(batch(1, [], "a b"), "has a source that is none", id="source-with-blank"),
        pytest.param(lines_of(*[b"{}"] * (MOST_RECORDS + 1), b""), "more than 1024 records", id="many"),
        pytest.param(lines_of(GOOD, b" " * 900_000, b""), "more than 900000 bytes", id="large"),
        pytest.param(batch(1, [], "before"), "not above the one before", id="order"),
    ],
)
async def test_one_bad_batch_and_nothing_of_the_report_is_stored(
    store: Store, bad: RecordBatch, problem: str
) -> None:
    """422 with the place of the batch, whatever was fine before it."""
    intake = Intake(store, owned({"prx_theirs": ("cli_two", US)}))
    with pytest.raises(Invalid) as refused:
        await intake.take(US, [batch(1, [record("req_9")], "before"), bad])
    ((field, message),) = refused.value.errors
    assert field == "records[1]"
    assert problem in message
    assert await check_sums(store) == []
    assert (await store.list(SOURCES)).items == ()


async def test_a_single_record_may_be_larger_than_a_batch(store: Store) -> None:
    """As nothing else could be done with it."""
    await intake_of(store).take(US, [batch(1, [record("req_1", path="/" + "x" * 950_000)])])
    assert len(await check_sums(store)) == 1


async def test_known_proxies_are_taken_from_their_own_region(store: Store) -> None:
    """A proxy that is known must be that client's and in that region; one that is not may have been deleted."""
    intake = Intake(store, owned({"prx_one": ("cli_one", US)}))
    await intake.take(US, [batch(1, [record("req_1"), record("req_2", proxy_id="prx_gone")])])
    with pytest.raises(Invalid):
        await intake.take(US, [batch(2, [record("req_3", client_id="cli_two")])])
    with pytest.raises(Invalid):
        await intake.take(EU, [batch(1, [record("req_3", region=EU)])])
    assert len(await check_sums(store)) == 2
