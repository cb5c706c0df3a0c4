"""A lease table with a clock moved by hand and a vault that answers as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from models.custody.capability import Wanted
from models.policy import LeaseKey
from models.secret import Secret
from proxy_edge.compiled import LeaseTerms
from proxy_edge.leases import LinkLeases
from proxy_edge.steps.lease import Injection, LeaseWait
from proxy_edge.vault_client import Denied, Leased
from tests.kit.edge_region import until

SECOND = 1_000_000_000


def key(name: str = "sender", host: str = "target.test") -> LeaseKey:
    return (name, "https", host, 443)


def wanted(of: LeaseKey) -> Wanted:
    return Wanted("acme", *of)


class Clock:
    """Moved by hand, in boot nanoseconds."""

    def __init__(self) -> None:
        self.ns = 1_000 * SECOND

    def wall_ms(self) -> int:
        return self.ns // 1_000_000

    def boot_ns(self) -> int:
        return self.ns


class Vault:
    """Answers with leases of `life` seconds and the versions it is told; `fail` is raised instead when set."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.life = 60.0
        self.versions: dict[str, int] = {}
        self.denied: dict[str, str] = {}
        self.fail: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.asked: list[list[str]] = []

    async def lease(self, wants: Iterable[Wanted], _timeout: float) -> Mapping[Wanted, Leased | Denied]:
        asked, sent = list(wants), self.clock.ns
        self.asked.append([one.credential_id for one in asked])
        await self.open.wait()
        if self.fail is not None:
            raise self.fail
        return {one: self._answer(one, sent) for one in asked}

    def _answer(self, one: Wanted, sent: int) -> Leased | Denied:
        if one.credential_id in self.denied:
            return Denied(self.denied[one.credential_id])
        made = Injection.in_header("a", "", Secret(f"secret-of-{one.credential_id}"))
        version = self.versions.get(one.credential_id, 1)
        return Leased(made, version, sent, sent + int(self.life * SECOND))


class Table:
    """A lease table with everything around it."""

    def __init__(self, *keys: LeaseKey, **options: Any) -> None:
        self.clock = Clock()
        self.vault = Vault(self.clock)
        self.leases = LinkLeases(self.vault.lease, self.clock, **options)
        self.keys = keys or (key(),)
        self.govern()

    def govern(self, **fields: Any) -> None:
        terms = {"wanted": {one: wanted(one) for one in self.keys}, "versions": {}, **fields}
        self.leases.govern(LeaseTerms(**terms))

    async def had(self, of: LeaseKey | None = None) -> Injection | None:
        """Wants a lease and waits for it."""
        wait = self.leases.want(of or self.keys[0])
        await decided(wait)
        return self.leases.get(of or self.keys[0])


async def decided(*waits: LeaseWait) -> None:
    await until(lambda: all(wait.ready or wait.refusal for wait in waits))
