"""Capabilities: who is believed, what is leased to whom, and that one refusal hides no other grant."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from actors.vault.core import VaultCore
from actors.vault.grants import Gate
from actors.vault.hosts import EnrolledHosts
from models.custody.capability import CAPABILITY, LONGEST_MS, MOST_WANTED, PEPPER, Grant, Wanted
from models.custody.orders import Envelope
from models.custody.signing import Signed, Signer
from models.errors import CapabilityRefused, SealBroken, SignatureRefused
from tests.kit.vault import (
    CLIENT,
    HOST,
    HOST_ID,
    REGION,
    VaultKit,
    caller_secret,
    orders,
    revoke,
    target_secret,
    wanted,
)


@pytest.fixture(autouse=True)
async def kept(kit: VaultKit, core: VaultCore) -> None:
    """A target credential and a caller's."""
    await kit.keep(core, "cred_t", 1, target_secret())
    await kit.keep(core, "cred_p", 1, caller_secret())


async def test_a_lease_is_what_the_client_sent(kit: VaultKit, core: VaultCore) -> None:
    """Sealed to the worker for at most 60 s, with what was left of that time."""
    (grant,) = await kit.lease(core)
    assert grant.wanted == wanted()
    assert (grant.version, grant.lifetime_ms, grant.expires_ms - kit.clock.ms) == (1, LONGEST_MS, LONGEST_MS)
    assert msgspec.json.decode(kit.opened(grant).reveal(), type=Envelope) == target_secret()


@pytest.mark.parametrize(
    "fields",
    [
        {"purpose": "put"},
        {"client_id": "cli_two"},
        {"credential_id": "cred_u"},
        {"version": 2},
        {"region": "eu"},
        {"scheme": "http"},
        {"host": "evil.test"},
        {"port": 444},
        {"expires_ms": 0},
        {"nonce": bytes(16)},
    ],
    ids=str,
)
async def test_a_lease_opens_for_its_destination_only(
    kit: VaultKit, core: VaultCore, fields: dict[str, Any]
) -> None:
    """Whoever asks for one destination cannot use it at another, nor longer."""
    (grant,) = await kit.lease(core)
    with pytest.raises(SealBroken):
        kit.opened(grant, **fields)


async def test_a_lease_ends_with_its_credential(kit: VaultKit, core: VaultCore) -> None:
    """The nearer of 60 s and `credentialExpiresAt`; none from that moment on."""
    end = kit.clock.ms + 10_000
    await kit.keep(core, "cred_t", 2, target_secret(expires_ms=end))
    (grant,) = await kit.lease(core)
    assert (grant.expires_ms, grant.lifetime_ms) == (end, 10_000)
    kit.clock.ms = end - 1
    assert (await kit.lease(core))[0].lifetime_ms == 1
    kit.clock.ms = end
    assert await kit.refusal(core) == "expired"


async def test_each_credential_is_refused_by_itself(kit: VaultKit, core: VaultCore) -> None:
    """With the reason; the others of the same capability are leased, in the order asked."""
    await core.obey(orders(revoke("cred_r")))
    wants = [
        wanted("nobody"),
        wanted(),
        wanted("cred_p"),
        wanted("cred_t", client_id="cli_two"),
        wanted("cred_r"),
        wanted(host="other.test"),
    ]
    grants = await kit.lease(core, *wants)
    assert [one.wanted for one in grants] == wants
    assert [one.refused for one in grants] == ["unknown", "", "wrong-side", "wrong-client", "revoked", ""]
    assert [bool(one.sealed) for one in grants] == [False, True, False, False, False, True]


async def test_a_capability_without_wants_gets_nothing(kit: VaultKit, core: VaultCore) -> None:
    """That is no error."""
    assert (await core.grant(kit.capability())).grants == ()


async def test_the_pepper_is_sealed_to_the_worker(kit: VaultKit, core: VaultCore) -> None:
    """As one grant without a credential; its lease opens for nothing else."""
    (grant,) = (await core.grant(kit.capability(operation=PEPPER))).grants
    assert grant.wanted == Wanted("", "", "", "", 0)
    assert len(kit.opened(grant, "pepper")) == 32
    with pytest.raises(SealBroken):
        kit.opened(grant, "lease")


