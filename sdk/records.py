"""Records of requests, counts over time and usage: what a client's proxies did, read only.

Nothing is checked here that the API checks. Records are as they were written at the edge; they hold no secret.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec
from pydantic.alias_generators import to_camel

from sdk.answers import A, Answered, read
from sdk.fields import plain
from sdk.lists import Page, each, elements, page, single
from sdk.resources import below
from sdk.tenancy import Moment
from sdk.wire import Wire

Interval = Literal["minute", "hour", "day"]


def _request(name: str) -> str:
    return "requestId" if name == "id" else to_camel(name)


class Request(Answered, frozen=True, kw_only=True, rename=_request):
    """The record of one request (API.md section 4). status: `unknown` when its worker died; structured parts are
    mappings as on the wire.
    """

    id: str
    client_id: str
    proxy_id: str
    region: str
    received_at: datetime
    method: str
    path: str
    query: str = ""
    credential_id: str | None = None
    status: int | str | None = None
    code: str | None = None
    duration_ms: float | None = None
    decision: dict[str, Any] | None = None
    limits: tuple[dict[str, Any], ...] = ()
    filters: tuple[dict[str, Any], ...] = ()
    redactions: dict[str, int] = msgspec.field(default_factory=dict)
    upstream: dict[str, Any] | None = None
    timings: dict[str, float | None] = msgspec.field(default_factory=dict)
    bytes_in: int | None = None
    bytes_out: int | None = None
    client_address: str = ""
    user_agent: str = ""
    revision: int = 0


class Bucket(Answered, frozen=True, kw_only=True, rename="camel"):
    """Counts of one minute, hour or day from `at` on; percentiles in milliseconds, None without a duration."""

    at: datetime
    requests: int
    granted: int
    denied: int
    limited: int
    failed: int
    bytes_in: int
    bytes_out: int
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


class Usage(Answered, frozen=True, kw_only=True, rename="camel"):
    """Counts of one month (UTC). proxy_id: None for the whole client."""

    month: str
    requests: int
    granted: int
    denied: int
    limited: int
    failed: int
    bytes_in: int
    bytes_out: int
    proxy_id: str | None = None


class Requests:
    """Requests of a client, or of one of its proxies. All methods raise ApiProblem, ApiUnreachable, UnexpectedAnswer."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def page(
        self,
        client_id: str,
        *,
        proxy_id: str | None = None,
        status: int | str | None = None,
        code: str | None = None,
        credential_id: str | None = None,
        after: Moment | None = None,
        before: Moment | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page[Request]:
        """One page, newest first; it may be empty and go on all the same. after, before: of `received_at`, exclusive."""
        query = _query(status, code, credential_id, after, before)
        path = _path(client_id, proxy_id, "requests")
        return await page(self._wire, Request, path, "requests", {**query, "limit": limit, "cursor": cursor})

    def each(
        self,
        client_id: str,
        *,
        proxy_id: str | None = None,
        status: int | str | None = None,
        code: str | None = None,
        credential_id: str | None = None,
        after: Moment | None = None,
        before: Moment | None = None,
        page_size: int | None = None,
    ) -> AsyncIterator[Request]:
        """All of them: `async for request in api.requests.each(client.id, status=429)`."""
        query = _query(status, code, credential_id, after, before)
        path = _path(client_id, proxy_id, "requests")
        return each(self._wire, Request, path, "requests", {**query, "limit": page_size})

    async def get(self, client_id: str, request_id: str, *, proxy_id: str | None = None) -> Request:
        """One of them."""
        reply = await self._wire.call("GET", _path(client_id, proxy_id, "requests", request_id))
        return single(Request, reply, "requests")


async def telemetry(  # noqa: PLR0917 - what a question is made of
    wire: Wire,
    client_id: str,
    proxy_id: str | None,
    start: Moment | None,
    end: Moment | None,
    interval: Interval | None,
) -> tuple[Bucket, ...]:
    """See ExeatClient.telemetry."""
    query = {"from": plain(start), "to": plain(end), "interval": interval}
    return await _all(wire, Bucket, _path(client_id, proxy_id, "telemetry"), "telemetry", query)


async def usage(wire: Wire, client_id: str, month: str | None) -> tuple[Usage, ...]:
    """See ExeatClient.usage."""
    return await _all(wire, Usage, below("clients", client_id, "billing", "usage"), "usage", {"month": month})


async def _all(
    wire: Wire, kind: type[A], path: str, plural: str, query: Mapping[str, str | None]
) -> tuple[A, ...]:
    given = {name: value for name, value in query.items() if value is not None}
    reply = await wire.call("GET", path, query=given)
    return tuple(read(kind, one) for one in elements(reply, plural))


def _path(client_id: str, proxy_id: str | None, *rest: str) -> str:
    proxy = () if proxy_id is None else ("proxies", proxy_id)
    return below("clients", client_id, *proxy, *rest)


def _query(
    status: int | str | None,
    code: str | None,
    credential_id: str | None,
    after: Moment | None,
    before: Moment | None,
) -> Mapping[str, str | int | None]:
    return {
        "status": status,
        "code": code,
        "credentialId": credential_id,
        "processedAfter": plain(after),
        "processedBefore": plain(before),
    }
