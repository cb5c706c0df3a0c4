"""Answers the edge makes itself: problem+json (RFC 9457) for refusals, and our fields on every answer.

Nothing of a request, a secret, an address or an internal detail goes in; only what the error class declares
public, the request id, and for a rule denial its scope and rule.
"""

from __future__ import annotations

from http import HTTPStatus

import orjson

from models.errors import GRANTED, LimitExceeded, Refusal, RuleDenied
from models.fields import LIMIT_FIELDS, RESPONSE_DROPPED

_QUOTA_PROBLEM = "https://iana.org/assignments/http-problem-types#quota-exceeded"
_REMEMBERED = 256
_REMEMBERED_LENGTH = 64
_GRANTED_MESSAGE = "Access granted"
_REASON = {status.value: status.phrase.encode() for status in HTTPStatus}


class Answers:
    """Writes our fields under the configured prefix (`exeat` by default)."""

    __slots__ = ("_code", "_id", "_message", "granted_line", "passing", "prefix")

    def __init__(self, header_prefix: str) -> None:
        prefix = self.prefix = header_prefix.encode() + b"-"
        self.passing: set[bytes] = set()
        self._code = prefix + b"proxy-code: %b\r\n"
        self._message = prefix + b"proxy-message: %b\r\n"
        self._id = prefix + b"request-id: %b\r\n"
        self.granted_line = (
            self._code % GRANTED.encode()
            + self._message % _GRANTED_MESSAGE.encode()
            + prefix
            + b"request-id: "
        )
        """Ends in the middle of the request id's line, so that a forwarded answer costs one join."""

    def may_pass(self, name: bytes) -> bool:
        """Whether a target's field of this name may pass whatever its answer is; such names are remembered."""
        if name in RESPONSE_DROPPED or name in LIMIT_FIELDS or name.startswith(self.prefix):
            return False
        if len(self.passing) >= _REMEMBERED:
            self.passing.clear()  # nobody else's names can make it grow
        if len(name) <= _REMEMBERED_LENGTH:
            self.passing.add(name)
        return True

    def refusal(
        self, refusal: Refusal, request_id: str, *, limits: bytes, close: bool, head_only: bool
    ) -> bytes:
        """A whole answer. limits: RateLimit lines or empty; head_only: the request's method was HEAD."""
        body = problem(refusal, request_id)
        lines = [
            b"HTTP/1.1 %d %b\r\n" % (refusal.status, _REASON.get(refusal.status, b"Error")),
            b"content-type: application/problem+json\r\ncontent-length: %d\r\n" % len(body),
            self._code % refusal.code.encode(),
            self._message % refusal.message.encode(),
        ]
        if request_id:
            lines.append(self._id % request_id.encode())
        if isinstance(refusal, LimitExceeded):
            lines.append(b"retry-after: %d\r\n" % refusal.retry_after)
        elif refusal.code == "limiter-unavailable":
            lines.append(b"retry-after: 1\r\n")
        lines.append(limits)
        lines.append(b"connection: close\r\n\r\n" if close else b"\r\n")
        if not head_only:
            lines.append(body)
        return b"".join(lines)

    def plain(self, status: int, body: bytes, *, close: bool, head_only: bool) -> bytes:
        """One of the edge's own pages (`/health`, `/ready`): JSON."""
        return b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%b\r\n%b" % (
            status,
            _REASON.get(status, b""),
            len(body),
            b"connection: close\r\n" if close else b"",
            b"" if head_only else body,
        )


def problem(refusal: Refusal, request_id: str) -> bytes:
    """The body of a refusal (API.md section 3)."""
    document: dict[str, object] = {
        "type": _QUOTA_PROBLEM if isinstance(refusal, LimitExceeded) else f"urn:exeat:problem:{refusal.code}",
        "title": _REASON.get(refusal.status, b"Error").decode(),
        "status": refusal.status,
        "detail": refusal.message,
        "code": refusal.code,
    }
    if request_id:
        document["requestId"] = request_id
    if isinstance(refusal, RuleDenied):
        document["scope"] = refusal.scope
        document["ruleId"] = refusal.rule_id
    return orjson.dumps(document)
