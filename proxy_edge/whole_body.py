"""Step 7 in the exchange: waits for a whole request body when rules want to see it, and finishes their judgement.

The body stays in the message, so what is forwarded is what was judged. A body that an enforced rule could not see
is refused; where only shadow rules would see it, the request goes on without them.
"""

from __future__ import annotations

import asyncio
from functools import partial
from time import monotonic, perf_counter_ns
from typing import TYPE_CHECKING

from models.decision import Decision
from models.errors import PolicyUnavailable, Refusal, RequestTimeout
from models.rules import Undecided
from proxy_edge.aside import LARGE
from proxy_edge.relay import WAIT, Next, start_over
from proxy_edge.steps import body as step
from proxy_edge.steps import rules

if TYPE_CHECKING:
    from proxy_edge.exchange import Exchange

_JUDGE_SECONDS = 2 * step.JUDGE_SECONDS
"""Longer than a large body may be judged: others may be before it."""


class HeldBody:
    """A body that is read whole. room: how many bytes of it may wait. begun: when it was first waited for."""

    __slots__ = ("begun", "late", "room", "undecided", "work")

    def __init__(self, undecided: Undecided, room: int) -> None:
        self.undecided = undecided
        self.room = room
        self.begun = 0
        self.late = False
        self.work: asyncio.Future[Decision] | None = None

    def deadline_passed(self, x: Exchange) -> None:
        """The caller went silent inside its body, or the judgement takes too long."""
        if self.work is None:
            x.refuse(RequestTimeout("silence inside the body"))
        else:
            self.late = True
            x.advance()

    def abandon(self) -> None:
        """The exchange is over, or begins anew: what a thread may still find out is nobody's."""
        if self.work is not None:
            self.work.cancel()


def judge_body(x: Exchange) -> Next:
    """Waits for the body, finishes the rules and enforces them; nothing where the head decided.

    Raises RequestTooLarge, RequestMalformed, RuleDenied, PolicyUnavailable.
    """
    held = x.body
    if held is None:
        return None
    try:
        decision = _decision(x, held)
    except Refusal:
        if held.undecided.enforced:
            raise
        decision = held.undecided.without_body()
    if decision is None:
        return WAIT
    if x.edge.policy is not x.policy:
        return start_over(x)
    x.body = None
    x.decision = decision
    # What it took belongs to the rules; the limits came between.
    spent = perf_counter_ns() - held.begun
    x.times[-2] += spent
    x.times[-1] += spent
    rules.enforce(decision)
    return None


def _decision(x: Exchange, held: HeldBody) -> Decision | None:
    """The decision; None while there is something to wait for."""
    message, most = x.message, x.proxy.max_body_bytes
    if held.late:
        held.abandon()
        raise PolicyUnavailable("the body was not judged in time")
    if held.work is not None:
        return held.work.result() if held.work.done() else None
    if not held.begun:
        held.begun = perf_counter_ns()
        step.check_announced(message.block.pairs, message.length, most)
        if message.expects and not message.complete and not message.chunks:
            x.client.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            message.expects = False
    step.check_size(message.waiting_bytes, most)
    if not message.complete:
        x.client.deadline = x.edge.now + x.edge.settings.body_idle_seconds
        return None
    raw = message.chunks[0] if len(message.chunks) == 1 else b"".join(message.chunks)
    message.chunks = [raw] if raw else []
    if len(raw) <= LARGE:
        return step.decide(held.undecided, raw)
    held.work = x.edge.aside.run(partial(_aside, held.undecided, raw))
    held.work.add_done_callback(lambda work: None if work.cancelled() else x.advance())
    x.client.deadline = x.edge.now + _JUDGE_SECONDS
    return None


def _aside(undecided: Undecided, raw: bytes) -> Decision:
    return step.decide(undecided, raw, step.within(step.JUDGE_SECONDS, monotonic))
