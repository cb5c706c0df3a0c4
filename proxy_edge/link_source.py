"""Policy and leases from the link: takes updates in, verifies, compiles, applies, keeps the snapshot, confirms.

What was heard and cannot be believed changes nothing and is told; what is in force stays in force until it is too
old. A revocation in a sheet drops its lease the moment it is heard, before anything is compiled.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from models.clock import Clock
from models.custody.sheet import pepper_id
from models.custody.signing import Signed
from models.errors import CustodyError, ExeatError, LinkError, StateRefused
from models.planes.documents import DocumentReader
from models.planes.frames import Run, Update
from models.planes.state import Delta
from models.secret import Secret
from proxy_edge.compiled import Compiled, compile_known
from proxy_edge.edge import Bundle
from proxy_edge.known import Known, Trusted
from proxy_edge.leases import LinkLeases
from proxy_edge.policy_source import Confirm
from proxy_edge.stored import Stored
from proxy_edge.tasks import spawn
from proxy_edge.vault_client import VaultClient

LARGE = 200
"""Documents beyond which work is done on a thread: the loop would stand still for milliseconds."""
LOOK_SECONDS = 1.0
"""The longest time between two looks at expiries, which are wall time and may jump."""
PEPPER_SECONDS, PEPPER_PAUSE_SECONDS = 2.0, 0.2
RESYNC_SECONDS = 5.0
"""The least time between two requests for everything, after something that did not fit."""

_NS = 1_000_000_000
_log = logging.getLogger("exeat.edge.policy")

T = TypeVar("T")

Carry = Callable[[Signed, Known], Coroutine[Any, Any, None]]
"""Carries out a command, unverified yet, by what is known then."""


class Link(Protocol):
    """What is needed of `actors.link_client.LinkClient`."""

    @property
    def connected(self) -> bool:
        """Whether there is a link."""
        ...

    async def run(self) -> None:
        """Keeps the connection until cancelled."""
        ...

    def applied(self, revision: int, sheet: int) -> None:
        """Says what is enforced and has its revocations on disk."""
        ...

    def resync(self) -> None:
        """Connects anew, which asks what we have."""
        ...


class LinkPolicySource:
    """One worker's policy source over its link. Belongs to one event loop, `first` aside.

    Wire it up by handing `have`, `on_update`, `on_run` and `on_change` to the link's client, and that to `attach`.
    """

    def __init__(
        self, trusted: Trusted, vault: VaultClient, leases: LinkLeases, stored: Stored, clock: Clock
    ) -> None:
        self.leases = leases
        self.carry: Carry | None = None
        self._trusted, self._vault, self._stored, self._clock = trusted, vault, stored, clock
        self._link: Link | None = None
        self._known = Known.nothing(trusted.region)
        self._pepper: Secret | None = None
        self._read = DocumentReader()
        self._inbox: list[Update] = []
        self._woken, self._sheet_came, self._enforced = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._in_force: Compiled | None = None
        self._applied = (-1, -1)
        self._heard_ms = self._vouched_ns = 0
        self._resynced_ns = -(1 << 62)
        self._unconfirmed = self._mistrust = False
        self._faults: dict[str, str] = {}

    def attach(self, link: Link) -> None:
        """Gives it the link's client."""
        self._link = link

    @property
    def link(self) -> str:
        """`connected` or `away`."""
        return "connected" if self._link is not None and self._link.connected else "away"

    # -- for the link's client --------------------------------------------------------------------

    def have(self) -> tuple[int, int]:
        """Revision and sheet number that are enforced; -1 for nothing, or when everything is to be sent again."""
        return (-1, -1) if self._mistrust else self._applied

    def on_update(self, update: Update) -> None:
        """Takes note. A sheet is looked into at once, for what it revokes."""
        if update.sheet is not None:
            self._take_sheet(update.sheet)
        self._inbox.append(update)
        self._woken.set()

    def on_run(self, run: Run) -> None:
        """Carries a command out beside everything else."""
        if self.carry is not None:
            spawn("command", self.carry(run.command, self._known))

    def on_change(self, connected: bool) -> None:
        """The link came or went; one that came may have been told less than is enforced."""
        if connected and self._link is not None and self._applied != (-1, -1):
            self._link.applied(*self._applied)

    # -- PolicySource -----------------------------------------------------------------------------

    def first(self) -> Bundle | None:
        """The snapshot's policy, if there is a good one. Blocks."""
        loaded = self._stored.load()
        if loaded is None:
            return None
        known, pepper = loaded
        try:
            compiled = self._compile(known, pepper)
        except Exception as error:  # noqa: BLE001 - whatever ails it, a worker without a snapshot can still start
            _log.error("snapshot not used", extra={"reason": _told(error)})
            return None
        self._pepper = pepper
        self._know(known)
        self._applied = (known.state.revision, known.sheet_number)
        return self._enforce(compiled, "snapshot")

    async def follow(
        self, apply: Callable[[Bundle], None], fault: Callable[[str], None], confirm: Confirm
    ) -> None:
        """Runs until cancelled; what goes wrong in one turn is told and tried again in another.

        Raises RuntimeError when a part of it ended, so that nothing can be heard any more.
        """
        if self._link is None:
            raise RuntimeError("attach a link first")
        tasks = [
            spawn("link", self._link.run()),
            spawn("leases", self.leases.keep()),
            spawn("pepper", self._keep_pepper()),
            spawn("snapshot", self._keep_snapshot()),
        ]
        told = ""
        try:
            while True:
                self._woken.clear()
                try:
                    await self._turn(apply, confirm)
                    self._faults.pop("turn", None)
                except Exception as error:  # noqa: BLE001 - whatever ails one update, the next must be noticed
                    self._faults["turn"] = _told(error)
                text = "; ".join(self._faults.values())
                if text and text != told:
                    _log.error("policy refused", extra={"fault": text})
                told = text
                fault(told)
                if any(task.done() for task in tasks):
                    raise RuntimeError("a part of the policy's source has ended")
                await _either(self._woken, LOOK_SECONDS)
        finally:
            for task in tasks:
                task.cancel()

    # -- one turn ---------------------------------------------------------------------------------

    async def _turn(self, apply: Callable[[Bundle], None], confirm: Confirm) -> None:
        """Takes in what was heard, and puts in force what came of it."""
        inbox, self._inbox = self._inbox, []
        for update in inbox:
            if update.delta is not None:
                await self._take_delta(update.delta)
            if update.manifest is not None:
                self._take_manifest(update.manifest)
        usable, pepper = self._usable(), self._pepper
        if usable is not None and pepper is not None and self._is_new(usable):
            size = len(usable.state.documents)
            compiled = await _beside_the_loop(size, lambda: self._compile(usable, pepper))
            apply(self._enforce(compiled, "link"))
            self._unconfirmed = False
        if self._unconfirmed and self._is_in_force():
            confirm(self._age())
            self._unconfirmed = False
        self._ask_for_all()

    async def _take_delta(self, delta: Delta) -> None:
        before, now_ms = self._known, self._clock.wall_ms()
        size = len(before.state.documents) + len(delta.upserts)
        try:
            after = await _beside_the_loop(size, lambda: before.with_delta(delta, self._trusted, now_ms))
        except CustodyError as error:
            self._doubt(error)
        else:
            # A sheet may have come while this one was verified.
            self._know(self._known.with_state(after.state).with_revoked(after.revoked))
            self._faults.pop("policy", None)
            self._mistrust = False

    def _take_manifest(self, signed: Signed) -> None:
        try:
            self._know(self._known.with_manifest(signed, self._trusted, self._clock.wall_ms()))
        except CustodyError as error:
            self._doubt(error)
        else:
            self._faults.pop("policy", None)
            self._mistrust = False

    def _doubt(self, error: CustodyError) -> None:
        """Something about the documents: all of them, sent once more, may help, unless we are ahead of ourselves."""
        self._faults["policy"] = _told(error)
        if isinstance(error, StateRefused) and self._applied[0] == self._known.state.revision:
            self._mistrust = True

    def _take_sheet(self, signed: Signed) -> None:
        try:
            self._know(self._known.with_sheet(signed, self._trusted))
            self._faults.pop("sheet", None)
        except CustodyError as error:
            self._faults["sheet"] = _told(error)

    def _know(self, known: Known) -> None:
        """Believes it; what it newly revokes has no lease from here on."""
        before, self._known = self._known, known
        if known.revoked != before.revoked:
            self.leases.revoke(known.revoked)
        if known.sheet is not before.sheet:
            self._sheet_came.set()
        # A newer revision is news whenever it was issued: the control plane's clock may have been set back.
        if known.state.revision > before.state.revision or known.state.issued_ms > self._heard_ms:
            self._heard_ms = known.state.issued_ms
            age_ms = known.age_ms(self._clock.wall_ms())
            self._vouched_ns = self._clock.boot_ns() - age_ms * 1_000_000
            self._unconfirmed = True

    def _usable(self) -> Known | None:
        """What is known, with the newest sheet whose pepper we have; None before there is one."""
        known = self._known
        if known.state.manifest is None or known.sheet is None or self._pepper is None:
            return None
        if pepper_id(self._pepper) == known.sheet.pepper_id:
            return known
        return None if self._in_force is None else known.with_sheet_of(self._in_force.known)

    def _is_new(self, known: Known) -> bool:
        in_force = self._in_force
        return (
            in_force is None
            or in_force.known.policy() != known.policy()
            or in_force.is_over(self._clock.wall_ms())
        )

    def _is_in_force(self) -> bool:
        return self._in_force is not None and self._in_force.known.policy()[:2] == self._known.policy()[:2]

    def _compile(self, known: Known, pepper: Secret) -> Compiled:
        return compile_known(known, pepper, self._clock.wall_ms(), self._read)

    def _enforce(self, compiled: Compiled, source: str) -> Bundle:
        """The bundle to apply in the same breath: leases follow it from here on."""
        self._in_force = compiled
        self._enforced.set()
        self.leases.govern(compiled.terms)
        self.leases.revoke(self._known.revoked)  # what was heard while it was compiled
        for broken in compiled.policy.broken:
            _log.error("proxy cannot be compiled", extra={"proxy": broken.id, "reason": broken.reason})
        bundle = Bundle(compiled.policy, self.leases, self._age())
        fields = {"revision": bundle.policy.revision, "sheet": compiled.known.sheet_number, "source": source}
        _log.info("policy in force", extra={**fields, "age": round(bundle.age, 1)})
        return bundle

    def _age(self) -> float:
        return (self._clock.boot_ns() - self._vouched_ns) / _NS

    def _ask_for_all(self) -> None:
        now = self._clock.boot_ns()
        if self._mistrust and self._link is not None and now - self._resynced_ns > RESYNC_SECONDS * _NS:
            self._resynced_ns = now
            self._link.resync()

    async def _keep_snapshot(self) -> None:
        """Writes beside everything else: a disk that hangs must not keep a revocation from taking effect."""
        while True:
            self._enforced.clear()
            await self._write()
            await _either(self._enforced, LOOK_SECONDS)

    async def _write(self) -> None:
        """Has on disk what is in force, then says so; notes the newest manifest now and then."""
        if self._in_force is None or self._pepper is None or self._link is None:
            return
        known = self._in_force.known
        try:
            await self._stored.keep(known, self._pepper)
        except OSError as error:
            self._faults["disk"] = f"the snapshot cannot be written: {error.strerror}"
            return
        self._faults.pop("disk", None)
        numbers = (known.state.revision, known.sheet_number)
        if numbers != self._applied:
            self._applied = numbers
            self._link.applied(*numbers)
        await self._stored.note(self._known.state)

    async def _keep_pepper(self) -> None:
        """Asks for the pepper whenever the newest sheet names another one than we have."""
        while True:
            self._sheet_came.clear()
            sheet = self._known.sheet
            if sheet is None or (self._pepper is not None and pepper_id(self._pepper) == sheet.pepper_id):
                await self._sheet_came.wait()
                continue
            try:
                found = await self._vault.pepper(PEPPER_SECONDS)
            except (LinkError, CustodyError) as error:
                _log.debug("no pepper yet", extra={"reason": error.detail})
            else:
                if pepper_id(found) == sheet.pepper_id:
                    self._pepper = found
                    self._woken.set()
                    continue
                _log.error("pepper refused", extra={"reason": "it is not that of the sheet"})
            await asyncio.sleep(PEPPER_PAUSE_SECONDS)


def _told(error: Exception) -> str:
    """For the operator. The text of an error that is not ours may quote what it choked on."""
    return f"{type(error).__name__} {error.detail if isinstance(error, ExeatError) else ''}".strip()


async def _beside_the_loop(size: int, work: Callable[[], T]) -> T:
    return await asyncio.to_thread(work) if size > LARGE else work()


async def _either(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
