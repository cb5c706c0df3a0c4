"""What the control plane tells a region's vault, one signed order each: keep, revoke, forget a secret, end it at another time.

An order is obeyed at most once per credential version and may be repeated at will. Plaintext is only ever
inside `sealed`, for the vault's key.
"""

from __future__ import annotations

import msgspec

from models.custody.sealing import Binding
from models.custody.signing import Signed, Signer, Verifier

ORDER = "order"
"""Purpose of an order's signature."""


class Put(msgspec.Struct, frozen=True, tag="put"):
    """Keep this secret. sealed: HPKE of a `SecretBody`'s JSON (see `Envelope`); binding: what it is bound to (purpose `put`)."""

    region: str
    sealed: bytes
    binding: Binding


class Revoke(msgspec.Struct, frozen=True, tag="revoke"):
    """Terminal: no lease, no verifier, at any version, ever again."""

    region: str
    credential_id: str


class Forget(msgspec.Struct, frozen=True, tag="forget"):
    """The credential was deleted: erase its secret; no order up to `version` brings it back."""

    region: str
    credential_id: str
    version: int


class Expire(msgspec.Struct, frozen=True, tag="expire"):
    """`credentialExpiresAt` changed and the secret did not: leases of `version` end at `expires_ms` (None: never).

    revision: place in the change log; an order that is not above the last one for this version changes nothing.
    """

    region: str
    credential_id: str
    version: int
    revision: int
    expires_ms: int | None


Order = Put | Revoke | Forget | Expire


class Envelope(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The plaintext of a `Put`, as JSON: secret in itself, never logged.

    side: `proxy` or `target`. auth_type: `apiKey` or `bearer`. secret: the wire form of `credentialSecret`.
    overlap_seconds: how long the version before stays valid. expires_ms: credentialExpiresAt or None.
    """

    side: str
    auth_type: str
    secret: dict[str, str]
    overlap_seconds: int = 0
    expires_ms: int | None = None

    def __repr__(self) -> str:
        return f"Envelope(side={self.side!r}, auth_type={self.auth_type!r}, secret=**********)"


_decode = msgspec.msgpack.Decoder(Order).decode


def sign_order(order: Order, signer: Signer) -> Signed:
    """`order` as a signed statement."""
    return signer.sign(ORDER, msgspec.msgpack.encode(order))


def read_order(signed: Signed, verifier: Verifier) -> Order:
    """The order. Raises SignatureRefused; msgspec.DecodeError for one that only a newer version can read."""
    found: Order = _decode(verifier.verify(ORDER, signed))
    return found
