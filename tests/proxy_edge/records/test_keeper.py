"""The keeper: every record that ended reaches the sink once, in order, whatever the sink, the workers or it itself do."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
from collections.abc import Collection
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import RingFull
from proxy_edge.records.keeper import BATCH, SWEEP, Keeper
from proxy_edge.records.mark import MarkFile
from proxy_edge.records.recorder import Recorder
from proxy_edge.records.recovery import make_ring
from proxy_edge.records.sink import NdjsonSink, RecordSink
from tests.proxy_edge.records.samples import ScriptedSink, closing, die, files, held, opening, records, until

FULL = OSError(errno.ENOSPC, "No space left on device")


def worker(folder: Path, index: int = 0, slots: int = 64) -> Recorder:
    """A worker's recorder over a fresh ring in `folder`."""
    return Recorder(make_ring(folder / "ring", index, slots=slots, slot_bytes=1024))


def make(folder: Path, sink: RecordSink, **options: object) -> Keeper:
    """A keeper of the rings in `folder`, with short waits."""
    chosen = {"pause": (0.0, 0.001), "retry": (0.001, 0.002), **options}
    return Keeper(folder / "ring", MarkFile(folder / "mark"), sink, **chosen)  # type: ignore[arg-type]  # a dictionary of keyword arguments


def kill(keeper: Keeper) -> None:
    """What the kernel does for a killed keeper; a `sweep` under way ends where it waits."""
    for view in keeper._views:
        view.close()
    keeper._mark.close()


async def test_record_is_delivered_when_it_ends(tmp_path: Path) -> None:
    """An open record stays in the ring, a closed one goes to the sink, in the order of the ends."""
    sink, recorder = ScriptedSink(), worker(tmp_path)
    keeper = make(tmp_path, sink)
    keeper.start()
    first, second, third = (recorder.open(opening(f"req_{number}")) for number in (1, 2, 3))
    recorder.close(third, closing())
    recorder.close(first, closing())
    await until(lambda: len(sink.lines) == 2)
    await until(lambda: recorder.used == 1)
    recorder.close(second, closing())
    recorder.stop()
    assert await keeper.stop() == 0
    assert sink.closed
    assert sink.ids == ["req_3", "req_1", "req_2"]
    assert files(tmp_path / "ring") == []


async def test_records_of_one_sweep_come_in_the_order_of_their_ends(tmp_path: Path) -> None:
    """Of all workers together, whatever the slots are."""
    sink, first, second = ScriptedSink(), worker(tmp_path, 0), worker(tmp_path, 1)
    keeper = make(tmp_path, sink)
    slots = [
        (recorder, recorder.open(opening(f"req_{number}")))
        for number in range(3)
        for recorder in (first, second)
    ]
    for place in (4, 1, 3, 0, 5, 2):
        recorder, slot = slots[place]
        recorder.close(slot, closing())
    assert await keeper.sweep() == 6
    assert sink.ids == ["req_2", "req_0", "req_1", "req_0", "req_2", "req_1"]
    assert sink.writes == [6]
    assert await keeper.sweep() == 0
    await keeper.stop()


async def test_new_worker_is_found_while_others_serve(tmp_path: Path) -> None:
    """A ring that is made later is looked for again and again; a worker that left nothing is forgotten."""
    sink, keeper = ScriptedSink(), make(tmp_path, ScriptedSink())
    await keeper.stop()
    keeper = make(tmp_path, sink)
    keeper.start()
    for turn in range(3):
        recorder = worker(tmp_path, turn)
        recorder.write(opening(f"req_{turn}"), closing())
        await until(lambda turn=turn: len(sink.lines) == turn + 1)
        recorder.stop()
    await until(lambda: not keeper._views)
    assert files(tmp_path / "ring") == []
    await keeper.stop()


