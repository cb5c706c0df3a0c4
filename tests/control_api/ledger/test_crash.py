"""A write that is cut off at any named point: all of it or nothing, and nothing has to be repaired."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from control_api.ledger.crash import POINTS, Crash
from control_api.ledger.kept import Kept
from control_api.ledger.ledger import rebuild
from control_api.ledger.projection import differences
from tests.kit.plane import Follower, Vault, erased, plane, target
from tests.kit.plane_writer import REPLAY, WANTED

ROOT = Path(__file__).resolve().parents[3]


async def run_writer(*arguments: str) -> int:
    """Runs tests/kit/plane_writer.py to its end; its exit code."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-m", "tests.kit.plane_writer", *arguments, cwd=ROOT
    )
    return await process.wait()


@pytest.mark.parametrize("point", POINTS)
async def test_a_write_cut_off_is_whole_or_was_never_there(point: str, tmp_path: Path) -> None:
    """Whatever the point, a new start finds a whole log and a projection that equals the one the log gives."""
    place, vaults = tmp_path / "control.db", {"us": Vault("us")}
    async with plane(place, vaults=vaults) as before:
        await before.enrol("us")
        await before.write("create", target("tgt_old"))
        follower = Follower("us")
        await follower.settle(before.feed)

    assert await run_writer("crash", str(place), point) == -signal.SIGKILL

    async with plane(place, vaults=vaults) as after:
        projection = after.ledger.projection
        happened = projection.revision == 3
        assert happened == (point != "before-insert")
        assert projection.revision == (3 if happened else 2)
        for item in WANTED:
            assert (projection.get(*item.key) is not None) == happened
        assert (projection.replay("tok_1", "key-1", projection.at_ms) is not None) == happened
        assert projection.get("target", "tgt_old") is not None
        assert differences(projection, await rebuild(after.store)) == []

        await follower.settle(after.feed)
        assert (("credential", "cred_new") in follower.state.documents) == happened
        if happened:
            sealed = [signed for answer in follower.answers for signed in answer.orders]
            assert bool(sealed) == (point != "after-erase")
            assert (await erased(after.ledger, 3)).replay == REPLAY

        await after.write("create", target("tgt_next"))
        assert projection.revision == (4 if happened else 3)
    async with plane(place) as last:
        assert differences(await Kept(last.store, Crash()).load(), await rebuild(last.store)) == []


def test_an_unknown_point_is_refused() -> None:
    """A misspelt name would test nothing."""
    with pytest.raises(ValueError, match="there is no crash point"):
        Crash("after-lunch")


def test_no_point_does_nothing() -> None:
    """Outside of tests every point is passed."""
    for point in POINTS:
        Crash().at(point)
