"""Policy over the link: a real vault, a real link at a real socket, and one worker's source; nothing of Ray."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from models.clock import iso_ms
from models.custody.sheet import SHEET, Sheet, read_sheet
from models.custody.signing import Signed, Signer, Verifier
from models.errors import CredentialUnavailable
from models.planes.frames import Update
from models.planes.state import Delta, Document
from proxy_edge import link_source
from tests.kit.edge import TARGET_TOKEN
from tests.kit.edge_region import REGION, EdgeRegion, delta_between, everything, until
from tests.proxy_edge.source_worker import Worker, served, signed_sheet


async def test_first_policy_comes_over_the_link(region: EdgeRegion) -> None:
    """Policy, verifiers and lease: a caller is known and the target's secret can be had."""
    async with served(region) as worker:
        assert worker.first is None
        assert (worker.revision, worker.mode.source.link, worker.bundles[-1].age < 5) == (
            1,
            "connected",
            True,
        )
        assert worker.accepts()
        assert not worker.accepts("somebody-elses-key-0123")
        injection = await worker.lease()
        assert injection.header_line == b"authorization: Bearer %b\r\n" % TARGET_TOKEN.encode()
        assert worker.faults[-1] == ""


async def test_empty_region_is_a_policy_too(region: EdgeRegion) -> None:
    """Revision 0, no document, a sheet without entries: enforced like any other."""
    region.state = region.at(0, ())
    region._tell()
    async with region.attended(), Worker(region).following() as worker:
        await until(lambda: worker.revision == 0)


async def test_nothing_is_enforced_before_the_pepper(region: EdgeRegion) -> None:
    """Documents and sheet verify nobody; the vault is asked until it answers."""
    region.away = True
    await region.sample("https://target.test")
    async with region.attended(), Worker(region).following() as worker:
        await until(lambda: worker.mode.source._known.state.revision == 1)
        assert worker.bundles == []
        region.away = False
        await until(lambda: worker.revision == 1)


async def test_change_is_in_force_and_reported(region: EdgeRegion) -> None:
    """The next revision is enforced, on disk, and then said to be applied; only what changed was sent."""
    async with served(region) as worker:
        region.proxy("proxy-one", proxyActive=False)
        region.publish()
        await until(lambda: worker.attached() == ((0, 2),))
        assert (worker.revision, worker.proxy.active) == (2, False)
        assert Worker(region).revision == 2  # from the snapshot


async def test_new_secret_is_leased_at_once(region: EdgeRegion) -> None:
    """A rotated credential is used from the revision on that says so."""
    async with served(region) as worker:
        await worker.lease()
        await region.credential("sender", "target", "bearer", {"token": "rotated-token-0123456789"})
        region.publish()
        leases = worker.mode.source.leases

        def line() -> bytes:
            found = leases.get(worker.proxy.lease_key)
            return b"" if found is None else found.header_line

        await until(lambda: line() == b"authorization: Bearer rotated-token-0123456789\r\n")


async def test_revoked_sender_loses_its_lease(region: EdgeRegion) -> None:
    """The sheet's word is enough, before any document says so, and no document takes it back."""
    async with served(region) as worker:
        await worker.lease()
        key = worker.proxy.lease_key
        await region.revoke("sender")
        await until(lambda: worker.mode.source.leases.get(key) is None)
        with pytest.raises(CredentialUnavailable):
            await worker.lease()
        region.proxy("proxy-one", proxyName="Two")
        region.publish()
        await until(lambda: worker.revision == 2)
        with pytest.raises(CredentialUnavailable):
            await worker.lease()


async def test_revoked_caller_is_rejected_also_by_a_document_alone(region: EdgeRegion) -> None:
    """By the sheet, or by a revision that is ahead of the sheet; a later one that says active changes nothing."""
    async with served(region) as worker:
        active = region.documents["credential", "caller"]
        body = msgspec.json.decode(active.text) | {"credentialStatus": "revoked"}
        region.put(Document("credential", "caller", 2, msgspec.json.encode(body)))
        region.publish()
        await until(lambda: worker.revision == 2)
        assert not worker.accepts()
        region.put(active)
        region.publish()
        await until(lambda: worker.revision == 3)
        assert not worker.accepts()


