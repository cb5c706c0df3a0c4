"""Step 10: which fields pass back, how the body is framed, and what cannot be scrubbed."""

from __future__ import annotations

import pytest

from models.errors import ScrubFailed
from models.fields import BODY_BOUND, RESPONSE_DROPPED
from proxy_edge.answers import Answers
from proxy_edge.scrub.forms import Forms
from proxy_edge.steps.respond import (
    CHUNKED,
    LENGTH,
    NO_BODY,
    UNTIL_CLOSE,
    add_fields,
    check_scrub,
    framing,
    masked_head,
    without_body_bound,
)

LENGTH_LINE = b"content-length: 5\r\n"
CHUNKED_LINE = b"transfer-encoding: chunked\r\n"
SECRET = b"canary-0123456789"
FIRST = b"HTTP/1.1 200 OK\r\n"


def passed(headers: list[tuple[bytes, bytes]], *, own_limits: bool = False) -> list[bytes]:
    """The lines that pass, twice with the same memory of names."""
    answers = Answers("exeat")
    once, again = [FIRST], [FIRST]
    add_fields(once, headers, answers, own_limits=own_limits)
    add_fields(again, headers, answers, own_limits=own_limits)
    assert once == again
    assert once[0] == FIRST
    return once[1:]


@pytest.mark.parametrize(
    ("method", "status", "length", "chunked", "minor", "wanted"),
    [
        (b"GET", 200, 5, False, 1, (LENGTH, LENGTH_LINE)),
        (b"GET", 200, 0, False, 1, (LENGTH, b"content-length: 0\r\n")),
        (b"GET", 200, None, True, 1, (CHUNKED, CHUNKED_LINE)),
        (b"GET", 200, None, False, 1, (CHUNKED, CHUNKED_LINE)),
        (b"GET", 200, 5, False, 0, (LENGTH, LENGTH_LINE)),
        (b"GET", 200, None, True, 0, (UNTIL_CLOSE, b"")),
        (b"HEAD", 200, 5, False, 1, (NO_BODY, LENGTH_LINE)),
        (b"HEAD", 200, None, True, 1, (NO_BODY, b"")),
        (b"HEAD", 200, None, False, 0, (NO_BODY, b"")),
        (b"GET", 304, 5, False, 1, (NO_BODY, LENGTH_LINE)),
        (b"GET", 304, None, True, 1, (NO_BODY, b"")),
        (b"GET", 204, None, False, 1, (NO_BODY, b"")),
        (b"GET", 204, 5, False, 1, (NO_BODY, b"")),
        (b"GET", 205, None, False, 1, (CHUNKED, CHUNKED_LINE)),
    ],
)
def test_framing(
    method: bytes, status: int, length: int | None, chunked: bool, minor: int, wanted: tuple[int, bytes]
) -> None:
    """RFC 9112 section 6: ours towards the caller, whatever the target's was."""
    assert framing(method, status, length, chunked=chunked, minor=minor) == wanted


@pytest.mark.parametrize(
    "name", sorted(RESPONSE_DROPPED | {b"exeat-request-id", b"exeat-x", b"x-hop", b"x-other"})
)
def test_what_never_passes(name: bytes) -> None:
    """Hop-by-hop and framing fields, our own names, and what Connection nominates."""
    given = [(name, b"v"), (b"connection", b"X-Hop, close"), (b"connection", b"x-other"), (b"x-kept", b"1")]
    assert passed(given) == [b"x-kept: 1\r\n"]


def test_what_passes_keeps_its_order() -> None:
    """Doubled fields included."""
    given = [(b"set-cookie", b"a"), (b"server", b"x"), (b"set-cookie", b"b"), (b"connection", b"keep-alive")]
    assert passed(given) == [
        b"set-cookie: a\r\n",
        b"server: x\r\n",
        b"set-cookie: b\r\n",
    ]


def test_our_limits_replace_the_targets() -> None:
    """Only where there are any of ours."""
    given = [(b"ratelimit", b"1"), (b"ratelimit-policy", b"2"), (b"x-ratelimit", b"3")]
    assert passed(given, own_limits=True) == [b"x-ratelimit: 3\r\n"]
    assert len(passed(given)) == 3


@pytest.mark.parametrize(
    ("status", "coding"), [(206, b""), (200, b"gzip"), (200, b"identity,br"), (200, b"br,identity")]
)
def test_what_cannot_be_scrubbed_is_refused(status: int, coding: bytes) -> None:
    """A partial body may hold half a secret, an encoded one any."""
    with pytest.raises(ScrubFailed):
        check_scrub(status, coding)


@pytest.mark.parametrize("coding", [b"identity", b""])
def test_identity_can_be_scrubbed(coding: bytes) -> None:
    """And so can what says nothing."""
    check_scrub(200, coding)


def test_a_head_is_masked_piece_by_piece() -> None:
    """Reason, names and values; line ends and everything else stay."""
    forms = Forms.of((SECRET,))
    lines = [
        b"HTTP/1.1 200 is %b here\r\n" % SECRET,
        b"x-a: 1\r\n",
        b"x-b: Bearer %b\r\n" % SECRET,
        b"%b: v\r\n" % SECRET,
        b"x-c: %b, %b\r\n" % (SECRET.hex().encode(), SECRET),
    ]
    masked, count = masked_head(lines, forms)
    assert count == 5
    assert not forms.found(b"".join(masked))
    assert masked[1] == b"x-a: 1\r\n"
    assert masked[0].startswith(b"HTTP/1.1 200 is ")
    assert all(len(line) == len(original) for line, original in zip(masked, lines, strict=True))


def test_what_holds_for_the_bytes_of_a_body_goes_with_them() -> None:
    """Tag, ranges, every digest and signature; the status line and the rest stay."""
    assert {b"etag", b"content-range", b"content-digest", b"signature", b"signature-input"} < BODY_BOUND
    lines = [b"HTTP/1.1 200 OK\r\n", *[b"%b: x\r\n" % name for name in sorted(BODY_BOUND)], b"age: 1\r\n"]
    assert without_body_bound(lines) == [b"HTTP/1.1 200 OK\r\n", b"age: 1\r\n"]
