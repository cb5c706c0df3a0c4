"""What a worker asks the real vault, and which of its answers it opens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from models.custody.capability import Grants, Wanted, peek, read_grants, sign_grants
from models.custody.orders import Expire
from models.custody.sealing import Opener
from models.custody.sheet import pepper_id, read_sheet
from models.custody.signing import Signed, Signer, Verifier
from models.errors import CapabilityRefused, CustodyError, LinkUnavailable
from proxy_edge.vault_client import Denied, Leased, VaultClient
from tests.kit.edge import TARGET_TOKEN
from tests.kit.edge_region import CLIENT, REGION, EdgeRegion

WANTED = Wanted(CLIENT, "sender", "https", "target.test", 443)


class Clock:
    """The vault's and the worker's, moved by hand."""

    def __init__(self) -> None:
        self.ms = 1_800_000_000_000

    def wall_ms(self) -> int:
        return self.ms

    def boot_ns(self) -> int:
        return self.ms * 1_000_000


@pytest.fixture
async def region(tmp_path: Path) -> AsyncIterator[EdgeRegion]:
    async with EdgeRegion(tmp_path, Clock()).started() as region:
        await region.credential("sender", "target", "bearer", {"token": TARGET_TOKEN})
        await region.credential("caller", "proxy", "apiKey", {"key": "caller-key-0123456789"})
        yield region


def client(region: EdgeRegion, change: Callable[[Grants], Grants] = lambda grants: grants) -> VaultClient:
    """A worker's; `change` is what somebody on the way does to the answers."""

    async def call(role: str, method: str, payload: bytes, timeout: float) -> bytes:
        assert (role, method) == ("vault", "grant")
        nonce = peek(msgspec.msgpack.decode(payload, type=Signed)).nonce
        signed = msgspec.msgpack.decode(await region.grant(payload), type=Signed)
        changed = change(read_grants(signed, Verifier(region.identity.public), nonce))
        # Signed anew: what is left to hold is that the worker itself looks at every part.
        return msgspec.msgpack.encode(
            sign_grants(msgspec.structs.replace(changed, answers=nonce), region.identity)
        )

    return VaultClient(call, region.host_identity, REGION, region.clock)


async def leased(worker: VaultClient, wanted: Wanted = WANTED) -> Leased | Denied:
    return (await worker.lease((wanted,), 1.0))[wanted]


async def test_lease_opens_and_lives_a_minute(region: EdgeRegion) -> None:
    """The secret as it goes on a request, the version, at most 60 s from sending; nothing shows in a repr."""
    found = await leased(client(region))
    assert isinstance(found, Leased)
    assert found.injection.header_line == b"authorization: Bearer %b\r\n" % TARGET_TOKEN.encode()
    assert (found.version, found.until_ns - found.sent_ns) == (1, 60_000_000_000)
    assert TARGET_TOKEN not in repr(found)


async def test_each_is_answered_by_itself(region: EdgeRegion) -> None:
    """One that is unknown, of the other side or revoked does not keep the others from theirs."""
    await region.credential("gone", "target", "bearer", {"token": TARGET_TOKEN})
    await region.revoke("gone")
    wanted = [
        msgspec.structs.replace(WANTED, credential_id=one) for one in ("sender", "caller", "nobody", "gone")
    ]
    found = await client(region).lease(wanted, 1.0)
    reasons = [one.reason if isinstance(one, Denied) else "" for one in map(found.__getitem__, wanted)]
    assert reasons == ["", "wrong-side", "unknown", "revoked"]


async def test_pepper_is_that_of_the_sheet(region: EdgeRegion) -> None:
    """It comes by a capability of its own."""
    pepper = await client(region).pepper(1.0)
    assert region.sheet is not None
    sheet = read_sheet(region.sheet, Verifier(region.identity.public), REGION)
    assert pepper_id(pepper) == sheet.pepper_id


def first(**fields: Any) -> Callable[[Grants], Grants]:
    """Replaces fields of the first grant."""
    return lambda grants: Grants((msgspec.structs.replace(grants.grants[0], **fields), *grants.grants[1:]))


@pytest.mark.parametrize(
    "change",
    [
        first(version=2),
        first(expires_ms=1_800_000_120_000),
        first(nonce=bytes(16)),
        first(sealed=b"x" * 200),
        first(sealed=b""),
        first(wanted=msgspec.structs.replace(WANTED, host="else.test")),
        lambda _: Grants(()),
    ],
    ids=["version", "expiry", "nonce", "sealed", "empty", "destination", "none"],
)
async def test_altered_answer_is_no_lease(region: EdgeRegion, change: Callable[[Grants], Grants]) -> None:
    """What it is bound to is what was asked for, and nothing else opens."""
    assert isinstance(await leased(client(region, change)), Denied)


async def test_lifetime_on_the_way_lengthens_nothing(region: EdgeRegion) -> None:
    """It is not sealed, so it is believed up to what any lease may last."""
    found = await leased(client(region, first(lifetime_ms=10**9)))
    assert isinstance(found, Leased)
    assert found.until_ns - found.sent_ns == 60_000_000_000


