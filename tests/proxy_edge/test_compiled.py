"""From documents and sheet to what is enforced, and to what has to be leased for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from models.clock import iso_ms
from models.custody.capability import Wanted
from models.custody.signing import Verifier
from models.planes.documents import DocumentReader
from models.policy import CompiledProxy
from models.secret import Secret
from proxy_edge.compiled import Compiled, compile_known
from proxy_edge.known import Known, Trusted
from tests.kit.edge_region import CLIENT, REGION, EdgeRegion

PEPPER = Secret(b"p" * 32)


@pytest.fixture
async def region(tmp_path: Path) -> AsyncIterator[EdgeRegion]:
    async with EdgeRegion(tmp_path).started() as region:
        yield region


def compiled(region: EdgeRegion, *revoked: str, now_ms: int | None = None) -> Compiled:
    trusted = Trusted(REGION, Verifier(region.control.public), Verifier(region.identity.public))
    now = region.clock.wall_ms()
    assert region.sheet is not None
    known = Known.nothing(REGION).with_delta(region.state.full(), trusted, now)
    known = known.with_sheet(region.sheet, trusted).with_revoked(revoked)
    return compile_known(known, PEPPER, now if now_ms is None else now_ms, DocumentReader())


async def test_every_proxys_key_may_be_leased(region: EdgeRegion) -> None:
    """By the key that the compiled proxy has: credential and destination, with the client's id to ask for it."""
    await region.sample("https://Target.test:8443/base")
    region.target("other", "http://other.test")
    region.proxy("proxy-two", proxyAlias=None, proxyTargetId="other")
    region.publish()
    found = compiled(region)
    keys = {one.lease_key for one in found.policy.proxies.values() if isinstance(one, CompiledProxy)}
    assert keys == {("sender", "https", "target.test", 8443), ("sender", "http", "other.test", 80)}
    assert set(found.terms.wanted) == keys
    assert all(want == Wanted(CLIENT, *key) for key, want in found.terms.wanted.items())
    assert (found.terms.versions, found.terms.free) == ({"sender": 1}, frozenset())
    assert (found.ends_ms, found.is_over(2**60)) == (None, False)


async def test_revoked_sender_may_not_be_leased(region: EdgeRegion) -> None:
    """Whoever knows it: the sheet or somebody before."""
    await region.sample("https://target.test")
    assert not compiled(region, "sender").terms.wanted
    await region.revoke("sender")
    found = compiled(region)
    assert (dict(found.terms.wanted), found.terms.revoked) == ({}, {"sender"})


async def test_next_expiry_ends_it(region: EdgeRegion) -> None:
    """Until then it holds; from then on it comes to something else."""
    end = region.clock.wall_ms() + 60_000
    await region.sample("https://target.test", sender={"credentialExpiresAt": iso_ms(end)})
    found = compiled(region)
    assert (found.ends_ms, found.is_over(end - 1), found.is_over(end)) == (end, False, True)
    assert found.terms.wanted
    assert not compiled(region, now_ms=end).terms.wanted


async def test_free_and_named(region: EdgeRegion) -> None:
    """Credentials of type `none` need no lease; those in the query are known by name."""
    await region.credential("bare", "target", "none", None)
    await region.credential(
        "querying", "target", "apiKey", {"key": "x" * 20, "in": "query", "name": "app id"}
    )
    await region.sample("https://target.test", proxyTargetCredentialId="bare")
    terms = compiled(region).terms
    assert terms.free == {("bare", "https", "target.test", 443)}
    assert terms.names == {"querying": {b"app id"}}
