"""At rest: each secret under a data key of its own, which the key provider wraps (envelope encryption).

Both are AES-256-GCM and bound to what the bytes are filed as, so that stored bytes cannot be moved to another
credential, version or region. Plaintext passes through and is not kept.
"""

from __future__ import annotations

import secrets

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from actors.vault.keys import KeyProvider, decrypt, encrypt
from models.errors import SealBroken
from models.secret import Secret


class _Sealed(msgspec.Struct, frozen=True):
    """key: the data key, wrapped. box: the secret under it."""

    key: bytes
    box: bytes


class AtRest:
    """Seals and opens what one region's vault stores."""

    def __init__(self, keys: KeyProvider, region: str) -> None:
        self._keys, self._region = keys, region

    async def seal(self, secret: Secret, *filed_as: str | int) -> bytes:
        """`secret` as it may be stored under `filed_as` (purpose, id, version)."""
        bound = self._bound(filed_as)
        key = Secret(secrets.token_bytes(32))
        wrapped = await self._keys.wrap(key, bound)
        return msgspec.msgpack.encode(_Sealed(wrapped, encrypt(AESGCM(key.reveal()), secret, bound)))

    async def open(self, sealed: bytes, *filed_as: str | int) -> Secret:
        """The plaintext. Raises SealBroken when a byte or anything it is filed as differs."""
        bound = self._bound(filed_as)
        try:
            parts = msgspec.msgpack.decode(sealed, type=_Sealed)
            key = await self._keys.unwrap(parts.key, bound)
            return decrypt(AESGCM(key.reveal()), parts.box, bound)
        except (msgspec.DecodeError, ValueError):
            raise SealBroken("what is kept cannot be read") from None

    def _bound(self, filed_as: tuple[str | int, ...]) -> bytes:
        parts = [b"exeat at rest", self._region.encode(), *(str(one).encode() for one in filed_as)]
        return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