async def test_lease_swapped_for_another_credentials_is_none(region: EdgeRegion) -> None:
    """Two answers in each other's place do not open."""
    await region.credential("other", "target", "bearer", {"token": "other-token-0123456789"})

    def swapped(grants: Grants) -> Grants:
        one, two = grants.grants
        return Grants(
            (msgspec.structs.replace(one, wanted=two.wanted), msgspec.structs.replace(two, wanted=one.wanted))
        )

    other = msgspec.structs.replace(WANTED, credential_id="other")
    found = await client(region, swapped).lease((WANTED, other), 1.0)
    assert all(isinstance(one, Denied) for one in found.values())


async def test_answer_that_came_before_is_none(region: EdgeRegion) -> None:
    """An answer kept on the way and given again, soon or much later, makes no lease."""
    kept: list[Grants] = []

    def replay(grants: Grants) -> Grants:
        kept.append(grants)
        return kept[0]

    worker = client(region, replay)
    assert isinstance(await leased(worker), Leased)
    assert isinstance(await leased(worker), Denied)
    region.clock.ms += 10 * 60_000  # type: ignore[attr-defined]  # the test's clock
    assert isinstance(await leased(worker), Denied)


async def test_answer_for_another_worker_is_none(region: EdgeRegion) -> None:
    """Leases are sealed to the key of the process that asked."""
    kept: list[Grants] = []
    assert isinstance(await leased(client(region, lambda grants: kept.append(grants) or grants)), Leased)
    assert isinstance(await leased(client(region, lambda _: kept[0])), Denied)


async def test_credential_that_ends_soon_is_leased_until_then(region: EdgeRegion) -> None:
    """Its own expiry ends the lease."""
    await region.obey(Expire(REGION, "sender", 1, 5, region.clock.wall_ms() + 10_000))
    found = await leased(client(region))
    assert isinstance(found, Leased)
    assert found.until_ns - found.sent_ns == 10_000_000_000


@pytest.mark.parametrize(
    "secret", [{}, {"token": "short"}, {"token": "x" * 20, "prefix": "a b"}, {"key": "x" * 20}]
)
async def test_secret_that_cannot_be_used_is_told_without_it(
    region: EdgeRegion, secret: dict[str, str]
) -> None:
    """A vault may hold what this version does not understand."""
    await region.credential("strange", "target", "bearer", secret)
    found = await leased(client(region), msgspec.structs.replace(WANTED, credential_id="strange"))
    if isinstance(found, Leased):
        assert secret == {"token": "short"}  # how long one must be is the Core API's rule
    else:
        assert not set(found.reason.split()) & set(secret.values())


async def test_capability_is_this_hosts_for_this_region(region: EdgeRegion) -> None:
    """It names region, host, the worker's key; it ends within half of what the vault allows; each has its own nonce."""
    sent: list[Signed] = []
    opener = Opener(Opener.new_private())

    async def call(_role: str, _method: str, payload: bytes, _timeout: float) -> bytes:
        sent.append(msgspec.msgpack.decode(payload, type=Signed))
        return await region.grant(payload)

    worker = VaultClient(call, region.host_identity, REGION, region.clock, opener)
    await leased(worker)
    await worker.pepper(1.0)
    one, two = map(peek, sent)
    assert (one.region, one.host_id, one.recipient, one.wanted) == (
        REGION,
        "host-1",
        opener.public,
        (WANTED,),
    )
    assert one.expires_ms - region.clock.wall_ms() == 30_000
    assert (one.operation, two.operation) == ("lease", "pepper")
    assert one.nonce != two.nonce


async def test_host_that_is_not_enrolled_gets_nothing(region: EdgeRegion) -> None:
    """The vault itself refuses, not the link."""
    (region.region_home.hosts / "host-1.pub").unlink()
    with pytest.raises(CapabilityRefused):
        await leased(client(region))


@pytest.mark.parametrize("answer", [b"", b"\xc1", b"nonsense"])
async def test_answer_that_is_none_is_an_absence(region: EdgeRegion, answer: bytes) -> None:
    """Whoever asks tries again."""

    async def call(_role: str, _method: str, _payload: bytes, _timeout: float) -> bytes:
        return answer

    worker = VaultClient(call, region.host_identity, REGION, region.clock)
    with pytest.raises(LinkUnavailable):
        await leased(worker)
    with pytest.raises((LinkUnavailable, CustodyError)):
        await worker.pepper(1.0)


async def test_an_answer_of_another_signer_or_to_another_question_is_none(region: EdgeRegion) -> None:
    """Whoever is on the way can neither seal a secret of his own for a worker nor answer with an older answer."""
    forger = Signer(Signer.new_private())
    kept: list[bytes] = []

    async def forged(_role: str, _method: str, payload: bytes, _timeout: float) -> bytes:
        signed = msgspec.msgpack.decode(await region.grant(payload), type=Signed)
        kept.append(msgspec.msgpack.encode(signed))
        return msgspec.msgpack.encode(
            sign_grants(msgspec.msgpack.decode(signed.statement, type=Grants), forger)
        )

    async def replayed(_role: str, _method: str, _payload: bytes, _timeout: float) -> bytes:
        return kept[0]

    for call in (forged, replayed):
        worker = VaultClient(call, region.host_identity, REGION, region.clock)
        with pytest.raises(LinkUnavailable):
            await leased(worker)
