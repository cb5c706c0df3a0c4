"""HPKE (RFC 9180, base mode): bytes that one recipient can open, bound to what they are for.

Base mode authenticates no sender and `Suite` has no associated data, so everything a sealed secret is bound to
goes into `info`: a canonical encoding, each part with its length. Nothing here decides whether to seal or open.
"""

from __future__ import annotations

import secrets
from hashlib import sha256

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from models.errors import SealBroken
from models.secret import Secret

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class Binding(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a sealed secret is bound to (DESIGN section 6); opening under any other one fails.

    purpose: `put`, `lease`, `pepper` or `standby`. scheme, host, port: the destination; empty and 0 for `put`
    and `pepper`. recipient: `key_id` of the public key. expires_ms: wall milliseconds, 0 for never.
    nonce: 16 random bytes.
    """

    purpose: str
    client_id: str
    credential_id: str
    version: int
    region: str
    scheme: str = ""
    host: str = ""
    port: int = 0
    recipient: str
    expires_ms: int = 0
    nonce: bytes

    def info(self) -> bytes:
        """The canonical encoding: `exeat`, then each field in order as 4 bytes of length and its bytes."""
        parts = (b"exeat", *(_plain(getattr(self, name)) for name in self.__struct_fields__))
        return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _plain(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def key_id(public: bytes) -> str:
    """A name for a public key: the first 16 hex digits of its SHA-256."""
    return sha256(public).hexdigest()[:16]


def new_nonce() -> bytes:
    """16 random bytes."""
    return secrets.token_bytes(16)


class Opener:
    """The private half: opens what was sealed to `public`."""

    __slots__ = ("_key", "key_id", "public")

    def __init__(self, private: Secret) -> None:
        """private: 32 raw bytes of X25519. public: 32 raw bytes."""
        self._key = X25519PrivateKey.from_private_bytes(private.reveal())
        self.public = self._key.public_key().public_bytes_raw()
        self.key_id = key_id(self.public)

    @staticmethod
    def new_private() -> Secret:
        """A fresh private key, 32 raw bytes."""
        return Secret(X25519PrivateKey.generate().private_bytes_raw())

    def open(self, sealed: bytes, binding: Binding) -> Secret:
        """The plaintext. Raises SealBroken when anything differs from what it was sealed with."""
        try:
            return Secret(_SUITE.decrypt(sealed, self._key, binding.info()))
        except (InvalidTag, ValueError):
            raise SealBroken(f"cannot open a {binding.purpose} of {binding.credential_id}") from None

    def __repr__(self) -> str:
        return f"Opener(key_id={self.key_id})"


def seal(secret: Secret, public: bytes, binding: Binding) -> bytes:
    """`secret`, sealed to `public` and bound to `binding`, whose `recipient` must be that key's id.

    Raises SealBroken for another recipient, and for a public key that is none (RFC 7748 section 6.1).
    """
    if binding.recipient != key_id(public):
        raise SealBroken("the binding names another recipient")
    try:
        return _SUITE.encrypt(secret.reveal(), X25519PublicKey.from_public_bytes(public), binding.info())
    except ValueError:
        raise SealBroken("the recipient's public key is none") from None
