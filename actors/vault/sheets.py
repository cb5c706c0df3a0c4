"""The verifier sheet: built whole from the shelf, numbered in the store, signed with the vault's identity.

Its number goes up exactly when its content changes, also over a restart and between two vaults on one store.
No plaintext comes here, only digests under the pepper.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Final

import msgspec

from actors.vault.secrets import LIVE, REVOKED, Held
from models.custody.sheet import SHEET, Entry, Sheet
from models.custody.signing import Signed, Signer
from models.errors import VersionConflict
from store.interface import ABSENT, Collection, Store

SHEETS: Final = Collection("sheets")
"""One document, `current`: number, the SHA-256 of the content that has it, and that of the shelf it was made of.

It is written anew with every change of the shelf, also one that no sheet shows, so that a second vault notices.
"""

_ID: Final = "current"


def build(region: str, number: int, pepper_id: str, held: Iterable[Held], now_ms: int) -> Sheet:
    """The sheet of what is held, in order of ids. Digests past their time are left out."""
    shelf = sorted(held, key=lambda one: one.id)
    entries = tuple(
        Entry(
            one.id,
            one.version,
            tuple(digest for digest in one.digests if digest.until_ms is None or digest.until_ms > now_ms),
        )
        for one in shelf
        if one.side == "proxy" and one.state in {LIVE, REVOKED}
    )
    return Sheet(region, number, pepper_id, entries, tuple(one.id for one in shelf if one.state == REVOKED))


class SheetBook:
    """Numbers and signs sheets."""

    def __init__(self, store: Store, signer: Signer, region: str, pepper_id: str) -> None:
        self._store, self._signer = store, signer
        self._region, self._pepper_id = region, pepper_id
        self.number = 0
        self._seen: int | None = None

    async def look(self) -> None:
        """Takes note of which sheet there is; what it is compared with must be loaded after this. Raises StoreError."""
        stored = await self._store.get(SHEETS, _ID)
        self._seen = ABSENT if stored is None else stored.version

    async def publish(self, held: Iterable[Held], now_ms: int) -> Signed:
        """The newest sheet, durable under its number.

        Raises VersionConflict when another vault numbered one since `look` (what is held may be old then),
        StoreUnavailable.
        """
        shelf = sorted(held, key=lambda one: one.id)
        sheet = build(self._region, 0, self._pepper_id, shelf, now_ms)
        content = sha256(msgspec.msgpack.encode(sheet)).hexdigest()
        made_of = sha256(msgspec.msgpack.encode([(one.id, one.stored) for one in shelf])).hexdigest()
        stored = await self._store.get(SHEETS, _ID)
        if (ABSENT if stored is None else stored.version) != self._seen:
            raise VersionConflict("another vault numbered a sheet")
        # A store that begins anew, because one was lost, starts above what the lost one had reached.
        number = now_ms // 1000 if stored is None else int(stored.document["number"])
        number += stored is None or stored.document["content"] != content
        document = {"number": number, "content": content, "shelf": made_of}
        if stored is None or stored.document != document:
            self._seen = await self._store.put(SHEETS, _ID, document, expected=self._seen)
        self.number = number
        return self._signer.sign(SHEET, msgspec.msgpack.encode(msgspec.structs.replace(sheet, number=number)))
