"""Step 8, second half: the head that goes upstream, written from the canonical request and nothing else.

What was judged is what is sent: names in lower case, the canonical path and query, our own framing. Never
sent: the caller's credential, hop-by-hop fields, our prefix, or any field the credential sets.
"""

from __future__ import annotations

from models.header_block import HeaderBlock
from models.policy import CompiledProxy
from models.request import CanonicalRequest
from proxy_edge.steps.lease import Injection, without_injected

_REMEMBERED = 256
_REMEMBERED_LENGTH = 64
IDENTITY = b"accept-encoding: identity\r\n"


class Forwarding:
    """What an edge adds to and takes from every request. via: our pseudonym, as in `1.1 exeat-3f2a`."""

    __slots__ = ("_prefixes", "passing", "via_line", "via_name")

    def __init__(self, header_prefix: str, via_name: bytes) -> None:
        self._prefixes = (b"x-forwarded-", header_prefix.encode() + b"-")
        self.passing: set[bytes] = set()
        self.via_name = via_name
        self.via_line = b"via: 1.1 %b\r\n" % via_name

    def may_pass(self, name: bytes) -> bool:
        """Whether the name has none of the prefixes that never reach a target; such names are remembered."""
        if name.startswith(self._prefixes):
            return False
        if len(self.passing) >= _REMEMBERED:
            self.passing.clear()  # a caller's variety cannot make it grow
        if len(name) <= _REMEMBERED_LENGTH:
            self.passing.add(name)
        return True


def forwarded_fields(
    block: HeaderBlock, proxy: CompiledProxy, injection: Injection, forwarding: Forwarding
) -> bytes:
    """The caller's fields that go on, and the ones we add, each with its CRLF; the same for the same values.

    Left out: what the proxy and the credential name, and what the caller's Connection lists.
    """
    dropped = proxy.request_dropped
    injected = injection.header_names
    nominated = block.nominated
    passing = forwarding.passing
    lines = []
    for name, value in block.pairs:
        if name in dropped or name in injected or name in nominated:
            continue
        if b"_" in name:
            # Gateways that make variables of fields read `_` and `-` alike: a twin is as good as the name.
            twin = name.replace(b"_", b"-")
            if twin in dropped or twin in injected or not forwarding.may_pass(twin):
                continue
        if name in passing or forwarding.may_pass(name):
            lines.append(b"%b: %b\r\n" % (name, value))
    if proxy.scrub == "full" or proxy.filters is not None:
        lines.append(IDENTITY)
    lines += (injection.header_line, forwarding.via_line)
    return b"".join(lines)


def request_head(
    request: CanonicalRequest, proxy: CompiledProxy, injection: Injection, fields: bytes, framing: bytes
) -> bytes:
    """The bytes of the request head for the target, blank line included.

    fields: from `forwarded_fields`. framing: our Content-Length or Transfer-Encoding line, or empty when the
    request has no body.
    """
    target = proxy.target
    query = request.query
    if injection.query:
        query = without_injected(query, injection)
        query = query + b"&" + injection.query if query else injection.query
    return b"%b %b%b%b%b HTTP/1.1\r\nhost: %b\r\n%b%b\r\n" % (
        request.method,
        target.base_path,
        request.path,
        b"?" if query else b"",
        query,
        target.authority,
        fields,
        framing,
    )
