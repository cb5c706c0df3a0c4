"""Policy without the link: its age, the snapshot a worker starts from, and disks that fail."""

from __future__ import annotations

import threading

import pytest

from models.errors import CredentialUnavailable
from models.planes.frames import Update
from proxy_edge import link_source, stored
from tests.kit.edge_region import EdgeRegion, until
from tests.proxy_edge.source_worker import Worker, served, signed_sheet

# -- age ---------------------------------------------------------------------------------------------


async def test_age_is_that_of_the_manifest(region: EdgeRegion) -> None:
    """What was issued a minute ago is a minute old when it comes; a later issue of it confirms."""
    await region.sample("https://target.test")
    region.reissue(region.clock.wall_ms() - 60_000)
    region.held = region._fresh_held()
    region._tell()
    async with region.attended(), Worker(region).following() as worker:
        await until(lambda: worker.bundles)
        assert 59 < worker.bundles[-1].age < 70
        assert worker.ages == []
        region.reissue()
        await until(lambda: worker.ages)
        assert 0 <= worker.ages[-1] < 5
        region.reissue(region.clock.wall_ms() + 30_000)
        await until(lambda: len(worker.ages) == 2)
        assert 0 <= worker.ages[-1] < 5
        assert len(worker.bundles) == 1


async def test_clock_that_was_set_back_does_not_age_what_is_new(region: EdgeRegion) -> None:
    """Once it was ahead, no later issue counts until it is there again; a newer revision does."""
    await region.sample("https://target.test")
    async with region.attended(), Worker(region).following() as worker:
        await until(lambda: worker.bundles)
        region.reissue(region.clock.wall_ms() + 50_000)
        await until(lambda: worker.ages)
        region.publish(issued_ms=region.clock.wall_ms() - 20_000)
        await until(lambda: len(worker.bundles) == 2)
        assert 19 < worker.bundles[-1].age < 30


# -- snapshot ----------------------------------------------------------------------------------------


async def test_worker_starts_from_the_snapshot_without_a_link(region: EdgeRegion) -> None:
    """It verifies callers at once; leases are what it does not have."""
    async with served(region):
        pass
    worker = Worker(region)
    assert worker.first is not None
    assert (worker.revision, worker.accepts(), worker.mode.source.link) == (1, True, "away")
    assert worker.first.age < 60


async def test_revocation_outlives_the_link(region: EdgeRegion) -> None:
    """What was revoked before the end is revoked after it, and a link that plays back older state changes nothing."""
    async with served(region) as worker:
        state, sheet = region.state, signed_sheet(region)
        await region.revoke("sender")
        await region.revoke("caller")
        await until(lambda: not worker.accepts())
        await until(lambda: worker.mode.source._applied[1] == worker.mode.source._known.sheet_number)
    region.state, region.sheet, region.held = state, sheet, region._fresh_held()
    region._tell()
    async with region.attended(), Worker(region).following() as again:
        assert not again.accepts()
        await until(again.attached)
        region.say(Update(state.full(), sheet, None))
        await until(lambda: again.faults[-1])
        assert not again.accepts()
        with pytest.raises(CredentialUnavailable):
            await again.lease()


async def test_restarted_worker_gets_what_it_missed(region: EdgeRegion) -> None:
    """From its snapshot's revision on."""
    async with served(region):
        pass
    region.proxy("proxy-one", proxyActive=False)
    region.publish()
    async with region.attended(), Worker(region).following() as worker:
        assert worker.revision == 1
        await until(lambda: worker.revision == 2 and worker.attached() == ((0, 2),))


async def test_disk_that_fails_is_told_and_not_reported(
    region: EdgeRegion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is enforced all the same, but not said to be applied; when the disk is back, it is."""
    monkeypatch.setattr(link_source, "LOOK_SECONDS", 0.01)
    async with served(region) as worker:
        snapshot = worker.mode.source._stored._snapshot
        save = snapshot.save

        def full(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(snapshot, "save", full)
        region.proxy("proxy-one", proxyActive=False)
        region.publish()
        await until(lambda: worker.revision == 2 and "No space" in worker.faults[-1])
        assert worker.attached() == ((0, 1),)
        monkeypatch.setattr(snapshot, "save", save)
        await until(lambda: worker.attached() == ((0, 2),))
        await until(lambda: worker.faults[-1] == "")


async def test_disk_that_hangs_stops_no_revocation(
    region: EdgeRegion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is enforced does not wait for what is written; what is reported does."""
    async with served(region) as worker:
        snapshot, hangs = worker.mode.source._stored._snapshot, threading.Event()
        save = snapshot.save
        monkeypatch.setattr(snapshot, "save", lambda *given, **named: (hangs.wait(20), save(*given, **named)))
        try:
            for revision in (2, 3):
                region.proxy("proxy-one", proxyName=str(revision))
                region.publish()
                await until(lambda revision=revision: worker.revision == revision)
            await region.revoke("caller")
            await until(lambda: not worker.accepts())
            assert worker.attached() == ((0, 1),)
        finally:
            hangs.set()
        await until(lambda: worker.attached() == ((0, 3),))


async def test_snapshot_that_cannot_be_compiled_is_as_none(
    region: EdgeRegion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that could start without one starts, and gets its policy from the link."""
    async with served(region):
        pass

    def broken(*_: object) -> None:
        raise RuntimeError("canary-1234")

    with monkeypatch.context() as patch:
        patch.setattr(link_source, "compile_known", broken)
        worker = Worker(region)
    assert worker.first is None
    async with region.attended(), worker.following():
        await until(lambda: worker.revision == 1)


async def test_manifest_heard_is_noted_on_disk(region: EdgeRegion, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restart knows how fresh the policy was when it was last vouched for."""
    monkeypatch.setattr(stored, "SEEN_SECONDS", 0.0)
    async with served(region) as worker:
        noted = worker.mode.source._stored
        await until(lambda: noted._seen_ms)
        before = noted._seen_ms
        region.reissue(before + 30_000)
        await until(lambda: noted._seen_ms == before + 30_000)
        await until(lambda: worker.ages)
    again = Worker(region)
    assert again.first is not None
    assert again.mode.source._known.state.issued_ms == before + 30_000
