"""A control plane without HTTP: store, ledger, feed and sealer on one file, and a region that follows its feed.

Shared by the tests of ledger and feed. Everything is real; the region's vault is its keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from control_api.bootstrap import ensure_region
from control_api.custody import Sealer
from control_api.feed.service import FeedService
from control_api.layout import LAYOUT, MIGRATIONS
from control_api.ledger.change import Change, Draft, Item, Written
from control_api.ledger.crash import Crash
from control_api.ledger.ledger import Ledger
from models.clock import Clock, SystemClock
from models.custody.sealing import Opener
from models.custody.sheet import CERTIFICATE, Certificate
from models.custody.signing import Signed, Signer, Verifier
from models.planes.feed import FeedAnswer, Uplink
from models.planes.state import RegionState
from models.secret import Secret
from store.sqlite import SqliteStore

SIGNER = Signer(Secret(bytes(range(32))))
VERIFIER = Verifier(SIGNER.public)
CLIENT = "cli_one"


class HandClock:
    """Stands still until it is moved. ms: wall milliseconds."""

    def __init__(self, ms: int = 1_800_000_000_000) -> None:
        self.ms = ms

    def wall_ms(self) -> int:
        return self.ms

    def boot_ns(self) -> int:
        return self.ms * 1_000_000


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Waits until `condition` holds. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - conditions are of any sort
            await asyncio.sleep(0.001)


async def erased(ledger: Ledger, revision: int, seconds: float = 10.0) -> Change:
    """Waits until a change holds no orders any more; the change. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while True:
            change = await ledger.change(revision)
            if change is not None and not change.orders:
                return change
            await asyncio.sleep(0.002)


@dataclass
class Vault:
    """The keys of a region's vault."""

    region: str
    identity: Signer = field(default_factory=lambda: Signer(Signer.new_private()))
    opener: Opener = field(default_factory=lambda: Opener(Opener.new_private()))

    def certificate(self, issued_ms: int = 1, *, identity: Signer | None = None) -> Signed:
        statement = Certificate(self.region, self.opener.public, issued_ms)
        return (identity or self.identity).sign(CERTIFICATE, msgspec.msgpack.encode(statement))


@dataclass
class Plane:
    """One process's worth of control plane."""

    store: SqliteStore
    ledger: Ledger
    feed: FeedService
    sealer: Sealer
    vaults: dict[str, Vault]

    async def write(self, action: str, *items: Item, client_id: str | None = CLIENT, **rest: Any) -> Written:
        draft = Draft(action=action, client_id=client_id, items=items, **rest)
        return await self.ledger.write(lambda _projection, _revision, _now: draft, actor="usr_test")

    async def enrol(self, *regions: str, certified: bool = True) -> None:
        for region in regions:
            vault = self.vaults.setdefault(region, Vault(region))
            await ensure_region(
                self.ledger, region, "http://127.0.0.1:7701", Secret(f"r-{region}"), vault.identity.public
            )
            if certified:
                await self.feed.uplink(region, Uplink(certificate=vault.certificate()))


@asynccontextmanager
async def plane(
    place: Path,
    *,
    vaults: dict[str, Vault] | None = None,
    clock: Clock | None = None,
    crash: Crash | None = None,
) -> AsyncIterator[Plane]:
    """A running control plane over the file `place`."""
    clock = clock or SystemClock()
    store = SqliteStore(place, LAYOUT, migrations=MIGRATIONS)
    await store.open()
    ledger = Ledger(store, SIGNER, clock, crash)
    await ledger.open()
    feed = FeedService(ledger, SIGNER, clock)
    await feed.open()
    try:
        yield Plane(store, ledger, feed, Sealer(ledger, SIGNER), {} if vaults is None else vaults)
    finally:
        await feed.close()
        await ledger.close()
        await store.close()


class Follower:
    """A region's registry, as far as the feed sees it: applies what verifies and asks after what it has."""

    def __init__(self, region: str) -> None:
        self.region = region
        self.state = RegionState.empty(region)
        self.answers: list[FeedAnswer] = []

    async def turn(self, feed: FeedService, wait: float = 0.0) -> FeedAnswer:
        answer = await feed.poll(self.region, self.state.revision, wait)
        self.answers.append(answer)
        if answer.delta is None:
            self.state = self.state.refresh(answer.manifest, VERIFIER)
        else:
            self.state = self.state.apply(answer.delta, VERIFIER)
        return answer

    async def settle(self, feed: FeedService) -> None:
        """Takes over all there is, and acknowledges it."""
        while (await self.turn(feed)).delta is not None:
            pass


def target(name: str, region: str = "us", **fields: Any) -> Item:
    """A target; every field may be given in wire names."""
    body = {"targetName": name, "targetBaseURL": "https://api.example.com", "targetRegion": region, **fields}
    return Item("target", name, CLIENT, after=body)


def credential(name: str, region: str = "us", side: str = "proxy", **fields: Any) -> Item:
    """A bearer credential."""
    body = {
        "credentialName": name,
        "credentialType": side,
        "credentialAuthType": "bearer",
        "credentialRegion": region,
        "credentialPlacement": {"in": "header", "name": "Authorization", "prefix": "Bearer"},
        "credentialVersion": 1,
        "credentialStatus": "active",
        **fields,
    }
    return Item("credential", name, CLIENT, after=body)


def proxy(
    name: str, callers: list[str], target_id: str, sender: str, region: str = "us", **fields: Any
) -> Item:
    """A proxy."""
    body = {
        "proxyName": name,
        "proxyRegion": region,
        "proxyProxyCredentialIds": callers,
        "proxyTargetId": target_id,
        "proxyTargetCredentialId": sender,
        **fields,
    }
    return Item("proxy", name, CLIENT, after=body)


def rule(name: str, parent: tuple[str, str], pattern: str = "^/v1", effect: str = "allow") -> Item:
    """A rule with a path check."""
    body = {"effect": effect, "path": {"pattern": pattern, "presence": "must_exist"}}
    return Item("rule", name, CLIENT, parent, after=body)


def filter_(name: str, parent: tuple[str, str], path: str = "$..secret") -> Item:
    """A filter that destroys."""
    body = {"action": "destroy", "paths": [path], "statuses": ["all"]}
    return Item("filter", name, CLIENT, parent, after=body)


def gone(item: Item) -> Item:
    """The deletion of what `item` made."""
    return msgspec.structs.replace(item, after=None)
