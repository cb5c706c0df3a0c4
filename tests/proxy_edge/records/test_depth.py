"""The page in which the keeper says how much is in the spool."""

from __future__ import annotations

from pathlib import Path

from proxy_edge.records.depth import SpoolDepth


def test_what_one_process_tells_others_read(tmp_path: Path) -> None:
    """Whoever of them comes first; also what the one before said last."""
    reader, writer = SpoolDepth(tmp_path / "d"), SpoolDepth(tmp_path / "d")
    assert reader.shown() == {"spool_depth": 0, "spool_refused": 0, "spool_removed": 0}
    writer.tell(50_000, 7, 3)
    assert (reader.waiting, reader.refused, reader.removed) == (50_000, 7, 3)
    writer.close()
    assert SpoolDepth(tmp_path / "d").shown() == {
        "spool_depth": 50_000,
        "spool_refused": 7,
        "spool_removed": 3,
    }
    reader.close()


def test_what_was_removed_is_counted_over_all_lives_of_the_keeper(tmp_path: Path) -> None:
    """A counter that went back would be read as a new one; the others say how it stands."""
    first = SpoolDepth(tmp_path / "d")
    first.tell(1, 5, 2)
    first.tell(1, 5, 3)
    first.close()
    second = SpoolDepth(tmp_path / "d")
    second.tell(0, 4, 0)
    assert (second.waiting, second.refused, second.removed) == (0, 4, 3)
    second.tell(0, 4, 1)
    assert second.removed == 4
