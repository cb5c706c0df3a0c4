"""What a worker is put together from in link mode, over real links to a real limiter: permits on two hosts."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from actors.tasks import spawn, stop
from models.clock import SystemClock
from models.errors import ConfigurationError, LimiterUnavailable
from models.limits import Limit, request_limits
from proxy_edge.link_mode import LinkMode
from proxy_edge.permits import Exhausted, Outcome, Permit, Wait
from proxy_edge.settings import EdgeSettings
from tests.kit.edge_region import REGION, until
from tests.kit.limited_region import LimitedRegion


@pytest.fixture
async def region(tmp_path: Path) -> AsyncIterator[LimitedRegion]:
    region = LimitedRegion(tmp_path)
    async with region.started():
        region.minutes.next_minute()
        yield region


def mode(root: Path, index: int = 0, **settings: int) -> LinkMode:
    return LinkMode(EdgeSettings.load(home=root, region=REGION, **settings), index, SystemClock())


async def had(worker: LinkMode, limits: tuple[Limit, ...]) -> Outcome:
    outcome = worker.permits.take(limits, 0)
    if isinstance(outcome, Wait):
        await until(lambda: outcome.outcome is not None)
        assert outcome.outcome is not None
        return outcome.outcome
    return outcome


async def test_permits_move_between_hosts(region: LimitedRegion) -> None:
    """What one worker leased and does not use reaches another on the other host, through both links."""
    limits = request_limits("prx_a", 20, None)
    async with region.attended():
        here, there = mode(region.edge_root), mode(region.second.edge_root, 1)
        lines = [spawn("line", worker.client.run()) for worker in (here, there)]
        try:
            await until(lambda: here.client.connected and there.client.connected)
            for _ in range(8):
                assert isinstance(await had(here, limits), Permit)
            admitted = 0
            while isinstance(outcome := await had(there, limits), Permit):
                admitted += 1
            assert isinstance(outcome, Exhausted)
            assert admitted == 12
            assert {request.holder.rsplit("/", 1)[0] for request in region.limiter.asked} == {
                "host-1/0",
                "host-2/1",
            }
            await here.permits.close()
        finally:
            await stop(*lines)


async def test_a_worker_has_its_holder_for_life(region: LimitedRegion) -> None:
    """Host, index and something of its own, the same in its hello and in what it asks for."""
    async with region.attended() as server:
        worker, successor = mode(region.edge_root, 3), mode(region.edge_root, 3)
        line = spawn("line", worker.client.run())
        try:
            await until(lambda: server.holders)
            await had(worker, request_limits("prx_a", 20, None))
            (holder,) = server.holders
            assert re.fullmatch(r"host-1/3/[0-9a-f]{8}", holder)
            assert {request.holder for request in region.limiter.asked} == {holder}
            assert successor.permits._holder != holder
        finally:
            await stop(line)


async def test_no_link_is_no_permit(region: LimitedRegion) -> None:
    """After the wait; it is asked for by itself once there is a link."""
    worker = mode(region.edge_root)
    worker.permits._wait_seconds = 0.1
    limits = request_limits("prx_a", 20, None)
    assert isinstance(await had(worker, limits), LimiterUnavailable)
    worker.permits._wait_seconds = 10.0
    wait = worker.permits.take(limits, 0)
    assert isinstance(wait, Wait)
    async with region.attended():
        line = spawn("line", worker.client.run())
        try:
            await until(lambda: isinstance(wait.outcome, Permit))
        finally:
            await stop(line)


async def test_another_number_of_shards_is_no_permit(region: LimitedRegion) -> None:
    """The limiter refuses what it cannot count for sure."""
    worker = mode(region.edge_root, limiter_shards=2)
    worker.permits._wait_seconds = 0.3
    async with region.attended():
        line = spawn("line", worker.client.run())
        try:
            await until(lambda: worker.client.connected)
            assert isinstance(await had(worker, request_limits("prx_a", 20, None)), LimiterUnavailable)
            assert region.limiter.calls["reserve"] > 1
        finally:
            await stop(line)


def test_a_region_is_needed(tmp_path: Path) -> None:
    """Without one there is nothing to attach to."""
    with pytest.raises(ConfigurationError) as caught:
        LinkMode(EdgeSettings.load(home=tmp_path), 0, SystemClock())
    assert caught.value.field == "EXEAT_REGION"
