"""Numbers of batches: no number comes twice under one name, whatever happened to the process or the directory."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest

from proxy_edge.records import numbering
from proxy_edge.records.numbering import Numbering


def test_numbers_go_on_in_the_next_life(tmp_path: Path) -> None:
    """From 1, under one name, in a private file."""
    first = Numbering(tmp_path)
    assert (first.last, [first.take() for _ in range(3)], first.last) == (0, [1, 2, 3], 3)
    second = Numbering(tmp_path)
    assert (second.spool, second.take()) == (first.spool, 4)
    assert len(first.spool) == 16
    assert stat.S_IMODE((tmp_path / "numbering").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["numbering"]


def test_numbers_begin_above_what_is_there(tmp_path: Path) -> None:
    """Batches whose numbering is lost keep theirs to themselves."""
    assert Numbering(tmp_path, 7).take() == 8
    assert Numbering(tmp_path, 3).take() == 9


def test_a_copy_has_another_name(tmp_path: Path) -> None:
    """What it was copied from goes on with the same numbers."""
    original = tmp_path / "one"
    original.mkdir()
    first = Numbering(original)
    first.take()
    shutil.copytree(original, tmp_path / "two")
    assert Numbering(tmp_path / "two").spool != first.spool
    assert Numbering(original).spool == first.spool


def test_a_machine_that_started_anew_has_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written before may not have reached the disk."""
    boot = tmp_path / "boot"
    monkeypatch.setattr(numbering, "_BOOT", boot)
    boot.write_text("one")
    first = Numbering(tmp_path)
    assert Numbering(tmp_path).spool == first.spool
    boot.write_text("two")
    assert Numbering(tmp_path).spool != first.spool
    boot.unlink()  # not to be known is a state of its own
    assert Numbering(tmp_path).spool == Numbering(tmp_path).spool


@pytest.mark.parametrize(
    "found",
    [b"", b"exeatSP1", b"\0" * 4096, b"exeatSP2" + b"\0" * 4088, b"exeatSP1" + b"\xff" * 4088],
    ids=["empty", "short", "zeros", "another version", "garbage"],
)
def test_what_is_no_numbering_is_made_anew(tmp_path: Path, found: bytes) -> None:
    """Under another name, so that numbers may begin anew."""
    (tmp_path / "numbering").write_bytes(found)
    one = Numbering(tmp_path)
    assert (one.take(), Numbering(tmp_path).spool) == (1, one.spool)


def test_a_maker_killed_half_way_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    """A file that was not renamed yet is written over."""
    (tmp_path / "numbering.new").write_bytes(b"half")
    assert Numbering(tmp_path).take() == 1
