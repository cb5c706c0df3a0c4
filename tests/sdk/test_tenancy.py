"""Users, tokens, clients, members and the audit list (sdk/tenancy.py); every route is in test_client.py."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sdk import ExeatClient, UnexpectedAnswer
from tests.sdk.tiny_api import AT, Server

MOMENT = datetime(2026, 11, 23, 10, tzinfo=UTC)


async def test_audit_is_asked_with_its_parameters(api: ExeatClient, server: Server) -> None:
    """Moments as times or text; entries with what was before and after."""
    server.state.resources["/clients/c/audit/1"] = {
        "auditId": "1-0",
        "at": AT,
        "actor": "u",
        "action": "create",
        "resourceType": "target",
        "resourceId": "t",
        "before": None,
        "after": {"targetName": "x"},
        "revision": 1,
    }
    (entry,) = (await api.audit.page("c", resource_id="t", actor="u", after=MOMENT, before=AT)).items
    assert (entry.id, entry.at, entry.before, entry.after) == ("1-0", MOMENT, None, {"targetName": "x"})
    assert server.state.seen[-1].query == {"resourceId": "t", "actor": "u", "after": AT, "before": AT}
    assert [one.id async for one in api.audit.each("c")] == ["1-0"]


async def test_a_configuration_is_read_from_its_own_field(api: ExeatClient, server: Server) -> None:
    """An answer without it is of something else."""
    server.state.faults = [(200, {"message": "Success"}, {})]
    with pytest.raises(UnexpectedAnswer, match="no configuration"):
        await api.clients.configuration("c")
