"""What one worker believes, on disk and back: brings the snapshot up to date beside the loop, and reads it at a start.

What comes from disk is believed no more than if the link had brought it. Nothing is reported as enforced before
its revocations are flushed.
"""

from __future__ import annotations

import asyncio
import logging

from models.clock import Clock
from models.custody.sheet import pepper_id
from models.custody.signing import Signed
from models.errors import StateRefused
from models.planes.state import RegionState
from models.secret import Secret
from proxy_edge.known import Known, Trusted
from proxy_edge.snapshot import Snapshot, State

SEEN_SECONDS = 5.0
"""The least time between two writes of the newest manifest heard."""

_NS = 1_000_000_000
_log = logging.getLogger("exeat.edge.snapshot")


class Stored:
    """The snapshot as one worker uses it; `load` blocks, the rest does not."""

    def __init__(self, snapshot: Snapshot, trusted: Trusted, clock: Clock) -> None:
        self._snapshot, self._trusted, self._clock = snapshot, trusted, clock
        self._on_disk: tuple[object, ...] = ()
        self._seen_ms = 0
        self._seen_ns = -(1 << 62)

    def load(self) -> tuple[Known, Secret] | None:
        """What is known from the last life, and the pepper of its sheet; None when there is nothing good."""
        found = self._snapshot.load(self._verified)
        if found is not None:
            self._on_disk = found[0].policy()
        return found

    async def keep(self, known: Known, pepper: Secret) -> None:
        """Has this on disk when it returns. pepper: of its sheet. Raises OSError."""
        if known.policy() == self._on_disk or known.signed_sheet is None:
            return
        state = State(
            delta=known.state.full(),
            sheet=known.signed_sheet,
            pepper=pepper.reveal(),
            revoked=tuple(sorted(known.revoked)),
        )
        await asyncio.to_thread(
            self._snapshot.save,
            state,
            revision=known.state.revision,
            issued_ms=known.state.issued_ms,
            sheet=known.sheet_number,
        )
        self._on_disk = known.policy()

    async def note(self, state: RegionState) -> None:
        """Notes the newest issue heard, now and then."""
        now = self._clock.boot_ns()
        if (
            state.signed is None
            or state.issued_ms <= self._seen_ms
            or now - self._seen_ns < SEEN_SECONDS * _NS
        ):
            return
        self._seen_ns = now
        try:
            await asyncio.to_thread(
                self._snapshot.saw, state.signed, revision=state.revision, issued_ms=state.issued_ms
            )
        except OSError as error:
            _log.warning("newest manifest not noted", extra={"reason": error.strerror})
        else:
            self._seen_ms = state.issued_ms

    def _verified(self, state: State, seen: Signed | None) -> tuple[Known, Secret]:
        """Raises CustodyError for what must not be believed."""
        now_ms = self._clock.wall_ms()
        known = Known.nothing(self._trusted.region).with_delta(state.delta, self._trusted, now_ms)
        known = known.with_sheet(state.sheet, self._trusted).with_revoked(state.revoked)
        pepper = Secret(state.pepper)
        if known.sheet is None or pepper_id(pepper) != known.sheet.pepper_id:
            raise StateRefused("the pepper is not that of the sheet")
        if seen is not None:
            try:
                known = known.with_manifest(seen, self._trusted, now_ms)
            except StateRefused as error:  # of a state that never reached the disk: the older issue counts
                _log.info("newest manifest not used", extra={"reason": error.detail})
        return known, pepper
