"""The target where nginx is missing: the same answers from uvloop and httptools.

Run as `python -m scripts.bench.python_upstream PORT TOKEN_FILE`. It serves a benchmark on loopback and
must never be used for anything else: it answers every path and checks nothing.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import cast

import httptools
import uvloop

from scripts.bench.governance import KEY_HEADER
from scripts.bench.upstream import answer_body, people_body


def answer(path: bytes, authorization: bytes, has_key: bool, token: bytes) -> bytes:
    """The whole response for a request path, as the nginx target gives it."""
    extra = b""
    if path.startswith((b"/v1/items/", b"/v1/limited/")):
        body = answer_body()
    elif path.startswith(b"/v1/people/"):
        body = people_body()
    elif path.startswith(b"/v1/seen/"):
        seen = "injected" if authorization == b"Bearer " + token else "other" if authorization else "missing"
        document = {"authorization": seen, "apiKey": "present" if has_key else "absent"}
        body = json.dumps(document, separators=(",", ":")).encode()
    elif path.startswith(b"/v1/echo/"):
        extra = b"X-Echo: " + authorization + b"\r\n"
        body = json.dumps({"echo": authorization.decode("latin-1")}, separators=(",", ":")).encode()
    else:
        body = b'{"reached":true}'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + extra
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


class Target(asyncio.Protocol):
    """One connection: a parser, and an answer for every complete request."""

    def __init__(self, token: bytes) -> None:
        self._token = token
        self._load = answer(b"/v1/items/42", b"", has_key=False, token=token)
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._url, self._authorization, self._has_key = b"", b"", False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        # uvloop's transports are no subclass of asyncio's; only the first has a stub.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Parse; a broken request ends the connection."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            if self._transport:
                self._transport.close()

    def on_message_begin(self) -> None:
        """Forget the request before."""
        self._url, self._authorization, self._has_key = b"", b"", False

    def on_url(self, piece: bytes) -> None:
        """Collect the path; it may come in pieces."""
        self._url += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep the two headers that the checks ask for."""
        lower = name.lower()
        if lower == b"authorization":
            self._authorization = value
        elif lower == KEY_HEADER.lower().encode():
            self._has_key = True

    def on_message_complete(self) -> None:
        """Answer."""
        if self._transport is None:
            return
        if self._url.startswith(b"/v1/items/"):
            self._transport.write(self._load)
        else:
            self._transport.write(answer(self._url, self._authorization, self._has_key, self._token))


async def serve(port: int, token: bytes) -> None:
    """Listen on loopback until the process is ended."""
    server = await asyncio.get_running_loop().create_server(lambda: Target(token), "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), Path(sys.argv[2]).read_bytes()))
