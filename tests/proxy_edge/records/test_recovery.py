"""The directory of rings: every worker gets a fresh one, the keeper finds all, and only what is delivered is deleted."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from models.record import join, lines
from proxy_edge.records.keeper import Keeper
from proxy_edge.records.mark import MarkFile
from proxy_edge.records.recovery import find_rings, make_ring
from proxy_edge.records.ring import Ring
from proxy_edge.records.sink import NdjsonSink
from proxy_edge.records.view import RingView
from tests.proxy_edge.records.samples import ScriptedSink, closing, die, files, held, opening, records


def start(directory: Path, index: int = 0, slots: int = 16, slot_bytes: int = 1024) -> Ring:
    """A ring of a worker."""
    return make_ring(directory, index, slots=slots, slot_bytes=slot_bytes)


async def recovered(directory: Path) -> list[tuple[str, object]]:
    """(id, status) of what a new keeper delivers from the directory, in order; it ends cleanly."""
    sink = ScriptedSink()
    keeper = Keeper(directory, MarkFile(directory.with_suffix(".mark")), sink)
    while await keeper.sweep():
        pass
    assert keeper.depth == 0
    assert await keeper.stop() == 0
    return [(record["requestId"], record["status"]) for record in map(json.loads, sink.lines)]


async def test_orphans_are_unknown_and_closed_ones_are_whole(tmp_path: Path) -> None:
    """A dead worker's records come in the order in which they ended, open ones last as `unknown`, and its file goes."""
    ring = start(tmp_path / "ring")
    first = ring.open(opening("req_1"))
    ring.open(opening("req_2", 3000))
    third = ring.open(opening("req_3"))
    ring.close(third, closing())
    ring.close(first, closing())
    die(ring)
    assert await recovered(tmp_path / "ring") == [("req_3", 200), ("req_1", 200), ("req_2", "unknown")]
    assert files(tmp_path / "ring") == []
    assert await recovered(tmp_path / "ring") == []


async def test_rings_of_any_geometry_are_found(tmp_path: Path) -> None:
    """With fewer workers, or another geometry than before, nothing is left behind; a living ring is left alone."""
    directory = tmp_path / "ring"
    living, dead = start(directory, 0), start(directory, 5, slots=64, slot_bytes=2048)
    living.open(opening("req_living"))
    dead.open(opening("req_dead"))
    die(dead)
    assert await recovered(directory) == [("req_dead", "unknown")]
    assert files(directory) == [living.path.name]
    assert list(held(living.path).values()) == [(opening("req_living"), None)]
    die(living)
    assert await recovered(directory) == [("req_living", "unknown")]


def test_ring_is_found_once(tmp_path: Path) -> None:
    """Those that are known are not opened again, and what is no ring is not looked at."""
    assert find_rings(tmp_path / "ring", ()) == []
    first = start(tmp_path / "ring", 0)
    (tmp_path / "ring" / "ring-notes.txt").touch()
    (tmp_path / "ring" / "ring-0-0.mmap.unreadable").touch()
    [found] = find_rings(tmp_path / "ring", ())
    assert found.path == first.path
    second = start(tmp_path / "ring", 0)
    [other] = find_rings(tmp_path / "ring", {found.path})
    assert other.path == second.path != first.path
    for view in (found, other):
        view.close()
    for ring in (first, second):
        ring.dispose()


async def test_what_the_sink_has_already_is_not_delivered_again(tmp_path: Path) -> None:
    """A keeper that died between the write and its acknowledgements, also if the file was rotated since."""
    for rotate in (False, True):
        path = tmp_path / f"requests-{rotate}.ndjson"
        sink, mark = NdjsonSink(path), MarkFile(tmp_path / "mark")
        ring = start(tmp_path / "ring")
        for number in range(4):
            ring.close(ring.open(opening(f"req_{number}")), closing())
        view = RingView(ring.path)
        written = [join(entry.opening, entry.closing) for entry in view.entries(3)]
        view.close()
        mark.store(sink.mark())
        await sink.write(lines(written), 3)
        await sink.close()
        mark.close()
        die(ring)
        rotated = path.rename(path.with_name(path.name + ".1")) if rotate else None
        keeper = Keeper(tmp_path / "ring", MarkFile(tmp_path / "mark"), NdjsonSink(path))
        assert await keeper.stop() == 0
        found = [*(records(rotated) if rotated else []), *records(path)]
        assert [record["requestId"] for record in found] == [f"req_{number}" for number in range(4)]


async def test_ring_of_another_version_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It keeps every byte under another name and the log says why; not before its worker is dead."""
    directory = tmp_path / "ring"
    ring = start(directory)
    ring.open(opening("req_1"))
    ring._map[8:10] = b"\x09\x00"
    image = ring.path.read_bytes()
    assert await recovered(directory) == []
    assert files(directory) == [ring.path.name]
    die(ring)
    with caplog.at_level(logging.ERROR):
        assert await recovered(directory) == []
    assert files(directory) == [f"{ring.path.name}.unreadable"]
    assert (directory / f"{ring.path.name}.unreadable").read_bytes() == image
    assert [vars(record)["reason"] for record in caplog.records] == [
        "version 9, this program knows version 2"
    ]


async def test_damaged_slot_keeps_the_file_and_not_the_others(tmp_path: Path) -> None:
    """What can be read is delivered; the file stays aside for what cannot."""
    directory = tmp_path / "ring"
    ring = start(directory)
    for number in range(3):
        ring.open(opening(f"req_{number}"))
    ring._map[4096 + 1] = 77
    die(ring)
    assert await recovered(directory) == [("req_0", "unknown"), ("req_2", "unknown")]
    (aside,) = files(directory)
    assert aside.endswith(".unreadable")


@pytest.mark.parametrize("size", [0, 100, 4096, 20_000])
async def test_ring_whose_maker_died_at_once_is_deleted(tmp_path: Path, size: int) -> None:
    """A file without a header never held a record."""
    directory = tmp_path / "ring"
    directory.mkdir()
    (directory / "ring-0-00000000.mmap").write_bytes(bytes(size))
    assert await recovered(directory) == []
    assert files(directory) == []


def test_directory_is_private(tmp_path: Path) -> None:
    """It is made with mode 700."""
    ring = start(tmp_path / "ring")
    assert (tmp_path / "ring").stat().st_mode & 0o777 == 0o700
    ring.dispose()
