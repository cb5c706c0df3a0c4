"""The `RateLimit-Policy` and `RateLimit` header fields (draft-ietf-httpapi-ratelimit-headers).

Both are structured-field lists (RFC 9651) of strings with parameters, one member per limit in the
order given. Nothing here decides about a call, and no key of a limit ever gets into a field.
"""

from __future__ import annotations

from models.limits import Limit, Quota


def policy_field(limits: tuple[Limit, ...]) -> bytes:
    """`RateLimit-Policy`: `"minute";q=100;w=60, "day";q=1000;w=86400`; q calls, w seconds.

    It changes only with the policy, so it is made once per proxy.
    """
    return b", ".join(
        b'"%s";q=%d;w=%d' % (limit.name.encode(), limit.max, limit.window_seconds) for limit in limits
    )


def status_template(limits: tuple[Limit, ...]) -> bytes:
    """What `status_field` fills in, made once per proxy."""
    return b", ".join(b'"%s";r=%%d;t=%%d' % limit.name.encode() for limit in limits)


def status_field(template: bytes, quota: Quota) -> bytes:
    """`RateLimit`: `"minute";r=50;t=30, "day";r=900;t=4000`; r calls remaining, t seconds to reset.

    quota: of the same limits, in the same order, as the template; TypeError where it is not.
    """
    return template % quota
