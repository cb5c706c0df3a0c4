"""The link's questions to its registry: what they say, and what follows on the answers."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator

import msgspec
import pytest

from actors.link.call_side import CallSide
from actors.link.held import Held
from actors.link.ports import Actors
from actors.link.registry_side import RegistrySide
from actors.link.server import LinkServer
from actors.link.watch import Patience
from actors.tasks import spawn, stop
from models.planes.calls import ListenAnswer, ListenRequest
from models.planes.state import Delta
from tests.kit.link import REGION, LocalActors, Region, until


class Scripted(LocalActors):
    """A registry whose answers a test hands in one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: asyncio.Queue[ListenAnswer] = asyncio.Queue()

    async def listen(self, payload: bytes) -> bytes:
        self.asked.append(msgspec.msgpack.decode(payload, type=ListenRequest))
        return msgspec.msgpack.encode(await self.answers.get())


class Side:
    """A registry side with a server that nobody is attached to."""

    def __init__(self) -> None:
        self.region, self.actors = Region(), Scripted()
        self.held = Held(REGION, self.region.control_key, self.region.vault_key)
        actors: Actors = self.actors
        self.registry = RegistrySide(
            actors,
            self.held,
            link="l1",
            edge="e1",
            patience=Patience(asyncio.get_running_loop().time),
            uniform=random.uniform,
            workers=2,
        )
        self.server = LinkServer(
            self.held,
            CallSide(actors),
            uid=os.getuid(),
            on_progress=self.registry.progress,
            on_done=lambda _: None,
        )

    async def hear(self, answer: ListenAnswer) -> ListenRequest:
        """Answers the outstanding question; the next one."""
        asked = len(self.actors.asked)
        self.actors.answers.put_nowait(answer)
        await until(lambda: len(self.actors.asked) > asked)
        return self.actors.asked[-1]


@pytest.fixture
async def side() -> AsyncIterator[Side]:
    """One that has asked its first question."""
    found = Side()
    task = spawn("registry", found.registry.run(found.server))
    await until(lambda: found.actors.asked)
    yield found
    await stop(task)


def told(request: ListenRequest) -> tuple[int, int, int]:
    """What the link says it has."""
    return request.revision, request.sheet, request.issued_ms


async def test_each_question_says_what_is_held(side: Side) -> None:
    """From nothing on; an answer that expired changes nothing."""
    assert side.actors.asked[0] == ListenRequest(
        link="l1", edge="e1", revision=-1, sheet=-1, issued_ms=0, expected=2
    )
    state = side.region.change(3, a="1")
    assert told(await side.hear(ListenAnswer(delta=state.full()))) == (3, -1, state.issued_ms)
    assert told(await side.hear(ListenAnswer())) == (3, -1, state.issued_ms)
    assert told(await side.hear(ListenAnswer(sheet=side.region.sheet(4)[0]))) == (3, 4, state.issued_ms)
    later = side.region.reissue()
    assert told(await side.hear(ListenAnswer(manifest=later.signed))) == (3, 4, later.issued_ms)


async def test_after_a_doubt_everything_is_asked_for_until_it_is_believed(side: Side) -> None:
    """What is held stays; the doubt ends with the first answer that verifies."""
    state = side.region.change(3, a="1")
    await side.hear(ListenAnswer(delta=state.full()))
    wrong = Delta(1, (), (), side.region.change(5, b="1").full().manifest)
    assert told(await side.hear(ListenAnswer(delta=wrong))) == (-1, -1, 0)
    assert side.held.state is not state
    assert side.held.state.revision == 3
    whole = side.region.state.full()
    assert told(await side.hear(ListenAnswer(delta=whole))) == (5, -1, side.region.state.issued_ms)


async def test_only_one_question_is_outstanding_while_nobody_is_attached(side: Side) -> None:
    """Progress of nobody asks nothing anew."""
    for _ in range(3):
        side.registry.progress()
        await asyncio.sleep(0)
    assert len(side.actors.asked) == 1


async def test_reports_follow_each_progress_and_bear_failures(side: Side) -> None:
    """What cannot be reported is said with the next question anyway."""
    task = spawn("tell", side.registry.tell(side.server))
    await until(lambda: side.actors.reported)
    side.actors.away = True
    side.registry.progress()
    await asyncio.sleep(0)
    side.actors.away = False
    side.registry.progress()
    await until(lambda: len(side.actors.reported) >= 2)
    assert {request.link for request in side.actors.reported} == {"l1"}
    await stop(task)