async def test_dead_workers_open_records_are_unknown_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As soon as its lock is free: what it had open is finished, its file goes, others are not touched."""
    sink, living = ScriptedSink(), worker(tmp_path, 0)
    dead = make_ring(tmp_path / "ring", 1, slots=8, slot_bytes=1024)
    keeper = make(tmp_path, sink)
    keeper.start()
    living.open(opening("req_living"))
    dead.close(dead.open(opening("req_1")), closing())
    dead.open(opening("req_2"))
    await until(lambda: len(sink.lines) == 1)
    with caplog.at_level(logging.WARNING, "exeat.edge.records"):
        die(dead)
        await until(lambda: len(sink.lines) == 2)
    await until(lambda: len(files(tmp_path / "ring")) == 1)
    assert [(json.loads(text)["requestId"], json.loads(text)["status"]) for text in sink.lines] == [
        ("req_1", 200),
        ("req_2", "unknown"),
    ]
    assert [(record.message, vars(record)["records"]) for record in caplog.records] == [
        ("records of a dead worker found", 1)
    ]
    living.stop()
    await keeper.stop()


@given(
    script=st.lists(st.just(FULL) | st.integers(1, 9), max_size=8),
    ends=st.lists(st.integers(1, 40), max_size=4),
)
@settings(max_examples=30, deadline=None)
def test_any_trouble_of_the_sink_loses_and_repeats_nothing(
    script: list[OSError | int], ends: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Errors and partial acceptance in any order: each record arrives once, in the order of the ends."""
    sink, folder = ScriptedSink(*script), tmp_path_factory.mktemp("any")

    async def scenario() -> None:
        recorder, keeper = worker(folder, slots=256), make(folder, sink)
        keeper.start()
        number = 0
        for count in ends:
            for _ in range(count):
                recorder.write(opening(f"req_{number}"), closing())
                number += 1
            await asyncio.sleep(0)
        await until(lambda: len(sink.lines) == number)
        recorder.stop()
        assert await keeper.stop() == 0
        assert sink.ids == [f"req_{done}" for done in range(number)]

    asyncio.run(scenario())


class Deadly(ScriptedSink):
    """Lives through some writes and ends the keeper in the next: before it, or when it took some of its lines."""

    def __init__(self, lines: list[bytes], calls: int, took: int) -> None:
        super().__init__()
        self.lines, self._calls, self._took = lines, calls, took

    async def write(self, lines: bytes, count: int) -> int:
        self._calls -= 1
        if self._calls >= 0:
            return await super().write(lines, count)
        taken = lines.splitlines(keepends=True)[: self._took]
        await super().write(b"".join(taken), len(taken))
        raise KeyboardInterrupt  # the keeper catches no such thing: nothing of it runs after this


DEATHS = st.tuples(
    st.integers(0, 2),  # writes that it lives through
    st.integers(0, 30),  # lines that the sink took in the last one
    st.integers(0, 30),  # how many of those it could still acknowledge
    st.booleans(),  # a worker dies with it
    st.lists(st.integers(0, 25), min_size=3, max_size=3),  # records before each sweep
)


