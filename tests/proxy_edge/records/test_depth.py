"""The page in which the keeper says how much is in the spool."""

from __future__ import annotations

from pathlib import Path

from proxy_edge.records.depth import SpoolDepth


def test_what_one_process_tells_others_read(tmp_path: Path) -> None:
    """Whoever of them comes first; also what the one before said last."""
    reader, writer = SpoolDepth(tmp_path / "d"), SpoolDepth(tmp_path / "d")
    assert reader.shown() == {"spool_depth": 0, "spool_refused": 0}
    writer.tell(50_000, 7)
    assert (reader.waiting, reader.refused) == (50_000, 7)
    writer.close()
    assert SpoolDepth(tmp_path / "d").shown() == {"spool_depth": 50_000, "spool_refused": 7}
    reader.close()
