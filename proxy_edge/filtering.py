"""The response stage in the exchange: answers that filters apply to are held whole, scrubbed, filtered, redacted.

Small answers that need no redactor go through without a task; others are worked on aside, and the exchange goes on
when that is done. Until then no byte of the answer has gone to the caller, so every failure is a clean refusal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from time import perf_counter_ns
from typing import TYPE_CHECKING, Protocol

from models.errors import (
    FilterBlocked,
    RedactionFailed,
    Refusal,
    ResponseTooLarge,
    TargetInvalid,
    TargetTimeout,
)
from models.filters.apply import Filtering
from models.planes.texts import Span
from proxy_edge.aside import LARGE
from proxy_edge.redaction import MOST_SECONDS
from proxy_edge.relay import WAIT, Next
from proxy_edge.steps import filter as step
from proxy_edge.steps.respond import LENGTH, check_scrub
from proxy_edge.tasks import spawn

if TYPE_CHECKING:
    from proxy_edge.exchange import Exchange
    from proxy_edge.upstream.connection import UpstreamConnection

_ASK_SECONDS = MOST_SECONDS + 5.0
"""Longer than redactors are asked; whoever asks gives up before with RedactionFailed."""
_WORK_SECONDS = 30.0
"""For parsing, filtering and writing a large answer, others before it included."""


class Redactions(Protocol):
    """Who finds personal data in texts."""

    async def find(self, texts: Sequence[str]) -> list[tuple[Span, ...]]:
        """Per text, in order, its spans. Raises RedactionFailed when it cannot tell in time."""
        ...


class Screen:
    """An answer that filters may apply to.

    status: the target's. stages: those it goes through. rewritten: what describes the target's bytes no longer
    holds. body: what goes to the caller, None where the answer passes as it comes. filters, redactions: for the record.
    """

    __slots__ = (
        "_asking",
        "_chunks",
        "_size",
        "_work",
        "body",
        "done",
        "filters",
        "redactions",
        "refusal",
        "rewritten",
        "stages",
        "status",
    )

    def __init__(self, status: int, stages: step.Stages) -> None:
        self.status, self.stages = status, stages
        self.rewritten = self.done = False
        self.body: bytes | None = None
        self.refusal: Refusal | None = None
        self.filters: tuple[tuple[str, str, int], ...] = ()
        self.redactions: tuple[tuple[str, int], ...] = ()
        self._chunks: list[bytes] = []
        self._size = 0
        self._work: asyncio.Task[None] | None = None
        self._asking = False

    @property
    def working(self) -> bool:
        """The answer is whole and not through yet."""
        return self._work is not None

    def overdue(self) -> Refusal:
        """What the caller gets when the deadline passes before the answer could begin."""
        if self._work is None:
            return TargetTimeout("silence inside the answer")
        if self._asking:
            return RedactionFailed("no redactor answered in time")
        return FilterBlocked("the answer was not filtered in time")

    def abandon(self) -> None:
        """The exchange is over: what still comes is nobody's."""
        if self._work is not None:
            self._work.cancel()

    def framed(
        self, mode: int, framing: bytes, upstream: UpstreamConnection
    ) -> tuple[int, bytes, list[bytes]]:
        """How the body goes to the caller, the framing line, and the body. mode, framing: of the answer as it came."""
        if self.body is not None:
            return LENGTH, b"content-length: %d\r\n" % len(self.body), [self.body]
        return mode, b"" if self.rewritten else framing, upstream.take_body()

    def collect(self, chunks: list[bytes], most: int) -> None:
        """Keeps what has come of the body. Raises ResponseTooLarge for more than `most` bytes."""
        for chunk in chunks:
            self._size += len(chunk)
        if self._size > most:
            raise ResponseTooLarge(f"more than {most} bytes")
        self._chunks += chunks

    def take(self) -> bytes:
        """The whole body; it is kept no longer."""
        chunks, self._chunks = self._chunks, []
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def passes(self, body: bytes) -> None:
        """The body goes on as it is."""
        self.body, self.done = body, True

    def replaced(self, filtered: step.Filtered) -> None:
        """The body goes on as the filters left it."""
        self.filters, self.redactions = filtered.counts, filtered.redactions
        self.rewritten = True
        self.passes(filtered.body)

    def go_on_with(self, x: Exchange, body: bytes, filtering: Filtering | None) -> None:
        """Does the rest in a task, which tells the exchange when it is over. filtering: what was begun, if it was."""
        x.client.deadline = x.edge.now + _WORK_SECONDS
        self._work = spawn("filters", self._through(x, body, filtering))

    async def _through(self, x: Exchange, body: bytes, filtering: Filtering | None) -> None:
        large = len(body) > LARGE
        aside = x.edge.aside
        try:
            if filtering is None:
                filtering = await aside.run(partial(step.begin, body, self.stages))
            if filtering is None:
                self.passes(body)
            else:
                del body
                while True:
                    texts = await aside.run(filtering.next_texts) if large else filtering.next_texts()
                    if texts is None:
                        break
                    filtering.take(await self._ask(x, texts))
                    x.client.deadline = x.edge.now + _WORK_SECONDS
                self.replaced(
                    await aside.run(partial(step.finish, filtering)) if large else step.finish(filtering)
                )
        except Exception as error:  # noqa: BLE001 - whatever it is, the body must not pass
            self.refusal = step.blocked(error)
        x.advance()

    async def _ask(self, x: Exchange, texts: list[str]) -> list[tuple[Span, ...]]:
        redaction = x.edge.redaction
        if redaction is None:
            raise RedactionFailed("there are no redactors without a region")
        self._asking = True
        x.client.deadline = x.edge.now + _ASK_SECONDS
        try:
            spans = await redaction.find(texts)
        except Refusal:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the texts must not pass
            step.blocked(error)
            raise RedactionFailed("asking for redaction failed") from None
        self._asking = False
        return spans


