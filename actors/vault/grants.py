"""Capabilities answered: who asks is verified here, and each credential is leased or refused by itself.

Leases are sealed to the asking worker and bound to one destination. Plaintext lives between opening what is
stored and sealing it again, inside one call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from actors.vault.hosts import EnrolledHosts, Nonces
from actors.vault.secrets import DAMAGED, FORGOTTEN, REVOKED, Held, SecretShelf
from models.custody.capability import (
    LEASE,
    LONGEST_MS,
    PEPPER,
    Capability,
    Grant,
    Wanted,
    peek,
    read_capability,
)
from models.custody.sealing import Binding, key_id, new_nonce, seal
from models.custody.signing import Signed
from models.errors import CapabilityRefused, SealBroken
from models.secret import Secret

UNKNOWN, WRONG_SIDE, WRONG_CLIENT = "unknown", "wrong-side", "wrong-client"
EXPIRED, BROKEN = "expired", "damaged"
GONE: Final = {REVOKED: "revoked", FORGOTTEN: UNKNOWN, DAMAGED: BROKEN}
"""Reason codes of `Grant.refused`; `revoked` is the one that is for ever."""

_AT_A_TIME: Final = 16
"""Leases made (about 0.2 ms each) before other calls get their turn."""


class Gate:
    """Believes a capability, once."""

    def __init__(self, hosts: EnrolledHosts, region: str, nonces: Nonces | None = None) -> None:
        self._hosts, self._region = hosts, region
        self._nonces = Nonces() if nonces is None else nonces

    def admit(self, signed: Signed, now_ms: int) -> Capability:
        """The capability. Raises CapabilityRefused, SignatureRefused."""
        claimed = peek(signed)
        verifier = self._hosts.verifier(claimed.host_id)
        if claimed.operation not in {LEASE, PEPPER}:
            raise CapabilityRefused("is for an operation that there is not")
        found = read_capability(
            signed, verifier, region=self._region, operation=claimed.operation, now_ms=now_ms
        )
        self._nonces.use(found.host_id, found.nonce, found.expires_ms, now_ms)
        return found


class Lessor:
    """Makes the grants of one region's vault. denied: credentials whose revocation is under way."""

    def __init__(
        self, shelf: SecretShelf, region: str, pepper: Secret, denied: Callable[[str], bool]
    ) -> None:
        self._shelf, self._region, self._pepper, self._denied = shelf, region, pepper, denied

    async def leases(self, capability: Capability, now_ms: int) -> tuple[Grant, ...]:
        """One grant for each credential wanted, in that order."""
        grants = []
        for number, wanted in enumerate(capability.wanted, 1):
            grants.append(await self._lease(wanted, capability.recipient, now_ms))
            if number % _AT_A_TIME == 0:
                await asyncio.sleep(0)
        return tuple(grants)

    async def _lease(self, wanted: Wanted, recipient: bytes, now_ms: int) -> Grant:
        held = self._shelf.get(wanted.credential_id)
        refused = self._refusal(held, wanted, now_ms)
        if held is None or refused:
            return Grant(wanted=wanted, refused=refused)
        try:
            kept = await self._shelf.open(held)
        except SealBroken:
            return Grant(wanted=wanted, refused=BROKEN)
        if self._shelf.get(wanted.credential_id) is not held or self._denied(wanted.credential_id):
            return await self._lease(
                wanted, recipient, now_ms
            )  # replaced or revoked while the key was unwrapped
        end = now_ms + LONGEST_MS
        expires_ms = end if held.expires_ms is None else min(end, held.expires_ms)
        plain = Secret(msgspec.json.encode(kept.envelope))
        return _sealed(wanted, "lease", held.version, self._region, recipient, plain, expires_ms, now_ms)

    def pepper(self, capability: Capability, now_ms: int) -> Grant:
        """The region's pepper, which a worker may keep as long as it lives."""
        blank = Wanted("", "", "", "", 0)
        end = now_ms + LONGEST_MS
        return _sealed(blank, "pepper", 1, self._region, capability.recipient, self._pepper, end, now_ms)

    def _refusal(self, held: Held | None, wanted: Wanted, now_ms: int) -> str:
        if self._denied(wanted.credential_id):
            return GONE[REVOKED]
        if held is None:
            return UNKNOWN
        if held.state in GONE:
            return GONE[held.state]
        if held.side != "target":
            return WRONG_SIDE
        if held.client_id != wanted.client_id:
            return WRONG_CLIENT
        if held.expires_ms is not None and held.expires_ms <= now_ms:
            return EXPIRED
        return ""


def _sealed(  # noqa: PLR0917 - one call site per purpose, in the order of the binding's fields
    wanted: Wanted,
    purpose: str,
    version: int,
    region: str,
    recipient: bytes,
    plain: Secret,
    expires_ms: int,
    now_ms: int,
) -> Grant:
    nonce = new_nonce()
    binding = Binding(
        purpose=purpose,
        client_id=wanted.client_id,
        credential_id=wanted.credential_id,
        version=version,
        region=region,
        scheme=wanted.scheme,
        host=wanted.host,
        port=wanted.port,
        recipient=key_id(recipient),
        expires_ms=expires_ms,
        nonce=nonce,
    )
    try:
        sealed = seal(plain, recipient, binding)
    except SealBroken as error:
        raise CapabilityRefused(error.detail) from None
    return Grant(
        wanted=wanted,
        version=version,
        expires_ms=expires_ms,
        lifetime_ms=expires_ms - now_ms,
        nonce=nonce,
        sealed=sealed,
    )
