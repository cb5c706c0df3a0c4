"""Batches that were refused: set aside and counted, split until one record is alone, and bounded."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from proxy_edge.records.batch_file import REFUSED, Name
from tests.proxy_edge.records.spools import Told, batches, drained, ids, make, text


async def test_a_refused_batch_is_set_aside_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """For the operator, also over the next life; it is never sent again, and its number never given again."""
    told = Told()
    spool = make(tmp_path, tell=told)
    await spool.write(text("a", "b"), 2)
    await spool.next()
    spool.refuse(whole=True)
    (name,) = batches(tmp_path)
    assert name.endswith(f".{REFUSED}")
    assert (tmp_path / "spool" / name).read_bytes() == text("a", "b")
    assert (spool.depth, told.last) == (0, (0, 2, 0))
    assert "a batch is set aside" in caplog.text
    (tmp_path / "spool" / "numbering").unlink()
    again = make(tmp_path, tell=told)
    assert (again.depth, told.last) == (0, (0, 2, 0))
    await again.write(text("c"), 1)
    assert (await again.next()).number == 2


async def test_refused_batches_have_a_tenth_of_the_room_besides(tmp_path: Path) -> None:
    """The oldest go for newer ones, at once and at the next start; what waits stays."""
    told = Told()
    spool = make(tmp_path, tell=told, most=25 * len(text("a")))
    for one in ("a", "b", "c"):
        await spool.write(text(one), 1)
        await spool.next()
        spool.refuse(whole=True)
    await spool.write(text("d"), 1)
    assert told.last == (1, 2, 1)
    again = make(tmp_path, tell=told, most=10 * len(text("a")))
    assert told.last == (1, 1, 1)
    assert [ids((tmp_path / "spool" / name).read_bytes()) for name in batches(tmp_path)] == [["c"], ["d"]]
    assert [ids(one.lines) for one in await drained(again)] == [["d"]]


async def test_one_record_that_is_refused_takes_no_other_along(tmp_path: Path) -> None:
    """Each half is tried for itself, behind what came meanwhile, down to the one record."""
    spool = make(tmp_path)
    wanted = [f"r{number}" for number in range(11)]
    await spool.write(text(*wanted), len(wanted))
    await spool.next()
    await spool.write(text("later"), 1)
    delivered: list[str] = []
    numbers: list[int] = []
    while spool.depth:
        batch = await spool.next()
        numbers.append(batch.number)
        if "r6" in ids(batch.lines):
            spool.refuse(whole=False)
            await spool.write(text(f"meanwhile {batch.number}"), 1)
        else:
            delivered += ids(batch.lines)
            spool.delivered()
    assert {one for one in delivered if one in wanted} == set(wanted) - {"r6"}
    assert len(delivered) == len(set(delivered))
    assert "later" in delivered
    assert numbers == sorted(set(numbers))
    (name,) = batches(tmp_path)
    assert ids((tmp_path / "spool" / name).read_bytes()) == ["r6"]
    assert spool.refused == 1


async def test_a_kill_while_a_batch_is_split_leaves_it_or_its_halves(tmp_path: Path) -> None:
    """Its halves count from the moment on at which it is gone; before that they are nothing."""
    spool = make(tmp_path)
    await spool.write(text("a", "b"), 2)
    (whole,) = batches(tmp_path)
    name = whole[17:33]
    folder = tmp_path / "spool"
    (folder / str(Name.part(2, name, 1))).write_bytes(text("a"))
    (folder / str(Name.part(3, name, 1))).write_bytes(text("b")[:30])
    assert make(tmp_path).depth == 2
    assert batches(tmp_path) == [whole]
    (folder / str(Name.part(4, name, 1))).write_bytes(text("a"))
    (folder / str(Name.part(5, name, 1))).write_bytes(text("b"))
    (folder / whole).unlink()
    again = make(tmp_path)
    await again.next()
    again.refuse(whole=False)  # set aside, being one record
    await again.write(text("c"), 1)
    assert [(one.number, ids(one.lines)) for one in await drained(again)] == [(5, ["b"]), (6, ["c"])]


async def test_a_split_that_fails_leaves_the_batch(tmp_path: Path) -> None:
    """With a disk that is full, for example: all is as before, and it can be tried again."""
    fails = [False]

    def append(descriptor: int, data: bytes) -> int:
        return os.write(descriptor, data[: len(data) // 2]) if fails[0] else os.write(descriptor, data)

    spool = make(tmp_path, append=append)
    await spool.write(text("a", "b", "c", "d"), 4)
    batch = await spool.next()
    fails[0] = True
    with pytest.raises(OSError, match="not all lines"):
        spool.refuse(whole=False)
    assert len(batches(tmp_path)) == 1
    assert (await spool.next(), spool.depth) == (batch, 4)
    fails[0] = False
    spool.refuse(whole=False)
    assert [ids(one.lines) for one in await drained(spool)] == [["a", "b"], ["c", "d"]]
