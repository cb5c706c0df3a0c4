"""The spool: records become numbered batches that never change once handed out, over deaths, full disks and operators."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import ConfigurationError
from models.planes.records import Batch
from proxy_edge.records import spool as module
from proxy_edge.records.batch_file import WAITING, Name
from tests.proxy_edge.records.spools import HOST, Told, batches, drained, ids, make, text


async def test_records_become_a_batch_that_goes_when_it_is_delivered(tmp_path: Path) -> None:
    """Numbered from 1, named after host and spool; in private files."""
    told = Told()
    spool = make(tmp_path, tell=told)
    assert told.last == (0, 0, 0)
    assert await spool.write(text("a", "b"), 2) == 2
    assert (spool.depth, told.last) == (2, (2, 0, 0))
    batch = await spool.next()
    assert (batch.number, batch.lines) == (1, text("a", "b"))
    host, _, name = batch.source.partition("/")
    assert (host, len(name)) == (HOST, 16)
    (file,) = batches(tmp_path)
    assert file == f"{1:016d}-{name}.ndjson"
    assert stat.S_IMODE((tmp_path / "spool").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "spool" / file).stat().st_mode) == 0o600
    assert await spool.next() == batch  # until it is said what became of it
    spool.delivered()
    assert (batches(tmp_path), spool.depth, told.last) == ([], 0, (0, 0, 0))


async def test_a_batch_grows_until_it_is_handed_out(tmp_path: Path) -> None:
    """So that what gathers while nothing can be sent is sent quickly then."""
    spool = make(tmp_path)
    for one in ("a", "b", "c"):
        await spool.write(text(one), 1)
    assert ids((await spool.next()).lines) == ["a", "b", "c"]
    await spool.write(text("d"), 1)
    await spool.write(text("e"), 1)
    assert ids((await spool.next()).lines) == ["a", "b", "c"]
    assert [ids(one.lines) for one in await drained(spool)] == [["a", "b", "c"], ["d", "e"]]


async def test_next_waits_for_a_record(tmp_path: Path) -> None:
    """And comes with the first one."""
    spool = make(tmp_path)
    waiting = asyncio.ensure_future(spool.next())
    await asyncio.sleep(0)
    assert not waiting.done()
    await spool.write(text("a"), 1)
    assert ids((await waiting).lines) == ["a"]


@settings(max_examples=60)
@given(
    st.lists(
        st.lists(st.sampled_from([0, 0, 600, 3_000]), min_size=1, max_size=6)
        | st.sampled_from(["next", "delivered", "killed"]),
        max_size=12,
    )
)
async def test_batches_have_bounds_and_rising_numbers_whatever_comes(
    tmp_path_factory: pytest.TempPathFactory, script: list[list[int] | str]
) -> None:
    """Every record comes out once, in order; a record longer than a batch has one for itself; no batch changes."""
    folder = tmp_path_factory.mktemp("spool")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_RECORDS", 3)
        patch.setattr(module, "MOST_BYTES", 2_000)
        spool, written, out, handed = make(folder), [], list[Batch](), dict[int, Batch]()
        for step in script:
            if isinstance(step, list):
                texts = [text(f"r{len(written) + place}", size=size) for place, size in enumerate(step)]
                written += [f"r{len(written) + place}" for place in range(len(texts))]
                while texts:
                    taken = await spool.write(b"".join(texts), len(texts))
                    assert taken >= 1
                    del texts[:taken]
            elif step == "killed":
                spool = make(folder)
            elif spool.depth:
                one = await spool.next()
                assert handed.setdefault(one.number, one) == one
                if step == "delivered":
                    out.append(one)
                    spool.delivered()
        assert spool.depth == len(written) - sum(len(ids(one.lines)) for one in out)
        for one in await drained(spool):
            assert handed.setdefault(one.number, one) == one
            out.append(one)
    assert [one for batch in out for one in ids(batch.lines)] == written
    numbers = [one.number for one in out]
    assert numbers == sorted(set(numbers))
    assert len({one.source for one in out}) <= 1
    for one in out:
        count = len(ids(one.lines))
        assert count <= 3
        assert len(one.lines) <= 2_000 or count == 1


async def test_the_next_life_goes_on_where_this_one_was_killed(tmp_path: Path) -> None:
    """With the same batches under the same numbers, nothing added to them, and no number twice."""
    spool = make(tmp_path)
    await spool.write(text("a"), 1)
    first = await spool.next()
    spool.delivered()
    await spool.write(text("b"), 1)
    second = make(tmp_path)
    assert second.depth == 1
    await second.write(text("c"), 1)
    found = await drained(second)
    assert [(one.source, one.number, ids(one.lines)) for one in found] == [
        (first.source, 2, ["b"]),
        (first.source, 3, ["c"]),
    ]
    third = make(tmp_path)
    await third.write(text("d"), 1)
    assert (await third.next()).number == 4


async def test_batches_of_another_name_keep_it(tmp_path: Path) -> None:
    """After a new start of the machine what was left is sent as what it was; new ones have numbers above."""
    spool = make(tmp_path)
    await spool.write(text("a"), 1)
    before = (await spool.next()).source
    (tmp_path / "spool" / "numbering").unlink()
    spool = make(tmp_path)
    await spool.write(text("b"), 1)
    first, second = await drained(spool)
    assert (first.source, first.number, second.number) == (before, 1, 2)
    assert second.source != before


async def test_half_a_line_at_the_end_is_as_good_as_not_there(tmp_path: Path) -> None:
    """A kill inside a write leaves one: it is neither known nor sent; what holds nothing else goes."""
    spool = make(tmp_path)
    await spool.write(text("a"), 1)
    (name,) = batches(tmp_path)
    with (tmp_path / "spool" / name).open("ab") as file:
        file.write(text("b")[:-1])
    (tmp_path / "spool" / str(Name(2, name[17:33], WAITING))).write_bytes(text("c")[:40])
    (tmp_path / "spool" / str(Name(3, name[17:33], WAITING))).touch()
    again = make(tmp_path)
    assert await again.known(["a", "b", "c"], None) == {"a"}
    assert batches(tmp_path) == [name]
    await again.write(text("d"), 1)
    assert [(one.number, ids(one.lines)) for one in await drained(again)] == [(1, ["a"]), (4, ["d"])]


async def test_known_looks_from_the_mark_on(tmp_path: Path) -> None:
    """The mark is taken before a write and says where that may have gone; without one of ours everything is searched."""
    spool = make(tmp_path)
    await spool.write(text("a"), 1)
    await spool.next()
    mark = spool.mark()
    await spool.write(text("b"), 1)
    again = make(tmp_path)
    assert await again.known(["a", "b", "c"], mark) == {"b"}
    assert await again.known(["a", "b", "c"], spool.mark()) == {"b"}  # b's batch still grew
    assert await again.known(["a", "b", "c"], again.mark()) == set()
    for other in (None, b"", b"x" * 24):
        assert await again.known(["a", "b", "c"], other) == {"a", "b"}
    for name in batches(tmp_path):
        (tmp_path / "spool" / name).unlink()
    assert await again.known(["a"], None) == set()


async def test_a_full_spool_takes_nothing_until_there_is_room(tmp_path: Path) -> None:
    """The error is a full disk's; nothing is lost by it."""
    spool = make(tmp_path, most=len(text("a")) + 1)
    assert await spool.write(text("a"), 1) == 1
    assert await spool.write(text("b"), 1) == 1
    for again in (spool, make(tmp_path, most=len(text("a")) + 1)):
        with pytest.raises(OSError, match="full") as caught:
            await again.write(text("c"), 1)
        assert caught.value.errno == errno.ENOSPC
    await spool.next()
    spool.delivered()
    assert await spool.write(text("c"), 1) == 1


