"""The ring over real mapped files: any operations against a model, and a death at any store."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from models.errors import RingFull
from models.record import Closing, Opening
from proxy_edge.records.ring import CLOSED, Contents, Ring, RingError, read
from tests.proxy_edge.records.samples import closing, opening


def contents(path: Path) -> Contents:
    """What the file holds at this moment."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return read(descriptor)
    finally:
        os.close(descriptor)


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[Ring]:
    made = Ring(tmp_path / "ring", 8, 1024)
    yield made
    with contextlib.suppress(ValueError, OSError):
        made.dispose()


def test_record_is_in_the_file_when_open_returns(ring: Ring) -> None:
    """Another reader of the file sees the opening at once, and the closing once it is closed."""
    slot = ring.open(opening("req_1"))
    assert contents(ring.path).entries == [(slot, opening("req_1"), None)]
    ring.close(slot, closing())
    assert contents(ring.path).entries == [(slot, opening("req_1"), closing())]
    ring.free(slot)
    assert contents(ring.path).entries == []
    assert ring.used == 0


@pytest.mark.parametrize("size", [100, 300, 400, 512, 1024, 2040, 5000])
def test_long_record_takes_more_slots_and_loses_nothing(ring: Ring, size: int) -> None:
    """A query or closing longer than a slot comes back whole, and its slots are free again afterwards."""
    slot = ring.open(opening("req_1", size))
    ring.close(slot, closing(min(size, 1000)))
    assert contents(ring.path).entries == [(slot, opening("req_1", size), closing(min(size, 1000)))]
    ring.free(slot)
    assert ring.used == 0


def test_full_ring_refuses_and_keeps_what_it_has(ring: Ring) -> None:
    """One record too many raises RingFull, as does one that is too long for what is free; nothing else changes."""
    slots = [ring.open(opening(f"req_{number}")) for number in range(7)]
    with pytest.raises(RingFull):
        ring.open(opening("long", 3000))
    assert ring.used == 7
    slots.append(ring.open(opening("req_7")))
    with pytest.raises(RingFull):
        ring.open(opening("req_8"))
    assert [entry.opening.request_id for entry in contents(ring.path).entries] == [
        f"req_{number}" for number in range(8)
    ]
    ring.free(slots[3])
    assert ring.open(opening("req_8")) == slots[3]


def test_closing_never_fails_for_want_of_a_slot(ring: Ring) -> None:
    """A closing that needs a second slot of a full ring leaves the record open in the file."""
    slots = [ring.open(opening(f"req_{number}")) for number in range(8)]
    ring.close(slots[0], closing(2000))
    assert contents(ring.path).entries[0].closing is None
    ring.free(slots[0])
    assert ring.used == 7


def test_opening_that_cannot_be_encoded_takes_no_slot(ring: Ring) -> None:
    """The caller's mistake costs nothing."""
    with pytest.raises(TypeError):
        ring.open(msgspec.structs.replace(opening("req_1"), decision=object()))
    assert ring.used == 0


def test_file_is_private_locked_and_has_its_blocks(ring: Ring) -> None:
    """Mode 600, a lock that nobody else gets, and no holes that a full disk could turn into SIGBUS."""
    status = ring.path.stat()
    assert status.st_mode & 0o777 == 0o600
    assert status.st_blocks * 512 >= status.st_size
    descriptor = os.open(ring.path, os.O_RDWR)
    with pytest.raises(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)


def test_ring_that_has_no_room_is_not_made(tmp_path: Path) -> None:
    """Where the file cannot have its size, OSError says so and no file stays."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            Ring(tmp_path / "ring", 64, 4096)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_empty_ring_is_deleted_and_any_other_stays(tmp_path: Path) -> None:
    """Disposing of a ring deletes its file only when nothing is in it."""
    empty, used = Ring(tmp_path / "empty", 8, 1024), Ring(tmp_path / "used", 8, 1024)
    used.open(opening("req_1"))
    empty.dispose()
    used.dispose()
    assert list(tmp_path.iterdir()) == [tmp_path / "used"]
    assert contents(tmp_path / "used").entries == [(0, opening("req_1"), None)]


def test_mark_is_kept(ring: Ring) -> None:
    """The sink's mark comes back; none given is an empty one; a spoilt one is None."""
    assert contents(ring.path).mark == b""
    ring.mark(b"somewhere")
    assert contents(ring.path).mark == b"somewhere"
    ring.mark(b"m" * 248)
    assert contents(ring.path).mark == b"m" * 248
    with pytest.raises(ValueError, match="too long"):
        ring.mark(b"m" * 249)
    ring._map[80] = 0
    assert contents(ring.path).mark is None


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        (slice(0, 8), b"SOMETHIN", "not a ring"),
        (slice(8, 10), b"\x02\x00", "version 2, this program knows version 1"),
        (slice(12, 16), b"\x09\x00\x00\x00", "contradicts"),
    ],
)
def test_file_of_another_kind_is_refused(ring: Ring, place: slice, value: bytes, reason: str) -> None:
    """A wrong magic, version or geometry raises RingError saying which."""
    ring.open(opening("req_1"))
    ring._map[place] = value
    with pytest.raises(RingError, match=reason):
        contents(ring.path)


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
        in_use = sum(state != 0 for state in ring._map[4096 : 4096 + 8])
        found = contents(ring.path)
        ring.dispose()
    assert len(found.entries) + found.damaged == in_use


