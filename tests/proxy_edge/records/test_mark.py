"""The keeper's mark: it outlives the keeper, and only one keeper has it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy_edge.records.mark import MARK_BYTES, MarkFile


def test_mark_outlives_the_keeper(tmp_path: Path) -> None:
    """What was stored last comes back, also an empty mark; one that was never stored is None."""
    path = tmp_path / "run" / "keeper.mark"
    for before, after in ((None, b"somewhere"), (b"somewhere", b""), (b"", b"m" * MARK_BYTES)):
        mark = MarkFile(path)
        assert mark.read() == before
        mark.store(after)
        assert mark.read() == after
        mark.close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_too_long_a_mark_is_refused(tmp_path: Path) -> None:
    """It changes nothing."""
    mark = MarkFile(tmp_path / "mark")
    mark.store(b"before")
    with pytest.raises(ValueError, match="too long"):
        mark.store(b"m" * (MARK_BYTES + 1))
    assert mark.read() == b"before"
    mark.close()


def test_second_keeper_is_refused(tmp_path: Path) -> None:
    """Two would deliver every record twice; when the first is gone the next one is let in."""
    first = MarkFile(tmp_path / "mark")
    with pytest.raises(BlockingIOError):
        MarkFile(tmp_path / "mark")
    first.close()
    MarkFile(tmp_path / "mark").close()


@given(before=st.binary(max_size=60), after=st.binary(max_size=60), mask=st.binary(min_size=68, max_size=68))
@settings(max_examples=50, deadline=None)
def test_half_stored_mark_is_the_old_the_new_or_none(
    before: bytes, after: bytes, mask: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A death inside the store, whichever of its bytes were written, never makes up a mark."""
    mark = MarkFile(tmp_path_factory.mktemp("mark") / "mark")
    mark.store(before)
    image = mark._map[:68]
    mark.store(after)
    mark._map[:68] = bytes(
        new if chosen & 1 else old for old, new, chosen in zip(image, mark._map[:68], mask, strict=True)
    )
    assert mark.read() in {before, after, None}
    mark.close()
