"""The hot path in order: each step's values taken from the exchange, handed to its pure function, kept again.

This is the one place that says what comes after what (DESIGN section 4). A function here returns WAIT when
the exchange must wait, raises a Refusal to end it, and does nothing that its step's module could do.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from time import perf_counter_ns
from typing import TYPE_CHECKING

from models.body_checks import NO_BODY
from models.errors import (
    CredentialUnavailable,
    LimiterUnavailable,
    LimitExceeded,
    PolicyUnavailable,
    RecordBlocked,
    Refusal,
    RingFull,
)
from models.request import CanonicalRequest
from models.rules import Decision, Undecided
from proxy_edge.filtering import screen
from proxy_edge.permits import Exhausted, Wait
from proxy_edge.relay import (
    CONNECT,
    FINISH,
    RESPOND,
    SAFE_METHODS,
    WAIT,
    Next,
    finish,
    receive,
    relay,
    respond,
    start_over,
)
from proxy_edge.steps import record, rules
from proxy_edge.steps.authenticate import authenticate
from proxy_edge.steps.canonicalise import canonicalise
from proxy_edge.steps.find import find
from proxy_edge.steps.forward import forwarded_fields, request_head
from proxy_edge.steps.lease import LeaseWait, lease
from proxy_edge.steps.limits import take
from proxy_edge.steps.state import check_state
from proxy_edge.whole_body import HeldBody, judge_body

if TYPE_CHECKING:
    from proxy_edge.exchange import Exchange

__all__ = ["END", "SEQUENCE", "WAIT"]

_PERMIT_SECONDS = 15.0
"""Longer than any permit source lets a caller wait; it answers with LimiterUnavailable before."""
_LEASE_SECONDS = 8.0
"""Longer than any lease table lets a caller wait; it answers with CredentialUnavailable before."""


def _judge_head(x: Exchange) -> Next:
    """Steps 1 to 5, none of which ever waits; what is found is kept as soon as a refusal could need it."""
    edge, message, times = x.edge, x.message, x.times
    block = message.block
    path, query = canonicalise(message.target, block.via, edge.forwarding.via_name)
    if path[:5] != b"/api/" and message.method in SAFE_METHODS and (page := edge.page(path)) is not None:
        x.answer_page(*page)
        return WAIT
    if edge.stale:
        raise PolicyUnavailable("the policy's source has been away too long")
    policy = x.policy = edge.policy
    proxy, rest = find(policy, path)
    x.proxy = proxy
    times.append(perf_counter_ns())
    request = x.request = CanonicalRequest(message.method, rest, query, block.pairs)
    callers = proxy.callers
    if block.verified_by is callers:
        credential_id = block.verified_as
    else:
        credential_id, request = authenticate(proxy, request)
        x.request = request
        if not callers.strip_query:  # then the fields alone told
            block.verified_by, block.verified_as = callers, credential_id
    x.credential_id = credential_id
    if block.nominated:
        # What Connection lists is for us alone: a rule must not be met by a field that the target never sees.
        request = x.request = CanonicalRequest(message.method, rest, request.query, block.judged)
    times.append(perf_counter_ns())
    check_state(proxy)
    decision = rules.decide(proxy, credential_id, request)
    times.append(perf_counter_ns())
    if decision.effect == "allow":
        x.decision = decision  # type: ignore[assignment]  # an undecided one has another effect
    else:
        _not_allowed(x, decision)
    return None


def _not_allowed(x: Exchange, decision: Decision | Undecided) -> None:
    """Denied, or not decided before the body is there; one that is empty can be judged at once."""
    if isinstance(decision, Undecided):
        if x.message.has_body:
            x.body = HeldBody(decision, x.proxy.max_body_bytes)
            return
        decision = decision.judge(NO_BODY)
    x.decision = decision
    rules.enforce(decision)


def _take_permits(x: Exchange) -> bool | None:
    if x.permit is not None:
        # Kept from before a fresh start: it was spent by a first attempt.
        if not x.quota and x.proxy.limits:
            with suppress(LimiterUnavailable):  # it is admitted, whatever is known of the window now
                x.quota = x.edge.permits.look(x.proxy.limits, x.edge.clock.wall_ms())
        x.times.append(perf_counter_ns())
        return None
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


def _lease(x: Exchange) -> Next:
    waiting = x.leasing
    if waiting is not None:
        return _leased(x, waiting)
    found = lease(x.edge.leases, x.proxy)
    if type(found) is LeaseWait:
        x.leasing = found
        x.client.deadline = x.edge.now + _LEASE_SECONDS
        found.on_ready(x.advance)
        return WAIT
    x.injection = found  # type: ignore[assignment]  # the exact type check above does not narrow for mypy
    if x.message.expects and not x.message.complete and not x.message.chunks:
        x.client.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        x.message.expects = False
    x.times.append(perf_counter_ns())
    return None


def _leased(x: Exchange, waiting: LeaseWait) -> Next:
    """Goes on once it is decided whether the lease comes. Raises CredentialUnavailable when it will not."""
    if waiting.refusal is None and not waiting.ready:
        return WAIT
    x.leasing = None
    if x.edge.policy is not x.policy:
        return start_over(x)
    if waiting.refusal is not None:
        raise waiting.refusal
    if x.edge.leases.get(x.proxy.lease_key) is None:
        raise CredentialUnavailable("the lease was gone as it came")
    return _lease(x)


def _connect(x: Exchange) -> Next:
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
    edge = x.edge
    if (
        edge.policy is not x.policy
        # What was waited for took its time, and no lease is used after its own.
        or (x.dialling and edge.leases.get(x.proxy.lease_key) is not x.injection)
    ) and not x.sent:
        return start_over(x)
    return None


def _send(x: Exchange) -> None:
    assert x.upstream is not None
    message = x.message
    if message.chunked:
        framing = b"transfer-encoding: chunked\r\n"
    elif message.length is not None:
        framing = b"content-length: %d\r\n" % message.length
    else:
        framing = b""
    proxy, injection, block = x.proxy, x.injection, message.block
    if block.forwarded_for == (proxy, injection):
        fields = block.forwarded
    else:
        fields = block.forwarded = forwarded_fields(block, proxy, injection, x.edge.forwarding)
        block.forwarded_for = (proxy, injection)
    head = request_head(x.request, proxy, injection, fields, framing)
    if x.slot < 0:
        try:
            x.slot = x.edge.recorder.open(record.opening(x))
        except RingFull:
            # A call that may go on without is written down at its end, or counted as lost there.
            if not x.proxy.record_drops:
                raise RecordBlocked("ring full") from None
    x.sent = True
    x.upstream.begin(x, head=message.method == b"HEAD")
    if message.has_body:
        x.write_body(head)
        x.client.govern_reading()  # what waited for the connection has left: there is room for more
    else:
        x.request_done = message.complete
        x.upstream.write(head)
    x.set_deadline()


SEQUENCE: tuple[Callable[[Exchange], Next], ...] = (
    _judge_head,
    _take_permits,
    judge_body,
    _lease,
    _connect,
    _send,
    receive,
    screen,
    respond,
    relay,
    finish,
)
END = len(SEQUENCE)
assert (SEQUENCE[CONNECT], SEQUENCE[RESPOND], SEQUENCE[FINISH]) == (_connect, respond, finish)
