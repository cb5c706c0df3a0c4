"""The feed and the uplink of every region: what each is told of the log, and what it says back (DESIGN section 3).

A region is told nothing of others. Asking for what comes after a revision acknowledges that revision; what was
sealed for the region is erased from the log once all its regions have done so.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import msgspec

from control_api.feed.commands import Commands
from control_api.feed.orders import PendingOrders, revocations
from control_api.feed.status import AWAY, AWAY_MS, CONNECTED, RegionStatus, known_edges
from control_api.feed.view import RegionView
from control_api.ledger.change import PART_KINDS, Change, Key
from control_api.ledger.drafting import regions_of
from control_api.ledger.ledger import Ledger
from control_api.ledger.projection import Projection
from control_api.tasks import spawn, stop
from models.clock import Clock
from models.custody.sheet import read_certificate
from models.custody.signing import Signed, Signer, Verifier
from models.errors import CustodyError, Invalid, NotFound, StoreError, StoreUnavailable, Unavailable
from models.ids import new_id
from models.planes.feed import Command, CommandResult, EdgeReport, FeedAnswer, Uplink
from models.planes.state import MANIFEST, Delta, Manifest

LONGEST_WAIT: Final = 20.0
"""Seconds that a poll may be held."""
NOTHING: Final = -1
"""What a region that has no state asks after."""
_READ_BACK: Final = 1_000
_LOOK_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 1.0

_log = logging.getLogger("exeat.control.feed")


class FeedService:
    """Serves all regions of a ledger. Opened after it and closed before it. signer: the policy key."""

    def __init__(self, ledger: Ledger, signer: Signer, clock: Clock) -> None:
        self._ledger, self._signer, self._clock = ledger, signer, clock
        self._views: dict[str, RegionView] = {}
        self._floor = 0
        self._orders = PendingOrders()
        self._commands = Commands(signer, ledger.bell.ring)
        self._edges: dict[str, tuple[EdgeReport, ...]] = {}
        self._polls: dict[str, int] = {}
        self._open = False
        self._early: list[Change] | None = None
        self._eraser: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Reads the end of the log, so that regions go on where they were. Raises StoreUnavailable."""
        end = self._ledger.projection.revision
        self._early = []
        self._ledger.listen(self._hear)
        recent = await self._recent(end)
        held = [change async for change in self._ledger.log.backwards(end + 1, {"holdsOrders": 1})]
        self._floor = recent[-1].revision - 1 if recent else end
        for change in reversed(held):
            self._orders.note(change)
        for change in reversed(recent):
            self._note_documents(change)
        early, self._early = self._early, None
        for change in early:
            self._hear(change, ())
        self._open = True
        self._eraser = spawn("feed-erase", self._erase())

    async def close(self) -> None:
        """Answers every poll that waits; twice is fine."""
        self._open = False
        self._ledger.bell.ring()
        eraser, self._eraser = self._eraser, None
        await stop(eraser)

    # What regions ask and say.

    async def poll(self, region: str, after: int, wait: float) -> FeedAnswer:
        """What is new after a revision, at once or within `wait` seconds; acknowledges `after`.

        after: -1 for everything, with the orders that a new vault needs. Raises NotFound for a region that is
        not enrolled, Unavailable when `after` is unknown here and the store is away.
        """
        self._check(region)
        if after > self._projection.region_revision(region):
            await self._ledger.catch_up()
        known = NOTHING < after <= self._projection.region_revision(region)
        if known:
            self._ledger.regions.acknowledge(region, after)
        self._saw(region)
        self._polls[region] = number = self._polls.get(region, 0) + 1
        self._ledger.bell.ring()  # an earlier question of this region has nobody who listens any more
        if known:
            await self._something_new(region, after, number, min(max(wait, 0.0), LONGEST_WAIT))
            self._saw(region)
        self._check(region)
        commands = self._commands.take(region) if self._polls[region] == number else ()
        return self._answer(region, after if known else NOTHING, commands)

    async def uplink(self, region: str, uplink: Uplink) -> None:
        """Takes a report over, durable where it must be. Raises NotFound, Invalid for a false certificate, Unavailable."""
        identity = self._check(region)
        regions = self._ledger.regions
        if uplink.certificate is not None and uplink.certificate != regions.get(region).certificate:
            try:
                certificate = read_certificate(uplink.certificate, Verifier(identity), region)
            except (CustodyError, msgspec.DecodeError):
                problem = ("certificate", "is not signed by the identity this region was enrolled with")
                raise Invalid("The certificate is not accepted", errors=(problem,)) from None
            regions.certify(region, uplink.certificate, certificate)
        regions.report_failing(region, uplink.failing, self._clock.wall_ms())
        self._edges[region] = known_edges(self._edges.get(region, ()), uplink.edges, self._clock.wall_ms())
        self._commands.finish(uplink.results)
        if regions.is_due:
            try:
                await regions.flush()
            except StoreUnavailable as error:
                raise Unavailable("The store is away", detail=error.detail) from None

    # What the Core API asks.

    async def run_command(  # noqa: PLR0917 - what a command is made of, in its order
        self,
        region: str,
        kind: str,
        client_id: str,
        target_id: str,
        credential_id: str | None,
        seconds: float,
    ) -> CommandResult | None:
        """Has one edge of the region do something now; None when no result came within `seconds`. Raises NotFound."""
        self._check(region)
        command = Command(
            id=new_id("command"),
            kind=kind,
            region=region,
            client_id=client_id,
            target_id=target_id,
            credential_id=credential_id,
            expires_ms=self._clock.wall_ms() + int(seconds * 1000),
        )
        return await self._commands.run(command, seconds)

    def status(self, region: str) -> RegionStatus:
        """How a region is, as far as this process knows. Raises NotFound."""
        self._check(region)
        record = self._ledger.regions.get(region)
        heard = record.seen_ms > self._clock.wall_ms() - AWAY_MS
        return RegionStatus(
            region=region,
            revision=self._projection.region_revision(region),
            acknowledged=record.acknowledged,
            seen_ms=record.seen_ms,
            state=CONNECTED if heard else AWAY,
            certified=record.certificate is not None,
            edges=self._edges.get(region, ()),
            failing={
                one: why for one, why in record.failing.items() if self._projection.get("credential", one)
            },
        )

    # Inside.

    @property
    def _projection(self) -> Projection:
        return self._ledger.projection

    def _check(self, region: str) -> bytes:
        """The identity that a region was enrolled with. Raises NotFound."""
        enrolled = self._projection.get("region", region)
        if enrolled is None:
            raise NotFound("There is no such region")
        return bytes.fromhex(enrolled.body["vaultIdentity"])

    def _saw(self, region: str) -> None:
        self._ledger.regions.seen(region, self._clock.wall_ms())
        if self._ledger.regions.is_due:
            self._ledger.keep_soon()

    async def _something_new(self, region: str, after: int, number: int, wait: float) -> None:
        """Returns when there is something to say, the time is over, or the region asks anew."""
        now = asyncio.get_running_loop().time
        deadline = now() + wait
        with self._ledger.waiting():
            while self._open and self._polls[region] == number and not self._commands.are_due(region):
                left = deadline - now()
                if self._projection.region_revision(region) != after or left <= 0:
                    return
                await self._ledger.bell.wait(left)

    def _answer(self, region: str, after: int, commands: tuple[Signed, ...]) -> FeedAnswer:
        """What leads from `after` to now. Nothing is waited for in here, so that all of it is of one moment."""
        projection, view = self._projection, self._view(region)
        to = projection.region_revision(region)
        manifest = self._manifest(region, to, view.root(projection))
        step = view.step(after, projection)
        orders = self._orders.between(region, after, to)
        if after == NOTHING:
            orders += revocations(projection, region, self._signer)
        return FeedAnswer(
            manifest=manifest,
            delta=None if step is None else Delta(step.base, step.upserts, step.deletes, manifest),
            orders=tuple(dict.fromkeys(orders)),
            commands=commands,
        )

    def _manifest(self, region: str, revision: int, root: str) -> Signed:
        manifest = Manifest(region, revision, root, self._clock.wall_ms())
        return self._signer.sign(MANIFEST, msgspec.json.encode(manifest))

    def _view(self, region: str) -> RegionView:
        view = self._views.get(region)
        if view is None:
            view = self._views[region] = RegionView(region, self._floor)
        return view

    def _hear(self, change: Change, _touched: tuple[Key, ...]) -> None:
        if self._early is not None:
            self._early.append(change)
            return
        self._orders.note(change)
        self._note_documents(change)

    def _note_documents(self, change: Change) -> None:
        touched: dict[str, dict[Key, None]] = {region: {} for region in change.regions}
        for item in change.items:
            key = item.parent if item.kind in PART_KINDS and item.parent is not None else item.key
            for region in regions_of(item, self._projection, change.items):
                touched.setdefault(region, {})[key] = None
        for region, keys in touched.items():
            self._view(region).note(change.revision, keys)

    async def _recent(self, end: int) -> list[Change]:
        """The last changes up to `end`, newest first."""
        found: list[Change] = []
        async for change in self._ledger.log.backwards(end + 1):
            found.append(change)
            if len(found) == _READ_BACK:
                break
        return found

    async def _erase(self) -> None:
        while True:
            try:
                settled = self._orders.settled(self._ledger.acknowledged)
                for revision in settled:
                    self._ledger.crash.at("before-erase")
                    await self._ledger.log.erase_orders(revision)
                    self._ledger.crash.at("after-erase")
                    self._orders.drop(revision)
                if not settled and not await self._ledger.bell.wait(_LOOK_SECONDS) and self._orders:
                    # Another process may have heard the regions.
                    await self._ledger.regions.refresh([one.id for one in self._projection.regions()])
            except StoreError as error:
                _log.warning("orders cannot be erased", extra={"reason": error.detail})
                await asyncio.sleep(_RETRY_SECONDS)