async def test_a_full_disk_costs_no_record_and_no_order(tmp_path: Path) -> None:
    """Whole lines that were written are taken, the others are not; a batch with none of them leaves no trace."""
    room = [len(text("a", "b")) + 5]

    def append(descriptor: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = os.write(descriptor, data[: room[0]])
        room[0] -= written
        return written

    spool = make(tmp_path, append=append)
    assert await spool.write(text("a"), 1) == 1
    assert await spool.write(text("b", "c"), 2) == 1
    for _ in range(3):
        with pytest.raises(OSError, match="No space"):
            await spool.write(text("c"), 1)
    assert len(batches(tmp_path)) == 1
    room[0] = 3
    with pytest.raises(OSError, match="not one whole line"):
        await spool.write(text("c"), 1)
    room[0] = 1 << 20
    assert await spool.write(text("c"), 1) == 1
    assert spool.depth == 3
    found = await drained(spool)
    assert [ids(one.lines) for one in found] == [["a", "b"], ["c"]]
    assert found[0].number < found[1].number


async def test_a_growing_batch_that_fails_with_nothing_written_goes_on(tmp_path: Path) -> None:
    """The disk is full for a moment: the batch stays the one that grows."""
    fails = [False]

    def append(descriptor: int, data: bytes) -> int:
        if fails[0]:
            raise OSError(errno.EIO, "Input/output error")
        return os.write(descriptor, data)

    spool = make(tmp_path, append=append)
    await spool.write(text("a"), 1)
    fails[0] = True
    with pytest.raises(OSError, match="Input/output"):
        await spool.write(text("b"), 1)
    fails[0] = False
    await spool.write(text("b"), 1)
    assert [ids(one.lines) for one in await drained(spool)] == [["a", "b"]]


async def test_a_directory_that_is_moved_away_and_back_loses_nothing(tmp_path: Path) -> None:
    """Meanwhile nothing is accepted and nothing can be sent."""
    spool = make(tmp_path)
    await spool.write(text("a"), 1)
    (tmp_path / "spool").rename(tmp_path / "aside")
    with pytest.raises(OSError, match="No such file"):
        await spool.write(text("b"), 1)
    with pytest.raises(FileNotFoundError):
        await spool.next()
    (tmp_path / "spool").write_text("in the way")
    with pytest.raises(OSError, match="Not a directory"):
        await spool.write(text("b"), 1)
    with pytest.raises(OSError, match="Not a directory"):
        await spool.next()
    (tmp_path / "spool").unlink()
    (tmp_path / "aside").rename(tmp_path / "spool")
    await spool.write(text("b"), 1)
    assert [ids(one.lines) for one in await drained(spool)] == [["a"], ["b"]]


async def test_a_batch_that_somebody_took_away_holds_nobody_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said, and the next one comes; a record is not added to a file that has gone."""
    spool = make(tmp_path)
    await spool.write(text("a"), 1)
    (tmp_path / "spool" / batches(tmp_path)[0]).unlink()
    await spool.write(text("b"), 1)
    assert ids((await spool.next()).lines) == ["b"]
    assert spool.depth == 1
    assert "a batch has gone" in caplog.text


async def test_after_close_what_there_is_can_still_be_sent(tmp_path: Path) -> None:
    """The keeper ends before the shipper."""
    spool = make(tmp_path)
    await spool.write(text("a"), 1)
    await spool.close()
    assert len(await drained(spool)) == 1


def test_a_place_that_cannot_be_a_spool_is_refused_by_name(tmp_path: Path) -> None:
    """The operator has to see to it."""
    (tmp_path / "spool").write_text("a file")
    with pytest.raises(ConfigurationError, match=r"records: .*spool cannot be used"):
        make(tmp_path)
