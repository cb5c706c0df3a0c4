"""What the link holds of its region, verified with the pinned keys: policy, verifier sheet, newest manifest.

Pure values and decisions: what to believe of an answer, and what a worker that has this much still misses.
It never goes back to an older revision or sheet.
"""

from __future__ import annotations

from typing import NamedTuple

from models.custody.sheet import read_sheet
from models.custody.signing import Signed, Verifier
from models.errors import CustodyError, StateRefused
from models.planes.calls import ListenAnswer
from models.planes.frames import Update
from models.planes.state import Delta, RegionState

REMEMBERED = 16
"""Earlier states that are kept, so that a worker at one of them is sent what differs and no more."""


class Known(NamedTuple):
    """What one worker was sent or had before. revision, sheet: -1 for none; issued_ms: 0 for none."""

    revision: int
    sheet: int
    issued_ms: int = 0


class Held:
    """The newest state of one region that could be believed."""

    def __init__(self, region: str, control: Verifier, vault: Verifier) -> None:
        """control, vault: the pinned keys of the control plane and of the region's vault."""
        self._control, self._vault = control, vault
        self.state = RegionState.empty(region)
        self.sheet: Signed | None = None
        self.sheet_number = -1
        self._past: dict[int, RegionState] = {}

    @property
    def known(self) -> Known:
        """What a worker knows that has everything."""
        return Known(self.state.revision, self.sheet_number, self.state.issued_ms)

    def take(self, answer: ListenAnswer) -> bool:
        """Takes over what is new and verified; whether anything was.

        Raises the first CustodyError of what could not be believed, after having taken what could.
        """
        before, doubt = self.known, None
        for step in (self._take_state, self._take_sheet):
            try:
                step(answer)
            except CustodyError as error:
                doubt = doubt or error
        if doubt is not None:
            raise doubt
        return self.known != before

    def update(self, known: Known) -> Update | None:
        """What a worker misses that has `known`; None when it misses nothing that could be sent."""
        state, delta, manifest = self.state, None, None
        # A worker that is ahead, from its snapshot, waits until the registry has caught up as well.
        if state.signed is not None and known.revision <= state.revision:
            if known.revision < state.revision:
                delta = self._delta(known.revision)
            if known.issued_ms < state.issued_ms:
                manifest = state.signed
        sheet = self.sheet if known.sheet < self.sheet_number else None
        if delta is None and manifest is None and sheet is None:
            return None
        return Update(delta, sheet, manifest)

    def after(self, known: Known) -> Known:
        """What a worker with `known` has once it took the update."""
        if known.revision > self.state.revision:
            return Known(known.revision, max(known.sheet, self.sheet_number), known.issued_ms)
        return Known(self.state.revision, max(known.sheet, self.sheet_number), self.state.issued_ms)

    # Inside

    def _take_state(self, answer: ListenAnswer) -> None:
        if answer.delta is not None:
            self._replace(self.state.apply(answer.delta, self._control))
        if answer.manifest is not None:
            self._replace(self.state.refresh(answer.manifest, self._control))

    def _replace(self, state: RegionState) -> None:
        old, self.state = self.state, state
        if 0 <= old.revision < state.revision:
            self._past[old.revision] = old
            while len(self._past) > REMEMBERED:
                del self._past[next(iter(self._past))]

    def _take_sheet(self, answer: ListenAnswer) -> None:
        if answer.sheet is None:
            return
        number = read_sheet(answer.sheet, self._vault, self.state.region).number
        if number < self.sheet_number:
            raise StateRefused(f"sheet {number} is older than {self.sheet_number}")
        if number > self.sheet_number:
            self.sheet, self.sheet_number = answer.sheet, number

    def _delta(self, revision: int) -> Delta:
        past = self._past.get(revision)
        return self.state.full() if past is None or past.revision <= 0 else difference(past, self.state)


def difference(old: RegionState, new: RegionState) -> Delta:
    """What leads from `old`, of a revision above 0, to `new`. Raises StateRefused when `new` has no manifest."""
    if new.signed is None:
        raise StateRefused("there is no state yet")
    before = old.documents
    changed = tuple(one for key, one in new.documents.items() if before.get(key) != one)
    return Delta(old.revision, changed, tuple(key for key in before if key not in new.documents), new.signed)
