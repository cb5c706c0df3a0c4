"""The audience: what each link is told, when, and what becomes of questions nobody answers."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
import pytest

from actors.registry.listeners import FRESHER_MS, Listeners
from models.clock import SystemClock
from models.custody.sheet import Sheet
from models.custody.signing import Signed, Verifier
from models.planes.calls import ListenAnswer, ListenRequest
from models.planes.feed import Command
from models.planes.state import RegionState
from tests.kit.feed import REGION, Plane

SIGNED = Signed(b"", b"")


class Stage:
    """Listeners over a plane that tells them of every change."""

    def __init__(self, **options: Any) -> None:
        self.drawn: list[tuple[float, float]] = []
        self.plane = Plane()
        self.verifier = Verifier(self.plane.signer.public)
        self.state = RegionState.empty(REGION)
        self.listeners = Listeners(REGION, clock=SystemClock(), uniform=self.uniform, **options)

    def uniform(self, low: float, high: float) -> float:
        """The jitter, on record."""
        self.drawn.append((low, high))
        return low

    def tell(self) -> RegionState:
        """Publishes the plane's state, as a core does."""
        self.state = self.state.apply(self.plane.delta(self.state.revision), self.verifier)
        self.listeners.publish(self.state)
        return self.state

    async def ask(self, revision: int = -1, **fields: Any) -> ListenAnswer:
        """A question, with the newest sheet and issue unless told."""
        asked = {"link": "l1", "edge": "e1", "sheet": 99, "issued_ms": 1 << 50, **fields}
        return await self.listeners.listen(ListenRequest(revision=revision, **asked))


async def settle() -> None:
    """Lets every task that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_new_link_gets_everything_at_once() -> None:
    """Full state from nothing, and it verifies."""
    stage = Stage()
    stage.plane.put("proxy", "p1")
    state = stage.tell()
    answer = await stage.ask()
    assert answer.delta is not None
    assert answer.delta.base == 0
    assert RegionState.empty(REGION).apply(answer.delta, stage.verifier).documents == state.documents


async def test_a_link_of_late_gets_a_delta_over_several_revisions() -> None:
    """One delta from where it is, without what was made and removed in between, and it verifies."""
    stage = Stage()
    stage.plane.put("proxy", "p1")
    stage.plane.put("proxy", "p2")
    old = stage.tell()
    stage.plane.put("proxy", "p3")
    stage.tell()
    stage.plane.change(deletes=(("proxy", "p3"), ("proxy", "p1")))
    stage.tell()
    stage.plane.put("target", "t1")
    new = stage.tell()
    answer = await stage.ask(old.revision)
    assert answer.delta is not None
    assert answer.delta.base == old.revision
    assert [one.id for one in answer.delta.upserts] == ["t1"]
    assert set(answer.delta.deletes) == {("proxy", "p3"), ("proxy", "p1")}
    assert old.apply(answer.delta, stage.verifier).documents == new.documents


@pytest.mark.parametrize("revision", [1, 2, 7])
async def test_a_link_of_long_ago_or_of_elsewhere_gets_everything(revision: int) -> None:
    """Beyond the history, and at a revision that was never published here."""
    stage = Stage(history=2)
    stage.plane.revision = 10
    stage.plane.past[10] = {}
    for name in ("p1", "p2", "p3", "p4"):
        stage.plane.put("proxy", name)
        stage.tell()
    answer = await stage.ask(revision)
    assert answer.delta is not None
    assert answer.delta.base == 0
    assert len(answer.delta.upserts) == 4


async def test_a_question_waits_until_there_is_something_new() -> None:
    """A change answers it at once, and everybody who waits."""
    stage = Stage()
    stage.tell()
    asked = [asyncio.ensure_future(stage.ask(0, link=name)) for name in ("a", "b")]
    await settle()
    assert not any(one.done() for one in asked)
    stage.plane.put("proxy", "p1")
    stage.tell()
    answers = await asyncio.wait_for(asyncio.gather(*asked), 1)
    assert [one.delta.manifest for one in answers] == [stage.state.signed] * 2


async def test_a_link_ahead_of_the_registry_is_told_nothing_older() -> None:
    """A registry that lost its mirror does not take its links back."""
    stage = Stage(expiry=(0.01, 0.02))
    stage.plane.put("proxy", "p1")
    stage.tell()
    answer = await stage.ask(5, issued_ms=0)
    assert answer == ListenAnswer()


async def test_an_expired_question_brings_the_newest_manifest() -> None:
    """Jittered between the bounds; nothing at all when the link has that issue already."""
    stage = Stage(expiry=(0.01, 0.02))
    state = stage.tell()
    answer = await stage.ask(0, issued_ms=state.issued_ms - 1)
    assert answer == ListenAnswer(manifest=state.signed)
    assert await stage.ask(0, issued_ms=state.issued_ms) == ListenAnswer()
    assert stage.drawn == [(0.01, 0.02)] * 2


async def test_expiry_is_within_what_workers_are_promised() -> None:
    """Below ten seconds by default, and not the same for everyone."""
    stage = Stage()
    stage.tell()
    asking = asyncio.ensure_future(stage.ask(0))
    await settle()
    ((low, high),) = stage.drawn
    assert 0 < low < high < 10
    asking.cancel()


async def test_a_much_fresher_manifest_does_not_wait() -> None:
    """After the control plane was away, its first word goes on at once."""
    stage = Stage()
    state = stage.tell()
    answer = await asyncio.wait_for(stage.ask(0, issued_ms=state.issued_ms - FRESHER_MS - 1), 1)
    assert answer == ListenAnswer(manifest=state.signed)


async def test_a_second_question_of_a_link_ends_the_first() -> None:
    """One outstanding question per link; another link's is left alone."""
    stage = Stage()
    stage.tell()
    other = asyncio.ensure_future(stage.ask(0, link="other"))
    first = asyncio.ensure_future(stage.ask(0))
    await settle()
    second = asyncio.ensure_future(stage.ask(0))
    assert await asyncio.wait_for(first, 1) == ListenAnswer()
    await settle()
    assert not second.done()
    stage.plane.put("proxy", "p1")
    stage.tell()
    assert (await asyncio.wait_for(second, 1)).delta is not None
    assert (await asyncio.wait_for(other, 1)).delta is not None


