"""One request on its way through the edge: the sequence of the hot path and the relay of the answer.

`advance` runs steps until one says WAIT; whatever it waited for calls `advance` again. No step is written
twice, and a request with warm leases runs through without a task or a future. An exchange must never let a
byte of one answer reach another exchange, nor complete upstream what was not complete and valid here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import perf_counter_ns
from typing import TYPE_CHECKING

from models.errors import (
    LimiterUnavailable,
    LimitExceeded,
    RecordBlocked,
    Refusal,
    RequestTimeout,
    RingFull,
    TargetInvalid,
    TargetSaturated,
    TargetTimeout,
    TargetUnreachable,
)
from models.limits import Quota
from models.policy import CompiledPolicy, CompiledProxy
from models.request import CanonicalRequest
from models.rules import Decision
from proxy_edge.parser import Message
from proxy_edge.permits import Exhausted, Permit, Wait
from proxy_edge.scrub.stream import ScrubStream
from proxy_edge.steps import record, respond, rules
from proxy_edge.steps.authenticate import authenticate
from proxy_edge.steps.canonicalise import canonicalise
from proxy_edge.steps.find import find
from proxy_edge.steps.forward import request_head
from proxy_edge.steps.lease import Injection, lease
from proxy_edge.steps.limits import limit_lines, take
from proxy_edge.steps.state import check_state
from proxy_edge.upstream.connection import UpstreamConnection
from proxy_edge.upstream.pool import Lane

if TYPE_CHECKING:
    from proxy_edge.client import ClientConnection
    from proxy_edge.edge import Edge

_log = logging.getLogger("exeat.edge.exchange")

WAIT = True
_SAFE = frozenset({b"GET", b"HEAD", b"OPTIONS"})
"""Methods that may be sent again on a fresh connection when a reused one turns out closed (RFC 9110 9.2.2)."""


class Exchange:
    """One request and its answer.

    credential_id, decision, permit, injection: what the steps found so far; upstream: the connection in
    use; slot: the open record; sent: whether a byte went upstream; started: whether a byte went back.
    """

    __slots__ = (
        "at",
        "bytes_in",
        "bytes_out",
        "client",
        "credential_id",
        "decision",
        "dialling",
        "done",
        "edge",
        "fresh",
        "injection",
        "lane",
        "masks",
        "message",
        "mode",
        "path",
        "permit",
        "policy",
        "proxy",
        "query",
        "quota",
        "refused_dial",
        "request",
        "request_done",
        "request_id",
        "scrub",
        "sent",
        "slot",
        "started",
        "times",
        "upstream",
        "wait",
    )

    # Set by the step that finds them; no later step can run without.
    proxy: CompiledProxy
    request: CanonicalRequest
    injection: Injection

    def __init__(self, edge: Edge, client: ClientConnection, message: Message) -> None:
        self.edge = edge
        self.client = client
        self.message = message
        self.request_id: str = edge.new_request_id()
        self.times = [perf_counter_ns()]
        self.at = 0
        self.path = self.query = b""
        self.policy: CompiledPolicy = edge.policy
        self.credential_id: str | None = None
        self.decision: Decision | None = None
        self.permit: Permit | None = None
        self.quota: Quota = ()
        self.wait: Wait | None = None
        self.lane: Lane | None = None
        self.upstream: UpstreamConnection | None = None
        self.dialling = self.fresh = False
        self.refused_dial: Refusal | None = None
        self.slot = -1
        self.sent = self.request_done = self.started = self.done = False
        self.scrub: ScrubStream | None = None
        self.mode = respond.NO_BODY
        self.masks = self.bytes_in = self.bytes_out = 0

    def advance(self) -> None:
        """Runs steps from where the exchange stands until one waits, refuses or the answer is complete."""
        if self.done:
            return
        try:
            while self.at < _END:
                if _SEQUENCE[self.at](self) is WAIT:
                    return
                self.at += 1
        except Refusal as refusal:
            self.refuse(refusal)
        except Exception:  # noqa: BLE001 - a fault of ours ends one exchange, never the connection's protocol
            # The text of an unexpected error may quote what it choked on: the traceback's place is enough.
            _log.exception("exchange failed", extra={"requestId": self.request_id})
            self.refuse(Refusal("unexpected"))

    # -- what the exchange waits for --------------------------------------------------------------

    def connected(self, connection: UpstreamConnection) -> None:
        """The pool has a connection for us."""
        if self.done or self.upstream is not None:
            if self.lane is not None:
                self.lane.unused(connection)
            return
        self.upstream = connection
        self.advance()

    def not_connected(self, refusal: Refusal) -> None:
        """The pool has none."""
        self.refused_dial = refusal
        self.advance()

    def upstream_writable(self) -> None:
        """The target reads again: so may we."""
        self.client.govern_reading()

    def request_progress(self) -> None:
        """More of the request arrived, or the parser refused the rest of it."""
        if self.done:
            return
        message = self.message
        if message.refusal is not None:
            self.refuse(message.refusal)
        elif self.sent and not self.request_done and (message.chunks or message.complete):
            self._write_body(b"")
            self._set_deadline()

    def caller_reads(self, *, reading: bool) -> None:
        """Back-pressure: the caller stopped or started reading the answer."""
        upstream = self.upstream
        if upstream is not None and self.sent:
            if reading:
                upstream.resume()
                self._set_deadline()
            else:
                upstream.pause()

    def deadline_passed(self) -> None:
        """The one deadline of the present phase passed (API.md section 3, deadlines)."""
        if self.done:
            return
        if self.started:
            self._reset("silence inside the answer")
        elif not self.sent:
            if self.wait is not None:
                self.refuse(LimiterUnavailable("no permit in time"))
            else:
                self.refuse(TargetSaturated("no connection in time"))
        elif not self.message.complete and not (self.upstream and self.upstream.write_paused):
            self.refuse(RequestTimeout("silence inside the body"))
        else:
            self.refuse(TargetTimeout("no answer in time"))

    def caller_gone(self) -> None:
        """The caller closed while we were at work: free the upstream, finish the record."""
        if self.done:
            return
        self.done = True
        self._release(unused=not self.sent)
        self._record(record.ABORTED_STATUS, record.ABORTED_CODE)

    # -- endings ----------------------------------------------------------------------------------

    def refuse(self, refusal: Refusal) -> None:
        """Answers with `refusal`, or resets the caller when an answer is already under way."""
        if self.done:
            return
        if self.started:
            self._reset(refusal.detail)
            return
        self.done = True
        self._release(unused=not self.sent)
        message = self.message
        keep = message.keep_alive and message.complete and not (refusal.closes or self.edge.draining)
        self.client.write(
            self.edge.answers.refusal(
                refusal,
                self.request_id,
                limits=self._limit_lines(),
                close=not keep,
                head_only=message.method == b"HEAD",
            )
        )
        self._record(refusal.status, refusal.code)
        if refusal.status >= 500:
            _log.info(
                "refused",
                extra={"requestId": self.request_id, "code": refusal.code, "reason": refusal.detail},
            )
        self.client.finished(self, keep=keep)

    def _reset(self, reason: str) -> None:
        """Cuts the caller off inside an answer that cannot be completed: it must not look whole."""
        self.done = True
        status = self.upstream.status if self.upstream is not None else 0
        self._release(unused=False)
        _log.info("answer cut off", extra={"requestId": self.request_id, "reason": reason})
        self._record(status, record.CUT_OFF_CODE)
        self.client.reset()

    def _release(self, *, unused: bool) -> None:
        """Lets go of connection and permit; unused: nothing went upstream, both can serve others."""
        upstream, self.upstream = self.upstream, None
        if self.lane is not None:
            if upstream is not None:
                if unused:
                    self.lane.unused(upstream)
                else:
                    upstream.dirty = upstream.dirty or not (upstream.complete and self.request_done)
                    self.lane.give_back(upstream)
            elif self.dialling:
                self.lane.forget(self)
        if self.wait is not None:
            self.wait.abandon()
            self.wait = None
        if unused and self.permit is not None:
            try:
                self.edge.permits.give_back(self.permit)
            except LimiterUnavailable:
                _log.warning("permit not returned", extra={"requestId": self.request_id})
            self.permit = None

    def _limit_lines(self) -> bytes:
        if self.credential_id is None or not self.proxy.limits:
            return b""
        proxy = self.proxy
        if not self.quota:
            try:
                self.quota = self.edge.permits.look(proxy.limits, self.edge.clock.wall_ms())
            except LimiterUnavailable:
                return b""
        return limit_lines(proxy, self.quota)

    def _record(self, status: int, code: str) -> None:
        edge = self.edge
        edge.stats.answered(code)
        if self.credential_id is None:
            edge.stats.refused_before_authentication(self.client.address, code)
            return
        self.times.append(perf_counter_ns())
        closing = record.closing(self, status, code)
        if self.slot >= 0:
            edge.recorder.close(self.slot, closing)
        else:
            try:
                edge.recorder.write(record.opening(self), closing)
            except RingFull:
                edge.stats.record_lost()

    def _set_deadline(self) -> None:
        edge = self.edge
        if self.started or not self.message.complete:
            self.client.deadline = edge.now + edge.settings.body_idle_seconds
        else:
            self.client.deadline = edge.now + self.proxy.target.timeout

    def _write_body(self, head: bytes) -> None:
        """Sends what has arrived of the request's body, behind `head`, in our own framing."""
        message, upstream = self.message, self.upstream
        if upstream is None:
            return
        parts = [head] if head else []
        for chunk in message.take_body():
            self.bytes_in += len(chunk)
            if message.chunked:
                parts += (b"%x\r\n" % len(chunk), chunk, b"\r\n")
            else:
                parts.append(chunk)
        if message.complete:
            self.request_done = True
            if message.chunked:
                parts.append(b"0\r\n\r\n")
        if parts:
            upstream.write(b"".join(parts))


