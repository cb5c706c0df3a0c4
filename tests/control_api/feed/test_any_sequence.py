"""Deltas of any sequence of writes, polls, losses and restarts: they verify, and lead to the whole state."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from control_api.feed.service import FeedService
from control_api.ledger.change import PART_KINDS, Body, Key
from models.planes.documents import read_document
from tests.kit.plane import Follower, Plane, plane
from tests.kit.writes import REGIONS, Write, apply_to, item_of, parent_of, writes

Step = Write | tuple[Literal["poll", "lose", "restart"], str]

steps = st.one_of(
    writes,
    writes,
    writes,
    st.tuples(st.sampled_from(("poll", "poll", "lose", "restart")), st.sampled_from(REGIONS)),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(steps, max_size=30))
def test_a_region_that_applies_what_it_is_told_has_the_whole_state(sequence: list[Step]) -> None:
    """After each poll the region has what a region that begins anew is given, and what was written."""
    asyncio.run(_follow(sequence))


async def _follow(sequence: list[Step]) -> None:
    model: dict[Key, Body] = {}
    followers = {region: Follower(region) for region in REGIONS}
    with tempfile.TemporaryDirectory() as folder:
        place, rest = (
            Path(folder) / "control.db",
            iter([*sequence, *(("poll", region) for region in REGIONS)]),
        )
        vaults, done = {}, False
        while not done:
            async with plane(place, vaults=vaults) as here:
                await here.enrol(*REGIONS, certified=False)
                done = await _until_restart(here, rest, followers, model)


async def _until_restart(here: Plane, rest, followers: dict[str, Follower], model: dict[Key, Body]) -> bool:
    """Whether the sequence is at its end."""
    for step in rest:
        if isinstance(step, Write):
            item = item_of(step, model)
            if item is not None:
                await here.write("update", item)
                apply_to(model, item)
            continue
        verb, region = step
        if verb == "restart":
            return False
        if verb == "lose":
            followers[region] = Follower(region)
        await _poll(here.feed, followers[region], model)
    return True


async def _poll(feed: FeedService, follower: Follower, model: dict[Key, Body]) -> None:
    await follower.turn(feed)
    anew = Follower(follower.region)
    await anew.turn(feed)
    assert follower.state.documents == anew.state.documents
    assert follower.state.revision == anew.state.revision
    there = {
        key
        for key, body in model.items()
        if key[0] not in PART_KINDS and body[f"{key[0]}Region"] == follower.region
    }
    assert follower.state.documents.keys() == there
    for document in follower.state.documents.values():
        found = read_document(document, follower.region)
        key = (document.kind, document.id)
        for kind, parts in (("rule", found.rules), ("filter", found.filters)):
            there = {one[1] for one in model if one[0] == kind and parent_of(one) == key}
            assert {part.id for part in parts} == there
