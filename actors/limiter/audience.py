"""Who holds leases and can be asked for them: links, each with one question outstanding, and the holders they name.

A holder that links named and name no more has gone. Recalls wait here until a link asks that has the holder, and go
out once more when that link does not say that it acted on them. Nothing here decides what is granted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Container
from typing import Final

from actors.registry.pace import Uniform
from models.clock import Clock
from models.planes.permits import Recall, RecallAnswer, RecallRequest

EXPIRY: Final = (5.0, 9.0)
"""Seconds a question may stay open."""
SILENT_NS: Final = 15_000_000_000
"""A link without a question for so long has gone, and all its holders with it."""
STALE_NS: Final = 10_000_000_000
"""A recall that no link asked for in so long is dropped: whoever waited for it does so no more."""

CounterName = tuple[str, str]
"""Key and window name, as a Recall has them."""
_Asked = tuple[CounterName, bool]
"""What is recalled, and whether of the coming window."""


class _Link:
    """One link. turn: its outstanding question, if any; set to end it. number: of its last answer, with `sent` in it."""

    __slots__ = ("heard_ns", "holders", "number", "sent", "turn")

    def __init__(self) -> None:
        self.holders: frozenset[str] = frozenset()
        self.turn: asyncio.Event | None = None
        self.heard_ns = self.number = 0
        self.sent: dict[str, dict[_Asked, int]] = {}


class Audience:
    """Hands recalls to links. Lives on one event loop."""

    def __init__(
        self,
        clock: Clock,
        uniform: Uniform,
        *,
        on_gone: Callable[[], None],
        expiry: tuple[float, float] = EXPIRY,
    ) -> None:
        """on_gone: called when holders have gone, so that nobody goes on waiting for them."""
        self._clock, self._uniform, self._on_gone, self._expiry = clock, uniform, on_gone, expiry
        self._links: dict[str, _Link] = {}
        self._named: dict[str, _Link] = {}  # by holder: who named it last, should it have moved
        self._seen: set[str] = set()
        self._wanted: dict[str, dict[_Asked, int]] = {}  # recalls by holder, and when they were asked for

    def is_gone(self, holder: str) -> bool:
        """Whether it was named by a link and no longer is by any that is there. One that never was may yet be."""
        link = self._named.get(holder)
        if link is None:
            return holder in self._seen
        return link.turn is None and self._clock.boot_ns() - link.heard_ns > SILENT_NS

    def recall(self, holder: str, counter: CounterName, *, ahead: bool = False) -> None:
        """Asks `holder` for its leases of `counter` as soon as its link asks, which is at once as a rule.

        ahead: for those of the coming window.
        """
        self._wanted.setdefault(holder, {})[counter, ahead] = self._clock.boot_ns()
        link = self._named.get(holder)
        if link is not None and link.turn is not None:
            link.turn.set()

    async def recalls(self, request: RecallRequest) -> RecallAnswer:
        """What a link has to tell its holders, as soon as there is anything; empty when the question expired.

        A second question of the same link ends the first one empty.
        """
        link = self._links.setdefault(request.link, _Link())
        earlier, turn = link.turn, asyncio.Event()
        link.turn = turn
        if earlier is not None:
            earlier.set()
        self._acknowledge(link, request.after)
        self._name(link, frozenset(request.holders))
        try:
            async with asyncio.timeout(self._uniform(*self._expiry)):
                while link.turn is turn:
                    if taken := self._take(link):
                        return RecallAnswer(number=link.number, recalls=taken)
                    turn.clear()
                    await turn.wait()
        except TimeoutError:
            pass
        finally:
            link.heard_ns = self._clock.boot_ns()
            if link.turn is turn:
                link.turn = None
        return RecallAnswer(number=link.number)

    def tidy(self, holding: Container[str]) -> None:
        """Forgets links that have gone, holders of theirs that are not in `holding`, and recalls nobody took."""
        now = self._clock.boot_ns()
        for name, link in list(self._links.items()):
            if link.turn is None and now - link.heard_ns > SILENT_NS:
                self._name(link, frozenset())
                del self._links[name]
        self._seen = {holder for holder in self._seen if holder in self._named or holder in holding}
        for holder, counters in list(self._wanted.items()):
            fresh = {counter: asked for counter, asked in counters.items() if now - asked <= STALE_NS}
            if fresh:
                self._wanted[holder] = fresh
            else:
                del self._wanted[holder]

    # Inside

    def _acknowledge(self, link: _Link, after: int) -> None:
        sent, link.sent = link.sent, {}
        if after == link.number:
            return
        for holder, counters in sent.items():  # the answer was lost on its way
            self._wanted[holder] = counters | self._wanted.get(holder, {})

    def _name(self, link: _Link, holders: frozenset[str]) -> None:
        gone = [one for one in link.holders - holders if self._named.get(one) is link]
        for holder in gone:
            del self._named[holder]
        for holder in holders:
            self._named[holder] = link
        link.holders = holders
        self._seen |= holders
        if gone:
            self._on_gone()

    def _take(self, link: _Link) -> dict[str, Recall]:
        asked = [one for one in link.holders & self._wanted.keys() if self._named.get(one) is link]
        found = {holder: self._wanted.pop(holder) for holder in asked}
        if found:
            link.number += 1
            link.sent = found
        return {holder: _recall(asked) for holder, asked in found.items()}


def _recall(asked: Collection[_Asked]) -> Recall:
    counters, coming = (tuple(one for one, ahead in asked if ahead is of) for of in (False, True))
    return Recall(counters, coming)
