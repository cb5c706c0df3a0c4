"""The Core API's application: the table of routes served by Sanic, every failure answered as a problem.

Collaborators are parameters; nothing here opens a store, a file or a port. No answer but a problem's own fields
ever tells what went wrong inside.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from types import ModuleType
from typing import Any, Final

from sanic import HTTPResponse, Request, Sanic
from sanic.config import Config
from sanic.exceptions import PayloadTooLarge

from control_api import bodies
from control_api.access import authorise
from control_api.auth import Authenticator
from control_api.call import Answer, Call, Caller, Services
from control_api.handlers import (
    audit,
    billing,
    clients,
    credentials,
    documents,
    endpoints,
    feed,
    filters,
    health,
    members,
    proxies,
    requests,
    revisions,
    rules,
    targets,
    telemetry,
    tokens,
    users,
)
from control_api.problems import MEDIA, dump, headers, problem, status_of
from control_api.protocol import StrictRequest
from control_api.routes.table import BODY_MAX, ROUTES, Route
from models.errors import (
    ApiError,
    Conflict,
    ExeatError,
    Forbidden,
    Invalid,
    NotFound,
    PreconditionFailed,
    TooLarge,
)
from models.ids import RequestIds

Handler = Callable[[Call], Awaitable[Answer]]

HEAD_MAX: Final = 16_384
"""Longest request head in bytes; more is 431."""
HEAD_SECONDS: Final = 10
ANSWER_SECONDS: Final = 60
"""From a request's first byte to its answer; a poll of the feed takes 20 of them."""
KEEP_ALIVE_SECONDS: Final = 75
DRAIN_SECONDS: Final = 10.0

_MODULES: Final[Mapping[str, ModuleType]] = {
    module.__name__.rpartition(".")[2]: module
    for module in (
        audit,
        billing,
        clients,
        credentials,
        documents,
        endpoints,
        feed,
        filters,
        health,
        members,
        proxies,
        requests,
        revisions,
        rules,
        targets,
        telemetry,
        tokens,
        users,
    )
}
_BY_STATE: Final = (Conflict, Forbidden, Invalid, NotFound, PreconditionFailed)
"""Refusals before anything is done, which may depend on what this process has heard of the log."""
_EVERY_ANSWER: Final = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
_log = logging.getLogger("exeat.control.api")


def handler_of(route: Route) -> Handler:
    """The function that a row of the table names."""
    module, _, function = route.name.partition(".")
    found: Handler = getattr(_MODULES[module], function)
    return found


def create_app(services: Services, *, name: str = "exeat-control") -> Sanic[Any, Any]:
    """The application over `services`. name: unique within the process."""
    # Its own variables are not read: settings come through our own model only.
    app: Sanic[Any, Any] = Sanic(
        name,
        config=Config(env_prefix=None),
        configure_logging=False,
        strict_slashes=True,
        request_class=StrictRequest,
    )
    app.config.update(
        ACCESS_LOG=False,
        AUTO_EXTEND=False,
        FALLBACK_ERROR_FORMAT="json",  # for a caller that has hung up; else Sanic guesses, and warns
        GRACEFUL_SHUTDOWN_TIMEOUT=DRAIN_SECONDS,
        INSPECTOR=False,
        KEEP_ALIVE_TIMEOUT=KEEP_ALIVE_SECONDS,
        MOTD=False,
        REQUEST_MAX_HEADER_SIZE=HEAD_MAX,
        REQUEST_MAX_SIZE=BODY_MAX,
        REQUEST_TIMEOUT=HEAD_SECONDS,
        RESPONSE_TIMEOUT=ANSWER_SECONDS,
        TOUCHUP=False,  # it rewrites methods from their source, for a speed that nobody needs here
    )
    door = _Door(services)
    for route in ROUTES:
        path = route.path.replace("{", "<").replace("}", ":str>")
        app.add_route(
            door.serve(route),
            path,
            methods=[route.method],
            name=f"{route.method}-{route.path}".translate(_NAME),
            stream=route.body_max > BODY_MAX,
        )
    app.exception(Exception)(door.refuse)
    return app


_NAME: Final = str.maketrans({"/": "-", "{": None, "}": None, ".": "-"})


