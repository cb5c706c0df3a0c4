"""The NDJSON sink on real files: whole lines, one writer's trouble never another's, and what it knows afterwards."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from models.errors import ConfigurationError
from models.record import join
from models.record import lines as ndjson
from proxy_edge.records.sink import NdjsonSink
from tests.proxy_edge.records.samples import closing, opening, records


def lines(*numbers: int) -> list[bytes]:
    """Records with these numbers as ids."""
    return ndjson([join(opening(f"req_{number}"), closing()) for number in numbers]).splitlines()


async def hand(sink: NdjsonSink, batch: list[bytes]) -> int:
    """Hands a batch over as the keeper does."""
    return await sink.write(b"".join(text + b"\n" for text in batch), len(batch))


def ids(path: Path) -> list[str]:
    """The ids in a file whose every line is a record."""
    return [record["requestId"] for record in records(path)]


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """The kernel cuts writes off at `size` bytes, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
async def sink(tmp_path: Path) -> AsyncIterator[NdjsonSink]:
    made = NdjsonSink(tmp_path / "records" / "requests.ndjson")
    yield made
    await made.close()


async def test_batch_is_appended_as_lines(sink: NdjsonSink) -> None:
    """Batches follow each other, one record a line, and each says how many it took."""
    assert await hand(sink, lines(1, 2)) == 2
    assert await hand(sink, lines(3)) == 1
    assert ids(sink.path) == ["req_1", "req_2", "req_3"]


async def test_file_and_directory_are_private(sink: NdjsonSink) -> None:
    """The file has mode 600, a directory that we made 700."""
    assert sink.path.stat().st_mode & 0o777 == 0o600
    assert sink.path.parent.stat().st_mode & 0o777 == 0o700


def test_path_that_is_no_file_is_refused(tmp_path: Path) -> None:
    """A directory or a device as the sink is a ConfigurationError at the start."""
    with pytest.raises(ConfigurationError):
        NdjsonSink(tmp_path)
    with pytest.raises(ConfigurationError, match="not a regular file"):
        NdjsonSink(Path(os.devnull))


async def test_full_disk_keeps_whole_lines_only(sink: NdjsonSink) -> None:
    """The lines that fit are accepted and counted, the half one is taken back, the rest comes later."""
    batch = lines(*range(10))
    room = sum(len(text) + 1 for text in batch[:4]) + 100
    with file_size_limit(room):
        assert await hand(sink, batch) == 4
        assert ids(sink.path) == [f"req_{number}" for number in range(4)]
        with pytest.raises(OSError, match="not one whole line"):
            await hand(sink, batch[4:])
        assert ids(sink.path) == [f"req_{number}" for number in range(4)]
    with file_size_limit(sink.path.stat().st_size), pytest.raises(OSError, match="File too large"):
        await hand(sink, batch[4:])
    assert await hand(sink, batch[4:]) == 6
    assert ids(sink.path) == [f"req_{number}" for number in range(10)]


@pytest.mark.parametrize("cut", [0, 1, 200, -1])
async def test_short_write_is_taken_back(tmp_path: Path, cut: int) -> None:
    """A write that ends within a line, even just before its newline, leaves the line to the next batch."""
    batch = lines(1, 2)
    short = [len(batch[0]) + 1 + (cut if cut >= 0 else len(batch[1]))]
    sink = NdjsonSink(
        tmp_path / "r.ndjson",
        write=lambda descriptor, data: os.write(descriptor, data[: short.pop()] if short else data),
    )
    assert await hand(sink, batch) == 1
    assert await hand(sink, batch[1:]) == 1
    assert ids(sink.path) == ["req_1", "req_2"]
    await sink.close()


