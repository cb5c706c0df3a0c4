"""Tables of header field names that an intermediary must treat specially, in lower case.

One place, so that what is stripped towards the target, what may not be injected and what is dropped from
an answer cannot drift apart. Values only.
"""

from __future__ import annotations

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"http2-settings",
    }
)
"""RFC 9110 section 7.6.1, and the older names that still occur."""

FRAMING = frozenset({b"host", b"content-length", b"transfer-encoding"})
"""We write these ourselves; a caller's or an upstream's own are never copied."""

CALLER_ONLY = frozenset({b"authorization", b"proxy-authorization", b"x-api-key", b"forwarded", b"expect"})
"""What belongs between caller and edge and never reaches a target (DESIGN section 4, step 8)."""

REQUEST_DROPPED = HOP_BY_HOP | FRAMING | CALLER_ONLY
"""Dropped from every request on its way to the target."""

RANGE_AND_CODING = frozenset({b"range", b"if-range", b"accept-encoding"})
"""Also dropped when a response stage reads the body: it needs all of it, uncompressed."""

RESPONSE_DROPPED = HOP_BY_HOP | frozenset({b"content-length", b"transfer-encoding"})
"""Dropped from every answer before our own framing is written."""

LIMIT_FIELDS = frozenset({b"ratelimit", b"ratelimit-policy"})
"""A target's own are replaced where a limit of ours applies (draft-ietf-httpapi-ratelimit-headers)."""

BODY_BOUND = frozenset(
    {
        *(b"content-md5", b"digest", b"content-digest", b"repr-digest"),
        *(b"etag", b"accept-ranges", b"content-range"),
        *(b"signature", b"signature-input"),
    }
)
"""Dropped when a stage rewrites the body: they hold for bytes that are no longer sent.

Digests would be wrong; a tag, a range or a length of the whole would let a caller ask for, or put together, bytes of
two forms. A signature (RFC 9421) is broken as soon as it covers a digest or a length. Whether it does is in its input,
yet also one that would hold goes: beside a changed body it would vouch for what the signer never saw. Its input alone says
nothing.
"""


def connection_tokens(value: bytes) -> frozenset[bytes]:
    """The lower-case field names that a `Connection` value nominates as hop-by-hop."""
    return frozenset(token for part in value.lower().split(b",") if (token := part.strip()))
