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

from models.errors import ExeatError, RingFull
from models.record import Closing, Opening
from proxy_edge.records.ring import ACKED, CLOSED, Ring
from tests.proxy_edge.records.samples import acknowledge, closing, contents, die, held, opening


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[Ring]:
    made = Ring(tmp_path / "ring", 8, 1024)
    yield made
    with contextlib.suppress(ValueError, OSError):
        made.dispose()


def test_record_is_in_the_file_when_open_returns(ring: Ring) -> None:
    """Another reader of the file sees the opening at once, and the closing once it is closed."""
    slot = ring.open(opening("req_1"))
    assert held(ring.path) == {slot: (opening("req_1"), None)}
    assert ring.depth == 0
    ring.close(slot, closing())
    assert held(ring.path) == {slot: (opening("req_1"), closing())}
    assert ring.depth == 1
    acknowledge(ring.path, slot)
    assert held(ring.path) == {}
    assert (ring.depth, ring.used) == (0, 1)
    ring.reclaim()
    assert ring.used == 0


@pytest.mark.parametrize("size", [100, 300, 400, 512, 1024, 2040, 5000])
def test_long_record_takes_more_slots_and_loses_nothing(ring: Ring, size: int) -> None:
    """A query or closing longer than a slot comes back whole, and its slots are free again afterwards."""
    slot = ring.open(opening("req_1", size))
    ring.close(slot, closing(min(size, 1000)))
    assert held(ring.path) == {slot: (opening("req_1", size), closing(min(size, 1000)))}
    acknowledge(ring.path, slot)
    ring.reclaim()
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
    assert [opened.request_id for opened, _ in held(ring.path).values()] == [
        f"req_{number}" for number in range(8)
    ]
    ring.discard(slots[3])
    assert ring.open(opening("req_8")) == slots[3]


def test_full_ring_finds_what_was_acknowledged_by_itself(ring: Ring) -> None:
    """Nobody has to ask for it: the opening that finds no free slot looks for acknowledged ones."""
    for number in range(8):
        ring.close(ring.open(opening(f"req_{number}")), closing())
    with pytest.raises(RingFull):
        ring.open(opening("req_8"))
    acknowledge(ring.path, 2, 5)
    assert {ring.open(opening("req_8")), ring.open(opening("req_9"))} == {2, 5}
    with pytest.raises(RingFull):
        ring.open(opening("req_10"))


def test_closing_without_room_leaves_the_record_open(ring: Ring) -> None:
    """A closing that needs a second slot of a full ring raises RingFull, and can be given again later."""
    slots = [ring.open(opening(f"req_{number}")) for number in range(8)]
    with pytest.raises(RingFull):
        ring.close(slots[0], closing(1000))
    assert held(ring.path)[slots[0]] == (opening("req_0"), None)
    ring.discard(slots[1])
    ring.close(slots[0], closing(500))
    assert held(ring.path)[slots[0]] == (opening("req_0"), closing(500))
    acknowledge(ring.path, slots[0])
    ring.reclaim()
    assert ring.used == 6


