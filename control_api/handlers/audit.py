"""The audit list: every change of a client, newest first, from the change log itself.

Secrets were never in a change; digests that only the control plane needs are left out here as well.
"""

from __future__ import annotations

from typing import Any

from control_api.answers import envelope
from control_api.bodies import LIMIT_DEFAULT, LIMIT_MAX, bad_cursor, cursor_of, moment, read_cursor, whole
from control_api.call import Answer, Call
from control_api.ledger.history import Entry
from control_api.presentation import audited
from models.clock import iso_ms
from models.errors import NotJson


async def list_all(call: Call) -> Answer:
    """GET /clients/{clientId}/audit."""
    query = call.query
    limit = whole(query, "limit", LIMIT_DEFAULT, least=1, most=LIMIT_MAX)
    try:
        found, cursor = await call.services.ledger.history(
            call.params["clientId"],
            resource_id=query.get("resourceId"),
            actor=query.get("actor"),
            after_ms=moment(query, "after"),
            before_ms=moment(query, "before"),
            cursor=None if "cursor" not in query else read_cursor(query["cursor"]),
            limit=limit,
        )
    except NotJson:
        raise bad_cursor() from None
    shown = [_shown(entry) for entry in found]
    return Answer(200, envelope("audit", shown, None if cursor is None else cursor_of(cursor)))


def _shown(entry: Entry) -> dict[str, Any]:
    change, item = entry.change, entry.item
    return {
        "auditId": entry.place,
        "at": iso_ms(change.at_ms),
        "actor": change.actor,
        "action": change.action,
        "resourceType": item.kind,
        "resourceId": item.id,
        "before": audited(item.before),
        "after": audited(item.after),
        "revision": change.revision,
    }
