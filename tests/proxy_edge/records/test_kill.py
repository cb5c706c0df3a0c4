"""Invariant 9 against the real thing: workers and keeper killed with SIGKILL wherever they happen to be, again and again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from models.planes.records import Batch
from proxy_edge.records.delivery import spool_directory
from proxy_edge.records.keeper import Keeper, records_file, ring_directory
from proxy_edge.records.mark import MarkFile
from proxy_edge.records.sink import NdjsonSink
from proxy_edge.records.spool import SpoolSink
from tests.proxy_edge.records.control import Control
from tests.proxy_edge.records.deaths import check, deaths
from tests.proxy_edge.records.samples import files


async def test_killed_workers_and_keepers_lose_and_repeat_no_record(tmp_path: Path) -> None:
    """With the local file: every record is in it once."""
    path = records_file(tmp_path)
    names = deaths(tmp_path, "busy_keeper.py", lambda: path.stat().st_size if path.exists() else 0, 200_000)
    keeper = Keeper(ring_directory(tmp_path), MarkFile(tmp_path / "keeper.mark"), NdjsonSink(path))
    assert await keeper.stop(deadline=60) == 0
    assert files(ring_directory(tmp_path)) == []
    check(tmp_path, names, whole(path.read_bytes()))


def whole(text: bytes) -> Iterator[dict[str, Any]]:
    """The records, but those that were cut off by a kill inside the write: they come whole later."""
    for line in text.splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue


async def test_killed_shippers_lose_and_repeat_no_record_either(tmp_path: Path) -> None:
    """With spool and recorder: every record is in one batch, and a batch that came again was the same.

    The recorder takes batches, forgets to say so, is away, and refuses what has more than one record; it finds
    nothing that it has twice.
    """
    control = Control(tmp_path)
    names = deaths(tmp_path, "busy_spooler.py", control.size, 50_000)
    keeper_left = Keeper(
        ring_directory(tmp_path),
        MarkFile(tmp_path / "keeper.mark"),
        SpoolSink(spool_directory(tmp_path), "edge-1", most=1 << 30),
    )
    assert await keeper_left.stop(deadline=60) == 0
    assert files(ring_directory(tmp_path)) == []
    spool = SpoolSink(spool_directory(tmp_path), "edge-1", most=1 << 30)
    assert spool.refused == 0
    while spool.depth:
        control.keep(msgspec.msgpack.encode(await spool.next()))
        spool.delivered()
    assert control.contradictions() == []
    batches = [msgspec.msgpack.decode(text, type=Batch) for text in control.batches()]
    assert len({batch.source for batch in batches}) == 1
    check(tmp_path, names, (json.loads(line) for batch in batches for line in batch.lines.splitlines()))
