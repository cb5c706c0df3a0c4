"""Orders that are still in the log: which a region has to obey, and when they may be erased.

They are in memory as they are in the log, sealed. Nothing here erases; it says what may be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from control_api.ledger.change import Change
from control_api.ledger.drafting import is_revoked
from control_api.ledger.projection import Projection
from models.custody.orders import Revoke, sign_order
from models.custody.signing import Signed, Signer


class Pending(msgspec.Struct, frozen=True):
    """What a change holds still. regions: all that must acknowledge it first."""

    regions: tuple[str, ...]
    orders: Mapping[str, tuple[Signed, ...]]


class PendingOrders:
    """By revision, in order."""

    def __init__(self) -> None:
        self._pending: dict[int, Pending] = {}
        self._settled_at: dict[str, int] = {}

    def note(self, change: Change) -> None:
        """A change of the log; called in order of revisions."""
        if change.orders:
            self._pending[change.revision] = Pending(change.regions, change.orders)
            self._settled_at = {}

    def between(self, region: str, after: int, to: int) -> tuple[Signed, ...]:
        """A region's orders of the changes beyond `after` up to `to`, sorted by revision."""
        return tuple(
            signed
            for revision, pending in self._pending.items()
            if after < revision <= to
            for signed in pending.orders.get(region, ())
        )

    def settled(self, acknowledged: Callable[[str], int]) -> list[int]:
        """Revisions whose regions have all acknowledged them; empty when nothing moved since it was empty."""
        reached = {region: acknowledged(region) for one in self._pending.values() for region in one.regions}
        if reached == self._settled_at:
            return []
        found = [
            revision
            for revision, pending in self._pending.items()
            if all(reached[region] >= revision for region in pending.regions)
        ]
        if not found:
            self._settled_at = reached
        return found

    def drop(self, revision: int) -> None:
        """Its orders are erased."""
        self._pending.pop(revision, None)

    def __len__(self) -> int:
        return len(self._pending)


def revocations(projection: Projection, region: str, signer: Signer) -> tuple[Signed, ...]:
    """A `Revoke` for every revoked credential of a region, for one that begins with nothing."""
    return tuple(
        sign_order(Revoke(region, one.id), signer)
        for one in projection.list("credential")
        if one.body["credentialRegion"] == region and is_revoked(one.body)
    )
