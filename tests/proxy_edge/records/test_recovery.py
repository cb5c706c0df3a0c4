"""What dead workers leave is delivered once, and only what is delivered is deleted."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest

from models.record import line
from proxy_edge.records.recorder import Recorder
from proxy_edge.records.recovery import adopt
from proxy_edge.records.ring import Ring
from proxy_edge.records.sink import NdjsonSink
from tests.proxy_edge.records.samples import ScriptedSink, closing, files, opening, records


def die(ring: Ring) -> None:
    """What the kernel does for a killed worker: the map and the lock go, the file stays."""
    ring._map.close()
    os.close(ring._descriptor)


def start(directory: Path, index: int = 0, **geometry: int) -> Ring:
    """A ring of a worker that finds nothing left over."""
    ring, leftovers = adopt(directory, index, **(geometry or {"slots": 16, "slot_bytes": 1024}))
    assert leftovers == []
    return ring


async def recovered(directory: Path, index: int = 0) -> list[tuple[str, object]]:
    """(id, status) of what a new worker delivers from the directory, in order; it ends cleanly."""
    sink = ScriptedSink()
    ring, leftovers = adopt(directory, index, slots=16, slot_bytes=1024)
    recorder = Recorder(ring, sink, leftovers)
    await recorder.drain()
    assert recorder.depth == 0
    assert await recorder.stop() == 0
    return [(record["requestId"], record["status"]) for record in map(json.loads, sink.lines)]


async def test_orphans_are_unknown_and_closed_ones_are_whole(tmp_path: Path) -> None:
    """A dead worker's records come in the order in which they ended, open ones as `unknown`, and its file goes."""
    ring = start(tmp_path / "ring")
    first = ring.open(opening("req_1", received_at=1000))
    ring.open(opening("req_2", 3000, received_at=1001))
    third = ring.open(opening("req_3", received_at=1002))
    ring.close(third, closing(duration_ms=1))
    ring.close(first, closing(duration_ms=10))
    die(ring)
    assert await recovered(tmp_path / "ring") == [("req_2", "unknown"), ("req_3", 200), ("req_1", 200)]
    assert files(tmp_path / "ring") == []
    assert await recovered(tmp_path / "ring") == []


async def test_any_worker_takes_over_from_any_dead_one(tmp_path: Path) -> None:
    """With fewer workers, or another geometry than before, nothing is left behind; a living ring is left alone."""
    living, dead = start(tmp_path, 0), start(tmp_path, 5, slots=64, slot_bytes=2048)
    living.open(opening("req_living"))
    dead.open(opening("req_dead"))
    die(dead)
    assert await recovered(tmp_path, 1) == [("req_dead", "unknown")]
    assert files(tmp_path) == [living.path.name]
    die(living)
    assert await recovered(tmp_path, 1) == [("req_living", "unknown")]


async def test_leftover_belongs_to_one_start_only(tmp_path: Path) -> None:
    """While one worker delivers a dead one's records, another that starts does not see them."""
    ring = start(tmp_path)
    ring.open(opening("req_1"))
    die(ring)
    mine, found = adopt(tmp_path, 0)
    assert len(found) == 1
    assert await recovered(tmp_path, 1) == []
    found[0].release()
    assert await recovered(tmp_path, 1) == [("req_1", "unknown")]
    mine.dispose()


async def test_what_the_sink_has_already_is_not_delivered_again(tmp_path: Path) -> None:
    """A worker that died between the write and the freeing of its slots, also if the file was rotated since."""
    for rotate in (False, True):
        path = tmp_path / f"requests-{rotate}.ndjson"
        sink = NdjsonSink(path)
        ring = start(tmp_path / "ring")
        for number in range(4):
            ring.close(ring.open(opening(f"req_{number}")), closing())
        ring.mark(sink.mark())
        await sink.write([line(opening(f"req_{number}"), closing()) for number in range(3)])
        await sink.close()
        die(ring)
        rotated = path.rename(path.with_name(path.name + ".1")) if rotate else None
        ring, leftovers = adopt(tmp_path / "ring", 0)
        recorder = Recorder(ring, NdjsonSink(path), leftovers)
        assert await recorder.stop() == 0
        written = [*(records(rotated) if rotated else []), *records(path)]
        assert [record["requestId"] for record in written] == [f"req_{number}" for number in range(4)]


async def test_death_while_delivering_a_leftover_repeats_nothing(tmp_path: Path) -> None:
    """One who dies half way through a dead worker's records leaves the rest, and only the rest."""
    ring = start(tmp_path / "ring", slots=32, slot_bytes=1024)
    for number in range(20):
        ring.close(ring.open(opening(f"req_{number:02}")), closing())
    die(ring)
    path = tmp_path / "requests.ndjson"
    second, (leftover,) = adopt(tmp_path / "ring", 0)
    sink = NdjsonSink(path)
    leftover.keep_mark(sink.mark())
    await sink.write([line(entry.opening, entry.closing) for entry in leftover.entries[:8]])
    leftover.delivered({entry.slot for entry in leftover.entries[:5]})
    leftover.release()
    await sink.close()
    second.dispose()

    third, leftovers = adopt(tmp_path / "ring", 0)
    assert len(leftovers[0].entries) == 15
    recorder = Recorder(third, NdjsonSink(path), leftovers)
    assert await recorder.stop() == 0
    assert [record["requestId"] for record in records(path)] == [f"req_{number:02}" for number in range(20)]


async def test_ring_of_another_version_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It keeps every byte under another name, the log says why, and the worker starts."""
    ring = start(tmp_path)
    ring.open(opening("req_1"))
    ring._map[8:10] = b"\x09\x00"
    image = ring.path.read_bytes()
    die(ring)
    with caplog.at_level(logging.ERROR):
        assert await recovered(tmp_path) == []
    assert files(tmp_path) == [f"{ring.path.name}.unreadable"]
    assert (tmp_path / f"{ring.path.name}.unreadable").read_bytes() == image
    assert [vars(record)["reason"] for record in caplog.records] == [
        "version 9, this program knows version 1"
    ]


async def test_damaged_slot_keeps_the_file_and_not_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What can be read is delivered; the file stays aside for what cannot."""
    ring = start(tmp_path)
    for number in range(3):
        ring.open(opening(f"req_{number}"))
    ring._map[4096 + 1] = 77
    die(ring)
    assert await recovered(tmp_path) == [("req_0", "unknown"), ("req_2", "unknown")]
    (aside,) = files(tmp_path)
    assert aside.endswith(".unreadable")


@pytest.mark.parametrize("size", [0, 100, 4096, 20_000])
async def test_ring_whose_maker_died_at_once_is_deleted(tmp_path: Path, size: int) -> None:
    """A file without a header never held a record."""
    (tmp_path / "ring-0-00000000.mmap").write_bytes(bytes(size))
    assert await recovered(tmp_path) == []
    assert files(tmp_path) == []


def test_directory_is_private(tmp_path: Path) -> None:
    """It is made with mode 700."""
    ring = start(tmp_path / "ring")
    assert (tmp_path / "ring").stat().st_mode & 0o777 == 0o700
    ring.dispose()
