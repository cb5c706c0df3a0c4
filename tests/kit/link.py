"""A region in one process for tests of the link: real signatures, the real long poll, a vault that can be away."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from actors.link_client import LinkClient
from actors.registry.listeners import Listeners
from models.clock import SystemClock
from models.custody.sheet import SHEET, Sheet, read_sheet
from models.custody.signing import Signed, Signer, Verifier
from models.errors import CapabilityRefused, PeerUnavailable
from models.home import EdgeHome
from models.planes.calls import ListenRequest
from models.planes.feed import COMMAND, Command, CommandResult
from models.planes.frames import Run, Update
from models.planes.state import MANIFEST, Delta, Document, Manifest, RegionState, root

REGION = "us-east-1"


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Returns once `condition` holds; TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for is on the far side of a socket
            await asyncio.sleep(0.002)


class Region:
    """The control plane's and the vault's keys, and the policy they signed."""

    def __init__(self, control: Signer | None = None, vault: Signer | None = None) -> None:
        self.control = control or Signer(Signer.new_private())
        self.vault = vault or Signer(Signer.new_private())
        self.control_key, self.vault_key = Verifier(self.control.public), Verifier(self.vault.public)
        self.state = RegionState.empty(REGION)
        self._issued = time.time_ns() // 1_000_000

    def manifest(self, revision: int, documents: Mapping[tuple[str, str], Document]) -> Signed:
        """A manifest issued later than every one before."""
        self._issued += 6_000
        text = msgspec.json.encode(Manifest(REGION, revision, root(documents.values()), self._issued))
        return self.control.sign(MANIFEST, text)

    def change(self, revision: int, *, deletes: tuple[str, ...] = (), **targets: str) -> RegionState:
        """The state at `revision`: `targets` written, `deletes` gone."""
        documents = {key: one for key, one in self.state.documents.items() if key[1] not in deletes}
        for name, text in targets.items():
            documents["target", name] = Document("target", name, revision, text.encode())
        self.state = self._state(revision, documents)
        return self.state

    def reissue(self) -> RegionState:
        """The same documents under a manifest issued later."""
        self.state = self._state(self.state.revision, dict(self.state.documents))
        return self.state

    def _state(self, revision: int, documents: dict[tuple[str, str], Document]) -> RegionState:
        delta = Delta(0, tuple(documents.values()), (), self.manifest(revision, documents))
        return RegionState.empty(REGION).apply(delta, self.control_key)

    def sheet(self, number: int) -> tuple[Signed, Sheet]:
        """An empty sheet of that number, signed."""
        sheet = Sheet(REGION, number, "p1", (), ())
        return self.vault.sign(SHEET, msgspec.msgpack.encode(sheet)), sheet

    def command(self, name: str) -> tuple[Command, Signed]:
        """A command that is alive for a minute."""
        command = Command(
            id=name,
            kind="testTarget",
            region=REGION,
            client_id="c",
            target_id="t",
            credential_id=None,
            expires_ms=time.time_ns() // 1_000_000 + 60_000,
        )
        return command, self.control.sign(COMMAND, msgspec.msgpack.encode(command))

    def edge_home(self, root: Path) -> EdgeHome:
        """What enrolment leaves in an edge's home for its link."""
        home = EdgeHome(root)
        root.mkdir(parents=True, exist_ok=True)
        home.control_public.write_text(self.control.public.hex())
        home.vault_public.write_text(self.vault.public.hex() + "\n")
        home.host_id.write_text("edge-1\n")
        return home


class LocalActors:
    """Registry and vault in this process: the registry's own audience, and a vault that answers backwards.

    away: set while neither answers. hold: the vault answers once it is set.
    """

    def __init__(self, *, expiry: tuple[float, float] = (5.0, 9.0)) -> None:
        self.listeners = Listeners(REGION, clock=SystemClock(), uniform=random.uniform, expiry=expiry)
        self.away = False
        self.hold = asyncio.Event()
        self.hold.set()
        self.asked: list[ListenRequest] = []
        self.reported: list[ListenRequest] = []
        self.results: list[CommandResult] = []
        self.grants = 0

    async def listen(self, payload: bytes) -> bytes:
        self._check()
        request = msgspec.msgpack.decode(payload, type=ListenRequest)
        self.asked.append(request)
        answer = await self.listeners.listen(request)
        self._check()
        return msgspec.msgpack.encode(answer)

    async def report(self, payload: bytes) -> None:
        self._check()
        self.reported.append(msgspec.msgpack.decode(payload, type=ListenRequest))

    async def command_done(self, payload: bytes) -> None:
        self._check()
        self.results.append(msgspec.msgpack.decode(payload, type=CommandResult))

    async def grant(self, payload: bytes) -> bytes:
        self._check()
        self.grants += 1
        await self.hold.wait()
        if payload == b"refuse":
            raise CapabilityRefused("as asked")
        if payload == b"break":
            raise ZeroDivisionError
        return payload[::-1]

    async def ask(self, role: str, method: str, payload: bytes, *, shard: int = 0, seconds: float) -> bytes:
        self._check()
        return f"{role}/{shard}.{method}({seconds:g}) ".encode() + payload

    def _check(self) -> None:
        if self.away:
            raise PeerUnavailable("away")


class Worker:
    """A link's client with a state that it verifies for itself, as an edge's worker does; runs until cancelled."""

    def __init__(self, path: Path, region: Region, index: int = 0, revision: int = -1) -> None:
        """revision: what its hello claims before the first update."""
        self.region, self.revision, self.sheet = region, revision, -1
        self.state = RegionState.empty(REGION)
        self.revisions: list[int] = []
        self.updates: list[Update] = []
        self.runs: list[Run] = []
        self.client = LinkClient(
            path,
            worker=index,
            have=lambda: (self.revision, self.sheet),
            on_update=self._update,
            on_run=self.runs.append,
        )

    def _update(self, update: Update) -> None:
        self.updates.append(update)
        if update.delta is not None:
            self.state = self.state.apply(update.delta, self.region.control_key)
            self.revision = self.state.revision
            self.revisions.append(self.revision)
        if update.manifest is not None and self.state.signed is not None:
            self.state = self.state.refresh(update.manifest, self.region.control_key)
        if update.sheet is not None:
            self.sheet = read_sheet(update.sheet, self.region.vault_key, REGION).number
        self.client.applied(self.revision, self.sheet)
