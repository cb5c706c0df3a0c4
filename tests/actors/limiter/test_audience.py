"""Links and their holders: who is there, who has gone, and that a recall reaches whoever it is for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from actors.limiter.audience import EXPIRY, SILENT_NS, STALE_NS, Audience
from actors.tasks import spawn, stop
from models.planes.permits import Recall, RecallAnswer, RecallRequest
from tests.kit.limiter import HandClock

MINUTE, DAY = ("p", "minute"), ("p", "day")


class Hall:
    """An audience, and links that ask it."""

    def __init__(self, expiry: tuple[float, float] = EXPIRY) -> None:
        self.clock = HandClock()
        self.gone = 0
        self.drawn: list[tuple[float, float]] = []
        self.audience = Audience(self.clock, self._uniform, on_gone=self._left, expiry=expiry)
        self.tasks: list[asyncio.Task[Any]] = []

    def _uniform(self, low: float, high: float) -> float:
        self.drawn.append((low, high))
        return low

    def _left(self) -> None:
        self.gone += 1

    async def ask(self, link: str, *holders: str, after: int = 0) -> asyncio.Task[RecallAnswer]:
        """A question, outstanding."""
        asked = RecallRequest(link=link, holders=holders, after=after)
        task = spawn(link, self.audience.recalls(asked))
        self.tasks.append(task)
        await asyncio.sleep(0)
        return task


@pytest.fixture
async def hall() -> AsyncIterator[Hall]:
    """Nobody has asked yet."""
    found = Hall()
    yield found
    await stop(*found.tasks)


async def test_a_recall_goes_to_the_link_that_has_the_holder(hall: Hall) -> None:
    """At once, all of it in one answer, and to no other link."""
    first, second = await hall.ask("l1", "a", "b"), await hall.ask("l2", "c")
    hall.audience.recall("c", MINUTE)
    hall.audience.recall("c", DAY)
    hall.audience.recall("c", DAY)
    assert await second == RecallAnswer(number=1, recalls={"c": Recall((MINUTE, DAY))})
    assert not first.done()


async def test_a_recall_says_which_of_the_two_windows_is_meant(hall: Hall) -> None:
    """Both in one answer, each once; one that got lost is given again as it was."""
    hall.audience.recall("a", MINUTE)
    hall.audience.recall("a", DAY, ahead=True)
    hall.audience.recall("a", MINUTE, ahead=True)
    for _ in range(2):
        answer = await (await hall.ask("l1", "a"))
        assert answer.recalls == {"a": Recall((MINUTE,), (DAY, MINUTE))}


async def test_a_recall_waits_for_a_link_that_asks(hall: Hall) -> None:
    """Between two questions, and for a holder that no link has named so far."""
    assert not hall.audience.is_gone("a")
    hall.audience.recall("a", MINUTE)
    hall.audience.recall("x", MINUTE)
    answer = await (await hall.ask("l1", "a"))
    assert answer == RecallAnswer(number=1, recalls={"a": Recall((MINUTE,))})
    assert (await (await hall.ask("l1", "a", "x", after=1))).recalls == {"x": Recall((MINUTE,))}


async def test_a_lost_answer_is_given_again_and_one_that_was_heard_is_not(hall: Hall) -> None:
    """The link says which was the last that it acted on."""
    hall.audience.recall("a", MINUTE)
    await (await hall.ask("l1", "a"))
    again = await (await hall.ask("l1", "a"))
    assert again == RecallAnswer(number=2, recalls={"a": Recall((MINUTE,))})
    assert not (await hall.ask("l1", "a", after=2)).done()


async def test_a_question_expires_empty_and_with_the_last_number() -> None:
    """After 5 to 9 seconds, drawn anew each time; a recall that comes later is in the next answer."""
    hall = Hall(expiry=(0.001, 0.002))
    hall.audience.recall("a", MINUTE)
    await (await hall.ask("l1", "a"))
    assert await (await hall.ask("l1", "a", after=1)) == RecallAnswer(number=1)
    assert hall.drawn == [(0.001, 0.002)] * 2
    hall.audience.recall("a", DAY)
    assert (await (await hall.ask("l1", "a", after=1))).recalls == {"a": Recall((DAY,))}


async def test_a_second_question_ends_the_first_one_empty(hall: Hall) -> None:
    """What comes then is in the second one's answer."""
    first = await hall.ask("l1", "a")
    second = await hall.ask("l1", "a", "b")
    hall.audience.recall("b", MINUTE)
    assert await first == RecallAnswer(number=0)
    assert (await second).recalls == {"b": Recall((MINUTE,))}


async def test_a_holder_that_is_no_longer_named_has_gone(hall: Hall) -> None:
    """Whoever waits is told; it is back when it is named again."""
    await hall.ask("l1", "a", "b")
    assert not hall.audience.is_gone("a")
    await hall.ask("l1", "b")
    assert hall.audience.is_gone("a")
    assert not hall.audience.is_gone("b")
    assert hall.gone == 1
    await hall.ask("l1", "a", "b")
    assert not hall.audience.is_gone("a")


async def test_a_holder_that_moved_belongs_to_the_link_that_named_it_last(hall: Hall) -> None:
    """The one it left says nothing of it any more, and takes nothing for it."""
    await hall.ask("l1", "a")
    second = await hall.ask("l2", "a")
    hall.audience.recall("a", MINUTE)
    assert (await second).recalls
    await hall.ask("l2", "a", after=1)
    await hall.ask("l1")
    assert not hall.audience.is_gone("a")


async def test_the_holders_of_a_silent_link_have_gone(hall: Hall) -> None:
    """After 15 s without a question; a question that is open is no silence, however long."""
    asked = await hall.ask("l1", "a")
    hall.clock.advance(100)
    assert not hall.audience.is_gone("a")
    await stop(asked)
    hall.clock.advance(15)
    assert not hall.audience.is_gone("a")
    hall.clock.advance(0.001)
    assert hall.audience.is_gone("a")
    hall.audience.tidy({"a"})
    assert hall.audience.is_gone("a")
    await hall.ask("l1", "a")
    assert not hall.audience.is_gone("a")
    assert SILENT_NS == 15_000_000_000


async def test_nothing_is_remembered_for_ever(hall: Hall) -> None:
    """Links, holders without leases, recalls that nobody took."""
    asked = await hall.ask("l1", "a", "b")
    hall.audience.recall("x", MINUTE)
    await stop(asked)
    hall.clock.advance(STALE_NS / 1e9 + 10)
    hall.audience.tidy({"b"})
    assert hall.audience._links == {}
    assert hall.audience._named == {}
    assert hall.audience._wanted == {}
    assert hall.audience._seen == {"b"}
    assert not (await hall.ask("l2", "x")).done()
