"""The verifier sheet: keyed digests of a region's proxy credentials, computed and signed by its vault.

Without the pepper, which only workers lease, a digest verifies nothing. A sheet is whole each time and numbered;
an older number is never believed after a newer one.
"""

from __future__ import annotations

import msgspec

from models.custody.signing import Signed, Verifier
from models.errors import StateRefused
from models.secret import Secret
from models.verifiers import keyed_digest

SHEET = "sheet"
"""Purpose of a sheet's signature, made with the vault's identity key."""

CERTIFICATE = "certificate"
"""Purpose of the signature under the vault's HPKE public key, made with its identity key."""


class Digest(msgspec.Struct, frozen=True):
    """One accepted value: BLAKE2b-256 under the pepper. until_ms: wall milliseconds, None for no end."""

    digest: bytes
    until_ms: int | None = None


class Entry(msgspec.Struct, frozen=True):
    """One proxy credential. digests: newest first, older ones while they overlap; none when revoked."""

    credential_id: str
    version: int
    digests: tuple[Digest, ...]


class Sheet(msgspec.Struct, frozen=True):
    """number: counts up with every change. pepper_id: which pepper the digests are under. revoked: ids of
    both sides' revoked credentials, for ever.
    """

    region: str
    number: int
    pepper_id: str
    entries: tuple[Entry, ...]
    revoked: tuple[str, ...]


class Certificate(msgspec.Struct, frozen=True):
    """The vault's HPKE public key, 32 raw bytes, vouched for by its identity. issued_ms: wall milliseconds."""

    region: str
    public: bytes
    issued_ms: int


def pepper_id(pepper: Secret) -> str:
    """A name for a pepper, as a sheet states it: whoever holds another one must lease it anew."""
    return keyed_digest(b"exeat pepper id", pepper).hex()[:16]


def read_sheet(signed: Signed, vault: Verifier, region: str) -> Sheet:
    """The sheet. vault: the pinned identity. Raises SignatureRefused, StateRefused."""
    sheet = msgspec.msgpack.decode(vault.verify(SHEET, signed), type=Sheet)
    if sheet.region != region:
        raise StateRefused(f"sheet is of region {sheet.region}")
    return sheet


def read_certificate(signed: Signed, vault: Verifier, region: str) -> Certificate:
    """The certificate. Raises SignatureRefused, StateRefused."""
    certificate = msgspec.msgpack.decode(vault.verify(CERTIFICATE, signed), type=Certificate)
    if certificate.region != region or len(certificate.public) != 32:
        raise StateRefused("certificate is of another region, or its key has a wrong length")
    return certificate
