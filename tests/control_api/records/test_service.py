"""The records of all clients as handlers meet them: the service beside a real ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from control_api.records.intake import Intake
from control_api.records.query import Wanted
from control_api.records.rollups import DAY, MINUTE
from control_api.records.service import Records, owners_in
from control_api.records.telemetry import Span
from models.errors import Invalid
from store.interface import Store
from tests.kit.plane import CLIENT, HandClock, credential, gone, plane, proxy, target
from tests.kit.recorded import AT, batch, record


async def test_what_comes_in_is_found_and_counted(store: Store, tmp_path: Path) -> None:
    """Only from the region of a proxy that is known, and also of one that was deleted."""
    clock = HandClock(AT)
    async with plane(tmp_path / "control.db", clock=clock) as here:
        await here.enrol("us", "eu")
        made = proxy("prx_one", ["cred_a"], "tgt_a", "cred_b")
        for item in (credential("cred_a"), credential("cred_b", side="target"), target("tgt_a"), made):
            await here.write("create", item)
        records = Records(store, Intake(store, owners_in(here.ledger)), here.ledger, clock, days=30)
        records.open()
        mine = {"client_id": CLIENT, "proxy_id": "prx_one"}
        await records.take("us", [batch(1, [record("req_1", region="us", **mine)])])
        with pytest.raises(Invalid):
            await records.take("eu", [batch(1, [record("req_2", region="eu", **mine)])])
        await here.write("delete", gone(made))
        await records.take("us", [batch(2, [record("req_3", region="us", **mine)])])

        found = await records.find(Wanted(**mine), cursor=None, limit=10)
        assert len(found.lines) == 2
        assert await records.get(CLIENT, "prx_one", "req_3") == found.lines[0]
        assert await records.get("cli_other", None, "req_3") is None
        minute = AT // MINUTE.step_ms
        for proxy_id in (None, "prx_one"):
            (bucket,) = await records.telemetry(CLIENT, proxy_id, Span(MINUTE, minute, minute))
            assert bucket["requests"] == 2
        total, of_proxy = await records.usage(CLIENT, DAY.span_of(AT // DAY.step_ms))
        assert (total["requests"], of_proxy["proxyId"], of_proxy["requests"]) == (2, "prx_one", 2)
        await records.close()
