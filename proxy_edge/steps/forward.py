"""Step 8, second half: the head that goes upstream, written from the canonical request and nothing else.

What was judged is what is sent: names in lower case, the canonical path and query, our own framing. Never
sent: the caller's credential, hop-by-hop fields, our prefix, or any field the credential sets.
"""

from __future__ import annotations

from models.fields import connection_tokens
from models.policy import CompiledProxy
from models.request import CanonicalRequest
from proxy_edge.steps.lease import Injection, without_injected

_KEEP_ALIVE = frozenset({b"keep-alive", b"close"})
IDENTITY = b"accept-encoding: identity\r\n"


class Forwarding:
    """What an edge adds to and takes from every request. via: our pseudonym, as in `1.1 exeat-3f2a`."""

    __slots__ = ("dropped_prefixes", "via_line", "via_name")

    def __init__(self, header_prefix: str, via_name: bytes) -> None:
        self.dropped_prefixes = (b"x-forwarded-", header_prefix.encode() + b"-")
        self.via_name = via_name
        self.via_line = b"via: 1.1 %b\r\n" % via_name


def request_head(
    request: CanonicalRequest,
    proxy: CompiledProxy,
    injection: Injection,
    forwarding: Forwarding,
    framing: bytes,
) -> bytes:
    """The bytes of the request head for the target, blank line included.

    framing: our Content-Length or Transfer-Encoding
    line, or empty when the request has no body.
    """
    target = proxy.target
    dropped = proxy.request_dropped
    query = request.query
    if injection.query:
        query = without_injected(query, injection)
        query = query + b"&" + injection.query if query else injection.query
    lines = [
        b"%b %b%b%b%b HTTP/1.1\r\nhost: %b\r\n"
        % (request.method, target.base_path, request.path, b"?" if query else b"", query, target.authority)
    ]
    injected = injection.header_names
    prefixes = forwarding.dropped_prefixes
    nominated: frozenset[bytes] = frozenset()
    for name, value in request.headers:
        if name == b"connection" and value.lower() not in _KEEP_ALIVE:
            nominated |= connection_tokens(value)
    for name, value in request.headers:
        if name in dropped or name in injected or name in nominated or name.startswith(prefixes):
            continue
        lines.append(b"%b: %b\r\n" % (name, value))
    if proxy.scrub == "full":
        lines.append(IDENTITY)
    lines += (injection.header_line, forwarding.via_line, framing, b"\r\n")
    return b"".join(lines)
