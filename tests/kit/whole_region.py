"""A whole region without Ray: feed over HTTP, registry, vault and link, real each, and every one can be taken away.

Policy goes the real way: signed, asked for by the registry, kept in its mirror, listened for by the link, sent to the
workers; orders reach the vault the same way. The feed can be hostile: `server.say` replaces what it answers.
"""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from actors.link import place
from actors.link.call_side import CallSide
from actors.link.registry_side import RegistrySide
from actors.link.results import Results
from actors.link.server import LinkServer
from actors.link.watch import Patience
from actors.registry.core import RegistryCore
from actors.registry.feed_client import FeedClient
from actors.registry.mirror import LAYOUT as MIRROR_LAYOUT
from actors.registry.mirror import Mirror
from actors.tasks import spawn, stop
from models.custody.orders import Order, sign_order
from models.custody.signing import Signed, Verifier
from models.errors import PeerUnavailable
from models.home import link_socket
from models.planes.calls import ListenRequest, Obeyed, Orders
from models.planes.feed import CommandResult, FeedAnswer
from models.planes.state import RegionState
from models.secret import Secret
from store.sqlite import SqliteStore
from tests.kit.edge_region import HOST_ID, REGION, EdgeRegion, delta_between, until
from tests.kit.feed import KEY, FeedServer

FEED_SECONDS = 1
"""How long the feed holds a poll: a manifest is not older than this while all is well."""


class _Feed:
    """What a `FeedServer` serves: the region's newest state, and the orders that came with each revision."""

    def __init__(self, region: WholeRegion) -> None:
        self._owner = region
        self.region = REGION
        self.past: dict[int, RegionState] = {}
        self.orders: list[tuple[int, Signed]] = []
        self.told: list[FeedAnswer] = []

    @property
    def revision(self) -> int:
        """The newest."""
        return self._owner.state.revision

    def answer(self, after: int) -> FeedAnswer:
        """What is new after a revision, vouched for now."""
        now = self._owner.at(self.revision, self._owner.state.documents.values())
        assert now.signed is not None
        delta = None
        if after != self.revision:
            old = self.past.get(after)
            delta = now.full() if old is None or after <= 0 else delta_between(old, now)
        orders = tuple(order for revision, order in self.orders if revision > after)
        answer = FeedAnswer(manifest=now.signed, delta=delta, orders=orders)
        self.told.append(answer)
        return answer


class WholeRegion(EdgeRegion):
    """An `EdgeRegion` whose policy and orders travel as in production.

    away: the vault is. registry: the running core, None while it is away. feed_server: hostile when told to.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.feed = _Feed(self)
        self.server_port = 0
        self.feed_server = FeedServer(self.feed)  # type: ignore[arg-type]  # has what a server asks of a plane
        self.registry: RegistryCore | None = None
        self._client: FeedClient | None = None

    # -- parts ------------------------------------------------------------------------------------

    @asynccontextmanager
    async def started(self) -> AsyncIterator[EdgeRegion]:
        """With vault, feed and registry running, and a state of revision 0."""
        async with super().started():
            self.state = self.at(0, ())
            await self.feed_start()
            await self.registry_start()
            try:
                yield self
            finally:
                await self.registry_stop()
                await self.feed_stop()

    async def feed_start(self) -> None:
        """The control plane can be reached."""
        await self.feed_server.start(self.server_port)
        self.server_port = self.feed_server.port

    async def feed_stop(self) -> None:
        """It cannot."""
        if self.feed_server._server is not None and self.feed_server._server.is_serving():
            await self.feed_server.stop()

    async def registry_start(self) -> None:
        """A registry over the region's mirror."""
        control, identity = Verifier(self.control.public), Verifier(self.identity.public)
        store = SqliteStore(self.region_home.registry_store, MIRROR_LAYOUT)
        self._client = FeedClient(
            f"http://127.0.0.1:{self.server_port}", REGION, lambda: Secret(KEY), wait=FEED_SECONDS
        )
        registry = RegistryCore(
            REGION,
            control=control,
            vault_key=identity,
            mirror=Mirror(store, REGION, control, identity, self.clock),
            feed=self._client,
            vault=_Vault(self),
            clock=self.clock,
            uniform=random.uniform,
            slowest=0.2,
            idle_seconds=0.1,
            greet_seconds=0.5,
        )
        await registry.start()
        self.registry = registry

    async def registry_stop(self) -> None:
        """No registry, until `registry_start`."""
        registry, self.registry = self.registry, None
        if registry is not None and self._client is not None:
            await registry.close()
            await self._client.close()

    @asynccontextmanager
    async def attended(self) -> AsyncIterator[LinkServer]:
        """With a link that listens to the registry; it starts from nothing."""
        path = link_socket(self.edge_root.absolute(), os.getuid())
        held = self._fresh_held()
        side = RegistrySide(
            self,
            held,
            link=f"link-{random.getrandbits(32):x}",
            edge=HOST_ID,
            patience=Patience(lambda: 0.0),  # it never leaves by itself
            uniform=random.uniform,
        )
        results = Results(self)
        with place.taken(path, os.getuid()):
            server = self.server = LinkServer(
                held, CallSide(self), uid=os.getuid(), on_progress=side.progress, on_done=results.offer
            )
            await server.open(place.bind(path))
            tasks = [
                spawn("registry", side.run(server)),
                spawn("report", side.tell(server)),
                spawn("results", results.run()),
            ]
            try:
                yield server
            finally:
                self.server = None
                server.close()
                await stop(*tasks)
                await until(lambda: not server._all)

    # -- what EdgeRegion does itself, here the long way --------------------------------------------

    async def obey(self, *orders: Order) -> None:
        """They go with the next revision."""
        self.feed.orders += [(self._next, sign_order(one, self.control)) for one in orders]

    def _tell(self) -> None:
        self.feed.past[self.state.revision] = self.state
        self.feed_server.wake()

    # -- actors.link.ports.Actors -------------------------------------------------------------------

    async def listen(self, payload: bytes) -> bytes:
        """The registry's answer."""
        answer = await self._there().listen(msgspec.msgpack.decode(payload, type=ListenRequest))
        self._there()
        return msgspec.msgpack.encode(answer)

    async def report(self, payload: bytes) -> None:
        """To the registry."""
        self._there().report(msgspec.msgpack.decode(payload, type=ListenRequest))

    async def command_done(self, payload: bytes) -> None:
        """To the registry, and remembered."""
        result = msgspec.msgpack.decode(payload, type=CommandResult)
        self.results.append(result)
        self._there().command_done(result)

    def _there(self) -> RegistryCore:
        if self.registry is None:
            raise PeerUnavailable("away")
        return self.registry


class _Vault:
    """The registry's way to the vault, which may be away."""

    def __init__(self, region: WholeRegion) -> None:
        self._region = region

    async def obey(self, orders: Orders) -> Obeyed:
        if self._region.away:
            raise PeerUnavailable("away")
        return await self._region.core.obey(orders)
