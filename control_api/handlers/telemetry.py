"""Telemetry of a client, which sums its proxies, those that were deleted included, or of one proxy."""

from __future__ import annotations

from control_api.answers import envelope
from control_api.bodies import moment
from control_api.call import Answer, Call
from control_api.handlers.requests import proxy_of
from control_api.records.telemetry import span_of


async def read(call: Call) -> Answer:
    """GET …/telemetry."""
    query, now_ms = call.query, call.services.clock.wall_ms()
    span = span_of(query.get("interval", "minute"), moment(query, "from"), moment(query, "to"), now_ms)
    found = await call.services.records.telemetry(call.params["clientId"], proxy_of(call), span)
    return Answer(200, envelope(call.route.plural, found))