@pytest.mark.parametrize("state", ["free", "closed", "acknowledged"])
def test_what_is_not_open_cannot_end(ring: Ring, state: str) -> None:
    """Closing and discarding raise ExeatError and change nothing, whatever the slot is."""
    slot = ring.open(opening("req_1"))
    if state == "free":
        ring.discard(slot)
    else:
        ring.close(slot, closing())
    if state == "acknowledged":
        acknowledge(ring.path, slot)
    image = ring.path.read_bytes()
    for end in (lambda: ring.close(slot, closing()), lambda: ring.discard(slot)):
        with pytest.raises(ExeatError, match="not open"):
            end()
    assert ring.path.read_bytes() == image


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
    """Disposing of a ring deletes its file only when nothing is in it, and tells how many records are open."""
    rings = {name: Ring(tmp_path / name, 8, 1024) for name in ("empty", "delivered", "closed", "open")}
    slot = rings["delivered"].open(opening("req_1"))
    rings["delivered"].close(slot, closing())
    acknowledge(tmp_path / "delivered", slot)
    rings["closed"].close(rings["closed"].open(opening("req_2")), closing())
    rings["open"].open(opening("req_3"))
    assert {name: made.dispose() for name, made in rings.items()} == {
        "empty": 0,
        "delivered": 0,
        "closed": 0,
        "open": 1,
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["closed", "open"]
    assert held(tmp_path / "open") == {0: (opening("req_3"), None)}


class AnyOperations(RuleBasedStateMachine):
    """Opens, ends, delivers and reclaims records of any length; the file must always say what a dictionary says."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.ring = Ring(Path(self.folder.name) / "ring", 6, 1024)
        self.model: dict[int, tuple[Opening, Closing | None]] = {}
        self.slots: dict[int, int] = {}
        self.number = 0

    def teardown(self) -> None:
        self.ring.dispose()
        self.folder.cleanup()

    def fits(self, made: Opening | Closing, room: int, more: int) -> int:
        """How many free slots it takes, -1 when there are not so many. more: 1 when the first one is among them."""
        rest = len(msgspec.msgpack.encode(made)) + 8 - room
        needed = more + max(0, -(-rest // 1020))
        return needed if needed <= 6 - sum(self.slots.values()) else -1

    def drawn(self, data: st.DataObject, *, ended: bool) -> int:
        return data.draw(
            st.sampled_from(sorted(slot for slot, (_, end) in self.model.items() if bool(end) is ended))
        )

    @rule(size=st.integers(0, 200) | st.integers(0, 4000))
    def open(self, size: int) -> None:
        self.number += 1
        made = opening(f"req_{self.number}", size)
        needed = self.fits(made, 512, 1)
        if needed < 0:
            with pytest.raises(RingFull):
                self.ring.open(made)
        else:
            slot = self.ring.open(made)
            assert slot not in self.model
            self.model[slot], self.slots[slot] = (made, None), needed

    @precondition(lambda self: any(not end for _, end in self.model.values()))
    @rule(data=st.data(), size=st.integers(0, 100) | st.integers(0, 1500))
    def close(self, data: st.DataObject, size: int) -> None:
        slot = self.drawn(data, ended=False)
        made = closing(size)
        needed = self.fits(made, 504, 0)
        if needed < 0:
            with pytest.raises(RingFull):
                self.ring.close(slot, made)
        else:
            self.ring.close(slot, made)
            self.model[slot] = self.model[slot][0], made
            self.slots[slot] += needed

    @precondition(lambda self: any(not end for _, end in self.model.values()))
    @rule(data=st.data())
    def discard(self, data: st.DataObject) -> None:
        slot = self.drawn(data, ended=False)
        self.ring.discard(slot)
        del self.model[slot], self.slots[slot]

    @precondition(lambda self: any(end for _, end in self.model.values()))
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        slot = self.drawn(data, ended=True)
        acknowledge(self.ring.path, slot)
        del self.model[slot], self.slots[slot]

    @rule()
    def reclaim(self) -> None:
        self.ring.reclaim()
        assert self.ring.used == sum(self.slots.values())

    @invariant()
    def file_says_the_same(self) -> None:
        assert held(self.ring.path) == self.model
        assert self.ring.depth == sum(end is not None for _, end in self.model.values())


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

    def __getitem__(self, place: Any) -> Any:
        return self.target[place]


@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_death_at_any_store_leaves_each_record_as_before_or_after(data: st.DataObject) -> None:
    """A death inside any store, whichever of its bytes were written: every other record is untouched."""
    sizes = st.integers(0, 200) | st.integers(0, 2500)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ring"
        ring = Ring(path, 6, 1024)
        ring._map = stores = Stores(ring._map)
        live: dict[int, str] = {}

        def step(name: str) -> None:
            if name == "open":
                with contextlib.suppress(RingFull):
                    live[ring.open(opening(data.draw(st.uuids()).hex, data.draw(sizes)))] = "open"
                return
            if name == "reclaim":
                ring.reclaim()
                return
            wanted = "closed" if name == "deliver" else "open"
            if slots := sorted(slot for slot, state in live.items() if state == wanted):
                slot = data.draw(st.sampled_from(slots))
                if name == "close":
                    with contextlib.suppress(RingFull):
                        ring.close(slot, closing(data.draw(sizes)))
                        live[slot] = "closed"
                elif name == "discard":
                    ring.discard(slot)
                    del live[slot]
                else:
                    acknowledge(path, slot)
                    del live[slot]

        steps = ["open", "open", "close", "close", "discard", "deliver", "reclaim"]
        for name in data.draw(st.lists(st.sampled_from(steps), max_size=14)):
            step(name)
        image, before = path.read_bytes(), held(path)
        stores.made.clear()
        step(data.draw(st.sampled_from(["open", "close", "discard", "reclaim"])))
        after = held(path)

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
        found, damaged = contents(path)
        ring.dispose()
    assert damaged == 0
    assert found in (before, after)


def test_state_byte_is_written_last(ring: Ring) -> None:
    """The store that makes an opening or a closing count is a single byte, after all others."""
    ring._map = stores = Stores(ring._map)
    slot = ring.open(opening("req_1", 1500))
    ring.close(slot, closing(900))
    assert [len(value) for _, value in stores.made].count(1) == 2
    assert stores.made[-1] == (4096 + slot, bytes([CLOSED]))


def test_worker_touches_nothing_that_is_the_keepers(ring: Ring) -> None:
    """Whatever the worker does, no byte of a closed record, its further slots included, is stored to."""
    slot = ring.open(opening("req_1", 1500))
    ring.close(slot, closing(900))
    mine = {4096 + slot, *ring._chains[slot], slot}
    ring._map = stores = Stores(ring._map)
    for turn in range(3):
        slots = [ring.open(opening(f"req_{turn}", size)) for size in (0, 0, 100)]
        ring.close(slots[0], closing())
        ring.discard(slots[1])
        ring.close(slots[2], closing())
        acknowledge(ring.path, slots[0], slots[2])
        ring.reclaim()
    data_at = 8192
    touched = {place for place, _ in stores.made if place < data_at}
    touched |= {(place - data_at) // 1024 for place, _ in stores.made if place >= data_at}
    assert not touched & mine


def test_slot_is_reused_only_after_it_was_acknowledged(ring: Ring) -> None:
    """Closed slots are not handed out, however often the worker looks; an acknowledged one that died with it counts as free."""
    kept = ring.open(opening("req_kept"))
    ring.close(kept, closing())
    for number in range(100):
        slot = ring.open(opening(f"req_{number}"))
        assert slot != kept
        ring.close(slot, closing())
        acknowledge(ring.path, slot)
    ring._map[4096 + kept] = ACKED
    path = ring.path
    die(ring)
    assert held(path) == {}
