"""Results of commands on their way to the registry."""

from __future__ import annotations

import logging

import msgspec
import pytest

from actors.link.results import MOST_WAITING, Results
from actors.tasks import spawn, stop
from models.errors import PeerUnavailable
from models.planes.feed import CommandResult
from tests.kit.link import LocalActors, until


def result(name: str) -> bytes:
    """A result as a worker sends it."""
    return msgspec.msgpack.encode(CommandResult(id=name, edge="e", status=200))


class Flaky(LocalActors):
    """A registry that fails a number of times first."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures

    async def command_done(self, payload: bytes) -> None:
        if self.failures:
            self.failures -= 1
            raise PeerUnavailable("not yet")
        await super().command_done(payload)


async def test_results_arrive_in_order_after_a_failure() -> None:
    """A restart of the registry in between loses none."""
    actors = Flaky(2)
    results = Results(actors, pause=0.001)
    for name in "abc":
        results.offer(result(name))
    task = spawn("results", results.run())
    await until(lambda: len(actors.results) == 3)
    assert [one.id for one in actors.results] == ["a", "b", "c"]
    await stop(task)


async def test_what_cannot_be_delivered_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    """After a few tries, and said; the next one is delivered."""
    actors = Flaky(3)
    results = Results(actors, pause=0.001)
    results.offer(result("lost"))
    results.offer(result("next"))
    with caplog.at_level(logging.WARNING, "exeat.link.results"):
        task = spawn("results", results.run())
        await until(lambda: actors.results)
    assert [one.id for one in actors.results] == ["next"]
    assert [record.message for record in caplog.records] == ["result dropped"]
    await stop(task)


async def test_a_flood_of_results_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """What nobody has a command for waits nowhere."""
    results = Results(LocalActors())
    with caplog.at_level(logging.WARNING, "exeat.link.results"):
        for number in range(MOST_WAITING + 2):
            results.offer(result(str(number)))
    assert len(caplog.records) == 2
