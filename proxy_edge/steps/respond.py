"""Step 10: the head that goes back to the caller, its framing, and what the scrub may do to the answer.

An answer that cannot be searched for the injected secret goes nowhere (invariant 7). Interim answers never
come here.
"""

from __future__ import annotations

from models.errors import ScrubFailed
from models.fields import BODY_BOUND, LIMIT_FIELDS, connection_tokens
from proxy_edge.answers import Answers
from proxy_edge.scrub.forms import Forms

Fields = list[tuple[bytes, bytes]]

NO_BODY = 0
LENGTH = 1
CHUNKED = 2
UNTIL_CLOSE = 3
"""How the body is delimited towards the caller."""

_KEEP_ALIVE = frozenset({b"keep-alive", b"close"})


def check_scrub(status: int, coding: bytes) -> None:
    """Raises ScrubFailed for an answer whose body the full scrub cannot read: partial or encoded.

    coding: the target's Content-Encoding in lower case, empty when it sent none.
    """
    if status == 206:
        raise ScrubFailed("partial content")
    if coding and coding != b"identity":
        raise ScrubFailed("content coding")


def framing(
    method: bytes, status: int, length: int | None, *, chunked: bool, minor: int
) -> tuple[int, bytes]:
    """How the body goes to the caller, and the framing line for the head (RFC 9112 section 6).

    length, chunked: how the target framed it. minor: the caller's HTTP/1 minor version; 1.0 knows no chunks.
    """
    if method == b"HEAD" or status == 304:
        return NO_BODY, b"" if length is None else b"content-length: %d\r\n" % length
    if status == 204:
        return NO_BODY, b""
    if length is not None and not chunked:
        return LENGTH, b"content-length: %d\r\n" % length
    if minor == 0:
        return UNTIL_CLOSE, b""
    return CHUNKED, b"transfer-encoding: chunked\r\n"


def add_fields(lines: list[bytes], headers: Fields, answers: Answers, *, own_limits: bool) -> None:
    """Appends the target's fields that may pass to `lines`.

    answers: knows the names we set ourselves; own_limits: our RateLimit fields replace the target's.
    """
    passing = answers.passing
    nominated: frozenset[bytes] = frozenset()
    first = len(lines)
    for name, value in headers:
        if name in passing or answers.may_pass(name):
            lines.append(b"%b: %b\r\n" % (name, value))
        elif name == b"connection":
            if value.lower() not in _KEEP_ALIVE:
                nominated |= connection_tokens(value)
        elif name in LIMIT_FIELDS and not own_limits:
            lines.append(b"%b: %b\r\n" % (name, value))
    if nominated:
        lines[first:] = [line for line in lines[first:] if line.partition(b":")[0] not in nominated]


def masked_head(lines: list[bytes], forms: Forms) -> tuple[list[bytes], int]:
    """Status line and fields with every form of the secret masked, piece by piece, so that framing survives.

    A field is left out when its name held a form in another case, or when name and value spell one together.
    """
    _, status, reason = lines[0].split(b" ", 2)
    masked_reason, masks = forms.mask(reason[:-2])
    out = [b"HTTP/1.1 %b %b\r\n" % (status, masked_reason)]
    for line in lines[1:]:
        name, _, value = line[:-2].partition(b": ")
        masked_name, in_name = forms.mask(name)
        masked_value, in_value = forms.mask(value)
        masks += in_name + in_value
        masked = b"%b: %b\r\n" % (masked_name, masked_value)
        if forms.found(masked) or forms.in_names(((masked_name, b""),)):
            masks += 1
        else:
            out.append(masked)
    return out, masks


def without_body_bound(lines: list[bytes]) -> list[bytes]:
    """The lines without those that hold only for the bytes of a body that was rewritten."""
    return [line for line in lines if line.partition(b":")[0] not in BODY_BOUND]
