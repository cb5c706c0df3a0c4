"""Step 11: what is written down of a request, at its opening and at its end.

No secret gets in: the caller's credential was taken out of the query before, the injected one never was in
it, and parameters that are secret by their name are withheld here whatever they hold.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from models.errors import GRANTED
from models.record import Closing, Opening
from proxy_edge.stats import ABORTED, CUT_OFF

if TYPE_CHECKING:
    from proxy_edge.exchange import Exchange

GRANTED_CODE: Final = GRANTED
ABORTED_CODE: Final = ABORTED
CUT_OFF_CODE: Final = CUT_OFF
ABORTED_STATUS: Final = 499
"""The caller left before an answer; the number is nginx's, for want of a registered one."""

_ALL_TIMES: Final = 8
_UPSTREAM_STAGE: Final = 5
_METERS: Final = {"minute": "proxyMaxRequestsPerMinute", "day": "proxyMaxRequestsPerDay"}
_SECRET_NAME: Final = re.compile(
    rb"(^|[&;._-])((?:access|id|refresh|auth|api|session)?[._-]?(?:token|key|secret|password|passwd|signature|sig"
    rb"|authorization|credential|credentials))=[^&]*",
    re.IGNORECASE,
)


def opening(x: Exchange) -> Opening:
    """What is known before the first byte goes upstream. `x` has an authenticated caller."""
    request, proxy, quota = x.request, x.proxy, x.quota
    remaining: tuple[tuple[str, str, int], ...] = ()
    if quota:
        remaining = tuple(
            [(_METERS[limit.name], limit.name, quota[2 * at]) for at, limit in enumerate(proxy.limits)]
        )
    query = request.query
    return Opening(
        x.request_id,
        proxy.client_id,
        proxy.id,
        proxy.region,
        x.credential_id,
        x.edge.clock.wall_ms(),
        request.method,
        request.path,
        withheld(query) if query else query,
        None if x.decision is None else x.decision.packed,
        remaining,
        x.client.caller_address(request.headers),
        x.message.block.agent,
        x.policy.revision,
    )


def closing(x: Exchange, status: int, code: str) -> Closing:
    """What the end adds. The last of `x.times` is the end itself."""
    times = x.times
    duration = times[-1] - times[0]
    x.edge.stats.completed(duration, x.bytes_in, x.bytes_out, x.masks)
    # A request that ended early has fewer times, and from its last step to its end belongs to no stage.
    if len(times) == _ALL_TIMES:
        begin, found, authenticated, judged, permitted, leased, answered, end = times
        stages: tuple[float, ...] = (
            (found - begin) / 1e6,
            (authenticated - found) / 1e6,
            (judged - authenticated) / 1e6,
            (permitted - judged) / 1e6,
            (leased - permitted) / 1e6,
            (answered - leased) / 1e6,
            (end - answered) / 1e6,
        )
    else:
        stages = tuple([(later - earlier) / 1e6 for earlier, later in pairwise(times[:-1])])
    upstream = None
    if x.slot >= 0 or x.sent:
        answered = len(stages) > _UPSTREAM_STAGE
        upstream = (
            x.proxy.target.host,
            status if code in {GRANTED, CUT_OFF} else None,
            stages[_UPSTREAM_STAGE] if answered else None,
        )
    return Closing(status, code, duration / 1e6, stages, upstream, x.bytes_in, x.bytes_out, x.masks)


def withheld(query: bytes) -> bytes:
    """The query with the values of parameters that are secret by their name replaced by `***`."""
    return _SECRET_NAME.sub(rb"\1\2=***", query)
