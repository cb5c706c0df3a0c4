"""Several processes write to one log at once: nothing is lost, nothing is done twice, there is no hole."""

from __future__ import annotations

import asyncio
from pathlib import Path

from control_api.ledger.ledger import rebuild
from control_api.ledger.projection import differences
from tests.control_api.ledger.test_crash import run_writer
from tests.kit.plane import Plane, plane, target
from tests.kit.plane_writer import SHARED

TIMES = 60


async def test_processes_that_race_lose_nothing(tmp_path: Path) -> None:
    """Each of three processes finds all its own resources, and the shared one counted every write."""
    place, names = tmp_path / "control.db", ("ann", "bob", "eve")
    async with plane(place) as here:
        await here.enrol("us")
        await here.write("create", target(SHARED, targetTimeoutMs=1))
        start = here.ledger.projection.revision

        codes = await asyncio.gather(*(run_writer("race", str(place), name, str(TIMES)) for name in names))

        assert codes == [0] * len(names)
        await here.ledger.catch_up()
        projection = here.ledger.projection
        assert projection.revision == start + len(names) * TIMES
        shared = projection.get("target", SHARED)
        assert shared is not None
        assert shared.body["targetTimeoutMs"] == 1 + len(names) * TIMES
        own = {f"tgt_{name}_{number}" for name in names for number in range(TIMES)}
        assert own <= {one.id for one in projection.list("target")}
        revisions = [change.revision for change in await here.ledger.log.after(0, 1000)]
        assert revisions == [*range(1, projection.revision + 1)]
        assert differences(projection, await rebuild(here.store)) == []


async def test_tasks_of_one_process_take_turns(tmp_path: Path) -> None:
    """Writes that begin together are all there, each at a revision of its own."""
    async with plane(tmp_path / "control.db") as here:
        written = await asyncio.gather(*(here.write("create", target(f"tgt_{n}")) for n in range(30)))
        assert sorted(one.revision for one in written) == [*range(1, 31)]
        assert len(here.ledger.projection.list("target")) == 30


async def count(here: Plane) -> int:
    """How many targets a plane knows of."""
    return len(here.ledger.projection.list("target"))


async def test_changes_of_another_process_are_noticed_while_someone_waits(tmp_path: Path) -> None:
    """Whoever waits at one control API hears of what was written at another, without asking."""
    async with plane(tmp_path / "control.db") as one, plane(tmp_path / "control.db") as other:
        with other.ledger.waiting():
            await one.write("create", target("tgt_a"))
            while not await count(other):
                assert await other.ledger.bell.wait(2.0)
        await other.write("create", target("tgt_b"))
        await one.write("create", target("tgt_c"))
        assert await count(one) == 3
