"""What the registry keeps on disk: the region's policy, the revoked set, the newest sheet and certificate.

Policy is a stream of deltas, each written at once with its manifest, so that no crash leaves half a revision.
Nothing read from it is believed before it is verified; the revoked set outlives whatever else is dropped.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from models.clock import Clock
from models.custody.sheet import Certificate, Sheet, read_certificate, read_sheet
from models.custody.signing import Signed, Verifier
from models.errors import CustodyError
from models.planes.state import Delta, Document, RegionState
from store.interface import Collection, Layout, Store, Stream, StreamEntry

POLICY = Stream("policy")
"""Batches in the order of time: a head (base, deletes, manifest), then the batch's documents."""
REVOKED = Collection("revoked")
"""Ids of revoked credentials, for ever."""
KEPT = Collection("kept")
"""One document each: `manifest` (the newest issue), `sheet`, `certificate`, `failing`."""
LAYOUT = Layout((REVOKED, KEPT), (POLICY,))
"""What the registry's store holds; whoever makes the adapter hands it this."""

_KEY: Final = "policy"
_SLACK: Final = 256
_PAGE: Final = 500
_TRIM: Final = 10_000
_log = logging.getLogger("exeat.registry.mirror")


class _Status(msgspec.Struct):
    """The one field of a credential's document that the registry reads."""

    credentialStatus: str = "active"  # noqa: N815 - the wire's name


_status = msgspec.json.Decoder(_Status).decode


def is_revoked(document: Document) -> bool:
    """Whether this credential's document says `revoked`; one that cannot be read does not."""
    try:
        return _status(document.text).credentialStatus == "revoked"
    except msgspec.DecodeError:
        return False


