"""Endpoints: every region, where its edges are reached, and how far it has followed the changes.

Anybody with a token may read them; nothing of a region's keys is shown.
"""

from __future__ import annotations

from typing import Any

from control_api import answers
from control_api.call import Answer, Call
from control_api.ledger.projection import Resource
from models.clock import iso_ms


async def list_all(call: Call) -> Answer:
    """GET /endpoints."""

    def show(region: Resource) -> dict[str, Any]:
        return show_endpoint(call, region)

    return answers.page(call, call.projection.regions(), lambda one: (one.created, one.id), show)


def show_endpoint(call: Call, region: Resource) -> dict[str, Any]:
    """One region: `endpointStatus` is connected or away, `endpointRevision` 0 before it had anything."""
    status = call.services.feed.status(region.id)
    return {
        "endpointRegion": region.id,
        "endpointKind": region.body["endpointKind"],
        "endpointBaseURL": region.body["endpointBaseURL"],
        "endpointStatus": status.state,
        "endpointRevision": max(status.acknowledged, 0),
        "endpointCreatedAt": iso_ms(region.created_ms),
        "endpointUpdatedAt": iso_ms(region.updated_ms),
        "revision": region.revision,
    }
