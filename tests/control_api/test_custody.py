"""Sealing for a region's vault, bound to what the secret is for."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from control_api.custody import Sealer
from models.custody.orders import Envelope, Expire, Put, read_order
from models.custody.sheet import Certificate
from models.errors import SealBroken, Unavailable
from models.planes.feed import Uplink
from tests.kit.plane import CLIENT, SIGNER, VERIFIER, Vault, plane

ENVELOPE = Envelope(side="target", auth_type="apiKey", secret={"key": "canary-value", "in": "header"})


async def test_only_the_regions_vault_opens_what_was_sealed(tmp_path: Path) -> None:
    """And only as what it was sealed for: another version or vault fails."""
    async with plane(tmp_path / "control.db") as here:
        await here.enrol("us", "eu")
        signed = Sealer(here.ledger, SIGNER).seal_put("us", CLIENT, "cred_a", 3, ENVELOPE)
        assert b"canary" not in signed.statement
        order = read_order(signed, VERIFIER)
        assert isinstance(order, Put)
        binding = order.binding
        assert (binding.purpose, binding.region, binding.client_id) == ("put", "us", CLIENT)
        assert (binding.credential_id, binding.version) == ("cred_a", 3)
        plain = here.vaults["us"].opener.open(order.sealed, binding)
        assert msgspec.json.decode(plain.reveal(), type=Envelope) == ENVELOPE
        with pytest.raises(SealBroken):
            here.vaults["eu"].opener.open(order.sealed, binding)
        with pytest.raises(SealBroken):
            here.vaults["us"].opener.open(order.sealed, msgspec.structs.replace(binding, version=4))


async def test_a_certificate_that_another_process_heard_is_found(tmp_path: Path) -> None:
    """`prepare` looks for it in the store; a store that was tampered with gives none."""
    vaults: dict[str, Vault] = {}
    async with plane(tmp_path / "control.db", vaults=vaults) as one, plane(tmp_path / "control.db") as other:
        await one.enrol("us", certified=False)
        await other.ledger.catch_up()
        with pytest.raises(Unavailable):
            await other.sealer.prepare("us")
        stranger = Vault("us")
        other.ledger.regions.certify(
            "us",
            stranger.certificate(),
            msgspec.msgpack.decode(stranger.certificate().statement, type=Certificate),
        )
        with pytest.raises(Unavailable):
            await other.sealer.prepare("us")
    async with plane(tmp_path / "more.db", vaults=vaults) as one, plane(tmp_path / "more.db") as other:
        await one.enrol("us")
        await other.ledger.catch_up()
        await other.sealer.prepare("us")
        other.sealer.seal_put("us", CLIENT, "cred_a", 1, ENVELOPE)


async def test_a_newer_key_that_another_process_heard_is_sealed_to(tmp_path: Path) -> None:
    """A vault that lost its store has another key; what is sealed to the old one would be lost."""
    vaults: dict[str, Vault] = {}
    async with (
        plane(tmp_path / "control.db", vaults=vaults) as one,
        plane(tmp_path / "control.db", vaults=vaults) as other,
    ):
        await one.enrol("us")
        await other.ledger.catch_up()
        await other.sealer.prepare("us")
        vault = vaults["us"]
        renewed = Vault("us", identity=vault.identity)
        await one.feed.uplink("us", Uplink(certificate=renewed.certificate(issued_ms=2)))
        await other.sealer.prepare("us")
        order = read_order(other.sealer.seal_put("us", CLIENT, "cred_a", 1, ENVELOPE), VERIFIER)
        assert isinstance(order, Put)
        assert order.binding.recipient == renewed.opener.key_id


async def test_a_secret_that_stays_can_end_at_another_time(tmp_path: Path) -> None:
    """An order without a secret, bound to the version it is about."""
    async with plane(tmp_path / "control.db") as here:
        signed = here.sealer.expire("us", "cred_a", 2, 7, None)
        assert read_order(signed, VERIFIER) == Expire("us", "cred_a", 2, 7, None)
