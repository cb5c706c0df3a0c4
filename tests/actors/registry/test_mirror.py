"""The registry's memory: whole revisions or none, verified on the way back in, revocations for ever."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.registry.mirror import LAYOUT, POLICY, REVOKED, Mirror
from models.clock import SystemClock
from models.custody.sheet import read_certificate, read_sheet
from models.custody.signing import Verifier
from models.errors import StoreUnavailable
from models.planes.state import RegionState
from store.sqlite import SqliteStore
from tests.kit.feed import REGION, document


async def grow(bench: Any, mirror: Mirror, after: int) -> RegionState:
    """Takes what the plane says after a revision into the mirror."""
    delta = bench.plane.delta(after)
    state = mirror.state.apply(delta, bench.control)
    await mirror.keep_state(state, delta)
    return state


async def reopened(bench: Any, mirror: Mirror | None = None) -> Mirror:
    """Another mirror over the same file."""
    if mirror is not None:
        await mirror.close()
    other: Mirror = bench.mirror()
    await other.open()
    return other


@given(steps=st.lists(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=4), max_size=8))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_history_comes_back_as_it_was(bench, steps) -> None:
    """After any changes, some kept as deltas and some whole, a restart finds the documents of the last revision."""
    bench.path.joinpath("registry.db").unlink(missing_ok=True)
    bench.plane.__init__(signer=bench.plane.signer)
    mirror = await reopened(bench)
    await grow(bench, mirror, 0)
    for step in steps:
        there = {one for _, one in bench.plane.documents}
        puts = {name for name, kept in step if kept}
        gone = {name for name, kept in step if not kept} & there - puts
        revision = bench.plane.revision
        bench.plane.change(
            *(document("proxy", name, revision + 1) for name in puts),
            deletes=tuple(("proxy", name) for name in gone),
        )
        state = await grow(bench, mirror, revision)
        mirror = await reopened(bench, mirror)
        assert mirror.state.documents == state.documents
        assert mirror.state.revision == state.revision
    await mirror.close()


async def test_the_stream_stays_short(bench) -> None:
    """However many changes, what is kept is bounded by what there is."""
    mirror = await reopened(bench)
    await grow(bench, mirror, 0)
    store = SqliteStore(bench.path / "registry.db", LAYOUT)
    await store.open()
    most = 0
    for revision in range(300):
        bench.plane.put("proxy", "p1", number=revision)
        await grow(bench, mirror, revision)
        page = await store.scan(POLICY, limit=1000)
        most = max(most, len(page.entries))
    await store.close()
    assert 200 < most < 300
    mirror = await reopened(bench, mirror)
    assert mirror.state.revision == 300
    await mirror.close()


@pytest.mark.parametrize("cut", [0, 1])
async def test_what_does_not_verify_is_dropped_but_revocations_stay(bench, cut) -> None:
    """A mirror somebody cut a document out of is not served; what was revoked is still known."""
    mirror = await reopened(bench)
    bench.plane.put("credential", "cred_1", credentialStatus="revoked")
    bench.plane.put("proxy", "p1")
    await grow(bench, mirror, -1)
    await mirror.close()
    store = SqliteStore(bench.path / "registry.db", LAYOUT)
    await store.open()
    page = await store.scan(POLICY, descending=False)
    await store.trim(POLICY, before_ms=1 << 60)
    await store.append(POLICY, [page.entries[0], *page.entries[1 + cut :]])
    await store.close()
    mirror = await reopened(bench)
    assert mirror.state.revision == (-1 if cut else 2)
    assert mirror.revoked == {"cred_1"}
    bench.plane.put("proxy", "p2")
    await grow(bench, mirror, -1)
    mirror = await reopened(bench, mirror)
    assert mirror.state.revision == 3
    await mirror.close()


async def test_a_mirror_of_another_plane_or_region_is_dropped(bench) -> None:
    """The pinned key and the region decide, not what the file says."""
    mirror = await reopened(bench)
    bench.plane.put("proxy", "p1")
    await grow(bench, mirror, -1)
    await mirror.close()
    for control, region in ((bench.vault.identity.public, REGION), (bench.plane.signer.public, "eu-west-1")):
        store = SqliteStore(bench.path / "registry.db", LAYOUT)
        other = Mirror(store, region, Verifier(control), Verifier(bench.vault.identity.public), SystemClock())
        await other.open()
        assert other.state.revision == -1
        await other.close()


async def test_newest_issue_sheet_certificate_and_failing_come_back(bench) -> None:
    """Everything that is not policy is kept as well, and verified again."""
    mirror = await reopened(bench)
    state = await grow(bench, mirror, 0)
    later = state.refresh(bench.plane.manifest(), bench.control)
    await mirror.keep_manifest(later)
    identity = Verifier(bench.vault.identity.public)
    bench.vault.number, bench.vault.revoked = 7, ("cred_2",)
    await mirror.keep_sheet(bench.vault.sheet(), read_sheet(bench.vault.sheet(), identity, REGION))
    certificate = bench.vault.certificate()
    await mirror.keep_certificate(certificate, read_certificate(certificate, identity, REGION))
    await mirror.keep_failing({"cred_3": "why"})
    mirror = await reopened(bench, mirror)
    assert mirror.state.issued_ms == later.issued_ms > state.issued_ms
    assert mirror.sheet is not None
    assert mirror.sheet[1].number == 7
    assert mirror.certificate is not None
    assert mirror.certificate[1].public == bench.vault.public
    assert mirror.failing == {"cred_3": "why"}
    assert mirror.revoked == {"cred_2"}
    await mirror.close()


async def test_a_write_of_unknown_outcome_is_followed_by_a_whole_one(bench) -> None:
    """When a batch may or may not have been written, the next one does not build on it."""
    mirror = await reopened(bench)
    await grow(bench, mirror, 0)
    bench.plane.put("proxy", "p1")
    store: Any = mirror._store
    append = store.append

    async def happened_but_failed(stream: Any, entries: Any) -> int:
        await append(stream, entries)
        raise StoreUnavailable("too slow")

    store.append = happened_but_failed
    with pytest.raises(StoreUnavailable):
        await grow(bench, mirror, 0)
    assert mirror.state.revision == 0
    store.append = append
    bench.plane.change(deletes=(("proxy", "p1"),))
    await grow(bench, mirror, 0)
    mirror = await reopened(bench, mirror)
    assert (mirror.state.revision, mirror.state.documents) == (2, {})
    await mirror.close()


async def test_an_unreadable_credential_is_not_taken_for_revoked(bench) -> None:
    """Text that is no JSON makes nothing revoked; whether it may replace a revoked one is the core's to say."""
    mirror = await reopened(bench)
    odd = document("credential", "cred_1", 1)
    bench.plane.change(type(odd)(odd.kind, odd.id, odd.revision, b"\xff"))
    await grow(bench, mirror, -1)
    assert mirror.revoked == set()
    await mirror.close()


async def test_the_file_holds_what_was_kept(bench) -> None:
    """The revoked set is one document per id, so that it grows without being rewritten."""
    mirror = await reopened(bench)
    bench.plane.put("credential", "cred_1", credentialStatus="revoked")
    bench.plane.put("credential", "cred_2", credentialStatus="revoked")
    await grow(bench, mirror, -1)
    await mirror.close()
    store = SqliteStore(bench.path / "registry.db", LAYOUT)
    await store.open()
    page = await store.list(REVOKED)
    await store.close()
    assert [one.id for one in page.items] == ["cred_1", "cred_2"]
