"""The vault's shelf: one stored document per credential, and in memory what answering needs, which is no plaintext.

Every write names the version it replaces, so that two vaults over one store cannot overwrite each other
unseen. Revoked and forgotten credentials stay as tombstones without secret bytes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from actors.vault.envelope import AtRest
from models.custody.orders import Envelope
from models.custody.sheet import Digest
from models.errors import SealBroken
from models.resources.secrets import SECRET_FIELD_OF
from models.secret import Secret
from models.verifiers import keyed_digest
from store.interface import ABSENT, Collection, Document, Store, Stored

_log = logging.getLogger("exeat.vault")

SECRETS: Final = Collection("secrets")
"""By credential id: state, version, side, and `sealed` (a `Kept`, see `AtRest`) while it is live."""

LIVE, REVOKED, FORGOTTEN, DAMAGED = "live", "revoked", "forgotten", "damaged"
"""States; the first three are stored. Damaged: live, but the stored bytes do not open."""

_PURPOSE: Final = "secret"
_PAGE: Final = 200


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What is sealed at rest: everything that must not be read or altered in the store.

    envelope: as the control plane sent it; its expires_ms may be newer. overlapping: digests of proxy secrets
    replaced but still valid. expire_revision: of the last `Expire` that was obeyed for this version.
    """

    client_id: str
    envelope: Envelope
    overlapping: tuple[Digest, ...] = ()
    expire_revision: int = 0


@dataclass(frozen=True, slots=True)
class Held:
    """One credential in memory. stored: the version of its document; digests: newest first, of a proxy credential."""

    id: str
    stored: int
    state: str
    version: int
    side: str = ""
    client_id: str = ""
    expires_ms: int | None = None
    sealed: bytes = b""
    digests: tuple[Digest, ...] = ()

    def __repr__(self) -> str:
        return f"Held({self.id}, {self.state}, version={self.version})"


class SecretShelf:
    """All credentials of one vault."""

    def __init__(self, store: Store, at_rest: AtRest, pepper: Secret) -> None:
        self._store, self._at_rest, self._pepper = store, at_rest, pepper
        self._held: dict[str, Held] = {}

    def get(self, credential_id: str) -> Held | None:
        """What is known of a credential; None for one never heard of."""
        return self._held.get(credential_id)

    def all(self) -> Iterable[Held]:
        """Everything known, tombstones too."""
        return self._held.values()

    async def load(self) -> None:
        """Reads the whole store anew. Raises StoreError, and then what was known stays known."""
        held: dict[str, Held] = {}
        cursor: str | None = None
        while True:
            page = await self._store.list(SECRETS, cursor=cursor, limit=_PAGE)
            for one in page.items:
                held[one.id] = await self._read(one)
            cursor = page.cursor
            if cursor is None:
                break
        self._held = held

    async def reload(self, credential_id: str) -> None:
        """Reads one credential anew, after somebody else wrote it."""
        found = await self._store.get(SECRETS, credential_id)
        if found is None:
            self._held.pop(credential_id, None)
        else:
            self._held[credential_id] = await self._read(found)

    async def open(self, held: Held) -> Kept:
        """The plaintext of a live credential, for the time of one call. Raises SealBroken."""
        plain = await self._at_rest.open(held.sealed, _PURPOSE, held.id, held.version)
        try:
            return msgspec.msgpack.decode(plain.reveal(), type=Kept)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise SealBroken(f"what is kept of {held.id} is of another shape") from None

    async def keep(self, credential_id: str, version: int, kept: Kept) -> None:
        """Writes a live credential over what is known of it. Raises VersionConflict, StoreUnavailable."""
        plain = Secret(msgspec.msgpack.encode(kept))
        sealed = await self._at_rest.seal(plain, _PURPOSE, credential_id, version)
        document = {"state": LIVE, "version": version, "side": kept.envelope.side, "sealed": sealed}
        await self._write(credential_id, document)

    async def end(self, credential_id: str, state: str, version: int) -> None:
        """Writes a tombstone: every secret byte of the credential is gone from the document. Raises as `keep`."""
        before = self._held.get(credential_id)
        side = "" if before is None else before.side
        await self._write(credential_id, {"state": state, "version": version, "side": side})

    async def _write(self, credential_id: str, document: Document) -> None:
        before = self._held.get(credential_id)
        expected = ABSENT if before is None else before.stored
        version = await self._store.put(SECRETS, credential_id, document, expected=expected)
        self._held[credential_id] = await self._read(Stored(credential_id, version, document))

    async def _read(self, stored: Stored) -> Held:
        document = stored.document
        state, version, side = document.get("state"), document.get("version"), document.get("side")
        sealed = document.get("sealed", b"")
        if not (isinstance(version, int) and isinstance(side, str) and isinstance(sealed, bytes)):
            state, version, side, sealed = DAMAGED, 0, "", b""
        held = Held(stored.id, stored.version, str(state), version, side, sealed=sealed)
        if held.state in {REVOKED, FORGOTTEN}:
            return held
        try:
            kept = await self.open(held)
        except SealBroken:
            _log.error("stored secret cannot be opened", extra={"credential": held.id})
            return replace(held, state=DAMAGED, sealed=b"")
        return replace(
            held,
            state=LIVE,
            side=kept.envelope.side,
            client_id=kept.client_id,
            expires_ms=kept.envelope.expires_ms,
            digests=self._digests(kept),
        )

    def digest(self, envelope: Envelope) -> bytes:
        """How the secret of a proxy credential is verified: its keyed digest under the pepper."""
        value = Secret(envelope.secret[SECRET_FIELD_OF[envelope.auth_type]])
        return keyed_digest(value.reveal(), self._pepper)

    def _digests(self, kept: Kept) -> tuple[Digest, ...]:
        if kept.envelope.side != "proxy":
            return ()
        return (Digest(self.digest(kept.envelope)), *kept.overlapping)
