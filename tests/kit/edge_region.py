"""One region around an edge under test: keys, a real vault, signed policy, and a real link server at a real socket.

The control plane is its signing key; Ray is not needed. It can also be hostile: `say` sends any frame to whoever
is attached.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from actors.link import place
from actors.link.call_side import CallSide
from actors.link.held import Held
from actors.link.server import LinkServer
from actors.vault.core import LAYOUT, VaultCore
from models.clock import Clock, SystemClock
from models.custody.capability import Wanted, peek
from models.custody.orders import Envelope, Order, Put, Revoke, sign_order
from models.custody.sealing import Binding, key_id, new_nonce, seal
from models.custody.sheet import read_certificate
from models.custody.signing import Signed, Signer, Verifier
from models.errors import PeerUnavailable
from models.home import EdgeHome, RegionHome, link_socket
from models.planes.calls import ListenAnswer, Orders
from models.planes.documents import credential_document, proxy_document, target_document
from models.planes.feed import COMMAND, Command, CommandResult
from models.planes.frames import FromLink, Run, Update
from models.planes.state import MANIFEST, Delta, Document, Manifest, RegionState, root
from models.secret import Secret
from proxy_edge.identity import Identity
from store.sqlite import SqliteStore
from tests.kit.edge import CALLER_KEY, TARGET_TOKEN

REGION, CLIENT, HOST_ID = "us-east-1", "acme", "host-1"


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Returns once `condition` holds; TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - conditions are of any sort
            await asyncio.sleep(0.002)


class EdgeRegion:
    """What is around one edge host. `started` opens the vault; `attended` serves the link's socket.

    away: the vault does not answer. asked: what each capability wanted. results: of commands.
    """

    def __init__(self, folder: Path, clock: Clock | None = None) -> None:
        self.clock = clock or SystemClock()
        self.control = Signer(Signer.new_private())
        self.edge_root = folder / "edge"
        self.edge_home, self.region_home = EdgeHome(self.edge_root), RegionHome(folder / "region")
        self._private = {name: Signer.new_private() for name in ("vault", "host")}
        self.identity, self.host = Signer(self._private["vault"]), Signer(self._private["host"])
        self._enrol()
        self.documents: dict[tuple[str, str], Document] = {}
        self.state = RegionState.empty(REGION)
        self.versions: dict[str, int] = {}
        self.sheet: Signed | None = None
        self.away = False
        self.asked: list[tuple[Wanted, ...]] = []
        self.results: list[CommandResult] = []
        self.commands = 0
        self.others: dict[tuple[str, str], Callable[[bytes], Awaitable[bytes]]] = {}
        self._core: VaultCore | None = None
        self.server: LinkServer | None = None
        self.held = self._fresh_held()

    @property
    def core(self) -> VaultCore:
        """The vault."""
        assert self._core is not None
        return self._core

    @property
    def host_identity(self) -> Identity:
        """The edge host's, as its workers read it."""
        return Identity.load(self.edge_home)

    @asynccontextmanager
    async def started(self) -> AsyncIterator[EdgeRegion]:
        """With a running vault and the policy's first revision, 0: nothing at all."""
        self._core = await VaultCore.open(
            region=REGION,
            home=self.region_home,
            clock=self.clock,
            store=SqliteStore(self.region_home.vault_store, LAYOUT),
        )
        try:
            await self.obey()
            yield self
        finally:
            await self._core.close()
            # Outside the test's folder, because socket paths are short.
            shutil.rmtree(link_socket(self.edge_root.absolute(), os.getuid()).parent, ignore_errors=True)

    @asynccontextmanager
    async def attended(self) -> AsyncIterator[LinkServer]:
        """With the link's socket served, by what a link is without Ray."""
        path = link_socket(self.edge_root.absolute(), os.getuid())
        with place.taken(path, os.getuid()):
            server = self.server = LinkServer(
                self.held,
                CallSide(self),
                uid=os.getuid(),
                on_progress=lambda: None,
                on_done=lambda payload: self.results.append(
                    msgspec.msgpack.decode(payload, type=CommandResult)
                ),
            )
            await server.open(place.bind(path))
            try:
                yield server
            finally:
                self.server = None
                server.close()
                await until(lambda: not server._all)

    # -- policy -----------------------------------------------------------------------------------

    async def sample(self, target_url: str, **fields: Any) -> None:
        """One caller, one target, one sender with a bearer and one proxy with alias `api`, published.

        Keyword arguments are fields of the proxy; `caller`, `target` and `sender` of those resources.
        """
        caller, target, sender = (fields.pop(name, {}) for name in ("caller", "target", "sender"))
        await self.credential("caller", "proxy", "apiKey", {"key": CALLER_KEY}, **caller)
        await self.credential("sender", "target", "bearer", {"token": TARGET_TOKEN}, **sender)
        self.target("target", target_url, **target)
        self.proxy("proxy-one", **fields)
        self.publish()

    async def credential(
        self, name: str, side: str, auth_type: str, secret: dict[str, str] | None, **fields: Any
    ) -> None:
        """Puts its secret into the vault, if there is one, and its document into the next revision."""
        placement = None
        if secret is not None:
            version = self.versions[name] = self.versions.get(name, 0) + 1
            envelope = Envelope(side=side, auth_type=auth_type, secret=secret)
            await self.obey(await self._put(name, version, envelope))
            default = "Bearer" if auth_type == "bearer" else ""
            placement = {
                "in": secret.get("in", "header"),
                "name": secret.get("name", "Authorization"),
                "prefix": secret.get("prefix", default),
            }
        body = {
            "credentialName": name,
            "credentialType": side,
            "credentialAuthType": auth_type,
            "credentialRegion": REGION,
            "credentialPlacement": placement,
            "credentialVersion": self.versions.get(name, 0),
            "credentialStatus": "active",
            **fields,
        }
        self.put(credential_document(name, CLIENT, self._next, body, ()))

    def target(self, name: str, url: str, **fields: Any) -> None:
        """A target's document."""
        body = {"targetName": name, "targetBaseURL": url, "targetRegion": REGION, **fields}
        self.put(target_document(name, CLIENT, self._next, body, ()))

    def proxy(self, name: str, **fields: Any) -> None:
        """A proxy's document; of the sample's resources unless told. `rules` are the proxy's."""
        rules = fields.pop("rules", ())
        body = {
            "proxyName": name,
            "proxyAlias": "api" if name == "proxy-one" else None,
            "proxyRegion": REGION,
            "proxyProxyCredentialIds": ["caller"],
            "proxyTargetId": "target",
            "proxyTargetCredentialId": "sender",
            **fields,
        }
        self.put(proxy_document(name, CLIENT, self._next, body, rules))

    def put(self, document: Document) -> None:
        """Any document, in the next revision."""
        self.documents[document.kind, document.id] = document

    def publish(self, *, issued_ms: int | None = None) -> RegionState:
        """The next revision, to the registry's side of the link."""
        self.state = self.at(self._next, self.documents.values(), issued_ms=issued_ms)
        self._tell()
        return self.state

    def reissue(self, issued_ms: int | None = None) -> RegionState:
        """The same revision, vouched for anew."""
        self.state = self.at(self.state.revision, self.state.documents.values(), issued_ms=issued_ms)
        self._tell()
        return self.state

    def at(
        self,
        revision: int,
        documents: Iterable[Document],
        *,
        issued_ms: int | None = None,
        signer: Signer | None = None,
    ) -> RegionState:
        """A signed state, for whatever use."""
        found = tuple(documents)
        issued = self.clock.wall_ms() if issued_ms is None else issued_ms
        manifest = Manifest(REGION, revision, root(found), issued)
        signed = (signer or self.control).sign(MANIFEST, msgspec.json.encode(manifest))
        return RegionState(REGION, {(one.kind, one.id): one for one in found}, manifest, signed)

    # -- orders, commands, frames -----------------------------------------------------------------

    async def obey(self, *orders: Order) -> None:
        """The vault obeys; its sheet goes to the link's side."""
        obeyed = await self.core.obey(Orders(tuple(sign_order(one, self.control) for one in orders)))
        self.sheet = obeyed.sheet
        self._tell()

    async def revoke(self, name: str) -> None:
        """Ends a credential, in the vault alone: documents follow with the next revision."""
        await self.obey(Revoke(REGION, name))

    def command(self, target: str = "target", credential: str | None = None, **fields: Any) -> Signed:
        """A signed `testTarget`."""
        self.commands += 1
        values: dict[str, Any] = {
            "id": f"cmd-{self.commands}",
            "kind": "testTarget",
            "region": REGION,
            "client_id": CLIENT,
            "target_id": target,
            "credential_id": credential,
            "expires_ms": self.clock.wall_ms() + 30_000,
            **fields,
        }
        return self.control.sign(COMMAND, msgspec.msgpack.encode(Command(**values)))

    def run(self, command: Signed) -> bool:
        """Gives a command to one attached worker."""
        assert self.server is not None
        return self.server.run_command(command)

    def say(self, *frames: FromLink) -> None:
        """Sends frames to every attached worker, whatever the link thinks of them."""
        assert self.server is not None
        for attachment in self.server._all:
            for frame in frames:
                attachment.send(frame)

    # -- actors.link.ports.Actors -----------------------------------------------------------------

    async def grant(self, payload: bytes) -> bytes:
        """The vault's answer."""
        if self.away:
            raise PeerUnavailable("away")
        signed = msgspec.msgpack.decode(payload, type=Signed)
        self.asked.append(peek(signed).wanted)
        return msgspec.msgpack.encode(await self.core.answer(signed))

    async def ask(self, role: str, method: str, payload: bytes, *, shard: int = 0, seconds: float) -> bytes:
        """The answer of whoever a test put into `others` for that role and method."""
        other = self.others.get((role, method))
        if other is None:
            raise PeerUnavailable(f"there is no {role}/{shard} within {seconds} s")
        return await other(payload)

    async def listen(self, _payload: bytes) -> bytes:
        raise PeerUnavailable("not used")

    async def report(self, _payload: bytes) -> None:
        raise PeerUnavailable("not used")

    async def command_done(self, _payload: bytes) -> None:
        raise PeerUnavailable("not used")

    # -- inside -----------------------------------------------------------------------------------

    @property
    def _next(self) -> int:
        return max(self.state.revision, 0) + 1

    def _tell(self) -> None:
        delta = self.state.full() if self.state.signed is not None else None
        if delta is None:
            self.held.take(ListenAnswer(sheet=self.sheet))
        else:
            self.held.take(ListenAnswer(delta=delta, sheet=self.sheet))
        if self.server is not None:
            self.server.publish()

    def _fresh_held(self) -> Held:
        return Held(REGION, Verifier(self.control.public), Verifier(self.identity.public))

    async def _put(self, name: str, version: int, envelope: Envelope) -> Put:
        certificate = (await self.core.obey(Orders(()))).certificate
        public = read_certificate(certificate, Verifier(self.identity.public), REGION).public
        binding = Binding(
            purpose="put",
            client_id=CLIENT,
            credential_id=name,
            version=version,
            region=REGION,
            recipient=key_id(public),
            nonce=new_nonce(),
        )
        return Put(REGION, seal(Secret(msgspec.json.encode(envelope)), public, binding), binding)

    def _enrol(self) -> None:
        self.region_home.hosts.mkdir(parents=True)
        self.edge_root.mkdir(parents=True)
        host, vault = self._private["host"].reveal(), self._private["vault"].reveal()
        for path, text in (
            (self.region_home.vault_kek, os.urandom(32).hex()),
            (self.region_home.vault_key, vault.hex()),
            (self.region_home.control_public, self.control.public.hex()),
            (self.region_home.hosts / f"{HOST_ID}.pub", self.host.public.hex()),
            (self.edge_home.host_key, host.hex()),
            (self.edge_home.host_id, HOST_ID),
            (self.edge_home.control_public, self.control.public.hex()),
            (self.edge_home.vault_public, self.identity.public.hex()),
        ):
            path.write_text(text + "\n")
            path.chmod(0o600)


def everything(state: RegionState) -> Update:
    """All of a state in one frame."""
    return Update(state.full(), None, None)


def carry_out(command: Signed) -> Run:
    """The frame of a command."""
    return Run(command)


def delta_between(old: RegionState, new: RegionState) -> Delta:
    """What leads from one state to the other."""
    changed = tuple(one for key, one in new.documents.items() if old.documents.get(key) != one)
    assert new.signed is not None
    return Delta(
        old.revision, changed, tuple(key for key in old.documents if key not in new.documents), new.signed
    )
