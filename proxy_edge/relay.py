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
CONNECT = 4
"""Where the step that takes a connection stands in the sequence."""
RESPOND = 8
"""Where the step stands that writes the answer's head."""
FINISH = 10
"""Where the last step stands."""
Next = int | None
"""What a step returns: None for the next one, WAIT, or the number of the one to go back to."""

SAFE_METHODS = frozenset({b"GET", b"HEAD", b"OPTIONS"})
"""May be sent again on a fresh connection when a reused one turns out closed (RFC 9110 section 9.2.2)."""


def receive(x: Exchange) -> Next:
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
                return _send_again(x)
            raise TargetUnreachable(upstream.broken)
        raise TargetInvalid(upstream.broken)
    if not upstream.head_done:
        return WAIT
    return RESPOND if x.proxy.filters is None else None


def start_over(x: Exchange) -> int:
    """The policy changed while we waited: judge again before anything is sent (revocation, proxyActive)."""
    x.release(unused=True)
    x.dialling = False
    # What was found belongs to the old policy; the new one may have other limits.
    x.credential_id = x.decision = x.body = None
    x.quota = ()
    del x.times[1:]
    return 0


def _send_again(x: Exchange) -> Next:
    """A pooled connection had been closed under a safe request: once more, on a fresh one."""
    assert x.lane is not None
    assert x.upstream is not None
    upstream, x.upstream = x.upstream, None
    upstream.dirty = True
    x.lane.give_back(upstream)
    x.fresh = True
    x.sent = x.dialling = False
    return CONNECT


def respond(x: Exchange) -> Next:
    """Writes the head, and what has come of the body, in one piece. Raises ScrubFailed."""
    upstream, proxy, message, edge, screened = x.upstream, x.proxy, x.message, x.edge, x.screen
    assert upstream is not None
    status, complete = upstream.status, upstream.complete
    mode, framing = answer_step.framing(
        message.method, status, upstream.length, chunked=upstream.chunked, minor=message.version_minor
    )
    if screened is None:
        x.times.append(perf_counter_ns())
        chunks = upstream.take_body()
    else:
        mode, framing, chunks = screened.framed(mode, framing, upstream)
    body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    scrub = proxy.scrub
    if scrub == "full" and mode:
        answer_step.check_scrub(status, upstream.coding)
        if not complete:
            x.scrub = ScrubStream(x.injection.forms)
            body = x.scrub.feed(body)
    lines = [b"HTTP/1.1 %d %b\r\n" % (status, upstream.reason)]
    answer_step.add_fields(lines, upstream.headers, edge.answers, own_limits=bool(proxy.limits))
    if screened is not None and screened.rewritten:
        lines = answer_step.without_body_bound(lines)
    own = len(lines)
    if proxy.limits:
        lines.append(limit_lines(proxy, x.quota))
    lines += (edge.answers.granted_line, x.request_id.encode(), b"\r\n", framing)
    if not (message.keep_alive and message.complete) or edge.draining or mode == answer_step.UNTIL_CLOSE:
        message.keep_alive = False
        lines.append(b"connection: close\r\n\r\n")
    elif message.version_minor == 0:
        lines.append(b"connection: keep-alive\r\n\r\n")
    else:
        lines.append(b"\r\n")
    x.mode = mode
    if mode:
        x.bytes_out = len(body)
        lines.append(_chunk(body, last=complete) if mode == answer_step.CHUNKED else body)
    answer = b"".join(lines)
    if scrub != "off":
        forms = x.injection.forms
        # Nearly no answer echoes the secret, so one search over all of it comes first.
        if forms.found(answer) or forms.in_names(upstream.headers):
            answer = _masked(x, lines, own, body)
    x.started = True
    x.client.write(answer)
    x.set_deadline()  # from here on silence inside the answer counts, not the wait for its head
    # Complete and written: nothing is left to hand on.
    return FINISH if complete else None


def _masked(x: Exchange, lines: list[bytes], own: int, body: bytes) -> bytes:
    """The same answer with every form of the secret masked; own: where our own lines begin."""
    assert x.upstream is not None
    complete, forms = x.upstream.complete, x.injection.forms
    head, in_head = answer_step.masked_head(lines[:own], forms)
    x.masks += in_head
    ours = lines[own:-1] if x.mode else lines[own:]
    if x.proxy.scrub == "full" and x.scrub is None:
        body, in_body = forms.mask(body)
        x.masks += in_body
        if in_body:
            head = answer_step.without_body_bound(head)
    if x.mode:
        ours.append(_chunk(body, last=complete) if x.mode == answer_step.CHUNKED else body)
    return b"".join(head + ours)


def _chunk(body: bytes, *, last: bool) -> bytes:
    """One chunk (none for an empty piece), and behind it the end of the body where that is known."""
    end = b"0\r\n\r\n" if last else b""
    return b"%x\r\n%b\r\n%b" % (len(body), body, end) if body else end


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