@given(deaths=st.lists(DEATHS, max_size=5))
@settings(max_examples=50, deadline=None)
def test_any_death_of_the_keeper_loses_and_repeats_nothing(
    deaths: list[tuple[int, int, int, bool, list[int]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Killed between mark, write and acknowledgement, with its workers alive or dead: each record arrives once."""
    folder = tmp_path_factory.mktemp("any")
    delivered: list[bytes] = []
    recorders = [worker(folder, index, slots=512) for index in range(2)]
    number = 0

    async def live(keeper: Keeper, sizes: list[int]) -> None:
        nonlocal number
        for size in sizes:
            for _ in range(size):
                recorders[number % 2].write(opening(f"req_{number}"), closing())
                number += 1
            await keeper.sweep()

    for calls, took, acknowledged, worker_too, sizes in deaths:
        sink = Deadly(delivered, calls, took)
        keeper = make(folder, sink)
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(live(keeper, sizes))
        last = sink.ids[-took:][:acknowledged] if took else []
        for view in keeper._views:
            for entry in view.entries(view.slots):
                if entry.opening.request_id in last:
                    view.acknowledge(entry.slot)
        kill(keeper)
        if worker_too:
            recorders[0].stop()
            recorders[0] = worker(folder, 7, slots=512)
    for recorder in recorders:
        recorder.stop()
    last_sink = ScriptedSink()
    last_sink.lines = delivered
    assert asyncio.run(make(folder, last_sink).stop()) == 0
    assert sorted(last_sink.ids) == sorted(f"req_{done}" for done in range(number))
    assert files(folder / "ring") == []


async def test_successor_asks_the_sink_before_its_first_batch(tmp_path: Path) -> None:
    """With the mark of the dead keeper's last batch, until the sink answers; then it is not asked again."""

    class Forgetful(ScriptedSink):
        async def known(self, ids: Collection[str], mark: bytes | None) -> set[str]:
            await super().known(ids, mark)
            if len(self.asked) < 3:
                raise FULL
            return {"req_1"}

    recorder = worker(tmp_path)
    for number in range(3):
        recorder.write(opening(f"req_{number}"), closing())
    mark = MarkFile(tmp_path / "mark")
    mark.store(b"\x05")
    mark.close()
    sink = Forgetful()
    keeper = make(tmp_path, sink)
    keeper.start()
    await until(lambda: len(sink.lines) == 2)
    recorder.write(opening("req_3"), closing())
    await until(lambda: len(sink.lines) == 3)
    assert sink.ids == ["req_0", "req_2", "req_3"]
    assert sink.asked == [b"\x05"] * 3
    await until(lambda: recorder.used == 0)
    recorder.stop()
    await keeper.stop()


async def test_sink_is_not_asked_for_nothing(tmp_path: Path) -> None:
    """Where no ring holds a record that is over, there is nothing to search for."""
    recorder, sink = worker(tmp_path), ScriptedSink()
    recorder.open(opening("req_1"))
    keeper = make(tmp_path, sink)
    await keeper.sweep()
    assert sink.asked == []
    recorder.stop()
    await keeper.stop()


async def test_failing_sink_is_reported_without_content(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says what failed and how many records wait, and shows nothing of them; the waiting ends by itself."""
    caplog.set_level(logging.INFO, "exeat.edge.records")
    sink, recorder = ScriptedSink(FULL, FULL), worker(tmp_path)
    recorder.write(opening("req_canary"), closing())
    keeper = make(tmp_path, sink)
    keeper.start()
    await until(lambda: "accepted again" in caplog.text)
    recorder.stop()
    assert await keeper.stop() == 0
    said = [(record.message, vars(record).get("errno"), vars(record)["waiting"]) for record in caplog.records]
    assert said == [
        ("records not accepted", errno.ENOSPC, 1),
        ("records not accepted", errno.ENOSPC, 1),
        ("records accepted again", None, 0),
    ]
    assert "canary" not in "".join(str(vars(record)) for record in caplog.records)


async def test_unwritable_file_delays_and_loses_nothing(tmp_path: Path) -> None:
    """While a directory is in the file's place everything waits in the ring, which then refuses; afterwards all is there."""
    path, recorder = tmp_path / "records" / "requests.ndjson", worker(tmp_path, slots=8)
    keeper = make(tmp_path, NdjsonSink(path))
    keeper.start()
    recorder.write(opening("req_0"), closing())
    await until(lambda: recorder.used == 0)
    moved = path.rename(path.with_name("requests.ndjson.1"))
    path.mkdir()
    for number in range(1, 9):
        recorder.write(opening(f"req_{number}"), closing())
    with pytest.raises(RingFull):
        recorder.open(opening("req_9"))
    assert recorder.depth == 8
    path.rmdir()
    moved.rename(path)
    await until(lambda: recorder.used == 0)
    recorder.stop()
    assert await keeper.stop() == 0
    assert [record["requestId"] for record in records(path)] == [f"req_{number}" for number in range(9)]


async def test_record_that_cannot_be_encoded_stops_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It stays in the ring, the others are delivered, and with its worker's end it is set aside with its file."""
    sink, recorder = ScriptedSink(), worker(tmp_path)
    recorder.write(opening("req_1"), closing())
    recorder.write(opening("req_2"), msgspec.structs.replace(closing(), marks=(0,) * 12))
    slot = recorder.open(opening("req_3"))
    recorder.write(opening("req_4"), closing())
    keeper = make(tmp_path, sink)
    while await keeper.sweep():
        pass
    assert sink.ids == ["req_1", "req_4"]
    assert "cannot be delivered" in caplog.text
    assert recorder.depth == 1
    recorder.close(slot, closing())
    recorder.stop()
    await keeper.stop()
    assert sink.ids == ["req_1", "req_4", "req_3"]
    (aside,) = files(tmp_path / "ring")
    assert aside.endswith(".unreadable")


async def test_stop_with_a_dead_sink_leaves_the_records_to_the_next_keeper(tmp_path: Path) -> None:
    """What could not be delivered is there at the next start, once."""
    recorder = worker(tmp_path)
    recorder.write(opening("req_1"), closing())
    recorder.open(opening("req_2"))
    recorder.stop()
    keeper = make(tmp_path, ScriptedSink(*[FULL] * 10_000))
    keeper.start()
    assert await keeper.stop(deadline=0.05) == 1
    sink = ScriptedSink()
    assert await make(tmp_path, sink).stop() == 0
    assert sink.ids == ["req_1", "req_2"]
    assert [b'"status":"unknown"' in text for text in sink.lines] == [False, True]


async def test_hung_sink_does_not_hold_up_the_stop(tmp_path: Path) -> None:
    """After the deadline the keeper lets go; the records stay."""

    class Hung(ScriptedSink):
        async def write(self, lines: bytes, count: int) -> int:
            await asyncio.Event().wait()
            return await super().write(lines, count)

    recorder = worker(tmp_path)
    recorder.write(opening("req_1"), closing())
    keeper = make(tmp_path, Hung())
    assert await keeper.stop(deadline=0.01) == 1
    recorder.stop()
    assert len(files(tmp_path / "ring")) == 1


async def test_stop_leaves_living_workers_their_rings(tmp_path: Path) -> None:
    """What they closed is delivered, what they have open stays open, and they go on."""
    sink, recorder = ScriptedSink(), worker(tmp_path)
    recorder.write(opening("req_1"), closing())
    slot = recorder.open(opening("req_2"))
    keeper = make(tmp_path, sink)
    keeper.start()
    assert await keeper.stop() == 0
    assert sink.ids == ["req_1"]
    recorder.close(slot, closing())
    successor = make(tmp_path, sink)
    await successor.sweep()
    assert sink.ids == ["req_1", "req_2"]
    recorder.stop()
    await successor.stop()


async def test_backlog_goes_in_batches(tmp_path: Path) -> None:
    """A long outage is made up for in few writes, not more than a sweep's worth in memory at a time."""
    ring = make_ring(tmp_path / "ring", 0, slots=SWEEP + 1, slot_bytes=1024)
    recorder, sink = Recorder(ring), ScriptedSink()
    for number in range(SWEEP + 1):
        recorder.write(opening(f"req_{number}"), closing())
    keeper = make(tmp_path, sink)
    assert await keeper.sweep() == SWEEP
    assert sink.writes == [BATCH] * (SWEEP // BATCH)
    assert await keeper.sweep() == 1
    assert recorder.used == 0
    assert held(ring.path) == {}
    recorder.stop()
    await keeper.stop()
