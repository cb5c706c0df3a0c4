"""A region with a limiter and two edge hosts, each with its own link: everything but Ray is real.

The limiter's clock is moved forward by tests that need a whole minute; workers believe what it says about windows.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from actors.link import place
from actors.link.call_side import CallSide
from actors.link.permits_side import PermitsSide
from actors.link.server import LinkServer
from actors.names import LIMITER
from actors.tasks import spawn, stop
from models.clock import SystemClock
from models.custody.signing import Signer
from models.home import EdgeHome, link_socket
from tests.kit.edge_region import EdgeRegion, until
from tests.kit.limited import MortalLimiter

MINUTE_MS = 60_000


class MovedClock(SystemClock):
    """The machine's, but for the wall time, which can be moved forward."""

    def __init__(self) -> None:
        self._ahead_ms = 0

    def wall_ms(self) -> int:
        """Milliseconds since the epoch."""
        return super().wall_ms() + self._ahead_ms

    def next_minute(self) -> None:
        """A minute begins now."""
        self._ahead_ms += MINUTE_MS - self.wall_ms() % MINUTE_MS

    def into_minute(self) -> float:
        """Seconds since the last one began."""
        return self.wall_ms() % MINUTE_MS / 1000


class Host:
    """One more edge host of a region, enrolled as the first is; stands for the region where an edge is started."""

    def __init__(self, region: EdgeRegion, root: Path, name: str) -> None:
        self.edge_root = root
        home, first = EdgeHome(root), region.edge_home
        private = Signer.new_private()
        root.mkdir(parents=True)
        for path, text in (
            (home.host_key, private.reveal().hex()),
            (home.host_id, name),
            (home.control_public, first.control_public.read_text().strip()),
            (home.vault_public, first.vault_public.read_text().strip()),
            (region.region_home.hosts / f"{name}.pub", Signer(private).public.hex()),
        ):
            path.write_text(text + "\n")
            path.chmod(0o600)


class LimitedRegion(EdgeRegion):
    """An `EdgeRegion` with a limiter, and a second edge host beside its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.second = Host(self, folder / "second" / "edge", "host-2")
        self.minutes = MovedClock()
        # A busy machine answers recalls late.
        self.limiter = MortalLimiter(folder, self.minutes, patience=3.0)
        for method in ("reserve", "give_back", "recalls"):
            self.others[LIMITER, method] = getattr(self.limiter, method)
        self._servers: list[LinkServer] = []

    @asynccontextmanager
    async def started(self) -> AsyncIterator[EdgeRegion]:
        """With a running limiter, too."""
        async with super().started():
            await self.limiter.start()
            try:
                yield self
            finally:
                await self.limiter.kill()
                shutil.rmtree(self._socket(self.second.edge_root).parent, ignore_errors=True)

    @asynccontextmanager
    async def attended(self) -> AsyncIterator[LinkServer]:
        """With a link at each host."""
        async with AsyncExitStack() as links:
            for number, root in enumerate((self.edge_root, self.second.edge_root), 1):
                self._servers.append(await links.enter_async_context(self._link(root, f"link-{number}")))
            self.server = self._servers[0]
            try:
                yield self.server
            finally:
                self.server = None
                self._servers.clear()

    async def restart_limiter(self) -> None:
        """Another incarnation, over what the last one had written."""
        await self.limiter.kill()
        await self.limiter.start()

    def limited(self, name: str, **limits: int) -> None:
        """A proxy of that alias in the next revision."""
        self.proxy(name, proxyAlias=name, proxyTargetCredentialId="bare", **limits)

    async def basics(self, target_url: str) -> None:
        """What the proxies of `limited` are made of; their target needs no credential."""
        await self.credential("bare", "target", "none", None)
        await self.sample(target_url)

    # -- inside -----------------------------------------------------------------------------------

    def _tell(self) -> None:
        super()._tell()
        for server in self._servers[1:]:
            server.publish()

    @staticmethod
    def _socket(root: Path) -> Path:
        return link_socket(root.absolute(), os.getuid())

    @asynccontextmanager
    async def _link(self, root: Path, name: str) -> AsyncIterator[LinkServer]:
        path = self._socket(root)
        permits = PermitsSide(self, link=name, shards=1, uniform=random.uniform)
        with place.taken(path, os.getuid()):
            server = LinkServer(
                self.held,
                CallSide(self),
                uid=os.getuid(),
                on_progress=permits.progress,
                on_done=self._done,
            )
            await server.open(place.bind(path))
            following = spawn("permits", permits.run(server))
            try:
                yield server
            finally:
                server.close()
                await stop(following)
                await until(lambda: not server._all)

    def _done(self, _payload: Any) -> None:
        raise AssertionError("nobody gave a command")
