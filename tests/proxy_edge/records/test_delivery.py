"""Spool, shipper and line put together: from a worker's ring to the region's recorder, once each, over a death."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from models.errors import ConfigurationError
from proxy_edge.records.delivery import Delivery, depth_file, spool_directory
from proxy_edge.records.depth import SpoolDepth
from proxy_edge.records.keeper import Keeper, ring_directory
from proxy_edge.records.mark import MarkFile
from proxy_edge.records.recorder import Recorder as WorkersRecorder
from proxy_edge.records.recovery import make_ring
from proxy_edge.settings import EdgeSettings
from tests.kit.edge_region import REGION, EdgeRegion, until
from tests.proxy_edge.records.samples import closing, files, opening
from tests.proxy_edge.records.spools import Recorder, text


class Host:
    """An edge host without workers: its home, its region's recorder, and keepers over it."""

    def __init__(self, folder: Path) -> None:
        self.region, self.recorder = EdgeRegion(folder), Recorder()
        self.region.others["Recorder", "take"] = self.recorder.take
        self.home = self.region.edge_root
        (self.home / "run").mkdir(exist_ok=True)
        self.settings = EdgeSettings(home=self.home, region=REGION)

    def records(self, *names: str) -> None:
        """A worker's, closed."""
        worker = WorkersRecorder(make_ring(ring_directory(self.home), 0, slots=64))
        for name in names:
            worker.write(opening(name), closing())
        worker.stop()

    @asynccontextmanager
    async def keeper(self) -> AsyncIterator[tuple[Keeper, Delivery]]:
        """One that may send as soon as it is allowed; what it does is up to the block."""
        delivery = Delivery(self.settings)
        keeper = Keeper(ring_directory(self.home), MarkFile(self.home / "mark"), delivery.spool)
        delivery.start(keeper.asked)
        try:
            yield keeper, delivery
        finally:
            await keeper.stop()
            await delivery.finish()


async def test_records_go_from_the_ring_to_the_recorder(tmp_path: Path) -> None:
    """And the depth is told while they are under way."""
    host = Host(tmp_path)
    host.records("a", "b")
    depth = SpoolDepth(depth_file(host.home))
    async with host.region.started(), host.keeper() as (keeper, _):
        await keeper.sweep()
        assert depth.waiting == 2
        async with host.region.attended():
            await until(lambda: host.recorder.records == ["a", "b"])
            await until(lambda: not depth.waiting)
            assert host.region.server is not None
            assert host.region.server.workers == ()
            assert host.recorder.kept[0].source.startswith("host-1/")
    assert files(spool_directory(host.home)) == ["numbering"]
    assert files(ring_directory(host.home)) == []


async def test_nothing_is_sent_before_the_keeper_asked_what_its_predecessor_delivered(tmp_path: Path) -> None:
    """Killed between spool and ring it left a record in both: sent at once, that would come a second time."""
    host = Host(tmp_path)
    host.records("a", "b")
    before, mark = Delivery(host.settings), MarkFile(host.home / "mark")
    mark.store(before.spool.mark())
    await before.spool.write(text("a"), 1)
    mark.close()
    async with host.region.started(), host.region.attended(), host.keeper() as (keeper, delivery):
        await until(lambda: delivery._client.connected)
        await delivery._shipper.finish(0.02)
        assert host.recorder.got == []
        await keeper.sweep()
        await until(lambda: not delivery.spool.depth)
        assert host.recorder.records == ["a", "b"]


async def test_a_keeper_that_ends_sends_what_is_left(tmp_path: Path) -> None:
    """Records that ended last are upstairs when the edge has stopped."""
    host = Host(tmp_path)
    async with host.region.started(), host.region.attended():
        async with host.keeper() as (keeper, delivery):
            await keeper.sweep()
            await until(lambda: delivery._client.connected)
            host.records("last")
        assert host.recorder.records == ["last"]
        assert delivery.spool.depth == 0


async def test_a_host_without_a_name_cannot_deliver(tmp_path: Path) -> None:
    """The operator is told which file it is."""
    host = Host(tmp_path)
    host.region.edge_home.host_id.unlink()
    with pytest.raises(ConfigurationError, match=r"host\.id"):
        Delivery(host.settings)
