"""One caller's connection: feeds the parser, runs one exchange at a time, keeps deadlines and back-pressure.

It owns the transport towards the caller and nothing of the request's meaning. Answers leave in the order in
which requests came; while an answer is awaited it keeps reading, so that a caller who leaves is noticed.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from itertools import islice
from typing import TYPE_CHECKING, cast

from models.errors import Refusal, RequestTimeout
from proxy_edge.exchange import Exchange
from proxy_edge.networks import is_address, is_within
from proxy_edge.parser import RequestParser

if TYPE_CHECKING:
    from proxy_edge.edge import Edge

_BODY_BACKLOG = 256 * 1024
"""Request body held while the target is not connected yet or does not read; one that rules wait for has its own bound."""
_WRITE_BACKLOG = 128 * 1024
"""Answer bytes queued for a caller before the target is paused."""
_LINGER_SECONDS = (2.0, 30.0)
"""After a refusal we read on and discard: until the caller is silent for the first, at most for the second."""
_TURN = 32
"""How many requests that need no waiting one connection may have answered before others get a turn."""
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
NEVER = float("inf")


class ClientConnection(asyncio.Protocol):
    """The proxy protocol on one connection.

    address: the peer's, as text. deadline: on the edge's coarse clock, moved by whoever is at work.
    exchange: the one in progress, None between requests.
    """

    __slots__ = (
        "_deferred",
        "_edge",
        "_ending",
        "_linger_until",
        "_parser",
        "_pumping",
        "_reading",
        "_transport",
        "_unread",
        "address",
        "deadline",
        "exchange",
    )

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._parser = RequestParser(edge.settings)
        self._transport: asyncio.Transport | None = None
        self._reading = True
        self._pumping = False
        self._ending = False
        self._deferred = False
        self._linger_until = 0.0
        self._unread = False
        self.address = ""
        self.deadline = NEVER
        self.exchange: Exchange | None = None

    # -- asyncio ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The door handed the connection over."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_WRITE_BACKLOG)
        peer = transport.get_extra_info("peername")
        self.address = peer[0] if isinstance(peer, tuple) else ""
        self._edge.clients.add(self)

    def data_received(self, data: bytes) -> None:
        """Bytes from the caller."""
        if self._ending:
            if self._linger_until and not (self._transport and self._transport.get_write_buffer_size()):
                self.deadline = min(self._edge.now + _LINGER_SECONDS[0], self._linger_until)
            return
        parser = self._parser
        was_reading_head = parser.reading_head
        heads = parser.heads
        parser.feed(data)
        exchange = self.exchange
        if exchange is not None:
            exchange.request_progress()
        elif not self._deferred:
            self._pump()
        if self.exchange is not None or self._deferred:
            self.govern_reading()
        elif not self._is_ending():
            edge = self._edge
            if self._unread:
                self._idle()
                self.govern_reading()
            elif not parser.reading_head:
                self.deadline = edge.now + edge.settings.keepalive_seconds
            elif not was_reading_head or parser.heads != heads:
                self.deadline = edge.now + edge.settings.head_seconds

    def eof_received(self) -> bool:
        """The caller closed its side: with an exchange in flight that is an abort (DESIGN, the door)."""
        self._gone()
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The connection is gone."""
        self._gone()
        self._edge.clients.discard(self)
        self._transport = None

    def pause_writing(self) -> None:
        """The caller does not read as fast as the target sends."""
        self._unread = True
        if self.exchange is not None:
            self.exchange.caller_reads(reading=False)

    def resume_writing(self) -> None:
        """The caller caught up."""
        self._unread = False
        if self.exchange is not None:
            self.exchange.caller_reads(reading=True)
        elif not (self._pumping or self._ending):
            self._pump()
            self._idle()
            self.govern_reading()

    # -- for the exchange -------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Queues bytes for the caller; nothing happens on a connection that is gone."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def finished(self, exchange: Exchange, *, keep: bool) -> None:
        """The exchange's answer is written whole; keep: another request may follow on this connection."""
        self.exchange = None
        messages = self._parser.messages
        if messages and messages[0] is exchange.message:
            messages.popleft()
            self._parser.resume()
        if not keep:
            self._end(unread=not exchange.message.complete or bool(messages))
        elif not self._pumping:
            if messages:
                self._pump()
            self._idle()
            if messages or not self._reading:
                self.govern_reading()
            if self._edge.draining:
                self.drain()  # its answer had begun before the drain and could not say so

    def reset(self) -> None:
        """Cuts the caller off with a reset, so that a truncated answer never looks whole."""
        self.exchange = None
        transport = self._transport
        if transport is not None:
            raw = transport.get_extra_info("socket")
            if raw is not None:
                # uvloop's stand-in for a socket sets no options: a real one borrows its descriptor.
                with contextlib.suppress(OSError):
                    borrowed = socket.socket(fileno=raw.fileno())
                    try:
                        borrowed.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                    finally:
                        borrowed.detach()
        self._abort()

    def caller_address(self, headers: list[tuple[bytes, bytes]]) -> str:
        """Who called: the peer, or what a trusted proxy in front of us says in X-Forwarded-For.

        Read from the right, past every address that is itself a trusted proxy; the first other one counts.
        """
        trusted = self._edge.settings.trusted_networks
        if not trusted or not is_within(self.address, trusted):
            return self.address
        hops = [
            hop.strip() for name, value in headers if name == b"x-forwarded-for" for hop in value.split(b",")
        ]
        for hop in reversed(hops):
            address = hop.decode("latin-1")
            if not is_address(address):
                return self.address
            if not is_within(address, trusted):
                return address
        return self.address

    def govern_reading(self) -> None:
        """Reads while there is room: for the body under way and for a bounded queue of requests behind it."""
        transport, exchange = self._transport, self.exchange
        if transport is None or self._ending:
            return
        messages = self._parser.messages
        full = False
        if exchange is not None:
            upstream = exchange.upstream
            room = _BODY_BACKLOG if exchange.body is None else exchange.body.room
            full = exchange.message.waiting_bytes > room or (
                upstream is not None and upstream.write_paused and not exchange.message.complete
            )
        # Without an exchange none of them could begin: the caller does not take the answers before.
        if len(messages) > (exchange is not None) and not full:
            settings = self._edge.settings
            full = len(messages) > settings.pipelined_requests or (
                sum(
                    message.waiting_bytes + len(message.target) + len(message.block.raw)
                    for message in islice(messages, exchange is not None, None)
                )
                > settings.pipelined_bytes
            )
        if full is self._reading:
            self._reading = not full
            if full:
                transport.pause_reading()
            else:
                transport.resume_reading()

    # -- for the edge's ticker --------------------------------------------------------------------

    def deadline_passed(self) -> None:
        """Called once when `deadline` lies in the past."""
        self.deadline = NEVER
        if self._ending:
            if self._transport is not None and self._transport.get_write_buffer_size():
                self.reset()  # the rest of an answer is unsent: it must not look whole
            else:
                self._abort()
        elif self.exchange is not None:
            self.exchange.deadline_passed()
        elif self._unread:
            self.reset()  # whole answers, which the caller does not take
        elif self._parser.reading_head:
            self._refuse(RequestTimeout("slow head"))
        else:
            self._close()

    def drain(self) -> None:
        """The edge stops: an idle connection closes now, a busy one after its answer."""
        if self.exchange is None and not self._ending and not self._parser.reading_head:
            self._close()

    # -- inside -----------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Starts queued requests one after the other until one has to wait, or the caller reads no answers."""
        self._pumping = True
        messages = self._parser.messages
        turns = _TURN
        try:
            while self.exchange is None and messages and not (self._ending or self._unread):
                if not turns:
                    self._deferred = True
                    asyncio.get_running_loop().call_soon(self._take_turn)
                    return
                turns -= 1
                message = messages[0]
                if message.refusal is not None:
                    self._refuse(message.refusal)
                    return
                exchange = self.exchange = Exchange(self._edge, self, message)
                exchange.advance()
        finally:
            self._pumping = False

    def _take_turn(self) -> None:
        """Goes on with queued requests after others had their turn."""
        self._deferred = False
        if self.exchange is None and not self._ending:
            self._pump()
            self._idle()
            self.govern_reading()

    def _idle(self) -> None:
        if self.exchange is None and not self._ending:
            edge = self._edge
            settings = edge.settings
            if self._unread:
                self.deadline = edge.now + settings.body_idle_seconds
            elif self._parser.reading_head:
                self.deadline = edge.now + settings.head_seconds
            else:
                self.deadline = edge.now + settings.keepalive_seconds

    def _refuse(self, refusal: Refusal) -> None:
        """Answers what never became an exchange and closes; such an answer lacks a request id."""
        edge = self._edge
        edge.stats.answered(refusal.code)
        edge.stats.refused_before_authentication(self.address, refusal.code)
        self.write(edge.answers.refusal(refusal, "", limits=b"", close=True, head_only=False))
        self._end(unread=True)

    def _end(self, *, unread: bool) -> None:
        """Closes after what is written has left.

        unread: the caller may still be sending. Closing a socket with unread bytes resets it and can destroy
        the answer on its way (RFC 9112 section 9.6), so we close our side, read on for a moment and discard.
        """
        transport = self._transport
        if transport is None or self._ending:
            return
        self._ending = True
        edge = self._edge
        if not unread:
            self.deadline = edge.now + edge.settings.body_idle_seconds
            transport.close()
            return
        silence, longest = _LINGER_SECONDS
        self._linger_until = edge.now + longest
        if transport.get_write_buffer_size():
            self.deadline = (
                edge.now + edge.settings.body_idle_seconds
            )  # the caller may take its answer slowly
        else:
            self.deadline = edge.now + silence
        if not self._reading:
            self._reading = True
            transport.resume_reading()
        if transport.can_write_eof():
            transport.write_eof()
        else:
            transport.close()

    def _is_ending(self) -> bool:
        return self._ending

    def cut_off(self) -> None:
        """The drain is over: the exchange ends as if the caller had left."""
        self._gone()
        self._abort()

    def _close(self) -> None:
        self._ending = True
        self.deadline = self._edge.now + self._edge.settings.body_idle_seconds
        if self._transport is not None:
            self._transport.close()

    def _abort(self) -> None:
        self._ending = True
        if self._transport is not None:
            self._transport.abort()

    def _gone(self) -> None:
        self._ending = True
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.caller_gone()
