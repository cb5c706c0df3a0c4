"""Step 1: the canonical form of the request target, and the refusal of our own requests coming back.

Header fields were checked by the parser as they came. Nothing here looks at a proxy.
"""

from __future__ import annotations

from models.canonical import canonical_target
from models.errors import ProxyLoop


def canonicalise(target: bytes, via: bytes, own_via: bytes) -> tuple[bytes, bytes]:
    """Canonical path and query of a request target.

    via: all `Via` values of the request, joined; own_via: the pseudonym this edge writes there (RFC 9110
    section 7.6.3). Raises RequestMalformed, or ProxyLoop when our own Via came back.
    """
    if via and own_via in via:
        raise ProxyLoop("own Via")
    return canonical_target(target)