class Mirror:
    """The registry's memory across restarts. `open` fills the attributes; writing methods are durable on return.

    state: verified, empty when there is none that verifies. revoked: every id ever seen revoked. sheet,
    certificate: (as signed, as read) or None. failing: credentials that the vault could not take, and why.
    """

    def __init__(self, store: Store, region: str, control: Verifier, vault: Verifier, clock: Clock) -> None:
        """control: the control plane's pinned key; vault: the pinned identity of the region's vault."""
        self._store, self._region, self._clock = store, region, clock
        self._control, self._vault = control, vault
        self._at_ms, self._entries, self._whole = 0, 0, False
        self.state = RegionState.empty(region)
        self.revoked: set[str] = set()
        self.sheet: tuple[Signed, Sheet] | None = None
        self.certificate: tuple[Signed, Certificate] | None = None
        self.failing: dict[str, str] = {}

    async def open(self) -> None:
        """Opens the store and reads it all. Raises StoreError; what does not verify is dropped, not raised."""
        await self._store.open()
        self.revoked = await self._read_revoked()
        self.state = await self._read_state()
        self.revoked.update(_revoked_in(self.state.documents.values()))
        if (signed := await self._read_signed("sheet")) is not None:
            try:
                self.sheet = signed, read_sheet(signed, self._vault, self._region)
            except CustodyError as error:
                _log.warning("kept sheet dropped", extra={"reason": error.detail})
        if self.sheet is not None:
            self.revoked.update(self.sheet[1].revoked)
        if (signed := await self._read_signed("certificate")) is not None:
            try:
                self.certificate = signed, read_certificate(signed, self._vault, self._region)
            except CustodyError as error:
                _log.warning("kept certificate dropped", extra={"reason": error.detail})
        if (stored := await self._store.get(KEPT, "failing")) is not None:
            self.failing = {str(name): str(why) for name, why in stored.document["failing"].items()}

    async def close(self) -> None:
        """Lets go of the store; twice is fine."""
        await self._store.close()

    async def keep_state(self, state: RegionState, delta: Delta) -> None:
        """Keeps `state`, to which `delta` led from the one kept before. Raises StoreError: ask again then."""
        newly = [one for one in _revoked_in(delta.upserts) if one not in self.revoked]
        # A delta that starts elsewhere than the stream ends, and a stream grown too long, are written whole.
        whole = not self._whole or delta.base == 0 or self._entries > 2 * len(state.documents) + _SLACK
        batch = self._batch(state.full() if whole else delta)
        self._whole = False  # until it is known to have happened
        await self._store.append(POLICY, batch)
        self._whole = True
        self._entries = len(batch) + (0 if whole else self._entries)
        self.state = state
        if whole:
            while await self._store.trim(POLICY, before_ms=self._at_ms, limit=_TRIM) == _TRIM:
                pass
        for one in newly:
            await self._store.put(REVOKED, one, {"at": self._clock.wall_ms()})
        self.revoked.update(newly)

    async def keep_manifest(self, state: RegionState) -> None:
        """Keeps the newer issue of the manifest of a state kept before. Raises StoreError."""
        assert state.signed is not None
        await self._put_signed("manifest", state.signed)
        self.state = state

    async def keep_sheet(self, signed: Signed, sheet: Sheet) -> None:
        """Keeps a sheet and what it says is revoked. Raises StoreError."""
        newly = [one for one in sheet.revoked if one not in self.revoked]
        for one in newly:
            await self._store.put(REVOKED, one, {"at": self._clock.wall_ms()})
        self.revoked.update(newly)
        await self._put_signed("sheet", signed)
        self.sheet = signed, sheet

    async def keep_certificate(self, signed: Signed, certificate: Certificate) -> None:
        """Keeps the vault's certificate. Raises StoreError."""
        await self._put_signed("certificate", signed)
        self.certificate = signed, certificate

    async def keep_failing(self, failing: dict[str, str]) -> None:
        """Keeps which credentials the vault could not take. Raises StoreError."""
        await self._store.put(KEPT, "failing", {"failing": failing})
        self.failing = failing

    def _batch(self, delta: Delta) -> list[StreamEntry]:
        # Strictly later than every batch before, whatever the wall clock does; the tag keeps a batch whose
        # writing failed half-way known from mixing with the next one.
        self._at_ms = max(self._at_ms + 1, self._clock.wall_ms())
        prefix = f"{self._at_ms:016d}.{secrets.token_hex(4)}."
        head = {
            "part": "head",
            "base": delta.base,
            "deletes": [list(pair) for pair in delta.deletes],
            **_plain(delta.manifest),
        }
        parts = [head, *({"part": "document", **msgspec.structs.asdict(one)} for one in delta.upserts)]
        return [
            StreamEntry(f"{prefix}{number:08d}", _KEY, self._at_ms, part) for number, part in enumerate(parts)
        ]

    async def _read_state(self) -> RegionState:
        documents: dict[tuple[str, str], Document] = {}
        manifest: Signed | None = None
        cursor: str | None = None
        try:
            while True:
                page = await self._store.scan(POLICY, key=_KEY, descending=False, cursor=cursor, limit=_PAGE)
                for entry in page.entries:
                    self._at_ms, self._entries = entry.at_ms, self._entries + 1
                    if entry.document["part"] == "head":
                        manifest = _signed(entry.document)
                        if entry.document["base"] == 0:
                            documents, self._entries = {}, 1
                        for kind, one in entry.document["deletes"]:
                            documents.pop((kind, one), None)
                    else:
                        found = _document(entry.document)
                        documents[found.kind, found.id] = found
                if (cursor := page.cursor) is None:
                    break
            if manifest is None:
                return RegionState.empty(self._region)
            whole = Delta(0, tuple(documents.values()), (), manifest)
            state = RegionState.empty(self._region).apply(whole, self._control)
        except (CustodyError, LookupError, TypeError, ValueError) as error:
            _log.warning("mirror dropped", extra={"reason": type(error).__name__})
            return RegionState.empty(self._region)
        self._whole = True
        return await self._refreshed(state)

    async def _refreshed(self, state: RegionState) -> RegionState:
        signed = await self._read_signed("manifest")
        if signed is None:
            return state
        try:
            return state.refresh(signed, self._control)
        except CustodyError:
            return state  # an issue of the revision before, kept until the next one comes

    async def _read_revoked(self) -> set[str]:
        found: set[str] = set()
        cursor: str | None = None
        while True:
            page = await self._store.list(REVOKED, cursor=cursor, limit=_PAGE)
            found.update(one.id for one in page.items)
            if (cursor := page.cursor) is None:
                return found

    async def _read_signed(self, name: str) -> Signed | None:
        stored = await self._store.get(KEPT, name)
        return None if stored is None else _signed(stored.document)

    async def _put_signed(self, name: str, signed: Signed) -> None:
        await self._store.put(KEPT, name, _plain(signed))


def _revoked_in(documents: Iterable[Document]) -> list[str]:
    return [one.id for one in documents if one.kind == "credential" and is_revoked(one)]


def _document(part: dict[str, Any]) -> Document:
    return Document(part["kind"], part["id"], part["revision"], bytes(part["text"]))


def _plain(signed: Signed) -> dict[str, Any]:
    return {"statement": signed.statement, "signature": signed.signature}


def _signed(document: dict[str, Any]) -> Signed:
    return Signed(bytes(document["statement"]), bytes(document["signature"]))
