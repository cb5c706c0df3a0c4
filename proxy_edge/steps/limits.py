"""Step 6: permits of the proxy's limits, and the header fields that tell the caller how it stands.

The permit source decides; this module only words the outcome. A rejected call consumes nothing.
"""

from __future__ import annotations

from models.errors import LimitExceeded
from models.limits import Quota
from models.policy import CompiledProxy
from models.ratelimit_fields import status_field
from proxy_edge.permits import Exhausted, Permit, PermitSource, Wait


def take(source: PermitSource, proxy: CompiledProxy, now_ms: int) -> Permit | Wait | None:
    """A permit, a wait for one, or None where no limit applies. Raises LimitExceeded."""
    if not proxy.limits:
        return None
    outcome = source.take(proxy.limits, now_ms)
    if type(outcome) is Exhausted:
        raise LimitExceeded(outcome.retry_after)
    return outcome  # type: ignore[return-value]  # the exact type check above does not narrow for mypy


def limit_lines(proxy: CompiledProxy, quota: Quota) -> bytes:
    """`RateLimit-Policy`, and `RateLimit` unless the quota is empty, each with its CRLF.

    Without a quota nothing is known of a window: any number there would be a promise, or keep callers away for nothing.
    """
    if not quota:
        return b"ratelimit-policy: %b\r\n" % proxy.limit_policy
    return b"ratelimit-policy: %b\r\nratelimit: %b\r\n" % (
        proxy.limit_policy,
        status_field(proxy.limit_status, quota),
    )
