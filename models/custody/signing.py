"""Signed statements: bytes, and an Ed25519 signature over them and the purpose they were made for.

A statement signed for one purpose never verifies for another. Private keys stay inside `Signer`, whose repr
says nothing about them.
"""

from __future__ import annotations

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from models.errors import SignatureRefused
from models.secret import Secret


class Signed(msgspec.Struct, frozen=True):
    """A statement as its signer wrote it, and the signature (RFC 8032 Ed25519, 64 bytes)."""

    statement: bytes
    signature: bytes


class Signer:
    """Signs statements with one private key."""

    __slots__ = ("_key", "public")

    def __init__(self, private: Secret) -> None:
        """private: the 32 raw bytes. public: the 32 raw bytes of the public key."""
        self._key = Ed25519PrivateKey.from_private_bytes(private.reveal())
        self.public = self._key.public_key().public_bytes_raw()

    @staticmethod
    def new_private() -> Secret:
        """A fresh private key, 32 raw bytes."""
        return Secret(Ed25519PrivateKey.generate().private_bytes_raw())

    def sign(self, purpose: str, statement: bytes) -> Signed:
        """`statement`, signed for `purpose`."""
        return Signed(statement, self._key.sign(_message(purpose, statement)))

    def __repr__(self) -> str:
        return f"Signer(public={self.public.hex()})"


class Verifier:
    """Verifies statements of one signer."""

    __slots__ = ("_key", "public")

    def __init__(self, public: bytes) -> None:
        """public: 32 raw bytes. Raises ValueError for any other length."""
        self._key = Ed25519PublicKey.from_public_bytes(public)
        self.public = public

    def verify(self, purpose: str, signed: Signed) -> bytes:
        """The statement, if this signer signed it for `purpose`. Raises SignatureRefused."""
        try:
            self._key.verify(signed.signature, _message(purpose, signed.statement))
        except InvalidSignature:
            raise SignatureRefused(f"bad signature on a {purpose}") from None
        return signed.statement


def _message(purpose: str, statement: bytes) -> bytes:
    name = purpose.encode("ascii")
    return b"exeat\0%c%b%b" % (len(name), name, statement)
