"""Health and readiness, for whoever watches the process: no token, and nothing about clients.

Ready is what writes: a document of its own is written for the answer, at most once a second.
"""

from __future__ import annotations

from typing import Any

from control_api.answers import SUCCESS
from control_api.call import Answer, Call
from control_api.problems import MEDIA, dump, problem
from models.errors import Unavailable


async def health(_call: Call) -> Answer:
    """GET /health."""
    return Answer(200, {"status": "ok", "message": SUCCESS})


async def ready(call: Call) -> Answer:
    """GET /ready: 200 when writes work, else a problem with 503; both list the regions."""
    regions = [_region(call, region.id) for region in call.projection.regions()]
    if await call.services.readiness.writes_work():
        return Answer(200, {"ready": True, "regions": regions, "message": SUCCESS})
    body = problem(Unavailable("The store takes no writes"), call.request_id)
    return Answer(503, dump({**body, "ready": False, "regions": regions}), {"retry-after": "1"}, MEDIA)


def _region(call: Call, region: str) -> dict[str, Any]:
    status = call.services.feed.status(region)
    return {
        "region": region,
        "status": status.state,
        "revision": status.revision,
        "acknowledged": max(status.acknowledged, 0),
        "vaultReady": status.certified,
        "edges": len(status.edges),
    }
