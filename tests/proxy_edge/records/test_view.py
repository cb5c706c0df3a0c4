"""A ring through the keeper's eyes: which records are its to deliver, and what it makes of damage."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy_edge.records.ring import Ring
from proxy_edge.records.view import AT_DEATH, RingError, RingView
from tests.proxy_edge.records.samples import closing, die, held, opening


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[Ring]:
    made = Ring(tmp_path / "ring", 8, 1024)
    yield made
    with contextlib.suppress(ValueError, OSError):
        made.dispose()


def test_living_worker_keeps_what_is_open(ring: Ring) -> None:
    """Only closed records are the keeper's while the worker lives; after its death open ones are, too."""
    view = RingView(ring.path)
    first, second, third = (ring.open(opening(f"req_{number}")) for number in range(3))
    before = time.monotonic_ns()
    ring.close(second, closing())
    assert not view.worker_died()
    assert view.waiting(8) == [second]
    [entry] = view.entries(8)
    assert entry.closing == closing()
    assert before <= entry.ended <= time.monotonic_ns()
    ring.close(third, closing())
    die(ring)
    assert view.worker_died()
    assert view.worker_died()
    assert view.waiting(8) == [first, second, third]
    assert [(entry.closing, entry.ended == AT_DEATH) for entry in view.entries(8)] == [
        (None, True),
        (closing(), False),
        (closing(), False),
    ]
    view.acknowledge(first)
    view.acknowledge(third)
    assert (view.waiting(8), view.depth) == ([second], 1)
    view.close()


def test_every_slot_has_its_turn(ring: Ring) -> None:
    """Taken a few at a time and never acknowledged, all closed records come round, whichever is closed in between."""
    for number in range(8):
        ring.close(ring.open(opening(f"req_{number}")), closing())
    view = RingView(ring.path)
    assert [view.waiting(3), view.waiting(3), view.waiting(3)] == [[0, 1, 2], [3, 4, 5], [6, 7, 0]]
    assert view.waiting(8) == [1, 2, 3, 4, 5, 6, 7, 0]
    view.close()


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        (slice(0, 8), b"SOMETHIN", "not a ring"),
        (slice(8, 10), b"\x01\x00", "version 1, this program knows version 2"),
        (slice(12, 16), b"\x09\x00\x00\x00", "contradicts"),
    ],
)
def test_file_of_another_kind_is_refused(ring: Ring, place: slice, value: bytes, reason: str) -> None:
    """A wrong magic, version or geometry raises RingError saying which."""
    ring.open(opening("req_1"))
    ring._map[place] = value
    with pytest.raises(RingError, match=reason):
        RingView(ring.path)


def test_damaged_slot_stops_no_other(ring: Ring, caplog: pytest.LogCaptureFixture) -> None:
    """It is withheld and named by nothing but its error; the records beside it are read."""
    slots = [ring.open(opening(f"req_canary{number}")) for number in range(3)]
    for slot in slots:
        ring.close(slot, closing())
    ring._map[8192 + 1024 + 520 : 8192 + 1024 + 530] = b"\xc1" * 10
    view = RingView(ring.path)
    with caplog.at_level(logging.ERROR):
        assert [entry.slot for entry in view.entries(8)] == [0, 2]
    assert view.withheld == {1}
    assert view.waiting(8) == [0, 2]
    view.close()
    assert "cannot be delivered" in caplog.text
    assert "canary" not in "".join(str(vars(record)) for record in caplog.records)


@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_any_damage_is_counted_and_never_raised(data: st.DataObject) -> None:
    """Random bytes anywhere behind the header: every slot in use is read or counted, nothing else happens."""
    with tempfile.TemporaryDirectory() as folder:
        ring = Ring(Path(folder) / "ring", 8, 1024)
        for number in range(4):
            ring.open(opening(f"req_{number}", 1500 * (number == 1)))
        ring.close(0, closing())
        for _ in range(data.draw(st.integers(1, 8))):
            place = data.draw(st.integers(4096, 4096 + 3) | st.integers(8192, 8192 + 8191))
            ring._map[place] = data.draw(st.integers(0, 255))
        in_use = sum(state not in {0, 3} for state in ring._map[4096 : 4096 + 8])
        view = RingView(ring.path)
        die(ring)
        assert view.worker_died()
        entries, damaged = view.entries(8), len(view.withheld)
        view.close()
    assert len(entries) + damaged == in_use


def test_looking_alters_nothing(ring: Ring) -> None:
    """A view of a ring stores nothing by itself."""
    ring.close(ring.open(opening("req_1", 1500)), closing())
    image = ring.path.read_bytes()
    assert len(held(ring.path)) == 1
    assert ring.path.read_bytes() == image
