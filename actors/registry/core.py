"""The registry's core: follows the feed of one region and hands what it verified to the links. Without Ray.

One turn: poll, hand orders to the vault, apply and verify, keep, publish; the next poll acknowledges. Whatever
does not verify leaves everything as it is, and is asked for anew and whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import msgspec

from actors.registry.listeners import Listeners
from actors.registry.mirror import Mirror, is_revoked
from actors.registry.pace import Backoff, Uniform
from actors.registry.reports import Reports
from actors.tasks import spawn, stop
from models.clock import Clock
from models.custody.orders import Put, read_order
from models.custody.sheet import read_certificate, read_sheet
from models.custody.signing import Signed, Verifier
from models.errors import CustodyError, PeerUnavailable, SignatureRefused, StateRefused, StoreError
from models.planes.calls import ListenAnswer, ListenRequest, Obeyed, Orders
from models.planes.feed import COMMAND, Command, CommandResult, FeedAnswer, Uplink
from models.planes.state import Delta, RegionState

UPLINK_SECONDS: Final = 5.0
"""How often the control plane hears of the region when nothing changes."""
GREET_SECONDS: Final = 30.0
"""How often the vault is asked for its sheet and certificate when there are no orders."""
IDLE_SECONDS: Final = 1.0
"""How soon a feed is asked again that answered at once and had nothing new."""

_log = logging.getLogger("exeat.registry")
_command = msgspec.msgpack.Decoder(Command).decode


class Feed(Protocol):
    """The way to the control API; both methods raise PeerUnavailable."""

    async def poll(self, after: int) -> FeedAnswer:
        """What is new after a revision, -1 for everything; acknowledges that revision."""
        ...

    async def uplink(self, uplink: Uplink) -> None:
        """Says what is to be known upstairs."""
        ...


class Vault(Protocol):
    """The way to the region's vault."""

    async def obey(self, orders: Orders) -> Obeyed:
        """Durable on return. Raises PeerUnavailable, StoreError, and CustodyError for an order it refuses."""
        ...


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """For operators and the guardian. revision: -1 before the first. refused: answers of the feed that were not
    believed, since this process began. edges: heard of late.
    """

    revision: int
    issued_ms: int
    sheet: int
    certificate: bool
    refused: int
    edges: int


