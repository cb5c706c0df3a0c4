"""The client of the Core API: one object, one token, one group of methods for each sort of resource.

For the command line, tests and notebooks. It keeps nothing but its connections, and shows its token to nobody.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, Self

import httpx

from models.secret import Secret
from sdk.answers import Endpoint, Readiness, Revision, read
from sdk.errors import CallFailed
from sdk.lists import Page, each, page, single
from sdk.records import Bucket, Interval, Requests, Usage, telemetry, usage
from sdk.resources import Credentials, Proxies, Targets
from sdk.tenancy import Audit, Clients, Members, Moment, Tokens, Users
from sdk.wire import Reply, Retry, Wire


class ExeatClient:
    """Calls the Core API at `base_url` (`/v1` is added when left out) with a user's token.

    transport: another httpx transport, for example one with its own TLS settings. timeout: seconds of one
    attempt. retry: of reads, and of POST with an Idempotency-Key; nothing else is ever repeated.
    Raises ValueError for a URL or token that cannot be used. All methods raise ApiProblem, ApiUnreachable and
    UnexpectedAnswer, which are CallFailed.

        async with ExeatClient("http://127.0.0.1:7700", token) as api:
            client = await api.clients.create(name="acme")
            async for proxy in api.proxies.each(client.id):
                print(proxy.name, proxy.base_url)
    """

    def __init__(
        self,
        base_url: str,
        token: Secret | str,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        timeout: float = 30.0,
        retry: Retry | None = None,
    ) -> None:
        self._wire = wire = Wire(base_url, token, transport=transport, timeout=timeout, retry=retry)
        self.base_url: Final = wire.base_url
        self.users: Final = Users(wire)
        self.tokens: Final = Tokens(wire)
        self.clients: Final = Clients(wire)
        self.members: Final = Members(wire)
        self.audit: Final = Audit(wire)
        self.requests: Final = Requests(wire)
        self.credentials: Final = Credentials(wire)
        self.targets: Final = Targets(wire)
        self.proxies: Final = Proxies(wire)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"ExeatClient({self.base_url!r})"

    async def close(self) -> None:
        """Lets go of all connections; twice is fine."""
        await self._wire.close()

    async def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | bytes | None = None,
        *,
        query: Mapping[str, str | int] | None = None,
        if_match: int | None = None,
        idempotency_key: str | None = None,
    ) -> Reply:
        """Any route by its path below `/v1`, for what has no method here. body: JSON values, or bytes as they are."""
        return await self._wire.call(
            method, path, body, query=query, if_match=if_match, idempotency_key=idempotency_key
        )

    async def healthy(self) -> bool:
        """Whether the API's process answers; asks once."""
        try:
            return (await self._wire.call("GET", "/health", repeat=False)).status == httpx.codes.OK
        except CallFailed:
            return False

    async def ready(self) -> Readiness:
        """Whether writes work, and how each region is; not ready is an answer, not an error. Asks once."""
        reply = await self._wire.call(
            "GET", "/ready", repeat=False, accept=(httpx.codes.SERVICE_UNAVAILABLE,)
        )
        data = {**(reply.data or {}), "ready": reply.status == httpx.codes.OK}
        return read(Readiness, data)

    async def endpoints_page(self, *, limit: int | None = None, cursor: str | None = None) -> Page[Endpoint]:
        """One page of the regions."""
        query = {"limit": limit, "cursor": cursor}
        return await page(self._wire, Endpoint, "/endpoints", "endpoints", query)

    def endpoints(self, *, page_size: int | None = None) -> AsyncIterator[Endpoint]:
        """Every region: `async for endpoint in api.endpoints()`."""
        return each(self._wire, Endpoint, "/endpoints", "endpoints", {"limit": page_size})

    async def telemetry(
        self,
        client_id: str,
        *,
        proxy_id: str | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
        interval: Interval | None = None,
    ) -> tuple[Bucket, ...]:
        """Counts and latencies of a client or a proxy, oldest first; the last hour by minute unless told.

        Buckets without requests are left out.
        """
        return await telemetry(self._wire, client_id, proxy_id, start, end, interval)

    async def usage(self, client_id: str, *, month: str | None = None) -> tuple[Usage, ...]:
        """A month's counts, `2030-01` or the current one: the client's total, then each of its proxies."""
        return await usage(self._wire, client_id, month)

    async def revision(self, revision: int) -> Revision:
        """Which regions and edges have a change."""
        return single(Revision, await self._wire.call("GET", f"/revisions/{revision:d}"), "revisions")