STRANGE: dict[str, dict[str, Any]] = {
    "another host": {"host_id": "host-2"},
    "a host with a path for a name": {"host_id": "../hosts/host-1"},
    "no host": {"host_id": ""},
    "another region": {"region": "eu"},
    "another operation": {"operation": "standby"},
    "no operation": {"operation": ""},
    "a short nonce": {"nonce": b"x"},
    "a short recipient": {"recipient": b"x"},
    "no real recipient": {"recipient": bytes(32)},
}


@pytest.mark.parametrize("what", STRANGE)
async def test_a_strange_capability_is_refused(kit: VaultKit, core: VaultCore, what: str) -> None:
    """Signed by the enrolled host, and wrong in one thing."""
    with pytest.raises(CapabilityRefused):
        await core.grant(kit.capability(wanted(), **STRANGE[what]))


@pytest.mark.parametrize(
    ("ahead", "verdict"), [(-1, False), (0, False), (1, True), (60_000, True), (60_001, False)]
)
async def test_a_capability_has_its_time(kit: VaultKit, core: VaultCore, ahead: int, verdict: bool) -> None:
    """Until its end, which is at most 60 s ahead."""
    asked = kit.capability(wanted(), expires_ms=kit.clock.ms + ahead)
    if verdict:
        assert (await core.grant(asked)).grants[0].sealed
    else:
        with pytest.raises(CapabilityRefused):
            await core.grant(asked)


async def test_a_capability_serves_once(kit: VaultKit, core: VaultCore) -> None:
    """The same again is refused, also when the first one was answered with a refusal."""
    for asked in (kit.capability(wanted()), kit.capability(wanted("nobody"))):
        await core.grant(asked)
        with pytest.raises(CapabilityRefused, match="before"):
            await core.grant(asked)


async def test_a_refused_capability_burns_no_nonce(kit: VaultKit, core: VaultCore) -> None:
    """A forger who saw a nonce cannot use it up."""
    nonce = b"n" * 16
    with pytest.raises(SignatureRefused):
        await core.grant(kit.capability(wanted(), nonce=nonce, signer=Signer(Signer.new_private())))
    assert (await core.grant(kit.capability(wanted(), nonce=nonce))).grants[0].sealed


async def test_a_capability_cannot_ask_for_too_much(kit: VaultKit, core: VaultCore) -> None:
    """So that one call stays short."""
    assert len((await core.grant(kit.capability(*[wanted()] * MOST_WANTED))).grants) == MOST_WANTED
    with pytest.raises(CapabilityRefused):
        await core.grant(kit.capability(*[wanted()] * (MOST_WANTED + 1)))


@pytest.mark.parametrize(
    "statement", [b"", b"\xc1", b"\x80", b"\x93\x01\x02\x03", b"\x81\xa1x" * 20_000], ids=len
)
async def test_what_is_no_capability_is_refused(core: VaultCore, statement: bytes) -> None:
    """Even when an enrolled host signed it."""
    with pytest.raises(CapabilityRefused):
        await core.grant(HOST.sign(CAPABILITY, statement))


async def test_another_statement_of_the_host_is_no_capability(kit: VaultKit, core: VaultCore) -> None:
    """The purpose is signed too; and an altered byte breaks the signature."""
    asked = kit.capability(wanted())
    for wrong in (
        HOST.sign("order", asked.statement),
        Signed(asked.statement, asked.signature[::-1]),
        Signed(asked.statement, b""),
        Signed(asked.statement.replace(b"api.test", b"bad.test"), asked.signature),
    ):
        with pytest.raises(SignatureRefused):
            await core.grant(wrong)


async def test_a_gate_asks_the_region_and_the_host(kit: VaultKit) -> None:
    """The capability comes out as it was signed."""
    gate = Gate(EnrolledHosts(kit.home.hosts), REGION)
    found = gate.admit(kit.capability(wanted()), kit.clock.ms)
    assert (found.host_id, found.wanted, found.wanted[0].client_id) == (HOST_ID, (wanted(),), CLIENT)


def test_a_grant_shows_no_secret() -> None:
    """What it holds is sealed, and a refusal holds nothing."""
    assert Grant(wanted=wanted(), refused="unknown").sealed == b""