async def test_expiry_takes_effect_by_itself(region: EdgeRegion, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller's end and a sender's end, without anything heard."""
    monkeypatch.setattr(link_source, "LOOK_SECONDS", 0.01)
    end = region.clock.wall_ms() + 600

    def at(ms: int) -> dict[str, Any]:
        return {"credentialExpiresAt": iso_ms(ms)}

    await region.sample("https://target.test", caller=at(end), sender=at(end))
    async with region.attended(), Worker(region).following() as worker:
        await until(lambda: worker.bundles)
        assert worker.accepts()
        await worker.lease()
        await until(lambda: not worker.accepts())
        assert worker.mode.source.leases.get(worker.proxy.lease_key) is None
        assert region.clock.wall_ms() >= end


async def test_credential_without_secret_needs_no_vault(region: EdgeRegion) -> None:
    """`none` puts nothing on a request and is leased by nobody."""
    await region.credential("bare", "target", "none", None)
    await region.sample("https://target.test", proxyTargetCredentialId="bare")
    async with region.attended(), Worker(region).following() as worker:
        await until(lambda: worker.bundles)
        region.asked.clear()
        found = worker.mode.source.leases.get(worker.proxy.lease_key)
        assert found is not None
        assert (found.header_line, region.asked) == (b"", [])


async def test_names_of_query_credentials_are_known_without_a_lease(region: EdgeRegion) -> None:
    """What a record must withhold is in the document."""
    secret = {"key": TARGET_TOKEN, "in": "query", "name": "appid"}
    await region.credential("querying", "target", "apiKey", secret)
    await region.sample("https://target.test", proxyTargetCredentialId="querying")
    async with region.attended(), Worker(region).following() as worker:
        await until(lambda: worker.bundles)
        assert worker.mode.source.leases.query_names(worker.proxy.lease_key) == {b"appid"}


async def test_broken_proxy_is_alone(region: EdgeRegion) -> None:
    """A document that this version cannot read refuses its proxies; the others are enforced."""
    await region.sample("https://target.test")
    region.proxy("proxy-two", proxyAlias="two", proxyStrange=True)
    region.publish()
    async with region.attended(), Worker(region).following() as worker:
        await until(lambda: worker.revision == 2)
        assert worker.accepts()
        assert [one.id for one in worker.bundles[-1].policy.broken] == ["proxy-two"]


# -- a hostile or broken link ------------------------------------------------------------------------


def hostile(region: EdgeRegion) -> dict[str, Update]:
    """What a link could say that must change nothing."""
    old, documents = region.at(0, ()), region.state.documents.values()
    stranger = Signer(Signer.new_private())
    ahead = region.clock.wall_ms() + 120_000
    sheet = read_sheet(signed_sheet(region), Verifier(region.identity.public), REGION)
    older = region.identity.sign(
        SHEET, msgspec.msgpack.encode(Sheet(REGION, 0, sheet.pepper_id, sheet.entries, ()))
    )
    forged = stranger.sign(
        SHEET, msgspec.msgpack.encode(msgspec.structs.replace(sheet, number=99, revoked=()))
    )
    unsigned = region.at(9, ()).full()
    return {
        "older": everything(old),
        "stranger": everything(region.at(9, (), signer=stranger)),
        "unsigned": Update(
            msgspec.structs.replace(unsigned, manifest=Signed(unsigned.manifest.statement, bytes(64))),
            None,
            None,
        ),
        "left out": Update(Delta(0, (), (), region.at(9, documents).full().manifest), None, None),
        "future": everything(region.at(9, documents, issued_ms=ahead)),
        "base": Update(msgspec.structs.replace(unsigned, base=7), None, None),
        "manifest": Update(None, None, region.at(1, documents, signer=stranger).signed),
        "older sheet": Update(None, older, None),
        "forged sheet": Update(None, forged, None),
    }


NAMES = [
    "older",
    "stranger",
    "unsigned",
    "left out",
    "future",
    "base",
    "manifest",
    "older sheet",
    "forged sheet",
]


@pytest.mark.parametrize("name", NAMES)
async def test_what_must_not_be_believed_changes_nothing(region: EdgeRegion, name: str) -> None:
    """It is told, what is in force stays, and what is true afterwards is taken as if nothing had been."""
    async with served(region) as worker:
        await region.revoke("sender")
        await until(lambda: len(worker.bundles) == 2)
        bundles = len(worker.bundles)
        region.say(hostile(region)[name])
        await until(lambda: worker.faults[-1])
        assert len(worker.bundles) == bundles
        assert worker.accepts()
        with pytest.raises(CredentialUnavailable):
            await worker.lease()
        region.proxy("proxy-one", proxyActive=False)
        region.publish()
        await until(lambda: worker.revision == 2 and not worker.proxy.active)


async def test_worker_that_missed_something_asks_for_everything(region: EdgeRegion) -> None:
    """A delta on a revision that it never had: the connection is made anew, and all of it sent."""
    async with served(region) as worker:
        old = region.state
        region.proxy("proxy-one", proxyActive=False)
        later = region.at(5, region.documents.values())
        middle = region.at(4, old.documents.values())
        region.say(Update(delta_between(middle, later), None, None))
        await until(lambda: worker.faults[-1])
        region.state = later
        region._tell()
        await until(lambda: worker.revision == 5)
        await until(lambda: worker.faults[-1] == "")


# -- size, faults, ends --------------------------------------------------------------------------------


async def test_large_policy_is_made_beside_the_loop(region: EdgeRegion) -> None:
    """The loop goes on while a thousand proxies are compiled."""
    await region.sample("https://target.test")
    for number in range(1000):
        region.proxy(f"proxy-{number}", proxyAlias=None)
    region.publish()
    async with region.attended(), Worker(region).following() as worker:
        beats = 0

        def beat() -> bool:
            nonlocal beats
            beats += worker.mode.source._known.state.revision == 2
            return worker.revision == 2

        await until(beat, 30)
        assert len(worker.bundles[-1].policy.proxies) >= 1000
        assert beats > 3


async def test_fault_of_ours_is_told_and_the_next_update_taken(
    region: EdgeRegion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unexpected error keeps what is in force, without its text, and is tried again."""
    monkeypatch.setattr(link_source, "LOOK_SECONDS", 0.01)
    async with served(region) as worker:
        compile_known: Callable[..., Any] = link_source.compile_known

        def broken(*_: object) -> None:
            raise RuntimeError("canary-1234")

        monkeypatch.setattr(link_source, "compile_known", broken)
        region.proxy("proxy-one", proxyActive=False)
        region.publish()
        await until(lambda: worker.faults[-1] == "RuntimeError")
        assert worker.revision == 1
        region.reissue()
        ages = len(worker.ages)
        monkeypatch.setattr(link_source, "compile_known", compile_known)
        await until(lambda: worker.revision == 2)
        assert len(worker.ages) == ages  # what is vouched for was not what was in force


async def test_link_that_comes_back_is_told_what_is_enforced(region: EdgeRegion) -> None:
    """A new link attaches and hears of the worker's revision; the worker is away meanwhile and serves on."""
    async with served(region) as worker:
        pass
    worker = Worker(region)
    async with worker.following():
        for _ in range(2):
            async with region.attended():
                await until(lambda: worker.mode.source.link == "connected" and worker.attached() == ((0, 1),))
            await until(lambda: worker.mode.source.link == "away")
            assert worker.accepts()


async def test_source_that_can_hear_nothing_any_more_ends(
    region: EdgeRegion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker ends with it, so that another takes its place."""
    monkeypatch.setattr(link_source, "LOOK_SECONDS", 0.01)
    worker = Worker(region)

    async def ends() -> None:
        return

    monkeypatch.setattr(worker.mode.client, "run", ends)
    with pytest.raises(RuntimeError):
        async with asyncio.timeout(10):
            await worker.mode.source.follow(worker.bundles.append, worker.faults.append, worker.ages.append)