# -- the sequence -----------------------------------------------------------------------------------


def _canonicalise(x: Exchange) -> bool | None:
    message = x.message
    x.path, x.query = canonicalise(message.target, message.via, x.edge.forwarding.via_name)
    if x.path[:5] != b"/api/" and message.method in _SAFE and (page := x.edge.page(x.path)) is not None:
        x.done = True
        keep = message.keep_alive and message.complete and not x.edge.draining
        x.client.write(x.edge.answers.plain(*page, close=not keep, head_only=message.method == b"HEAD"))
        x.client.finished(x, keep=keep)
        return WAIT
    return None


def _find(x: Exchange) -> None:
    x.policy = x.edge.policy
    x.proxy, rest = find(x.policy, x.path)
    x.request = CanonicalRequest(x.message.method, rest, x.query, x.message.headers)
    x.times[1:] = (perf_counter_ns(),)


def _authenticate(x: Exchange) -> None:
    x.credential_id, x.request = authenticate(x.proxy, x.request)
    x.times.append(perf_counter_ns())
    check_state(x.proxy)


def _judge(x: Exchange) -> None:
    assert x.credential_id is not None
    decision = x.decision = rules.decide(x.proxy, x.credential_id, x.request)
    x.times.append(perf_counter_ns())
    if decision.effect != "allow":
        rules.enforce(decision)


