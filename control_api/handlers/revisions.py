"""Revisions: which regions and which of their edges have a change.

Whoever may not see the client of a change sees 404, as if there were none.
"""

from __future__ import annotations

from typing import Any, Final

from control_api import answers
from control_api.access import is_operator, roles_in
from control_api.call import Answer, Call
from control_api.ledger.change import Change
from models.clock import iso_ms
from models.errors import NotFound

APPLIED, PENDING = "applied", "pending"
_DIGITS_MAX: Final = 18


async def read(call: Call) -> Answer:
    """GET /revisions/{revision}."""
    text = call.params["revision"]
    readable = text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX
    change = await call.services.ledger.change(int(text)) if readable else None
    if change is None or not _may_see(call, change):
        raise NotFound("There is no such revision")
    regions = [_region(call, region, change.revision) for region in change.regions]
    everywhere = all(region["status"] == APPLIED for region in regions)
    return answers.one(
        call,
        {
            "revision": change.revision,
            "at": iso_ms(change.at_ms),
            "status": APPLIED if everywhere else PENDING,
            "regions": regions,
        },
    )


def _may_see(call: Call, change: Change) -> bool:
    if change.actor == call.caller.user_id or is_operator(call.user):
        return True
    client = None if change.client_id is None else call.projection.get("client", change.client_id)
    return client is not None and bool(roles_in(client, call.caller.user_id))


def _region(call: Call, region: str, revision: int) -> dict[str, Any]:
    """A region has a revision when its registry made it durable, an edge when all its workers enforce it."""
    if call.projection.get("region", region) is None:
        return {"region": region, "status": PENDING, "revision": 0, "edges": []}
    status = call.services.feed.status(region)
    return {
        "region": region,
        "status": _state(status.acknowledged, revision),
        "revision": max(status.acknowledged, 0),
        "edges": [
            {"edge": edge.edge, "status": _state(edge.revision, revision), "revision": max(edge.revision, 0)}
            for edge in status.edges
        ],
    }


def _state(reached: int, revision: int) -> str:
    return APPLIED if reached >= revision else PENDING
