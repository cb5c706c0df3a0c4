"""The demo upstream: a small HTTP/1.1 service that echoes what reaches it, answers slowly, streams, or knows a person.

It stands in for a third-party API, so a caller can see what the edge sent: that a credential arrived and
whether it was the right one, never which. It listens on 127.0.0.1 only.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path
from typing import Any, Final

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict
from sanic import HTTPResponse, Request, Sanic
from sanic.response import json

from control_api.files import read_secret
from models.errors import ConfigurationError
from models.secret import Secret
from proxy_edge import logs

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD")
LONGEST_SECONDS = 60.0
MOST_EVENTS = 1000
ECHOED_BODY_BYTES = 65_536
CUSTOMER: Final = {
    "plan": "team",
    "customer": {
        "name": "Margaret Hamilton",
        "contact": [
            {"kind": "email", "value": "margaret.hamilton@example.com"},
            {"kind": "phone", "value": "+1 617-253-0143"},
        ],
        "billing": {"card": "4111 1111 1111 1111", "currency": "USD"},
    },
    "history": ["Margaret Hamilton asked for an invoice; write to margaret.hamilton@example.com."],
}
"""Somebody's data, for redaction: a name, an address, a number and a card, as deep as an API would have them."""


class UpstreamSettings(BaseSettings):
    """What the demo upstream can be told by the environment."""

    model_config = SettingsConfigDict(env_prefix="EXEAT_", env_ignore_empty=True, hide_input_in_errors=True)

    demo_target_token: SecretStr | None = Field(
        default=None, description="the bearer token it takes for its own"
    )
    demo_target_token_file: Path | None = Field(
        default=None, description="a file with that token instead (mode 600)"
    )

    def token(self) -> Secret | None:
        """The token, None when none is given. Raises ConfigurationError for a file that cannot be used."""
        if self.demo_target_token is not None:
            return Secret(self.demo_target_token.get_secret_value())
        return None if self.demo_target_token_file is None else read_secret(self.demo_target_token_file)


def serve(port: int, settings: UpstreamSettings) -> None:
    """Blocks until SIGTERM or SIGINT. port: 0 takes a free one; the ready line on stdout says which.

    Raises ConfigurationError when the port or the token's file cannot be had.
    """
    token = settings.token()
    try:
        sock = socket.create_server(("127.0.0.1", port), backlog=1024)
    except (OSError, OverflowError) as error:
        reason = os.strerror(error.errno or 0) if isinstance(error, OSError) else "no such port"
        raise ConfigurationError(
            f"127.0.0.1:{port} cannot be listened on: {reason}", field="--port"
        ) from None
    logs.configure("warning")
    app = make_app(token)

    @app.after_server_start
    async def announce(*_: Any) -> None:
        sys.stdout.write(f"demo upstream ready: http://127.0.0.1:{sock.getsockname()[1]}\n")
        sys.stdout.flush()

    app.run(sock=sock, single_process=True, motd=False, access_log=False)


def make_app(token: Secret | None) -> Sanic[Any, Any]:
    """The routes: `/slow?seconds=`, `/stream?events=&interval=`, `/customers/{id}`, and an echo for everything else.

    token: the bearer token that counts as this service's own; None when it knows none.
    """
    app: Sanic[Any, Any] = Sanic("exeat-demo-upstream", configure_logging=False)
    app.ctx.token = token
    app.config.GRACEFUL_SHUTDOWN_TIMEOUT = 1.0
    app.add_route(slow, "/slow", methods=METHODS)
    app.add_route(stream, "/stream", methods=("GET",))
    app.add_route(customer, "/customers/<number:int>", methods=("GET",))
    app.add_route(echo, "/", methods=METHODS, name="root")
    app.add_route(echo, "/<path:path>", methods=METHODS, name="any")
    return app


async def echo(request: Request, path: str = "") -> HTTPResponse:  # noqa: ARG001 - the router passes it
    """What arrived, as JSON; of a credential only its scheme and that it was there."""
    return json(seen(request))


async def slow(request: Request) -> HTTPResponse:
    """The echo, after `seconds` (2 unless given)."""
    await asyncio.sleep(_number(request, "seconds", 2.0, LONGEST_SECONDS))
    return json(seen(request))


async def customer(request: Request, number: int) -> HTTPResponse:
    """A person's data, for whoever shows the right token."""
    if seen(request)["authenticated"] is False:
        return json({"error": "unauthorized"}, 401)
    return json({"id": number, **CUSTOMER})


async def stream(request: Request) -> None:
    """Server-sent events: `events` of them (5), one every `interval` seconds (0.5)."""
    interval = _number(request, "interval", 0.5, LONGEST_SECONDS)
    response = await request.respond(content_type="text/event-stream", headers={"cache-control": "no-store"})
    if response is None:
        return
    for number in range(int(_number(request, "events", 5, MOST_EVENTS))):
        if number:
            await asyncio.sleep(interval)
        await response.send(f'id: {number}\ndata: {{"event": {number}}}\n\n')
    await response.eof()


def seen(request: Request) -> dict[str, object]:
    """A request as this service saw it."""
    body = request.body
    authorization = request.headers.get("authorization")
    token: Secret | None = request.app.ctx.token
    return {
        "method": request.method,
        "path": request.path,
        "query": request.query_string,
        "headers": {
            name: "****" if name == "authorization" else ", ".join(request.headers.getall(name))
            for name in request.headers
        },
        "authorization": None if authorization is None else f"{authorization.partition(' ')[0]} ****",
        "authenticated": None
        if token is None
        else Secret(f"{authorization}") == Secret(b"Bearer " + token.reveal()),
        "bytesIn": len(body),
        "body": body.decode("utf-8", "replace") if len(body) <= ECHOED_BODY_BYTES else None,
    }


def _number(request: Request, name: str, default: float, most: float) -> float:
    try:
        number = float(request.args.get(name, default))
    except ValueError:
        return default
    return min(number, most) if number >= 0 else default