async def test_sheets_go_to_links_that_have_an_older_one() -> None:
    """At once to who waits, and not again to who has it."""
    stage = Stage(expiry=(0.01, 0.02))
    state = stage.tell()
    stage.listeners.publish_sheet(SIGNED, Sheet(REGION, 3, "p", (), ()))
    have = {"issued_ms": state.issued_ms}
    assert (await stage.ask(0, sheet=2, **have)).sheet is SIGNED
    assert (await stage.ask(0, sheet=3, **have)).sheet is None


def command(name: str, expires_ms: int) -> Command:
    """A command that is valid until a wall time."""
    return Command(
        id=name,
        kind="testTarget",
        region=REGION,
        client_id="c",
        target_id="t",
        credential_id=None,
        expires_ms=expires_ms,
    )


async def test_commands_wait_for_a_link_with_a_worker_until_their_time_has_passed() -> None:
    """Handed out once, to one; those past their time to nobody."""
    stage = Stage(expiry=(0.01, 0.02))
    state = stage.tell()
    now = int(time.time() * 1000)
    stage.listeners.offer(command("old", now - 1), Signed(b"old", b""))
    stage.listeners.offer(command("new", now + 60_000), Signed(b"new", b""))
    have: dict[str, Any] = {"issued_ms": state.issued_ms}
    assert (await stage.ask(0, **have)).commands == ()
    assert (await stage.ask(0, workers=((0, 0),), **have)).commands == (Signed(b"new", b""),)
    assert (await stage.ask(0, workers=((0, 0),), **have)).commands == ()


async def test_a_cancelled_question_leaves_nothing_behind() -> None:
    """A link that went away is forgotten."""
    stage = Stage()
    stage.tell()
    asking = asyncio.ensure_future(stage.ask(0))
    await settle()
    asking.cancel()
    await settle()
    assert not stage.listeners._turns


async def test_answers_travel_as_msgpack() -> None:
    """What is told survives the way it is sent."""
    stage = Stage()
    stage.plane.put("proxy", "p1")
    stage.tell()
    answer = await stage.ask()
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(answer), type=ListenAnswer) == answer
