"""What an audit question wants, and how much of the log one call reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from control_api.ledger import history as module
from control_api.ledger.history import Filter, history
from control_api.ledger.log import Log
from tests.kit.plane import CLIENT, plane, target


async def test_a_rare_resource_is_searched_in_bounded_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that found nothing yet says where to go on; following it finds the one there is."""
    monkeypatch.setattr(module, "MOST_READ", 4)
    async with plane(tmp_path / "control.db") as here:
        await here.write("create", target("tgt_rare"))
        for number in range(9):
            await here.write("create", target(f"tgt_{number}"))
        wanted, cursor, calls = Filter(resource_id="tgt_rare"), None, 0
        while True:
            found, cursor = await history(Log(here.store), CLIENT, wanted, cursor=cursor, limit=10)
            calls += 1
            if found or cursor is None:
                break
        assert [change.revision for change, _ in found] == [1]
        assert calls == 3


async def test_a_change_of_many_resources_goes_on_in_the_next_page(tmp_path: Path) -> None:
    """No page has more entries than were asked for, and the pages together have each entry once."""
    async with plane(tmp_path / "control.db") as here:
        await here.write("create", target("tgt_first"))
        await here.write("create", *(target(f"tgt_{number}") for number in range(5)))
        await here.write("create", target("tgt_last"))
        log = Log(here.store)
        whole, _ = await history(log, CLIENT, Filter(), cursor=None, limit=100)
        assert [entry.place for entry in whole] == ["3-0", "2-0", "2-1", "2-2", "2-3", "2-4", "1-0"]
        for limit in range(1, 8):
            paged, cursor, more = [], None, True
            while more:
                page, cursor = await history(log, CLIENT, Filter(), cursor=cursor, limit=limit)
                assert 1 <= len(page) <= limit
                paged += page
                more = cursor is not None
            assert [entry.place for entry in paged] == [entry.place for entry in whole]
