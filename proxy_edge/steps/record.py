"""Step 11: what is written down of a request, at its opening and at its end.

No secret gets in: the caller's credential was taken out of the query before, the injected one never was in
it, and parameters that are secret by their name are withheld here whatever they hold.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from models.errors import GRANTED
from models.record import Closing, Opening
from models.request import decode_component
from proxy_edge.stats import ABORTED, CUT_OFF
from proxy_edge.steps.lease import NO_NAMES

if TYPE_CHECKING:
    from proxy_edge.exchange import Exchange

GRANTED_CODE: Final = GRANTED
ABORTED_CODE: Final = ABORTED
CUT_OFF_CODE: Final = CUT_OFF
ABORTED_STATUS: Final = 499
"""The caller left before an answer; the number is nginx's, for want of a registered one."""

_SECRET_NAME: Final = re.compile(
    rb"(?i:secret|passw|pwd|token(?!s)|credential|jwt|bearer|hmac|authori[sz]|signature|otp$|^code$"
    rb"|(?:^|[^a-z])(?:auth|sign?|key)(?:$|[^a-z])|(?:api|access|private|session)key)|[a-z]Key(?![a-z])"
)
_WITHHELD: Final = b"***"


def opening(x: Exchange) -> Opening:
    """What is known before the first byte goes upstream. `x` has an authenticated caller."""
    request, proxy = x.request, x.proxy
    query, block = request.query, x.message.block
    agent = block.agent
    if agent and b"user-agent" in proxy.callers.strip_headers:
        agent = _WITHHELD  # it is where this proxy's callers show their credential
    injected = x.edge.leases.query_names(proxy.lease_key) if query else NO_NAMES
    return Opening(
        x.request_id,
        proxy.client_id,
        proxy.id,
        proxy.region,
        x.credential_id,
        x.received_at,
        request.method,
        request.path,
        withheld(query, injected) if query else query,
        None if x.decision is None else x.decision.packed,
        proxy.limit_labels,
        x.quota,
        x.client.caller_address(block.pairs),
        agent,
        x.policy.revision,
    )


def closing(x: Exchange, status: int, code: str) -> Closing:
    """What the end adds. The last of `x.times` is the end itself."""
    upstream, screen = None, x.screen
    if x.slot >= 0 or x.sent:
        answered = code in {GRANTED, CUT_OFF}
        upstream = (x.proxy.target.host, status if answered else None)
    if screen is None:
        return Closing(status, code, tuple(x.times), upstream, x.bytes_in, x.bytes_out, x.masks)
    return Closing(
        status,
        code,
        tuple(x.times),
        (x.proxy.target.host, screen.status),
        x.bytes_in,
        x.bytes_out,
        x.masks,
        screen.filters,
        screen.redactions,
    )


def withheld(query: bytes, also: frozenset[bytes] = NO_NAMES) -> bytes:
    """The query with the values of parameters that are secret by their name replaced by `***`.

    Names are read percent-decoded; too many withheld is better than one too few. also: names that the target's
    credential sets, whose values from the caller are never sent.
    """
    kept = []
    for piece in query.split(b"&"):
        raw, equals, _ = piece.partition(b"=")
        name = decode_component(raw)
        secret = equals and (name in also or _SECRET_NAME.search(name))
        kept.append(raw + b"=" + _WITHHELD if secret else piece)
    return b"&".join(kept)
