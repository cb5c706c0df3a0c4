"""The Core API on a real socket over a real control plane, with regions that follow their feeds, for tests.

Everything runs in the test's own event loop; a region is a task that polls and acknowledges at once.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec

from control_api.app import create_app
from control_api.bootstrap import ensure_owner
from control_api.call import Services
from control_api.ledger.projection import Projection
from control_api.readiness import Readiness
from control_api.records.intake import Intake
from control_api.records.layout import RECORDS_LAYOUT
from control_api.records.service import Records, owners_in
from control_api.serving import serve
from models.clock import Clock, SystemClock
from models.custody.orders import Put, read_order
from store.sqlite import SqliteStore
from tests.kit.plane import VERIFIER, Follower, Plane, plane
from tests.kit.stores import opened

REGIONS = ("us-east-1", "eu-west-1")
CALLER_KEY = "caller-key-0123456789abcdef"
TARGET_TOKEN = "target-token-fedcba9876543210"
_numbers = itertools.count(1)


class Region(Follower):
    """A region that follows its feed until it is told to stay away, and remembers its orders."""

    def __init__(self, region: str, here: Plane) -> None:
        super().__init__(region)
        self._plane = here
        self._task: asyncio.Task[None] | None = None

    def come(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._follow(), name=f"region-{self.region}")

    async def leave(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _follow(self) -> None:
        while True:
            await self.turn(self._plane.feed, 5.0)

    @property
    def orders(self) -> list[Any]:
        return [read_order(signed, VERIFIER) for answer in self.answers for signed in answer.orders]

    def secrets(self) -> list[dict[str, str]]:
        """What the vault of this region finds in the orders it was given."""
        opener = self._plane.vaults[self.region].opener

        return [
            msgspec.json.decode(opener.open(order.sealed, order.binding).reveal())
            for order in self.orders
            if isinstance(order, Put)
        ]


@dataclass
class Api:
    """The API and shortcuts to what most tests need. token: the owner's."""

    plane: Plane
    http: httpx.AsyncClient
    token: str
    regions: dict[str, Region]
    home: Path
    port: int
    client: str = ""
    user: str = ""
    made: dict[str, str] = field(default_factory=dict)

    @property
    def projection(self) -> Projection:
        return self.plane.ledger.projection

    @property
    def head(self) -> int:
        """The revision of the last change."""
        return self.projection.revision

    async def call(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> httpx.Response:
        """One request. path: below /v1, `{c}` is the client. token: the owner's unless told; empty for none."""
        chosen = self.token if token is None else token
        fields = {**({"authorization": chosen} if chosen else {}), **(headers or {})}
        path = path.replace("{c}", f"/clients/{self.client}")
        if not path.startswith("/docs"):
            path = f"/v1{path}"
        return await self.http.request(method, path, headers=fields, **more)

    async def get(self, path: str, **more: Any) -> httpx.Response:
        return await self.call("GET", path, **more)

    async def post(self, path: str, body: Any = None, **more: Any) -> httpx.Response:
        return await self.call("POST", path, **({} if body is None else {"json": body}), **more)

    async def put(self, path: str, body: Any, **more: Any) -> httpx.Response:
        return await self.call("PUT", path, json=body, **more)

    async def patch(self, path: str, body: Any, **more: Any) -> httpx.Response:
        return await self.call("PATCH", path, json=body, **more)

    async def delete(self, path: str, **more: Any) -> httpx.Response:
        return await self.call("DELETE", path, **more)

    async def make(self, path: str, body: Any, **more: Any) -> dict[str, Any]:
        """Creates and returns the resource."""
        return one(await self.post(path, body, **more), 201)

    async def new_client(self, name: str = "Acme", **fields: Any) -> str:
        found = await self.make("/clients", {"clientName": name, **fields})
        return str(found["clientId"])

    async def new_user(self, scopes: list[str] | None = None, *, name: str = "Somebody") -> tuple[str, str]:
        """A user, and a token of it."""
        user = await self.make("/users", {"userName": name})
        return user["userId"], await self.new_token(user["userId"], scopes)

    async def new_token(self, user: str, scopes: list[str] | None = None) -> str:
        body = {"tokenName": "test", "tokenScopes": scopes or ["read", "write", "operate"]}
        return str((await self.make(f"/users/{user}/tokens", body))["tokenValue"])

    async def new_member(self, role: str, scopes: list[str] | None = None) -> tuple[str, str]:
        """A user with one role in the client, and a token of it."""
        user, token = await self.new_user(scopes, name=role)
        await self.make("{c}/members", {"userId": user, "roles": [role]})
        return user, token

    async def stack(self, region: str = REGIONS[0], **proxy: Any) -> dict[str, str]:
        """A caller, a sender, a target and a proxy: their ids, also in `made`."""
        caller = await self.make("{c}/credentials", caller_body(region))
        sender = await self.make("{c}/credentials", sender_body(region))
        target = await self.make("{c}/targets", target_body(region))
        ids = {
            "caller": caller["credentialId"],
            "sender": sender["credentialId"],
            "target": target["targetId"],
        }
        found = await self.make("{c}/proxies", proxy_body(ids, region, **proxy))
        self.made = {**ids, "proxy": found["proxyId"]}
        return self.made


def one(answer: httpx.Response, status: int = 200) -> dict[str, Any]:
    """The single element of a success."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body["message"] == "Success"
    (elements,) = [value for name, value in body.items() if name not in {"message", "nextCursor"}]
    (element,) = elements
    return dict(element)


def fields(answer: httpx.Response, status: int = 422) -> list[str]:
    """The fields that a problem names."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return [error["field"] for error in answer.json()["errors"]]


def caller_body(region: str = REGIONS[0], **more: Any) -> dict[str, Any]:
    """A proxy credential with a given key."""
    return {
        "credentialName": "Caller",
        "credentialType": "proxy",
        "credentialAuthType": "apiKey",
        "credentialRegion": region,
        "credentialSecret": {"key": CALLER_KEY},
        **more,
    }


def sender_body(region: str = REGIONS[0], **more: Any) -> dict[str, Any]:
    """A target credential with a bearer token."""
    return {
        "credentialName": "Sender",
        "credentialType": "target",
        "credentialAuthType": "bearer",
        "credentialRegion": region,
        "credentialSecret": {"token": TARGET_TOKEN},
        **more,
    }


def target_body(region: str = REGIONS[0], **more: Any) -> dict[str, Any]:
    """A target."""
    return {
        "targetName": "Target",
        "targetBaseURL": "https://api.example.com/v2",
        "targetRegion": region,
        **more,
    }


def proxy_body(ids: dict[str, str], region: str = REGIONS[0], **more: Any) -> dict[str, Any]:
    """A proxy that joins caller, sender and target."""
    return {
        "proxyName": "Proxy",
        "proxyRegion": region,
        "proxyProxyCredentialIds": [ids["caller"]],
        "proxyTargetId": ids["target"],
        "proxyTargetCredentialId": ids["sender"],
        **more,
    }


@asynccontextmanager
async def api(home: Path, *, clock: Clock | None = None, away: tuple[str, ...] = ()) -> AsyncIterator[Api]:
    """A running API with two regions that follow (but those `away`), and one client, `{c}`, of the owner."""
    clock = clock or SystemClock()
    async with (
        plane(home / "control.db", clock=clock) as here,
        opened(SqliteStore(home / "records.db", RECORDS_LAYOUT)) as records_store,
    ):
        owner = await ensure_owner(here.ledger, home / "owner.token")
        assert owner is not None
        await here.enrol(*REGIONS)
        intake = Intake(records_store, owners_in(here.ledger))
        records = Records(records_store, intake, here.ledger, clock, days=30)
        services = Services(
            ledger=here.ledger,
            feed=here.feed,
            sealer=here.sealer,
            records=records,
            readiness=Readiness(here.store, clock),
            clock=clock,
            new_secret=lambda: secrets.token_urlsafe(32),
        )
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        serving = await serve(create_app(services, name=f"test-control-{next(_numbers)}"), sock)
        regions = {name: Region(name, here) for name in REGIONS}
        for name, region in regions.items():
            if name not in away:
                region.come()
        # Settings of the machine, a proxy above all, are none of ours.
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False
        ) as http:
            found = Api(here, http, owner.reveal().decode(), regions, home, port)
            found.user = one(await found.get("/users/me"))["userId"]
            found.client = await found.new_client()
            try:
                yield found
            finally:
                for region in regions.values():
                    await region.leave()
                await here.feed.close()
        assert await serving.stop(5)
        sock.close()


__all__ = ["REGIONS", "Api", "Region", "api", "fields", "one"]
