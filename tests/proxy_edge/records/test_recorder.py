"""The recorder: every record that ended reaches the sink once, in order, whatever the sink does."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import ExeatError, RingFull
from proxy_edge.records.recorder import BATCH, EAGER, Recorder
from proxy_edge.records.recovery import adopt
from proxy_edge.records.ring import Ring
from proxy_edge.records.sink import NdjsonSink, RecordSink
from tests.proxy_edge.records.samples import ScriptedSink, closing, files, opening, records

FULL = OSError(errno.ENOSPC, "No space left on device")


def make(folder: Path, sink: RecordSink, slots: int = 64, **options: object) -> Recorder:
    """A recorder over a fresh ring in `folder`, with short waits."""
    ring, leftovers = adopt(folder / "ring", 0, slots=slots, slot_bytes=1024)
    chosen = {"interval": 0.001, "retry": (0.001, 0.002), **options}
    return Recorder(ring, sink, leftovers, **chosen)  # type: ignore[arg-type]  # a dictionary of keyword arguments


async def until(condition: Callable[[], object]) -> None:
    """Lets the loop go on until `condition()` is true; the test's own timeout is the limit."""
    while True:
        if condition():
            return
        await asyncio.sleep(0.001)


async def test_record_is_delivered_when_it_ends(tmp_path: Path) -> None:
    """An open record stays in the ring, a closed one goes to the sink in the order of the closings."""
    sink = ScriptedSink()
    recorder = make(tmp_path, sink)
    recorder.start()
    first, second = recorder.open(opening("req_1")), recorder.open(opening("req_2"))
    third = recorder.open(opening("req_3"))
    assert (recorder.depth, recorder.used) == (0, 3)
    recorder.close(third, closing())
    recorder.close(first, closing())
    await until(lambda: len(sink.lines) == 2)
    assert sink.ids == ["req_3", "req_1"]
    await until(lambda: recorder.used == 1)
    recorder.close(second, closing())
    assert await recorder.stop() == 0
    assert sink.ids == ["req_3", "req_1", "req_2"]
    assert sink.closed
    assert files(tmp_path / "ring") == []


async def test_refusal_is_recorded_whole(tmp_path: Path) -> None:
    """`write` takes opening and closing at once, through the ring."""
    path = tmp_path / "requests.ndjson"
    recorder = make(tmp_path, NdjsonSink(path))
    recorder.write(opening("req_1"), closing())
    assert recorder.used == recorder.depth == 1
    assert await recorder.stop() == 0
    assert [(record["requestId"], record["status"]) for record in records(path)] == [("req_1", 200)]


async def test_discarded_record_leaves_nothing(tmp_path: Path) -> None:
    """A record that is not needed is neither delivered nor found after a death."""
    sink = ScriptedSink()
    recorder = make(tmp_path, sink)
    recorder.discard(recorder.open(opening("req_1")))
    assert recorder.used == 0
    assert await recorder.stop() == 0
    assert sink.lines == []


async def test_record_ends_once(tmp_path: Path) -> None:
    """Closing or discarding what is not open is an error and changes nothing."""
    sink = ScriptedSink()
    recorder = make(tmp_path, sink)
    slot = recorder.open(opening("req_1"))
    recorder.close(slot, closing())
    for end in (lambda: recorder.close(slot, closing()), lambda: recorder.discard(slot)):
        with pytest.raises(ExeatError, match="not open"):
            end()
    with pytest.raises(ExeatError, match="not open"):
        recorder.close(63, closing())
    assert await recorder.stop() == 0
    assert sink.ids == ["req_1"]


async def test_full_ring_refuses_until_the_sink_has_taken_some(tmp_path: Path) -> None:
    """Delivered or not is what counts, not closed or not; requests that go on unrecorded are counted."""
    recorder = make(tmp_path, ScriptedSink(), slots=4)
    for number in range(4):
        recorder.write(opening(f"req_{number}"), closing())
    with pytest.raises(RingFull):
        recorder.open(opening("req_4"))
    recorder.drop()
    assert recorder.dropped == 1
    await recorder.drain()
    recorder.discard(recorder.open(opening("req_4")))
    assert await recorder.stop() == 0


async def test_long_user_agent_is_cut_before_it_takes_slots(tmp_path: Path) -> None:
    """A header of 60 kB does not fill the ring."""
    sink = ScriptedSink()
    recorder = make(tmp_path, sink)
    recorder.write(msgspec.structs.replace(opening("req_1"), user_agent=b"u" * 60_000), closing())
    assert recorder.used <= 2
    assert await recorder.stop() == 0
    assert b"u" * 512 + b'"' in sink.lines[0]


