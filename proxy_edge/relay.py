"""The second half of an exchange: the target's answer arrives, is scrubbed, framed anew and handed on.

A head is sent only when the whole of it was valid; a body piece only when no form of the injected secret can
be in it. What breaks after the head was sent resets the caller, so that it never looks whole.
"""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING

from models.errors import TargetInvalid, TargetUnreachable
from proxy_edge.scrub.stream import ScrubStream
from proxy_edge.steps import record
from proxy_edge.steps import respond as answer_step
from proxy_edge.steps.limits import limit_lines

if TYPE_CHECKING:
    from proxy_edge.exchange import Exchange

WAIT = True
"""What a step of the sequence returns when the exchange has to wait."""

SAFE_METHODS = frozenset({b"GET", b"HEAD", b"OPTIONS"})
"""May be sent again on a fresh connection when a reused one turns out closed (RFC 9110 section 9.2.2)."""


def receive(x: Exchange) -> bool | None:
    """Waits for the head of the answer. Raises TargetInvalid or TargetUnreachable when none can come."""
    upstream = x.upstream
    assert upstream is not None
    if upstream.broken:
        if not upstream.got_bytes:
            if (
                upstream.reused
                and not x.fresh
                and x.message.method in SAFE_METHODS
                and not x.message.has_body
            ):
                _send_again(x)
                return None
            raise TargetUnreachable(upstream.broken)
        raise TargetInvalid(upstream.broken)
    return None if upstream.head_done else WAIT


def _send_again(x: Exchange) -> None:
    """A pooled connection had been closed under a safe request: once more, on a fresh one."""
    assert x.lane is not None
    assert x.upstream is not None
    upstream, x.upstream = x.upstream, None
    upstream.dirty = True
    x.lane.give_back(upstream)
    x.fresh = True
    x.sent = x.dialling = False
    x.go_back_to_connect()


def respond(x: Exchange) -> None:
    """Writes the head, and what has come of the body, in one piece. Raises ScrubFailed."""
    upstream, proxy, injection, message = x.upstream, x.proxy, x.injection, x.message
    assert upstream is not None
    edge = x.edge
    x.times.append(perf_counter_ns())
    status = upstream.status
    mode, framing = answer_step.framing(
        message.method, status, upstream.length, chunked=upstream.chunked, minor=message.version_minor
    )
    x.mode = mode
    forms = injection.forms if proxy.scrub != "off" else None
    chunks = upstream.take_body()
    body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    if forms is not None and proxy.scrub == "full":
        answer_step.check_scrub(status, upstream.headers)
        if mode and not upstream.complete:
            x.scrub = ScrubStream(forms)
            body = x.scrub.feed(body)
    head = answer_step.response_head(upstream.headers, edge.answers.prefix, own_limits=x.permit is not None)
    lines = [b"HTTP/1.1 %d %b\r\n" % (status, upstream.reason), *head]
    own = len(lines)
    if x.permit is not None:
        lines.append(limit_lines(proxy, x.quota))
    lines += (edge.answers.granted_line, x.request_id.encode(), b"\r\n", framing)
    if not (message.keep_alive and message.complete) or edge.draining or mode == answer_step.UNTIL_CLOSE:
        message.keep_alive = False
        lines.append(b"connection: close\r\n\r\n")
    elif message.version_minor == 0:
        lines.append(b"connection: keep-alive\r\n\r\n")
    else:
        lines.append(b"\r\n")
    x.bytes_out = len(body)
    answer = b"".join(lines) + _framed(x, body, complete=upstream.complete)
    if forms is not None and forms.found(answer):
        # Nearly no answer echoes the secret, so one search over all of it comes first.
        masked, x.masks = answer_step.masked_head(lines[:own], forms)
        if proxy.scrub == "full" and x.scrub is None:
            body, in_body = forms.mask(body)
            x.masks += in_body
            if in_body:
                masked = answer_step.without_digests(masked)
        answer = b"".join(masked) + b"".join(lines[own:]) + _framed(x, body, complete=upstream.complete)
    if upstream.complete and x.scrub is None:
        x.mode = answer_step.NO_BODY  # the end is written: nothing more to frame
    x.started = True
    x.client.write(answer)


def _framed(x: Exchange, body: bytes, *, complete: bool) -> bytes:
    """The first piece of the body in our framing, with its end when that is known."""
    if x.mode != answer_step.CHUNKED:
        return body if x.mode else b""
    last = b"0\r\n\r\n" if complete and x.scrub is None else b""
    return b"%x\r\n%b\r\n%b" % (len(body), body, last) if body else last


def relay(x: Exchange) -> bool | None:
    """Hands on the rest of the body as it comes."""
    upstream = x.upstream
    assert upstream is not None
    complete = upstream.complete
    if upstream.chunks or (complete and x.scrub is not None):
        chunks = upstream.take_body()
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        if x.scrub is not None:
            body = x.scrub.feed(body)
            if complete:
                body += x.scrub.finish()
                x.masks += x.scrub.count
        if body and x.mode:
            x.bytes_out += len(body)
            x.client.write(b"%x\r\n%b\r\n" % (len(body), body) if x.mode == answer_step.CHUNKED else body)
        x.set_deadline()
    if upstream.broken:
        x.reset(upstream.broken)
        return WAIT
    if not complete:
        return WAIT
    if x.mode == answer_step.CHUNKED:
        x.client.write(b"0\r\n\r\n")
    return None


def finish(x: Exchange) -> None:
    """The answer is written whole: the record is closed, the connection goes back to the pool."""
    x.done = True
    upstream = x.upstream
    assert upstream is not None
    status = upstream.status
    x.record(status, record.GRANTED_CODE)
    x.release(unused=False)
    x.client.finished(x, keep=x.message.keep_alive)