def screen(x: Exchange) -> Next:
    """Holds an answer that a filter applies to until it is through them. Other answers pass at once.

    Raises ScrubFailed for a part or an encoded body, ResponseTooLarge, TargetInvalid for one that breaks off,
    FilterBlocked, RedactionFailed; and nothing else.
    """
    try:
        return _screen(x)
    except Refusal:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, the body must not pass
        raise step.blocked(error) from None


def _screen(x: Exchange) -> Next:
    held, upstream = x.screen, x.upstream
    assert upstream is not None
    if held is None:
        held = x.screen = _begin(x, upstream)
    if held.refusal is not None:
        raise held.refusal
    if held.done:
        return None
    if held.working:
        return WAIT
    held.collect(upstream.take_body(), x.proxy.max_response_bytes)
    if upstream.broken:
        raise TargetInvalid(upstream.broken)
    x.client.deadline = x.edge.now + x.edge.settings.body_idle_seconds
    if not upstream.complete:
        return WAIT
    return _filter(x, held)


def _begin(x: Exchange, upstream: UpstreamConnection) -> Screen:
    """What the head of the answer tells."""
    x.times.append(perf_counter_ns())
    proxy, request, status = x.proxy, x.request, upstream.status
    assert proxy.filters is not None
    assert x.credential_id is not None
    stages = step.stages_for(proxy.filters[x.credential_id], request.method, request.path, status)
    held = Screen(status, stages)
    if not stages:
        held.done = True
    elif request.method == b"HEAD" or status in {204, 304}:
        held.done = held.rewritten = True
    else:
        check_scrub(status, upstream.coding)
        if upstream.length is not None and upstream.length > proxy.max_response_bytes:
            raise ResponseTooLarge("announced")
    return held


def _filter(x: Exchange, held: Screen) -> Next:
    """Scrub first, then the stages; a small answer is through them at once when no redactor has to be asked."""
    body = held.take()
    if x.proxy.scrub == "full":
        body, x.masks = x.injection.forms.mask(body)
        held.rewritten = x.masks > 0
    if not body:
        held.rewritten = True
        held.passes(body)
        return None
    if len(body) > LARGE:
        held.go_on_with(x, body, None)
        return WAIT
    filtering = step.begin(body, held.stages)
    if filtering is None:
        held.passes(body)
    elif filtering.next_texts() is None:
        held.replaced(step.finish(filtering))
    else:
        held.go_on_with(x, body, filtering)
        return WAIT
    return None