@given(
    script=st.lists(st.just(FULL) | st.integers(1, 9), max_size=8),
    ends=st.lists(st.integers(1, 40), max_size=4),
)
@settings(max_examples=30, deadline=None)
def test_any_trouble_of_the_sink_loses_and_repeats_nothing(
    script: list[OSError | int], ends: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Errors and partial acceptance in any order: each record arrives once, in the order of the closings."""
    sink = ScriptedSink(*script)

    async def scenario() -> None:
        recorder = make(tmp_path_factory.mktemp("any"), sink, slots=256)
        recorder.start()
        number = 0
        for count in ends:
            for _ in range(count):
                recorder.write(opening(f"req_{number}"), closing())
                number += 1
            await asyncio.sleep(0)
        await until(lambda: len(sink.lines) == number)
        assert await recorder.stop() == 0
        assert sink.ids == [f"req_{done}" for done in range(number)]
        assert sink.marks >= len(sink.writes)

    asyncio.run(scenario())


async def test_failing_sink_is_reported_without_content(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says what failed and how many records wait, and shows nothing of them; the waiting ends by itself."""
    caplog.set_level(logging.INFO, "exeat.edge.records")
    sink = ScriptedSink(FULL, FULL)
    recorder = make(tmp_path, sink)
    recorder.start()
    recorder.write(opening("req_canary"), closing())
    await until(lambda: sink.lines)
    assert await recorder.stop() == 0
    said = [(record.message, vars(record).get("errno"), vars(record)["waiting"]) for record in caplog.records]
    assert said == [
        ("records not accepted", errno.ENOSPC, 1),
        ("records not accepted", errno.ENOSPC, 1),
        ("records accepted again", None, 0),
    ]
    assert "canary" not in "".join(str(vars(record)) for record in caplog.records)


async def test_record_that_cannot_be_encoded_stops_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It stays in the ring, the others are delivered, and the next start sets it aside with its file."""
    sink = ScriptedSink()
    recorder = make(tmp_path, sink)
    recorder.write(opening("req_1"), closing())
    recorder.write(msgspec.structs.replace(opening("req_2"), timings=(0.0,) * 9), closing())
    recorder.write(opening("req_3"), msgspec.structs.replace(closing(), timings=(0.0,) * 9))
    recorder.write(opening("req_4"), closing())
    assert await recorder.stop() == 1
    assert sink.ids == ["req_1", "req_2", "req_4"]
    assert "cannot be encoded" in caplog.text

    again = make(tmp_path, sink)
    assert await again.stop() == 0
    assert sink.ids == ["req_1", "req_2", "req_4"]
    (aside,) = files(tmp_path / "ring")
    assert aside.endswith(".unreadable")


async def test_stop_with_a_dead_sink_leaves_the_records_to_the_next_start(tmp_path: Path) -> None:
    """What could not be delivered, and what is still open, is there at the next start, once."""
    recorder = make(tmp_path, ScriptedSink(*[FULL] * 100))
    recorder.start()
    recorder.write(opening("req_1"), closing())
    recorder.open(opening("req_2"))
    assert await recorder.stop() == 2
    sink = ScriptedSink()
    again = make(tmp_path, sink)
    assert again.depth == 2
    again.write(opening("req_3"), closing())
    assert await again.stop() == 0
    assert sink.ids == ["req_2", "req_1", "req_3"]  # an orphan counts as ended when it came
    assert [b'"status":"unknown"' in text for text in sink.lines] == [True, False, False]


async def test_leftovers_wait_out_a_failing_sink(tmp_path: Path) -> None:
    """Dead workers' records are retried like any other, ask the sink once, and go before new ones."""
    ring, _ = adopt(tmp_path / "ring", 0, slots=2 * BATCH, slot_bytes=1024)
    for number in range(BATCH + 5):
        ring.open(opening(f"req_{number:05}"))
    ring.dispose()
    sink = ScriptedSink(FULL, 7, FULL)
    recorder = make(tmp_path, sink)
    recorder.write(opening("req_new"), closing())
    recorder.start()
    await until(lambda: len(sink.lines) == BATCH + 6)
    assert await recorder.stop() == 0
    assert sink.ids == [f"req_{number:05}" for number in range(BATCH + 5)] + ["req_new"]


async def test_hung_sink_does_not_hold_up_the_stop(tmp_path: Path) -> None:
    """After the deadline the recorder lets go; the records stay."""

    class Hung(ScriptedSink):
        async def write(self, lines: Sequence[bytes]) -> int:
            await asyncio.Event().wait()
            return len(lines)

    recorder = make(tmp_path, Hung())
    recorder.write(opening("req_1"), closing())
    assert await recorder.stop(deadline=0.01) == 1
    assert len(files(tmp_path / "ring")) == 1


async def test_nothing_is_taken_after_the_stop(tmp_path: Path) -> None:
    """A late opening is refused as by a full ring; a late closing leaves the record open for the next start."""
    recorder = make(tmp_path, ScriptedSink())
    slot, other = recorder.open(opening("req_1")), recorder.open(opening("req_2"))
    assert await recorder.stop() == 2
    with pytest.raises(RingFull):
        recorder.open(opening("req_3"))
    recorder.close(slot, closing())
    recorder.discard(other)
    sink = ScriptedSink()
    assert await make(tmp_path, sink).stop() == 0
    assert sink.ids == ["req_1", "req_2"]


async def test_many_records_leave_the_loop_its_turns(tmp_path: Path) -> None:
    """A full ring is encoded in slices; others run between them, and the sink gets it in few writes."""
    sink = ScriptedSink()
    recorder = make(tmp_path, sink, slots=4096)
    for number in range(4096):
        recorder.write(opening(f"req_{number}"), closing())
    turns = 0
    drained = asyncio.ensure_future(recorder.drain())
    while not drained.done():
        turns += 1
        await asyncio.sleep(0)
    await drained
    assert turns >= 4096 // 128
    assert sink.writes == [BATCH] * 4
    assert await recorder.stop() == 0


async def test_many_records_do_not_wait_for_the_interval(tmp_path: Path) -> None:
    """As soon as there are enough of them they go, however long the interval is."""
    sink = ScriptedSink()
    recorder = make(tmp_path, sink, slots=EAGER, interval=3600.0)
    recorder.start()
    recorder.write(opening("req_first"), closing())
    await asyncio.sleep(0)
    assert sink.lines == []
    for number in range(EAGER - 1):
        recorder.write(opening(f"req_{number}"), closing())
    await until(lambda: len(sink.lines) == EAGER)
    assert await recorder.stop() == 0


def test_ring_is_used_as_it_was_given(tmp_path: Path) -> None:
    """A recorder can be made outside a loop, before anything runs."""
    ring = Ring(tmp_path / "ring", 8, 1024)
    assert Recorder(ring, ScriptedSink()).depth == 0
    ring.dispose()
