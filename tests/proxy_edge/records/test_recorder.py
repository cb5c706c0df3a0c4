"""The recorder: what a request writes is in the ring at once, and what the keeper has taken makes room."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec
import pytest

from models.errors import ExeatError, RingFull
from proxy_edge.records.recorder import Recorder
from proxy_edge.records.recovery import make_ring
from proxy_edge.records.ring import Ring
from tests.proxy_edge.records.samples import acknowledge, closing, files, held, opening


def make(folder: Path, slots: int = 64) -> tuple[Recorder, Ring]:
    """A recorder over a fresh ring in `folder`."""
    ring = make_ring(folder, 0, slots=slots, slot_bytes=1024)
    return Recorder(ring), ring


def test_record_is_in_the_ring_while_it_is_open_and_when_it_ended(tmp_path: Path) -> None:
    """`depth` counts what is over and not acknowledged, `used` what is open as well."""
    recorder, ring = make(tmp_path)
    first, second = recorder.open(opening("req_1")), recorder.open(opening("req_2"))
    assert (recorder.depth, recorder.used) == (0, 2)
    recorder.close(second, closing())
    assert (recorder.depth, recorder.used) == (1, 2)
    assert held(ring.path) == {first: (opening("req_1"), None), second: (opening("req_2"), closing())}
    acknowledge(ring.path, second)
    assert (recorder.depth, recorder.used) == (0, 1)
    recorder.discard(first)
    assert recorder.used == 0
    assert recorder.stop() == 0
    assert files(tmp_path) == []


def test_refusal_is_recorded_whole(tmp_path: Path) -> None:
    """`write` takes opening and closing at once."""
    recorder, ring = make(tmp_path)
    recorder.write(opening("req_1"), closing())
    assert list(held(ring.path).values()) == [(opening("req_1"), closing())]
    assert recorder.stop() == 0


def test_record_ends_once(tmp_path: Path) -> None:
    """Closing or discarding what is not open is an error and changes nothing."""
    recorder, ring = make(tmp_path)
    slot = recorder.open(opening("req_1"))
    recorder.close(slot, closing())
    for end in (lambda: recorder.close(slot, closing()), lambda: recorder.discard(slot)):
        with pytest.raises(ExeatError, match="not open"):
            end()
    with pytest.raises(ExeatError, match="not open"):
        recorder.close(63, closing())
    assert held(ring.path) == {slot: (opening("req_1"), closing())}
    recorder.stop()


def test_full_ring_refuses_until_some_is_acknowledged(tmp_path: Path) -> None:
    """Delivered or not is what counts, not closed or not; requests that go on unrecorded are counted."""
    recorder, ring = make(tmp_path, slots=4)
    for number in range(4):
        recorder.write(opening(f"req_{number}"), closing())
    with pytest.raises(RingFull):
        recorder.open(opening("req_4"))
    recorder.drop()
    assert recorder.dropped == 1
    acknowledge(ring.path, 3)
    recorder.discard(recorder.open(opening("req_4")))
    assert (recorder.depth, recorder.used) == (3, 3)
    recorder.stop()


def test_long_closing_waits_for_room(tmp_path: Path) -> None:
    """One that finds the ring full is over all the same, and is in the ring as soon as there is room for it."""
    recorder, ring = make(tmp_path, slots=4)
    slots = [recorder.open(opening(f"req_{number}")) for number in range(4)]
    recorder.close(slots[0], closing(1000))
    assert recorder.depth == 1
    recorder.reclaim()
    assert held(ring.path)[slots[0]] == (opening("req_0"), None)
    recorder.close(slots[1], closing())
    acknowledge(ring.path, slots[1])
    recorder.reclaim()
    assert held(ring.path)[slots[0]] == (opening("req_0"), closing(1000))
    assert (recorder.depth, recorder.used) == (1, 4)
    acknowledge(ring.path, slots[0])
    assert (recorder.depth, recorder.used) == (0, 2)
    recorder.stop()


def test_long_user_agent_is_cut_before_it_takes_slots(tmp_path: Path) -> None:
    """A header of 60 kB does not fill the ring."""
    recorder, ring = make(tmp_path)
    recorder.write(msgspec.structs.replace(opening("req_1"), user_agent=b"u" * 60_000), closing())
    assert recorder.used <= 2
    [(opened, _)] = held(ring.path).values()
    assert opened.user_agent == b"u" * 512
    recorder.stop()


def test_stop_leaves_the_ring_to_the_keeper(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The file stays with what is over and what is open, its lock is free, and the log says how many are open."""
    recorder, ring = make(tmp_path)
    recorder.write(opening("req_1"), closing())
    recorder.open(opening("req_2"))
    with caplog.at_level(logging.WARNING):
        assert recorder.stop() == 1
    assert [(record.message, vars(record)["records"]) for record in caplog.records] == [
        ("records left open", 1)
    ]
    assert list(held(ring.path).values()) == [(opening("req_1"), closing()), (opening("req_2"), None)]


def test_nothing_is_taken_after_the_stop(tmp_path: Path) -> None:
    """A late opening is refused as by a full ring; a late closing leaves the record open."""
    recorder, ring = make(tmp_path)
    slot, other = recorder.open(opening("req_1")), recorder.open(opening("req_2"))
    assert recorder.stop() == 2
    image = ring.path.read_bytes()
    with pytest.raises(RingFull):
        recorder.open(opening("req_3"))
    with pytest.raises(RingFull):
        recorder.write(opening("req_4"), closing())
    recorder.close(slot, closing())
    recorder.discard(other)
    assert ring.path.read_bytes() == image