def _take_permits(x: Exchange) -> bool | None:
    if x.wait is not None:
        outcome = x.wait.outcome
        if outcome is None:
            return WAIT
        x.wait = None
        if isinstance(outcome, Exhausted):
            raise LimitExceeded(outcome.retry_after)
        if isinstance(outcome, Refusal):
            raise outcome
        x.permit = outcome
        x.quota = outcome.quota
    else:
        permit = take(x.edge.permits, x.proxy, x.edge.clock.wall_ms())
        if isinstance(permit, Wait):
            x.wait = permit
            permit.on_ready(x.advance)
            return WAIT
        x.permit = permit
        if permit is not None:
            x.quota = permit.quota
    x.times.append(perf_counter_ns())
    return None


def _lease(x: Exchange) -> None:
    x.injection = lease(x.edge.leases, x.proxy.target_credential_id)
    if x.message.expects and not x.message.complete and not x.message.chunks:
        x.client.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        x.message.expects = False
    x.times.append(perf_counter_ns())


def _connect(x: Exchange) -> bool | None:
    if x.upstream is None:
        if x.refused_dial is not None:
            raise x.refused_dial
        if x.dialling:
            return WAIT
        lane = x.lane = x.edge.pool.lane(x.proxy.lane, x.proxy.target)
        if not x.fresh:
            x.upstream = lane.take(safe=x.message.method in _SAFE and not x.message.has_body)
        if x.upstream is None:
            x.dialling = True
            x.client.deadline = x.edge.now + 2 * x.edge.settings.connect_seconds
            lane.request(x, limit=x.proxy.target.connections)
            return WAIT
    if x.edge.policy is not x.policy and not x.sent:
        _start_over(x)
    return None


def _start_over(x: Exchange) -> None:
    """The policy changed while we waited: judge again before anything is sent (revocation, proxyActive)."""
    x._release(unused=True)  # noqa: SLF001  # the sequence is this class's own, split for reading
    x.dialling = False
    x.at = _FIND - 1


