"""What the control plane would not have: kept up to so many bytes, the oldest removed first, and nothing else ever."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_edge.records.batch_file import REFUSED, WAITING, BatchFile, Name
from proxy_edge.records.refused_batches import RefusedBatches
from proxy_edge.records.spool import REFUSED_SHARE
from tests.proxy_edge.records.samples import files
from tests.proxy_edge.records.spools import ids, make, text

SPOOL = "0123456789abcdef"
LINE = len(text("a"))


def refused(folder: Path, number: int, *records: str) -> BatchFile:
    """A batch of these records that was set aside."""
    name = Name(number, SPOOL, REFUSED)
    (folder / str(name)).write_bytes(text(*records))
    return BatchFile.found(folder, name)


def kept(folder: Path) -> list[str]:
    """The records of what is kept, oldest first."""
    return [one for path in sorted(folder.glob(f"*.{REFUSED}")) for one in ids(path.read_bytes())]


def test_up_to_the_bound_everything_is_kept(tmp_path: Path) -> None:
    """Exactly that many bytes are not too many."""
    batches = RefusedBatches(tmp_path, 3 * LINE)
    for number, record in enumerate("abc", 1):
        batches.add(refused(tmp_path, number, record))
        batches.make_room()
    assert kept(tmp_path) == ["a", "b", "c"]
    assert (batches.records, batches.removed) == (3, 0)


def test_the_oldest_go_first_and_it_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Down to a little less than the bound, so that not every further one removes another."""
    batches = RefusedBatches(tmp_path, 3 * LINE)
    for number, records in enumerate(("ab", "c", "d"), 1):
        batches.add(refused(tmp_path, number, *records))
    batches.make_room()
    assert kept(tmp_path) == ["c", "d"]
    assert (batches.records, batches.removed) == (2, 2)
    (line,) = [one for one in caplog.records if one.message == "refused batches removed for newer ones"]
    assert (line.__dict__["batches"], line.__dict__["records"]) == (1, 2)


def test_the_newest_is_kept_whatever_its_size(tmp_path: Path) -> None:
    """The operator always has one to look at."""
    batches = RefusedBatches(tmp_path, 0)
    for number, records in enumerate(("a", "bcd"), 1):
        batches.add(refused(tmp_path, number, *records))
        batches.make_room()
        assert kept(tmp_path) == list(records)
    assert batches.removed == 1


def test_what_the_operator_took_away_takes_no_room(tmp_path: Path) -> None:
    """Nor is it counted as removed; what is left stays."""
    batches = RefusedBatches(tmp_path, 2 * LINE)
    for number, record in enumerate("ab", 1):
        batches.add(refused(tmp_path, number, record))
    (tmp_path / str(Name(2, SPOOL, REFUSED))).rename(tmp_path / "looked at")
    batches.add(refused(tmp_path, 3, "c"))
    batches.make_room()
    assert kept(tmp_path) == ["a", "c"]
    assert (batches.records, batches.removed) == (2, 0)


def test_what_cannot_be_removed_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is said, and tried again with the next one."""
    batches = RefusedBatches(tmp_path, LINE)
    first = refused(tmp_path, 1, "a")
    batches.add(first)
    batches.add(refused(tmp_path, 2, "b"))
    first.path.unlink()
    first.path.mkdir()
    batches.make_room()
    assert "refused batches not removed" in caplog.text
    assert (batches.records, batches.removed) == (2, 0)
    first.path.rmdir()
    batches.add(refused(tmp_path, 3, "c"))
    batches.make_room()
    assert kept(tmp_path) == ["c"]


def test_a_batch_that_waits_is_never_taken_for_one_that_was_refused(tmp_path: Path) -> None:
    """Its records have to be sent."""
    name = Name(1, SPOOL, WAITING)
    (tmp_path / str(name)).write_bytes(text("a"))
    with pytest.raises(ValueError, match="not refused"):
        RefusedBatches(tmp_path, 0).add(BatchFile.found(tmp_path, name))


@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 3)), max_size=20),
    st.integers(0, 6),
)
def test_whatever_is_refused_only_that_is_removed(
    tmp_path_factory: pytest.TempPathFactory, batches: list[tuple[bool, int]], room: int
) -> None:
    """Over any history, a new life of the keeper included: all else is delivered, and what is kept is the newest."""
    folder = tmp_path_factory.mktemp("spool")
    most = REFUSED_SHARE * room * LINE

    async def live() -> list[str]:
        spool = make(folder, most=most or 1)
        set_aside = []
        for at, (taken, count) in enumerate(batches):
            names = [chr(97 + at) for _ in range(count)]
            assert await spool.write(text(*names), count) == count
            assert ids((await spool.next()).lines) == names
            if taken:
                spool.delivered()
            else:
                spool.refuse(whole=True)
                set_aside += names
        await spool.write(text("z"), 1)
        return set_aside

    set_aside = asyncio.run(live())
    spool = make(folder, most=most or 1)
    left = kept(folder / "spool")
    assert left == set_aside[len(set_aside) - len(left) :]
    assert len(left) <= max(room, 3)
    assert (spool.refused, spool.depth) == (len(left), 1)
    assert len([name for name in files(folder / "spool") if name.endswith(WAITING)]) == 1
