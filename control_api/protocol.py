"""Sanic's HTTP protocol with deadlines that a slow sender cannot move.

Sanic starts its clock anew with every byte; here it runs from the first byte of a request. Nothing else differs.
"""

from __future__ import annotations

from sanic.http import Stage
from sanic.server import HttpProtocol


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