class RegistryCore:
    """One region's registry. `start` after construction; `listen`, `report` and `command_done` at any time then."""

    def __init__(
        self,
        region: str,
        *,
        control: Verifier,
        vault_key: Verifier,
        mirror: Mirror,
        feed: Feed,
        vault: Vault,
        clock: Clock,
        uniform: Uniform,
        listeners: Listeners | None = None,
        uplink_seconds: float = UPLINK_SECONDS,
        greet_seconds: float = GREET_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
        slowest: float = 5.0,
    ) -> None:
        """control, vault_key: pinned public keys. uniform: random.uniform. slowest: seconds of the longest pause."""
        self._region, self._control, self._vault_key = region, control, vault_key
        self._mirror, self._feed, self._vault, self._clock = mirror, feed, vault, clock
        self._listeners = listeners or Listeners(region, clock=clock, uniform=uniform)
        self._reports = Reports(clock)
        self._uplink_seconds, self._greet_seconds = uplink_seconds, greet_seconds
        self._idle_seconds = idle_seconds
        self._uniform, self._slowest = uniform, slowest
        self._vault_lock = asyncio.Lock()
        self._state = RegionState.empty(region)
        self._from_nothing = False
        self._refused = 0
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def state(self) -> RegionState:
        """What is kept and published."""
        return self._state

    async def start(self) -> None:
        """Loads the mirror, publishes it, and begins to follow the feed. Raises StoreError."""
        await self._mirror.open()
        self._state = self._mirror.state
        if self._state.revision >= 0:
            self._listeners.publish(self._state)
        if self._mirror.sheet is not None:
            self._listeners.publish_sheet(*self._mirror.sheet)
        self._tell_reports()
        for name, turn in (("feed", self._follow), ("vault", self._greet), ("uplink", self._report)):
            self._tasks.append(spawn(f"registry-{name}", self._repeat(name, turn)))

    async def close(self) -> None:
        """Ends what `start` began; the mirror stays for the next one."""
        await stop(*self._tasks)
        await self._mirror.close()

    async def listen(self, request: ListenRequest) -> ListenAnswer:
        """A link's question: see `Listeners.listen`. Also says what its workers enforce."""
        self._reports.heard(request)
        return await self._listeners.listen(request)

    def report(self, request: ListenRequest) -> None:
        """What a link's workers enforce, without a question."""
        self._reports.heard(request)

    def command_done(self, result: CommandResult) -> None:
        """What came of a command; it goes up with the next uplink, which is due now."""
        self._reports.finished(result)

    def status(self) -> Status:
        """How things are."""
        return Status(
            revision=self._state.revision,
            issued_ms=self._state.issued_ms,
            sheet=self._mirror.sheet[1].number if self._mirror.sheet is not None else -1,
            certificate=self._mirror.certificate is not None,
            refused=self._refused,
            edges=len(self._reports.edges),
        )

    async def _repeat(self, name: str, turn: Callable[[], Awaitable[None]]) -> None:
        """Takes turns for ever; one that fails is logged and followed by a pause that grows."""
        pace = Backoff(self._uniform, most=self._slowest)
        while True:
            try:
                await turn()
            except (PeerUnavailable, StoreError) as error:
                _log.warning(
                    "waits", extra={"loop": name, "reason": type(error).__name__, "detail": error.detail}
                )
            except CustodyError as error:
                _log.error(
                    "refused", extra={"loop": name, "reason": type(error).__name__, "detail": error.detail}
                )
            except Exception:  # noqa: BLE001 - a loop that ended would leave an actor that looks alive and hears nothing
                _log.exception("failed", extra={"loop": name})
            else:
                pace.reset()
                continue
            await asyncio.sleep(pace.after_failure())

    async def _follow(self) -> None:
        """One turn of the feed, no sooner after the one before than it deserves."""
        began = self._clock.boot_ns()
        try:
            moved = await self._turn()
        except (CustodyError, msgspec.DecodeError):
            self._refused += 1
            self._from_nothing = True
            raise
        if not moved and self._clock.boot_ns() - began < self._idle_seconds * 1e9:
            await asyncio.sleep(self._idle_seconds)

    async def _turn(self) -> bool:
        """One poll and all that follows from it; whether it brought anything."""
        answer = await self._feed.poll(-1 if self._from_nothing else self._state.revision)
        self._take_commands(answer.commands)
        if answer.orders:
            try:
                await self._hand_over(answer.orders)
            except PeerUnavailable:
                self._publish_revocations(answer)
                raise
        before = self._state.revision
        if answer.delta is None:
            await self._refresh(answer.manifest)
        else:
            await self._apply(answer.delta)
        self._from_nothing = False
        return self._state.revision != before or bool(answer.commands or answer.orders)

    async def _apply(self, delta: Delta) -> None:
        state = self._state.apply(delta, self._control)
        self._check_revoked(state, delta)
        if state.revision == self._state.revision and state.issued_ms <= self._state.issued_ms:
            return  # the same again, asked for because something else was refused
        await self._mirror.keep_state(state, delta)
        self._publish(state)

    async def _refresh(self, manifest: Signed) -> None:
        state = self._state.refresh(manifest, self._control)
        if state is not self._state:
            await self._mirror.keep_manifest(state)
            self._publish(state)

    def _publish(self, state: RegionState) -> None:
        if state.revision != self._state.revision:
            _log.info("policy applied", extra={"revision": state.revision, "documents": len(state.documents)})
        self._state = state
        self._listeners.publish(state)

    def _publish_revocations(self, answer: FeedAnswer) -> None:
        """Tells links of a revocation although the vault is away; it is neither kept nor acknowledged before.

        Other news wait for the vault, so that no edge gives up a lease for a version that cannot be leased yet.
        """
        if answer.delta is None:
            return
        state = self._state.apply(answer.delta, self._control)
        self._check_revoked(state, answer.delta)
        before = self._state.documents
        if any(
            one.kind == "credential" and is_revoked(one) and before.get((one.kind, one.id)) != one
            for one in answer.delta.upserts
        ):
            self._listeners.publish(state)

    def _check_revoked(self, state: RegionState, delta: Delta) -> None:
        """Raises StateRefused when a credential that was revoked once would be back."""
        for document in delta.upserts:
            if (
                document.kind == "credential"
                and document.id in self._mirror.revoked
                and not is_revoked(document)
            ):
                raise StateRefused(f"revision {state.revision} brings revoked credential {document.id} back")

    def _take_commands(self, commands: tuple[Signed, ...]) -> None:
        for signed in commands:
            try:
                command = _command(self._control.verify(COMMAND, signed))
            except (SignatureRefused, msgspec.DecodeError):
                _log.error("command refused", extra={"reason": "signature or form"})
                continue
            if command.region == self._region and command.expires_ms > self._clock.wall_ms():
                self._listeners.offer(command, signed)

    async def _hand_over(self, orders: tuple[Signed, ...]) -> None:
        """Orders to the vault, durable on return. Raises CustodyError, PeerUnavailable, StoreError."""
        named = {_credential(signed, self._control) for signed in orders}
        async with self._vault_lock:
            obeyed = await self._vault.obey(Orders(orders))
            failing = {one: why for one, why in self._mirror.failing.items() if one not in named}
            await self._heed(obeyed, {**failing, **obeyed.failing})

    async def _greet(self) -> None:
        """Asks the vault for sheet and certificate, whatever the feed does, and waits until that is due again."""
        async with self._vault_lock:
            obeyed = await self._vault.obey(Orders(()))
            await self._heed(obeyed, self._mirror.failing)
        await asyncio.sleep(self._greet_seconds)

    async def _heed(self, obeyed: Obeyed, failing: dict[str, str]) -> None:
        """Takes over what the vault said, verified against its pinned identity. Raises CustodyError, StoreError."""
        certificate = read_certificate(obeyed.certificate, self._vault_key, self._region)
        sheet = read_sheet(obeyed.sheet, self._vault_key, self._region)
        kept = self._mirror.certificate
        if kept is None or kept[1].public != certificate.public:
            await self._mirror.keep_certificate(obeyed.certificate, certificate)
        number = -1 if self._mirror.sheet is None else self._mirror.sheet[1].number
        if sheet.number > number:
            await self._mirror.keep_sheet(obeyed.sheet, sheet)
            self._listeners.publish_sheet(obeyed.sheet, sheet)
        elif sheet.number < number:
            _log.error("older sheet refused", extra={"number": sheet.number, "kept": number})
        if failing != self._mirror.failing:
            await self._mirror.keep_failing(failing)
        self._tell_reports()

    def _tell_reports(self) -> None:
        certificate = self._mirror.certificate
        self._reports.vault_said(None if certificate is None else certificate[0], self._mirror.failing)

    async def _report(self) -> None:
        """Sends one uplink, and waits until there is something new to say or until it is time anyway."""
        self._reports.changed.clear()
        uplink = self._reports.uplink()
        await self._feed.uplink(uplink)
        self._reports.sent(uplink)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._uplink_seconds):
                await self._reports.changed.wait()


def _credential(signed: Signed, control: Verifier) -> str:
    """The credential an order is about, once its signature holds. Raises SignatureRefused, StateRefused."""
    try:
        order = read_order(signed, control)
    except msgspec.DecodeError:
        raise StateRefused("an order has a form that is not known here") from None
    return order.binding.credential_id if isinstance(order, Put) else order.credential_id
