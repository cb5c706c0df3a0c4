"""One request on its way through the edge: its state, what it waits for, and the ways in which it ends.

`advance` runs the steps of `proxy_edge.sequence` until one says WAIT; whatever it waited for calls `advance`
again. A request with warm leases runs through without a task or a future. An exchange must never let a byte
of one answer reach another exchange, nor complete upstream what was not complete and valid here.
"""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from time import perf_counter_ns
from typing import TYPE_CHECKING

from models.errors import (
    CredentialUnavailable,
    LimiterUnavailable,
    RecordBlocked,
    Refusal,
    RequestTimeout,
    RingFull,
    TargetSaturated,
    TargetTimeout,
    TargetUnreachable,
)
from models.limits import Quota
from models.policy import CompiledPolicy, CompiledProxy
from models.request import CanonicalRequest
from models.rules import Decision
from proxy_edge.filtering import Screen
from proxy_edge.parser import Message
from proxy_edge.permits import Permit, Wait
from proxy_edge.scrub.stream import ScrubStream
from proxy_edge.sequence import END, SEQUENCE, WAIT
from proxy_edge.steps import record, respond
from proxy_edge.steps.lease import Injection, LeaseWait
from proxy_edge.steps.limits import limit_lines
from proxy_edge.upstream.connection import UpstreamConnection
from proxy_edge.upstream.pool import Lane
from proxy_edge.whole_body import HeldBody

if TYPE_CHECKING:
    from proxy_edge.client import ClientConnection
    from proxy_edge.edge import Edge

_log = logging.getLogger("exeat.edge.exchange")