class AnyOperations(RuleBasedStateMachine):
    """Opens, closes and frees records of any length; the file must always say what a dictionary says."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.ring = Ring(Path(self.folder.name) / "ring", 6, 1024)
        self.model: dict[int, tuple[Opening, Closing | None]] = {}
        self.ended: set[int] = set()
        self.number = 0

    def teardown(self) -> None:
        self.ring.dispose()
        self.folder.cleanup()

    @rule(size=st.integers(0, 200) | st.integers(0, 4000))
    def open(self, size: int) -> None:
        self.number += 1
        made = opening(f"req_{self.number}", size)
        rest = len(msgspec.msgpack.encode(made)) + 8 - 512
        needed = 1 + max(0, -(-rest // 1020))
        if needed > self.ring.capacity - self.ring.used:
            with pytest.raises(RingFull):
                self.ring.open(made)
        else:
            slot = self.ring.open(made)
            assert slot not in self.model
            self.model[slot] = made, None

    @precondition(lambda self: self.model.keys() - self.ended)
    @rule(data=st.data(), size=st.integers(0, 100) | st.integers(0, 1500))
    def close(self, data: st.DataObject, size: int) -> None:
        slot = data.draw(st.sampled_from(sorted(self.model.keys() - self.ended)))
        made = closing(size)
        rest = len(msgspec.msgpack.encode(made)) + 8 - 512
        fits = max(0, -(-rest // 1020)) <= self.ring.capacity - self.ring.used
        self.ring.close(slot, made)
        self.ended.add(slot)
        self.model[slot] = self.model[slot][0], made if fits else None

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.model)))
        self.ring.free(slot)
        self.ended.discard(slot)
        del self.model[slot]

    @invariant()
    def file_says_the_same(self) -> None:
        found = contents(self.ring.path)
        assert found.damaged == 0
        assert {slot: (opened, closed) for slot, opened, closed in found.entries} == self.model


AnyOperations.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
test_any_operations = AnyOperations.TestCase
test_any_operations.__doc__ = AnyOperations.__doc__


class Stores:
    """Every store into a map, in order."""

    def __init__(self, target: mmap.mmap) -> None:
        self.target = target
        self.made: list[tuple[int, bytes]] = []

    def __setitem__(self, place: Any, value: Any) -> None:
        if isinstance(place, int):
            self.made.append((place, bytes([value])))
        else:
            self.made.append((place.start or 0, bytes(value)))
        self.target[place] = value

    def close(self) -> None:
        self.target.close()


@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_death_at_any_store_leaves_each_record_as_before_or_after(data: st.DataObject) -> None:
    """A death inside any store, whichever of its bytes were written: every other record is untouched."""
    sizes = st.integers(0, 200) | st.integers(0, 2500)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ring"
        ring = Ring(path, 6, 1024)
        ring._map = stores = Stores(ring._map)
        live: dict[int, bool] = {}

        def step(name: str) -> None:
            if name == "open":
                with contextlib.suppress(RingFull):
                    live[ring.open(opening(data.draw(st.uuids()).hex, data.draw(sizes)))] = False
            elif name == "close" and (slots := [slot for slot, done in live.items() if not done]):
                slot = data.draw(st.sampled_from(slots))
                ring.close(slot, closing(data.draw(sizes)))
                live[slot] = True
            elif name == "free" and live:
                slot = data.draw(st.sampled_from(list(live)))
                ring.free(slot)
                del live[slot]
            elif name == "mark":
                ring.mark(data.draw(st.binary(max_size=60)))

        for name in data.draw(st.lists(st.sampled_from(["open", "open", "close", "free"]), max_size=12)):
            step(name)
        image, before = path.read_bytes(), contents(path)
        stores.made.clear()
        step(data.draw(st.sampled_from(["open", "close", "free", "mark"])))
        after = contents(path)

        cut = data.draw(st.integers(0, len(stores.made)))
        torn = bytearray(image)
        for place, value in stores.made[:cut]:
            torn[place : place + len(value)] = value
        if cut < len(stores.made):
            place, value = stores.made[cut]
            if len(value) > 1:  # a store of one byte is whole or not there
                mask = data.draw(st.binary(min_size=len(value), max_size=len(value)))
                for at, byte in enumerate(value):
                    if mask[at] & 1:
                        torn[place + at] = byte
        path.write_bytes(torn)
        found = contents(path)
        ring.dispose()
    assert found.damaged == 0
    assert found.entries in (before.entries, after.entries)
    assert found.mark in {before.mark, after.mark, None}


def test_state_byte_is_written_last(ring: Ring) -> None:
    """The store that makes an opening or a closing count is a single byte, after all others."""
    ring._map = stores = Stores(ring._map)
    slot = ring.open(opening("req_1", 1500))
    ring.close(slot, closing(900))
    assert [len(value) for _, value in stores.made].count(1) == 2
    assert stores.made[-1] == (4096 + slot, bytes([CLOSED]))
