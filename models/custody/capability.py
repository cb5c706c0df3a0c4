"""Capabilities: what an edge host may ask its region's vault, stated and signed by the host itself.

Ray does not separate callers, so the vault believes nobody else: not the link, which only carries these, nor an
actor. A capability serves one request, once, within 60 s. No plaintext is ever in one.
"""

from __future__ import annotations

import msgspec

from models.custody.signing import Signed, Signer, Verifier
from models.errors import CapabilityRefused

CAPABILITY = "capability"
"""Purpose of a capability's signature."""

GRANTS = "grants"
"""Purpose of the signature under an answer, made with the vault's identity key."""

LONGEST_MS = 60_000
"""The longest time ahead that a capability may expire, and the longest life of a lease."""

MOST_WANTED = 256
"""The most credentials that one capability may ask for; whoever needs more asks more than once."""

LEASE, PEPPER = "lease", "pepper"


class Wanted(msgspec.Struct, frozen=True):
    """One credential for one destination, as a proxy's target spells it."""

    client_id: str
    credential_id: str
    scheme: str
    host: str
    port: int


class Capability(msgspec.Struct, frozen=True, kw_only=True):
    """operation: `lease` or `pepper`. recipient: the worker's X25519 public key, 32 bytes. wanted: for `lease`."""

    operation: str
    region: str
    host_id: str
    recipient: bytes
    nonce: bytes
    expires_ms: int
    wanted: tuple[Wanted, ...] = ()


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """The vault's answer for one credential: `sealed` under a `Binding` made of these fields, or `refused` and why.

    sealed: an `Envelope`'s JSON for `lease` (purpose `lease`); the region's pepper for `pepper`.
    expires_ms: wall milliseconds of the vault's clock; lifetime_ms: what was left of it when it was granted.
    """

    wanted: Wanted
    version: int = 0
    expires_ms: int = 0
    lifetime_ms: int = 0
    nonce: bytes = b""
    sealed: bytes = b""
    refused: str = ""


class Grants(msgspec.Struct, frozen=True):
    """The answer to one capability; for `pepper` a single grant whose `wanted` is empty but for blanks."""

    grants: tuple[Grant, ...]
    answers: bytes = b""
    """The nonce of the capability that this answers."""


def sign_grants(grants: Grants, signer: Signer) -> Signed:
    """`grants` as a signed statement: base mode HPKE alone would let anyone on the way seal a secret of his own."""
    return signer.sign(GRANTS, msgspec.msgpack.encode(grants))


def read_grants(signed: Signed, vault: Verifier, nonce: bytes) -> Grants:
    """The answer to the capability with `nonce`. Raises SignatureRefused, CapabilityRefused for another's answer."""
    grants = msgspec.msgpack.decode(vault.verify(GRANTS, signed), type=Grants)
    if grants.answers != nonce:
        raise CapabilityRefused("is the answer to another capability")
    return grants


def sign_capability(capability: Capability, signer: Signer) -> Signed:
    """`capability` as a signed statement."""
    return signer.sign(CAPABILITY, msgspec.msgpack.encode(capability))


def peek(signed: Signed) -> Capability:
    """What it claims to be, unverified: to find the key to verify it with. Raises CapabilityRefused."""
    try:
        return msgspec.msgpack.decode(signed.statement, type=Capability)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise CapabilityRefused("not a capability") from None


def read_capability(
    signed: Signed, verifier: Verifier, *, region: str, operation: str, now_ms: int
) -> Capability:
    """The capability, if `verifier`'s host signed it for this region and operation and its time has not passed.

    Raises SignatureRefused, CapabilityRefused. Whether its nonce was used before is the caller's to know.
    """
    verifier.verify(CAPABILITY, signed)
    found = peek(signed)
    if found.region != region:
        raise CapabilityRefused(f"is for region {found.region}")
    if found.operation != operation:
        raise CapabilityRefused(f"is for {found.operation}, not {operation}")
    if found.expires_ms <= now_ms:
        raise CapabilityRefused("is past its time")
    if found.expires_ms > now_ms + LONGEST_MS:
        raise CapabilityRefused("reaches too far ahead")
    if len(found.nonce) != 16 or len(found.recipient) != 32:
        raise CapabilityRefused("nonce or recipient has a wrong length")
    if len(found.wanted) > MOST_WANTED:
        raise CapabilityRefused("wants too much at once")
    return found
