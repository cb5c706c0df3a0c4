"""What one worker has heard of its region and believes: documents, verifier sheet, revocations. Values, no I/O.

Everything comes in here signed and is verified with pinned keys, whoever brought it: link, snapshot or file. Nothing
goes back: not the revision, not the sheet's number, not a revocation.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import msgspec
import orjson

from models.custody.sheet import Sheet, read_sheet
from models.custody.signing import Signed, Verifier
from models.errors import StateRefused
from models.planes.documents import CREDENTIAL
from models.planes.state import Delta, Document, RegionState

AHEAD_MS = 60_000
"""How far ahead of our clock a manifest may be issued; further ahead, one of the clocks is wrong."""


@dataclass(frozen=True, slots=True)
class Trusted:
    """Whom to believe. region: the only one that counts. control, vault: pinned."""

    region: str
    control: Verifier
    vault: Verifier


@dataclass(frozen=True, slots=True)
class Known:
    """One region as a worker knows it. revoked: credentials of both sides, for ever, whoever said so."""

    state: RegionState
    sheet: Sheet | None = None
    signed_sheet: Signed | None = field(default=None, repr=False)
    revoked: frozenset[str] = frozenset()

    @classmethod
    def nothing(cls, region: str) -> Known:
        """Before anything was heard."""
        return cls(RegionState.empty(region))

    @property
    def sheet_number(self) -> int:
        """Of the newest sheet; -1 before the first."""
        return -1 if self.sheet is None else self.sheet.number

    def with_delta(self, delta: Delta, trusted: Trusted, now_ms: int) -> Known:
        """After `delta`, verified whole. Raises SignatureRefused, StateRefused; msgspec.DecodeError never after a good signature."""
        state = self.state.apply(delta, trusted.control)
        _check_time(state, now_ms)
        if state.revision == self.state.revision and state.issued_ms < self.state.issued_ms:
            raise StateRefused(f"revision {state.revision} was issued again later than this")
        return replace(self, state=state, revoked=self.revoked | revoked_in(delta.upserts))

    def with_manifest(self, signed: Signed, trusted: Trusted, now_ms: int) -> Known:
        """The same documents, vouched for later; itself for an earlier issue. Raises as `with_delta`."""
        state = self.state.refresh(signed, trusted.control)
        if state is self.state:
            return self
        _check_time(state, now_ms)
        return replace(self, state=state)

    def with_sheet(self, signed: Signed, trusted: Trusted) -> Known:
        """With a newer sheet; itself for the one it has. Raises SignatureRefused, StateRefused for an older one."""
        sheet = read_sheet(signed, trusted.vault, trusted.region)
        if sheet.number < self.sheet_number:
            raise StateRefused(f"sheet {sheet.number} is older than {self.sheet_number}")
        if sheet.number == self.sheet_number:
            return self
        return replace(self, sheet=sheet, signed_sheet=signed, revoked=self.revoked | set(sheet.revoked))

    def with_state(self, state: RegionState) -> Known:
        """With documents that were verified already."""
        return replace(self, state=state)

    def with_sheet_of(self, other: Known) -> Known:
        """With the sheet of another knowledge of the same region, whose pepper we have; revocations stay."""
        return replace(self, sheet=other.sheet, signed_sheet=other.signed_sheet)

    def with_revoked(self, credentials: Iterable[str]) -> Known:
        """With these revoked, too."""
        return replace(self, revoked=self.revoked | set(credentials))

    def policy(self) -> tuple[object, ...]:
        """What a compiled policy depends on; equal for equal policies."""
        root = None if self.state.manifest is None else self.state.manifest.root
        return self.state.revision, root, self.sheet_number, self.revoked

    def age_ms(self, now_ms: int) -> int:
        """Milliseconds since the control plane vouched for the documents; slightly ahead of our clock is now."""
        return max(0, now_ms - self.state.issued_ms)


def revoked_in(documents: Iterable[Document]) -> frozenset[str]:
    """Credentials that say of themselves that they are revoked; what cannot be read says nothing."""
    found = set()
    for one in documents:
        if one.kind == CREDENTIAL and b'"revoked"' in one.text:
            try:
                body = orjson.loads(one.text)
            except orjson.JSONDecodeError:
                continue
            if isinstance(body, dict) and body.get("credentialStatus") == "revoked":
                found.add(one.id)
    return frozenset(found)


def with_revocations(sheet: Sheet, revoked: frozenset[str]) -> Sheet:
    """`sheet`, with everything revoked that is known to be: no document and no newer sheet takes it back."""
    return msgspec.structs.replace(sheet, revoked=tuple(sorted(revoked | set(sheet.revoked))))


def _check_time(state: RegionState, now_ms: int) -> None:
    if state.issued_ms > now_ms + AHEAD_MS:
        raise StateRefused(f"manifest is issued {(state.issued_ms - now_ms) // 1000} s ahead of our clock")