class _Answered(HTTPResponse):
    """Without the empty `alt-svc` that Sanic leaves in answers unless it rewrites its own methods at start."""

    @property
    def processed_headers(self) -> Iterator[tuple[bytes, bytes]]:
        return (field for field in super().processed_headers if field != (b"alt-svc", b""))


class _Door:
    """Between Sanic and the handlers: who calls, whether he may, what he sent; then the answer or the problem."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._authenticator = Authenticator(services.ledger, services.clock)
        self._request_ids = RequestIds()

    def serve(self, route: Route) -> Callable[..., Coroutine[Any, Any, HTTPResponse]]:
        """What Sanic calls for one row of the table."""
        handler = handler_of(route)

        async def attempt(request: Request, params: Mapping[str, str]) -> Answer:
            caller = await self._admit(route, request, params)
            if route.body_max > BODY_MAX:
                await _receive(request, route.body_max)
            call = Call(
                route=route,
                path=request.path,
                params=params,
                query=bodies.read_query(request.query_string, route.query),
                body=request.body,
                if_match=bodies.read_if_match(_field(request, "if-match")) if route.conditional else None,
                idempotency_key=bodies.read_idempotency_key(_field(request, "idempotency-key")),
                request_id=self._request_id(request),
                services=self._services,
                authenticated=caller,
            )
            return await handler(call)

        async def served(request: Request, **params: str) -> HTTPResponse:
            before = self._services.ledger.projection.revision
            try:
                answer = await attempt(request, params)
            except _BY_STATE:
                if not await self._is_behind(before):
                    raise
                answer = await attempt(request, params)
            return self._response(request, answer)

        return served

    async def _is_behind(self, revision: int) -> bool:
        """Whether the log has more than `revision`: another process may have made what this one did not know."""
        with contextlib.suppress(ApiError):  # then what is known here is all there is
            return await self._services.ledger.catch_up() > revision
        return False

    async def _admit(self, route: Route, request: Request, params: Mapping[str, str]) -> Caller | None:
        if route.access == "open":
            return None
        presented = request.headers.getall("authorization", [])
        if route.access == "region":
            self._authenticator.region(presented, params["region"])
            return None
        caller = await self._authenticator.user(presented)
        authorise(route, params, caller, self._services.ledger.projection)
        return caller

    async def refuse(self, request: Request, error: Exception) -> HTTPResponse:
        """The problem that an exception is answered with; one that nobody foresaw is logged."""
        status, request_id = status_of(error), self._request_id(request)
        if status == 500:
            _log.error("request failed", exc_info=error, extra={"requestId": request_id})
        elif isinstance(error, ExeatError) and error.detail != getattr(error, "public", ""):
            extra = {"requestId": request_id, "status": status, "reason": error.detail}
            _log.info("request refused", extra=extra)
        answer = Answer(status, dump(problem(error, request_id)), headers(error), MEDIA)
        return self._response(request, answer)

    def _request_id(self, request: Request) -> str:
        found: str | None = getattr(request.ctx, "exeat_id", None)
        if found is None:
            found = request.ctx.exeat_id = self._request_ids()
        return found

    def _response(self, request: Request, answer: Answer) -> HTTPResponse:
        body = (
            answer.body if isinstance(answer.body, bytes) or answer.body is None else dump(dict(answer.body))
        )
        fields = {**_EVERY_ANSWER, "exeat-request-id": self._request_id(request), **answer.headers}
        return _Answered(
            body,
            status=answer.status,
            headers=fields,
            content_type=None if answer.status == 204 else answer.media,
        )


async def _receive(request: Request, most: int) -> None:
    """Reads a body that Sanic left to us, at most so many bytes. Raises TooLarge, which closes the connection."""
    stream = request.stream
    if stream is not None and not request.body:
        stream.request_max_size = most
        try:
            await request.receive_body()  # type: ignore[no-untyped-call]  # Sanic does not say
        except PayloadTooLarge:
            raise TooLarge(f"The body is longer than {most} bytes") from None


def _field(request: Request, name: str) -> str | None:
    """A header field's value; several are one list, as RFC 9110 section 5.3 says."""
    values = request.headers.getall(name, [])
    return ", ".join(values) if values else None