async def test_disk_without_any_room_accepts_nothing(tmp_path: Path) -> None:
    """ENOSPC reaches the caller and the file is as before."""
    refused: list[OSError] = [OSError(errno.ENOSPC, "No space left on device")]

    def write(descriptor: int, data: bytes) -> int:
        if refused:
            raise refused.pop()
        return os.write(descriptor, data)

    sink = NdjsonSink(tmp_path / "r.ndjson", write=write)
    with pytest.raises(OSError, match="No space") as caught:
        await hand(sink, lines(1))
    assert caught.value.errno == errno.ENOSPC
    assert sink.path.stat().st_size == 0
    assert await hand(sink, lines(1)) == 1
    assert ids(sink.path) == ["req_1"]
    await sink.close()


async def test_unfinished_line_of_a_dead_process_spoils_no_other(sink: NdjsonSink) -> None:
    """What somebody left without a newline ends where it is; the next record has a line of its own."""
    fragment = lines(1)[0][:100]
    with sink.path.open("ab") as file:
        file.write(fragment)
    assert await hand(sink, lines(2)) == 1
    first, second = sink.path.read_bytes().splitlines()
    assert first == fragment
    assert json.loads(second)["requestId"] == "req_2"


async def test_renamed_file_is_left_for_a_new_one(sink: NdjsonSink) -> None:
    """After logrotate moved or removed the file, the next batch goes to a new one of mode 600."""
    await hand(sink, lines(1))
    rotated = sink.path.rename(sink.path.with_name("requests.ndjson.1"))
    sink.mark()
    await hand(sink, lines(2))
    assert ids(rotated) == ["req_1"]
    assert ids(sink.path) == ["req_2"]
    assert sink.path.stat().st_mode & 0o777 == 0o600
    sink.path.unlink()
    sink.mark()
    await hand(sink, lines(3))
    assert ids(sink.path) == ["req_3"]


async def test_many_writers_share_a_file(tmp_path: Path) -> None:
    """Batches of several sinks on one path never run into each other, short writes included."""
    turn = [0]

    def unreliable(descriptor: int, data: bytes) -> int:
        turn[0] += 1
        return os.write(descriptor, data[: len(data) * 2 // 3] if turn[0] % 3 == 0 else data)

    path = tmp_path / "r.ndjson"
    sinks = [NdjsonSink(path, write=unreliable) for _ in range(4)]

    async def deliver(sink: NdjsonSink, first: int) -> None:
        waiting = lines(*range(first, first + 100))
        while waiting:
            with suppress(OSError):  # not one line fitted
                del waiting[: await hand(sink, waiting[:7])]

    await asyncio.gather(*(deliver(sink, 1000 * number) for number, sink in enumerate(sinks)))
    assert sorted(ids(path)) == sorted(
        f"req_{1000 * number + i}" for number in range(len(sinks)) for i in range(100)
    )
    for sink in sinks:
        await sink.close()


async def test_known_finds_what_came_after_the_mark(sink: NdjsonSink) -> None:
    """Ids in the file from the mark on are known; without a mark all of it is searched."""
    await hand(sink, lines(1, 2))
    mark = sink.mark()
    await hand(sink, lines(3, 4))
    asked = {"req_1", "req_3", "req_4", "req_5"}
    assert await sink.known(asked, mark) == {"req_3", "req_4"}
    assert await sink.known(asked, None) == {"req_1", "req_3", "req_4"}


async def test_known_follows_a_renamed_file(sink: NdjsonSink) -> None:
    """The batch is found in the rotated file; where that one is gone, nothing is known."""
    mark = sink.mark()
    await hand(sink, lines(1))
    rotated = sink.path.rename(sink.path.with_name("requests.ndjson-20260101"))
    sink.mark()
    await hand(sink, lines(2))
    assert await sink.known({"req_1", "req_2"}, mark) == {"req_1"}
    rotated.unlink()
    assert await sink.known({"req_1", "req_2"}, mark) == set()


async def test_unfinished_line_is_not_known(sink: NdjsonSink) -> None:
    """A line that begins with an id and breaks off does not count as that record."""
    mark = sink.mark()
    with sink.path.open("ab") as file:
        file.write(lines(1)[0][:-1] + b"\n" + lines(2)[0] + b"\n" + lines(3)[0][:60])
    assert await sink.known({"req_1", "req_2", "req_3"}, mark) == {"req_2"}
