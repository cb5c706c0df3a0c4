"""What a client used: counts and bytes of a month, for itself and for each of its proxies."""

from __future__ import annotations

from control_api.answers import envelope
from control_api.call import Answer, Call
from control_api.records.usage import month_of


async def usage(call: Call) -> Answer:
    """GET …/billing/usage."""
    month = month_of(call.query.get("month"), call.services.clock.wall_ms())
    found = await call.services.records.usage(call.params["clientId"], month)
    return Answer(200, envelope(call.route.plural, found))