def _send(x: Exchange) -> None:
    assert x.upstream is not None
    message = x.message
    if message.chunked:
        framing = b"transfer-encoding: chunked\r\n"
    elif message.length is not None:
        framing = b"content-length: %d\r\n" % message.length
    else:
        framing = b""
    head = request_head(x.request, x.proxy, x.injection, x.edge.forwarding, framing)
    if x.slot < 0:
        try:
            x.slot = x.edge.recorder.open(record.opening(x))
        except RingFull:
            if not x.proxy.record_drops:
                raise RecordBlocked("ring full") from None
            x.edge.stats.record_lost()
    x.sent = True
    x.upstream.begin(x, head=message.method == b"HEAD")
    if message.has_body:
        x._write_body(head)  # noqa: SLF001  # see _start_over
    else:
        x.request_done = message.complete
        x.upstream.write(head)
    x._set_deadline()  # noqa: SLF001  # see _start_over


def _receive(x: Exchange) -> bool | None:
    upstream = x.upstream
    assert upstream is not None
    if upstream.broken:
        if not upstream.got_bytes:
            if upstream.reused and not x.fresh and x.message.method in _SAFE and not x.message.has_body:
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
    x.at = _CONNECT - 1


def _respond(x: Exchange) -> None:
    upstream, proxy, injection, message = x.upstream, x.proxy, x.injection, x.message
    assert upstream is not None
    edge = x.edge
    x.times.append(perf_counter_ns())
    status = upstream.status
    mode, framing = respond.framing(
        message.method, status, upstream.length, chunked=upstream.chunked, minor=message.version_minor
    )
    x.mode = mode
    forms = injection.forms if proxy.scrub != "off" else None
    chunks = upstream.take_body()
    body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    scrubbed = False
    if forms is not None and proxy.scrub == "full":
        respond.check_scrub(status, upstream.headers)
        if mode:
            if upstream.complete:
                if body and forms.found(body):
                    body, x.masks = forms.mask(body)
                    scrubbed = True
            else:
                x.scrub = ScrubStream(forms)
                body = x.scrub.feed(body)
    lines, masks = respond.response_head(
        status,
        upstream.reason,
        upstream.headers,
        own_prefix=edge.answers.prefix,
        own_limits=x.permit is not None,
        scrubbed=scrubbed,
        forms=forms,
    )
    x.masks += masks
    if x.permit is not None:
        lines.append(limit_lines(proxy, x.quota))
    lines += (edge.answers.granted_line, x.request_id.encode(), b"\r\n", framing)
    if not (message.keep_alive and message.complete) or edge.draining or mode == respond.UNTIL_CLOSE:
        message.keep_alive = False
        lines.append(b"connection: close\r\n\r\n")
    elif message.version_minor == 0:
        lines.append(b"connection: keep-alive\r\n\r\n")
    else:
        lines.append(b"\r\n")
    if body:
        x.bytes_out += len(body)
        if mode == respond.CHUNKED:
            lines += (b"%x\r\n" % len(body), body, b"\r\n")
        elif mode:
            lines.append(body)
    if upstream.complete and mode == respond.CHUNKED and x.scrub is None:
        lines.append(b"0\r\n\r\n")
        x.mode = respond.LENGTH  # the end is written: nothing more to frame
    x.started = True
    x.client.write(b"".join(lines))


def _relay(x: Exchange) -> bool | None:
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
            x.client.write(b"%x\r\n%b\r\n" % (len(body), body) if x.mode == respond.CHUNKED else body)
        x._set_deadline()  # noqa: SLF001  # see _start_over
    if upstream.broken:
        x._reset(upstream.broken)  # noqa: SLF001  # see _start_over
        return WAIT
    if not complete:
        return WAIT
    if x.mode == respond.CHUNKED:
        x.client.write(b"0\r\n\r\n")
    return None


def _finish(x: Exchange) -> None:
    x.done = True
    upstream = x.upstream
    assert upstream is not None
    status = upstream.status
    x._record(status, record.GRANTED_CODE)  # noqa: SLF001  # see _start_over
    x._release(unused=False)  # noqa: SLF001  # see _start_over
    x.client.finished(x, keep=x.message.keep_alive)


_SEQUENCE: tuple[Callable[[Exchange], bool | None], ...] = (
    _canonicalise,
    _find,
    _authenticate,
    _judge,
    _take_permits,
    _lease,
    _connect,
    _send,
    _receive,
    _respond,
    _relay,
    _finish,
)
_FIND = _SEQUENCE.index(_find)
_CONNECT = _SEQUENCE.index(_connect)
_END = len(_SEQUENCE)
