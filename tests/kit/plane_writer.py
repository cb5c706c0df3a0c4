"""A process that writes to a control plane's ledger, for tests that kill it or let several race.

`crash PLACE POINT` makes one write (and, for the points of erasing, lets the region acknowledge it) and ends at the
named point, or with 3 if it never got there. `race PLACE NAME TIMES` makes TIMES writes, each of which creates
a target of its own and adds one to a target that all share.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from control_api.ledger.change import Draft, Item, Replay
from control_api.ledger.crash import Crash
from control_api.ledger.projection import Projection
from models.custody.orders import Forget, sign_order
from tests.kit.plane import CLIENT, SIGNER, Follower, credential, plane, rule, target

SHARED = "tgt_shared"
WANTED = (
    credential("cred_new"),
    target("tgt_new"),
    rule("rule_new", ("target", "tgt_new")),
)
REPLAY = Replay("tok_1", "key-1", "digest", 201, "credential", "cred_new")


async def crash(place: Path, point: str) -> None:
    """One write of several resources with an order, cut off at `point`."""
    async with plane(place, crash=Crash(point)) as here:
        order = sign_order(Forget("us", "cred_other", 1), SIGNER)
        draft = Draft(action="create", client_id=CLIENT, items=WANTED, orders={"us": (order,)})
        await here.ledger.write(lambda _projection, _revision, _now: draft, actor="usr_1", replay=REPLAY)
        if point.endswith("-erase"):
            await Follower("us").settle(here.feed)
        await here.ledger.bell.wait(20)
    sys.exit(3)


async def race(place: Path, name: str, times: int) -> None:
    """Own and shared resources, in one change each."""
    async with plane(place) as here:
        for number in range(times):
            own = target(f"tgt_{name}_{number}")

            def decide(projection: Projection, _revision: int, _now: int, own: Item = own) -> Draft:
                shared = projection.get("target", SHARED)
                assert shared is not None  # made before the race
                body = {**shared.body, "targetTimeoutMs": shared.body["targetTimeoutMs"] + 1}
                return Draft(
                    action="create", client_id=CLIENT, items=(own, Item("target", SHARED, CLIENT, after=body))
                )

            await here.ledger.write(decide, actor=name)


if __name__ == "__main__":
    verb, where, what, *rest = sys.argv[1:]
    if verb == "crash":
        asyncio.run(crash(Path(where), what))
    else:
        asyncio.run(race(Path(where), what, int(rest[0])))
