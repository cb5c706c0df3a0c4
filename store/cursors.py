"""Cursors: where a list or scan goes on, as opaque text that only fits the question it came from.

A cursor names a position and holds no document. It is no secret and no proof: one that was made up moves
within its question's answers and never beyond them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from hashlib import blake2b
from typing import Final

import msgspec

Position = tuple[int, bytes]
"""The last item given: (at_ms, id) of a stream's entry, (0, id) of a document."""

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(tuple[bytes, int, bytes]).decode


class Question:
    """What a list or scan asked for, by its digest; limit is not part of it, so pages may differ in size."""

    __slots__ = ("_digest",)

    def __init__(self, *parts: str | int | bool | None, where: Mapping[str, str | int] | None = None) -> None:
        asked = (parts, sorted(where.items()) if where else None)
        self._digest = blake2b(_encode(asked), digest_size=12).digest()

    def cursor(self, position: Position) -> str:
        """Text of `[A-Za-z0-9_-]` that goes on after `position`."""
        raw = _encode((self._digest, *position))
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    def position(self, cursor: str | None) -> Position | None:
        """The position of a cursor, None for None. Raises ValueError for one that is not of this question."""
        if cursor is None:
            return None
        try:
            raw = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), b"-_", validate=True)
            digest, at_ms, last = _decode(raw)
        except (UnicodeEncodeError, binascii.Error, msgspec.DecodeError):
            raise ValueError("the cursor cannot be read") from None
        if digest != self._digest:
            raise ValueError("the cursor belongs to another question")
        if not -(2**63) <= at_ms < 2**63:
            raise ValueError("the cursor cannot be read")
        return at_ms, last
