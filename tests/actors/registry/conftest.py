"""A registry core over a real feed on loopback and a real embedded store, each test with its own."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from actors.registry.core import RegistryCore
from actors.registry.feed_client import FeedClient
from actors.registry.mirror import LAYOUT, Mirror
from models.clock import SystemClock
from models.custody.signing import Verifier
from models.secret import Secret
from store.sqlite import SqliteStore
from tests.kit.feed import KEY, REGION, FeedServer, Plane, Vault


class Bench:
    """Everything around one core; `core()` starts one, the ones before having been closed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.plane, self.vault = Plane(), Vault()
        self.server = FeedServer(self.plane)
        self.url = ""
        self._open: list[Any] = []

    @property
    def control(self) -> Verifier:
        """The control plane's pinned key."""
        return Verifier(self.plane.signer.public)

    def mirror(self) -> Mirror:
        """The mirror in this test's store; not opened."""
        store = SqliteStore(self.path / "registry.db", LAYOUT)
        identity = Verifier(self.vault.identity.public)
        return Mirror(store, REGION, self.control, identity, SystemClock())

    async def core(self, **options: Any) -> RegistryCore:
        """A core that follows the feed."""
        feed = FeedClient(self.url, REGION, lambda: Secret(KEY))
        core = RegistryCore(
            REGION,
            control=self.control,
            vault_key=Verifier(self.vault.identity.public),
            mirror=options.pop("mirror", None) or self.mirror(),
            feed=feed,
            vault=options.pop("vault", self.vault),
            clock=SystemClock(),
            uniform=random.uniform,
            **{"slowest": 0.1, "idle_seconds": 0.1, **options},
        )
        self._open += [core, feed]
        await core.start()
        return core

    async def close(self) -> None:
        """Ends every core."""
        for one in self._open:
            await one.close()
        self._open.clear()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    bench.url = await bench.server.start()
    yield bench
    await bench.close()
    await bench.server.stop()


@pytest.fixture
def until() -> Callable[..., Any]:
    """Waits for a condition, looking often, for at most ten seconds."""

    async def wait(condition: Callable[[], object], seconds: float = 10.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - conditions are of any sort
                await asyncio.sleep(0.005)

    return wait
