"""Sanic's HTTP protocol with deadlines that a slow sender cannot move, and without heads that can be read in two ways.

Sanic starts its clock anew with every byte; here it runs from the first byte of a request. It takes `Content-Length :`
for another field, so that a body becomes a second request behind a proxy that reads it as framing; here such a head
ends the connection. Nothing else differs.
"""

from __future__ import annotations

import re
from typing import Any, Final

from sanic import Request
from sanic.exceptions import BadRequest
from sanic.http import Stage
from sanic.server import HttpProtocol

_FIELD: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")
"""RFC 9112 section 5: nothing between name and colon; RFC 9110 section 5.5: no CR, LF or NUL in a value."""
_LENGTH: Final = re.compile(rb"content-length:[ \t]*[0-9]+[ \t]*", re.IGNORECASE)


class StrictRequest(Request):
    """A request whose head can be read in one way only. Raises BadRequest, which closes the connection."""

    __slots__ = ()

    def __init__(self, *, head: bytes = b"", **fields: Any) -> None:
        """As Sanic's; head: the request's, without the blank line at its end."""
        _check(head)
        super().__init__(head=head, **fields)


def _check(head: bytes) -> None:
    hosts = 0
    for line in head.split(b"\r\n")[1:]:
        if not _FIELD.fullmatch(line):
            raise BadRequest("A header field is not well-formed")
        name = line[:15].lower()
        hosts += name.startswith(b"host:")
        if name == b"content-length:" and not _LENGTH.fullmatch(line):
            raise BadRequest("Content-Length is no number")
    if hosts > 1:
        raise BadRequest("There are several Host fields")


class DeadlineProtocol(HttpProtocol):
    """REQUEST_TIMEOUT bounds the whole head, RESPONSE_TIMEOUT body, handler and answer together."""

    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        """Bytes of a request that has begun leave its clock alone."""
        http = self.http
        begun = self._time if http is not None and http.stage in {Stage.REQUEST, Stage.HANDLER} else None
        super().data_received(data)
        if begun is not None:
            self._time = begun

    def check_timeouts(self) -> None:
        """As Sanic's; asking for a websocket, which there is none of, switches nothing off."""
        http = self.http
        if http is not None:
            http.upgrade_websocket = False
        super().check_timeouts()  # type: ignore[no-untyped-call]  # Sanic does not say
