"""Sealing what arrives: a credential's secret becomes a signed order that only its region's vault can open.

Plaintext exists here while it is sealed and is kept nowhere. What ends a credential needs no secret; the ledger
adds those orders by itself.
"""

from __future__ import annotations

import msgspec

from control_api.ledger.ledger import Ledger
from models.custody.orders import Envelope, Expire, Put, sign_order
from models.custody.sealing import Binding, key_id, new_nonce, seal
from models.custody.sheet import read_certificate
from models.custody.signing import Signed, Signer, Verifier
from models.errors import CustodyError, StoreUnavailable, Unavailable
from models.secret import Secret

PUT = "put"
"""Purpose of the binding of a secret on its way to the vault."""


class Sealer:
    """Seals for the vaults whose certificates the ledger has. signer: the policy key."""

    def __init__(self, ledger: Ledger, signer: Signer) -> None:
        self._ledger, self._signer = ledger, signer

    async def prepare(self, region: str) -> None:
        """Has the region's newest certificate at hand, also one that another process was told. Raises Unavailable.

        What is sealed to a key that the vault had before could never be opened, and is erased all the same.
        """
        try:
            await self._ledger.regions.refresh((region,))
        except StoreUnavailable as error:
            raise Unavailable("The store is away", detail=error.detail) from None
        self._public(region)

    def seal_put(
        self, region: str, client_id: str, credential_id: str, version: int, envelope: Envelope
    ) -> Signed:
        """The order to keep this secret. version: above the credential's last one.

        Raises Unavailable when the region's vault has announced no key yet that this process knows of.
        """
        public = self._public(region)
        binding = Binding(
            purpose=PUT,
            client_id=client_id,
            credential_id=credential_id,
            version=version,
            region=region,
            recipient=key_id(public),
            nonce=new_nonce(),
        )
        plain = Secret(msgspec.json.encode(envelope))
        return sign_order(Put(region, seal(plain, public, binding), binding), self._signer)

    def expire(
        self, region: str, credential_id: str, version: int, revision: int, expires_ms: int | None
    ) -> Signed:
        """The order that a secret which stays ends at another time, or at none (None)."""
        return sign_order(Expire(region, credential_id, version, revision, expires_ms), self._signer)

    def _public(self, region: str) -> bytes:
        """The vault's key, verified each time: the store is not trusted with whom secrets are sealed to."""
        signed = self._ledger.regions.get(region).certificate
        enrolled = self._ledger.projection.get("region", region)
        if signed is None or enrolled is None:
            raise Unavailable(f"Region {region} has not announced its vault's key yet")
        identity = Verifier(bytes.fromhex(enrolled.body["vaultIdentity"]))
        try:
            return read_certificate(signed, identity, region).public
        except CustodyError as error:
            raise Unavailable(
                f"Region {region} has not announced its vault's key yet", detail=error.detail
            ) from None