class Exchange:
    """One request and its answer.

    credential_id, decision, permit, injection: what the steps found so far; upstream: the connection in
    use; slot: the open record; sent: whether a byte went upstream; started: whether a byte went back. body: while
    rules wait for it; screen: where filters may apply to the answer.
    """

    __slots__ = (
        "at",
        "body",
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
        "leasing",
        "masks",
        "message",
        "mode",
        "permit",
        "policy",
        "proxy",
        "quota",
        "received_at",
        "refused_dial",
        "request",
        "request_done",
        "request_id",
        "screen",
        "scrub",
        "sent",
        "slot",
        "started",
        "times",
        "unsent",
        "upstream",
        "wait",
    )

    # Set by the step that finds them; no later step can run without.
    proxy: CompiledProxy
    request: CanonicalRequest
    injection: Injection
    # Set when a deadline first passes while the request is still leaving.
    unsent: int

    def __init__(self, edge: Edge, client: ClientConnection, message: Message) -> None:
        self.edge = edge
        self.client = client
        self.message = message
        self.request_id: str = edge.new_request_id()
        self.received_at = edge.clock.wall_ms()
        self.times = [perf_counter_ns()]
        self.at = 0
        self.policy: CompiledPolicy = edge.policy
        self.credential_id: str | None = None
        self.decision: Decision | None = None
        self.permit: Permit | None = None
        self.quota: Quota = ()
        self.wait: Wait | None = None
        self.leasing: LeaseWait | None = None
        self.body: HeldBody | None = None
        self.lane: Lane | None = None
        self.upstream: UpstreamConnection | None = None
        self.dialling = self.fresh = False
        self.refused_dial: Refusal | None = None
        self.slot = -1
        self.sent = self.request_done = self.started = self.done = False
        self.screen: Screen | None = None
        self.scrub: ScrubStream | None = None
        self.mode = respond.NO_BODY
        self.masks = self.bytes_in = self.bytes_out = 0

    def advance(self) -> None:
        """Runs steps from where the exchange stands until one waits, refuses or the answer is complete."""
        if self.done:
            return
        at = self.at
        try:
            while at < END:
                outcome = SEQUENCE[at](self)
                if outcome is None:
                    at += 1
                elif outcome is WAIT:
                    self.at = at
                    return
                else:
                    at = outcome
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
        if connection.closed or connection.dirty:
            if self.lane is not None:
                self.lane.unused(connection)
            self.not_connected(TargetUnreachable("the connection broke as it was made"))
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
        if not self.started and self.screen is None:
            self.set_deadline()  # a body that was sent whole has only left now

    def request_progress(self) -> None:
        """More of the request arrived, or the parser refused the rest of it."""
        if self.done:
            return
        message = self.message
        if message.refusal is not None:
            self.refuse(message.refusal)
        elif self.sent and not self.request_done and (message.chunks or message.complete):
            self.write_body(b"")
            self.set_deadline()
        elif self.body is not None:
            self.advance()

    def caller_reads(self, *, reading: bool) -> None:
        """Back-pressure: the caller stopped or started reading the answer."""
        upstream = self.upstream
        if upstream is not None and self.sent:
            if reading:
                upstream.resume()
                self.set_deadline()
            else:
                upstream.pause()

    def deadline_passed(self) -> None:
        """The one deadline of the present phase passed (API.md section 3, deadlines)."""
        if self.done:
            return
        if self.started:
            self.reset("silence inside the answer")
        elif not self.sent:
            if self.wait is not None:
                self.refuse(LimiterUnavailable("no permit in time"))
            elif self.body is not None:
                self.body.deadline_passed(self)
            elif self.leasing is not None:
                self.refuse(CredentialUnavailable("no lease in time"))
            else:
                self.refuse(TargetSaturated("no connection in time"))
        elif self.screen is not None:
            self.refuse(self.screen.overdue())
        elif not self.message.complete and not (self.upstream and self.upstream.write_paused):
            self.refuse(RequestTimeout("silence inside the body"))
        elif self._still_leaving():
            self.client.deadline = self.edge.now + self.edge.settings.body_idle_seconds
        else:
            self.refuse(TargetTimeout("no answer in time"))

    def _still_leaving(self) -> bool:
        """Whether a body that was sent whole is on its way out, and some of it has left since this was last asked."""
        if not self.message.complete or self.upstream is None or self.upstream.transport is None:
            return False
        before = getattr(self, "unsent", sys.maxsize)
        self.unsent = self.upstream.transport.get_write_buffer_size()
        return 0 < self.unsent < before

    def caller_gone(self) -> None:
        """The caller closed while we were at work: free the upstream, finish the record."""
        if self.done:
            return
        self.done = True
        self.release(unused=not self.sent)
        self.record(record.ABORTED_STATUS, record.ABORTED_CODE)

    def answer_page(self, status: int, body: bytes) -> None:
        """Answers with one of the edge's own pages."""
        self.done = True
        message = self.message
        keep = message.keep_alive and message.complete and not self.edge.draining
        self.client.write(
            self.edge.answers.plain(status, body, close=not keep, head_only=message.method == b"HEAD")
        )
        self.client.finished(self, keep=keep)

    # -- endings ----------------------------------------------------------------------------------

    def refuse(self, refusal: Refusal) -> None:
        """Answers with `refusal`, or resets the caller when an answer is already under way."""
        if self.done:
            return
        if self.started:
            self.reset(refusal.detail)
            return
        self.done = True
        self.release(unused=not self.sent)
        if not self.sent:
            self.quota = ()  # the permit went back: what is left is looked up anew
        message = self.message
        keep = message.keep_alive and message.complete and not (refusal.closes or self.edge.draining)
        limits = self._limit_lines()
        if not self.record(refusal.status, refusal.code) and not self.proxy.record_drops:
            # What cannot be recorded is not answered as if it were (invariant 9, proxyRecordPolicy).
            refusal = RecordBlocked("ring full")
        self.client.write(
            self.edge.answers.refusal(
                refusal,
                self.request_id,
                limits=limits,
                close=not keep,
                head_only=message.method == b"HEAD",
            )
        )
        if refusal.status >= 500:
            _log.info(
                "refused",
                extra={"requestId": self.request_id, "code": refusal.code, "reason": refusal.detail},
            )
        self.client.finished(self, keep=keep)

    def reset(self, reason: str) -> None:
        """Cuts the caller off inside an answer that cannot be completed: it must not look whole."""
        self.done = True
        status = self.upstream.status if self.upstream is not None else 0
        self.release(unused=False)
        _log.info("answer cut off", extra={"requestId": self.request_id, "reason": reason})
        self.record(status, record.CUT_OFF_CODE)
        self.client.reset()

    def release(self, *, unused: bool) -> None:
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
        if self.leasing is not None:
            self.leasing.abandon()
            self.leasing = None
        if self.body is not None:
            self.body.abandon()
        if self.screen is not None:
            self.screen.abandon()
        if unused and self.permit is not None and not self.fresh:
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
            with suppress(LimiterUnavailable):
                self.quota = self.edge.permits.look(proxy.limits, self.edge.clock.wall_ms())
        return limit_lines(proxy, self.quota)

    def record(self, status: int, code: str) -> bool:
        """Closes the record, or writes a whole one where none was opened; False where there was no room for it."""
        stats = self.edge.stats
        if self.credential_id is None and self.slot < 0:
            stats.answered(code)
            stats.refused_before_authentication(self.client.address, code)
            return True
        times = self.times
        times.append(perf_counter_ns())
        closing = record.closing(self, status, code)
        try:
            if self.slot >= 0:
                self.edge.recorder.close(self.slot, closing)
            else:
                self.edge.recorder.write(record.opening(self), closing)
        except RingFull:
            stats.record_lost()
            stats.answered(code if self.proxy.record_drops else RecordBlocked.code)
            return False
        stats.answered(code)
        stats.completed(times[-1] - times[0], self.bytes_in, self.bytes_out, self.masks)
        return True

    def set_deadline(self) -> None:
        """Moves the deadline of the present phase: silence inside a body, or waiting for the answer's head."""
        edge = self.edge
        if self.started or not self.message.complete:
            self.client.deadline = edge.now + edge.settings.body_idle_seconds
        else:
            self.client.deadline = edge.now + self.proxy.target.timeout

    def write_body(self, head: bytes) -> None:
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
