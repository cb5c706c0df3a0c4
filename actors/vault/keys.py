"""Where the vault's own keys come from: files under the region's home, and the key provider that wraps data keys.

Nothing here logs or returns a key except as a `Secret`; a key file that others can read is refused.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from models.errors import ConfigurationError, SealBroken
from models.secret import Secret

NONCE_BYTES = 12
"""Of AES-256-GCM (NIST SP 800-38D section 8.2.2: random, far fewer than 2^32 per key)."""


class KeyProvider(Protocol):
    """Keeps the key-encryption key: a file, a KMS. bound: what a wrapped key is good for, authenticated with it."""

    async def wrap(self, key: Secret, bound: bytes) -> bytes:
        """`key` as it may be stored."""
        ...

    async def unwrap(self, wrapped: bytes, bound: bytes) -> Secret:
        """The key. Raises SealBroken when it was wrapped otherwise."""
        ...


class FileKeyProvider:
    """The key-encryption key in a file of 64 hex digits that only the vault reads."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigurationError."""
        self._cipher = AESGCM(read_secret_key(path).reveal())

    async def wrap(self, key: Secret, bound: bytes) -> bytes:
        """AES-256-GCM: nonce, then ciphertext and tag."""
        return encrypt(self._cipher, key, bound)

    async def unwrap(self, wrapped: bytes, bound: bytes) -> Secret:
        """The key. Raises SealBroken."""
        return decrypt(self._cipher, wrapped, bound)

    def __repr__(self) -> str:
        return "FileKeyProvider(**********)"


def encrypt(cipher: AESGCM, secret: Secret, bound: bytes) -> bytes:
    """Nonce, then ciphertext and tag."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, secret.reveal(), bound)


def decrypt(cipher: AESGCM, sealed: bytes, bound: bytes) -> Secret:
    """The plaintext. Raises SealBroken when key, bytes or `bound` are not those it was made with."""
    try:
        return Secret(cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound))
    except (InvalidTag, ValueError):
        raise SealBroken("what is kept does not open under this key") from None


def read_secret_key(path: Path) -> Secret:
    """32 bytes from a file of 64 hex digits, mode 600. Raises ConfigurationError, without the file's text."""
    try:
        if path.stat().st_mode & 0o077:
            raise ConfigurationError("can be read by others; give it mode 600", file=str(path), line=1)
    except OSError as error:
        raise ConfigurationError(f"cannot be read: {error.strerror}", file=str(path), line=1) from None
    return Secret(read_public_key(path))


def read_public_key(path: Path) -> bytes:
    """32 bytes from a file of 64 hex digits. Raises ConfigurationError."""
    try:
        text = path.read_text("ascii").strip()
    except OSError as error:
        raise ConfigurationError(f"cannot be read: {error.strerror}", file=str(path), line=1) from None
    except UnicodeDecodeError:
        text = ""
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise ConfigurationError("must hold 64 hex digits", file=str(path), line=1)
    return key
