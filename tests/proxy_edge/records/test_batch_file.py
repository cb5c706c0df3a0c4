"""Batches as files: their names, whole lines only, and how much of a text goes into one."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_edge.records.batch_file import REFUSED, WAITING, BatchFile, Name, fitting

SPOOL = "0123456789abcdef"
NAME = Name(7, SPOOL, WAITING)

lines = st.lists(st.binary(max_size=20).map(lambda text: text.replace(b"\n", b"") + b"\n"), max_size=12)


@given(
    st.integers(0, 10**16 - 1),
    st.sampled_from([WAITING, REFUSED]) | st.integers(1, 10**16 - 1),
)
def test_names_come_back_and_sort_by_number(number: int, ending: str | int) -> None:
    """Whatever they say; a longer number would have no name."""
    name = Name(number, SPOOL, ending) if isinstance(ending, str) else Name.part(number, SPOOL, ending)
    assert Name.read(str(name)) == name
    assert (str(name) < str(NAME)) == (number < 7) or number == 7


@pytest.mark.parametrize(
    "text", ["numbering", "7-a.ndjson", f"{NAME}.gz", f".{NAME}", str(NAME).upper(), f"{NAME}\n"]
)
def test_other_names_are_none(text: str) -> None:
    """They are left alone."""
    assert Name.read(text) is None


@given(lines, st.integers(0, 14), st.integers(0, 300))
def test_as_many_whole_lines_as_fit(found: list[bytes], most: int, most_bytes: int) -> None:
    """From the first on, one more would be too many or too long."""
    piece = fitting(b"".join(found), len(found), most, most_bytes)
    taken = piece.count(b"\n")
    assert piece == b"".join(found[:taken])
    assert taken <= most
    assert len(piece) <= most_bytes
    if taken < len(found):
        assert taken == most or len(piece) + len(found[taken]) > most_bytes


def test_a_batch_grows_until_it_is_fixed_and_is_found_again(tmp_path: Path) -> None:
    """With its whole lines, counted."""
    one = BatchFile.made(tmp_path, NAME)
    assert (one.add(b"a\nb\n"), one.add(b"c\n"), one.fixed, one.reachable) == (2, 1, False, True)
    one.fix()
    assert (one.count, one.size, one.fixed) == (3, 6, True)
    with one.path.open("ab") as file:
        file.write(b"half a li")
    again = BatchFile.found(tmp_path, NAME)
    assert (again.read(), again.count, again.size, again.fixed) == (b"a\nb\nc\n", 3, 6, True)
    with pytest.raises(FileExistsError):
        BatchFile.made(tmp_path, NAME)


def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    """What was written of the lines counts as far as it is whole, and nothing is added behind it."""
    room = [7]

    def append(descriptor: int, data: bytes) -> int:
        written = os.write(descriptor, data[: room[0]]) if room[0] else 0
        room[0] -= written
        return written

    one = BatchFile.made(tmp_path, NAME, append)
    assert one.add(b"a\nbb\ncccc\n") == 2
    assert (one.read(), one.size, one.fixed) == (b"a\nbb\n", 5, True)
    other = BatchFile.made(tmp_path, Name(8, SPOOL, WAITING), append)
    with pytest.raises(OSError, match="not one whole line") as caught:
        other.add(b"d\n")
    assert caught.value.errno == errno.EIO
    assert other.fixed


def test_a_file_under_another_name_is_not_reachable(tmp_path: Path) -> None:
    """Lines that are added would be in nobody's way and nobody's hands."""
    one = BatchFile.made(tmp_path, NAME)
    moved = one.path.rename(tmp_path / "moved")
    assert not one.reachable
    one.path.touch()
    assert not one.reachable
    moved.rename(one.path)
    assert one.reachable
    one.rename(Name(7, SPOOL, REFUSED))
    assert one.path.name == f"{7:016d}-{SPOOL}.refused"
    assert one.reachable
    one.fix()
