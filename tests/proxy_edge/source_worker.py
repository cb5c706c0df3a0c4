"""One worker's policy over the link: its source, and what it delivered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from models.custody.signing import Signed
from models.errors import CredentialRejected
from models.policy import CompiledProxy
from models.request import CanonicalRequest
from proxy_edge.edge import Bundle
from proxy_edge.link_mode import LinkMode
from proxy_edge.settings import EdgeSettings
from proxy_edge.steps.lease import Injection
from tests.kit.edge import CALLER_KEY
from tests.kit.edge_region import REGION, EdgeRegion, until


class Worker:
    """One worker's source, and what it delivered."""

    def __init__(self, region: EdgeRegion, index: int = 0) -> None:
        settings = EdgeSettings.load(home=region.edge_root, region=REGION)
        self.region = region
        self.mode = LinkMode(settings, index, region.clock)
        self.bundles: list[Bundle] = []
        self.faults: list[str] = [""]
        self.ages: list[float] = []
        self.first = self.mode.source.first()
        if self.first is not None:
            self.bundles.append(self.first)

    @asynccontextmanager
    async def following(self) -> AsyncIterator[Worker]:
        task = asyncio.ensure_future(
            self.mode.source.follow(self.bundles.append, self.faults.append, self.ages.append)
        )
        try:
            yield self
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    @property
    def revision(self) -> int:
        return self.bundles[-1].policy.revision if self.bundles else -1

    @property
    def proxy(self) -> CompiledProxy:
        proxy = self.bundles[-1].policy.proxies[b"api"]
        assert isinstance(proxy, CompiledProxy)
        return proxy

    def accepts(self, key: str = CALLER_KEY) -> bool:
        request = CanonicalRequest(b"GET", b"/", b"", [(b"x-api-key", key.encode())])
        try:
            return self.proxy.callers.authenticate(request) == "caller"
        except CredentialRejected:
            return False

    async def lease(self) -> Injection:
        """As the hot path has it: found, or waited for. Raises CredentialUnavailable."""
        leases, key = self.mode.source.leases, self.proxy.lease_key
        if leases.get(key) is None:
            wait = leases.want(key)
            await until(lambda: wait.ready or wait.refusal)
            if wait.refusal is not None:
                raise wait.refusal
        found = leases.get(key)
        assert found is not None
        return found

    def attached(self) -> tuple[tuple[int, int], ...]:
        """What the link believes of its workers."""
        assert self.region.server is not None
        return self.region.server.workers


@asynccontextmanager
async def served(region: EdgeRegion) -> AsyncIterator[Worker]:
    """The sample policy in force at a worker with a link."""
    await region.sample("https://target.test/base")
    async with region.attended(), Worker(region).following() as worker:
        await until(lambda: worker.bundles and worker.attached() == ((0, 1),))
        yield worker


def signed_sheet(region: EdgeRegion) -> Signed:
    assert region.sheet is not None
    return region.sheet
