"""The hot path in order: each step's values taken from the exchange, handed to its pure function, kept again.

This is the one place that says what comes after what (DESIGN section 4). A function here returns WAIT when
the exchange must wait, raises a Refusal to end it, and does nothing that its step's module could do.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter_ns
from typing import TYPE_CHECKING

from models.errors import LimitExceeded, RecordBlocked, Refusal, RingFull
from models.request import CanonicalRequest
from proxy_edge.permits import Exhausted, Wait
from proxy_edge.relay import SAFE_METHODS, WAIT, finish, receive, relay, respond
from proxy_edge.steps import record, rules
from proxy_edge.steps.authenticate import authenticate
from proxy_edge.steps.canonicalise import canonicalise
from proxy_edge.steps.find import find
from proxy_edge.steps.forward import request_head
from proxy_edge.steps.lease import lease
from proxy_edge.steps.limits import take
from proxy_edge.steps.state import check_state

if TYPE_CHECKING:
    from proxy_edge.exchange import Exchange

__all__ = ["END", "SEQUENCE", "WAIT", "connect"]

_PERMIT_SECONDS = 15.0
"""Longer than any permit source lets a caller wait; it answers with LimiterUnavailable before."""


def _canonicalise(x: Exchange) -> bool | None:
    message = x.message
    x.path, x.query = canonicalise(message.target, message.via, x.edge.forwarding.via_name)
    if (
        x.path[:5] != b"/api/"
        and message.method in SAFE_METHODS
        and (page := x.edge.page(x.path)) is not None
    ):
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
    if x.permit is not None:
        return None  # kept from before a fresh start: it was spent by a first attempt
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
            x.client.deadline = x.edge.now + _PERMIT_SECONDS
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


def connect(x: Exchange) -> bool | None:
    """Takes an idle connection or waits for one; judges again when the policy changed meanwhile."""
    if x.upstream is None:
        if x.refused_dial is not None:
            raise x.refused_dial
        if x.dialling:
            return WAIT
        lane = x.lane = x.edge.pool.lane(x.proxy.lane, x.proxy.target)
        if not x.fresh:
            x.upstream = lane.take(safe=x.message.method in SAFE_METHODS and not x.message.has_body)
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
    x.release(unused=True)
    x.dialling = False
    x.go_back(_find)


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
        x.write_body(head)
    else:
        x.request_done = message.complete
        x.upstream.write(head)
    x.set_deadline()


SEQUENCE: tuple[Callable[[Exchange], bool | None], ...] = (
    _canonicalise,
    _find,
    _authenticate,
    _judge,
    _take_permits,
    _lease,
    connect,
    _send,
    receive,
    respond,
    relay,
    finish,
)
END = len(SEQUENCE)
