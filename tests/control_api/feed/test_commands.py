"""Commands that are given once and answered once."""

from __future__ import annotations

import asyncio

from control_api.feed.commands import Commands
from models.planes.feed import Command, CommandResult
from tests.kit.plane import SIGNER, until


def command(name: str, region: str = "us") -> Command:
    """A command of no interest."""
    return Command(
        id=name,
        kind="testTarget",
        region=region,
        client_id="c",
        target_id="t",
        credential_id=None,
        expires_ms=0,
    )


async def test_results_find_those_who_wait() -> None:
    """Each its own, in any order; a second result for the same command is nobody's."""
    rung = []
    commands = Commands(SIGNER, lambda: rung.append(1))
    first = asyncio.ensure_future(commands.run(command("cmd_1"), 5.0))
    second = asyncio.ensure_future(commands.run(command("cmd_2"), 5.0))
    await until(lambda: len(rung) == 2)
    assert commands.are_due("us")
    assert not commands.are_due("eu")
    assert len(commands.take("us")) == 2
    assert commands.take("us") == ()
    commands.finish([CommandResult(id="cmd_2", edge="e2"), CommandResult(id="cmd_1", edge="e1")])
    commands.finish([CommandResult(id="cmd_1", edge="late")])
    one, other = await asyncio.gather(first, second)
    assert one is not None
    assert other is not None
    assert (one.edge, other.edge) == ("e1", "e2")


async def test_a_caller_who_leaves_takes_the_command_back() -> None:
    """A command nobody waits for is not handed out."""
    commands = Commands(SIGNER, lambda: None)
    waiting = asyncio.ensure_future(commands.run(command("cmd_1"), 5.0))
    await until(lambda: commands.are_due("us"))
    waiting.cancel()
    await asyncio.wait((waiting,))
    assert not commands.are_due("us")
