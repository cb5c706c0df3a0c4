"""One connection to a target, and the parsing of one answer at a time on it.

A parser serves one response only; a byte that no request asked for closes the connection. It tells its
exchange that something happened and never decides what the caller gets.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Protocol, cast

import httptools

_HEAD_LIMIT = 64 * 1024
_FIELD_LIMIT = 200
_NOTED = frozenset({b"content-length", b"transfer-encoding", b"content-encoding"})
_INTERIM_LIMIT = 16
"""How many 1xx answers may come before the real one."""
_OTHER_PROTOCOLS = frozenset({b"R", b"I"})
"""First letters of RTSP and ICE, which llhttp reads as well."""
_CONTROLS = bytes({*range(0x20), 0x7F} - {0x09})
"""What llhttp lets through in a reason phrase; NUL among it."""


def _size(field: tuple[bytes, bytes]) -> int:
    return len(field[0]) + len(field[1]) + 4


class Waiting(Protocol):
    """What a connection knows of the exchange it serves."""

    def advance(self) -> None:
        """Something arrived, ended or broke."""
        ...

    def upstream_writable(self) -> None:
        """The target reads again after it had stopped."""
        ...


class UpstreamConnection(asyncio.Protocol):
    """One HTTP/1.1 connection to a target at a checked address.

    While `exchange` is set: `head_done` once status, reason and fields stand; `chunks` gather the body;
    `complete` when the answer ended; `broken` holds the operator's reason when it cannot be trusted.
    `got_bytes` tells whether any byte of an answer came. `dirty` means: deliver, but never reuse.
    """

    __slots__ = (
        "_blanks",
        "_fed",
        "_framed",
        "_head",
        "_interim",
        "_interims",
        "_parser",
        "address",
        "broken",
        "chunked",
        "chunks",
        "closed",
        "coding",
        "complete",
        "dirty",
        "exchange",
        "got_bytes",
        "head_done",
        "headers",
        "idle_since",
        "keep_alive",
        "length",
        "paused",
        "reason",
        "reused",
        "status",
        "transport",
        "write_paused",
    )

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.address = ""
        self.exchange: Waiting | None = None
        self.closed = False
        self.dirty = False
        self.reused = False
        self.idle_since = 0.0
        self.write_paused = False
        self.paused = False
        self._reset(head=False)

    def _reset(self, *, head: bool) -> None:
        self.status = 0
        self.reason = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.chunks: list[bytes] = []
        self.head_done = False
        self.complete = False
        self.broken = ""
        self.got_bytes = False
        self.keep_alive = False
        self.chunked = False
        self.length: int | None = None
        self.coding = b""
        self._blanks = False
        self._framed = False
        self._head = head
        self._interim = False
        self._interims = 0
        self._fed = 0
        self._parser: httptools.HttpResponseParser | None = None

    def begin(self, exchange: Waiting, *, head: bool) -> None:
        """Binds the connection to one exchange; `head` tells that the request's method is HEAD."""
        self._reset(head=head)
        self.exchange = exchange
        self._parser = httptools.HttpResponseParser(self)

    def write(self, data: bytes) -> None:
        """Sends request bytes; nothing happens on a connection that is gone."""
        if self.transport is not None and not self.closed:
            self.transport.write(data)

    def take_body(self) -> list[bytes]:
        """The body chunks that arrived since the last call."""
        chunks, self.chunks = self.chunks, []
        return chunks

    @property
    def reusable(self) -> bool:
        """Whether another request may follow once the present answer was delivered."""
        return self.complete and self.keep_alive and not (self.dirty or self.closed or self.broken)

    def end(self) -> None:
        """Unbinds the exchange; the pool decides what becomes of the connection."""
        if self.paused:
            self.resume()  # an idle connection must notice that the target closes it
        self.exchange = None
        self._parser = None

    def abort(self) -> None:
        """Drops the connection at once; an unfinished request is never completed."""
        self.end()
        self.closed = True
        if self.transport is not None:
            self.transport.abort()

    def pause(self) -> None:
        """Stops reading: the caller does not keep up."""
        if self.transport is not None and not self.closed and not self.paused:
            self.paused = True
            with contextlib.suppress(RuntimeError):  # closing under our feet
                self.transport.pause_reading()

    def resume(self) -> None:
        """Reads again."""
        if self.transport is not None and not self.closed and self.paused:
            self.paused = False
            with contextlib.suppress(RuntimeError):  # closing under our feet
                self.transport.resume_reading()

    # -- asyncio ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The dialler connected."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=128 * 1024)

    def data_received(self, data: bytes) -> None:
        """Bytes from the target: an answer, or something nobody asked for."""
        exchange = self.exchange
        if exchange is None or self._parser is None or self.complete:
            self.dirty = True
            if exchange is None:
                self.abort()
            return
        if not self.got_bytes:
            self.got_bytes = True
            if data[:1] in _OTHER_PROTOCOLS:
                self._break("status line")
        if not self.head_done:
            # The first read of an answer is whole in nearly every case; else a blank may stand where two meet.
            self._blanks = self._fed > 0 or b" \r\n" in data or b"\t\r\n" in data
            self._fed += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._break("unasked protocol switch")
        except httptools.HttpParserError as error:
            self._break(str(error) or "invalid HTTP")
        if not self.head_done and self._fed > 2 * _HEAD_LIMIT:
            self._break("head too large")
        if self._head and self.head_done and not data.endswith(b"\r\n\r\n"):
            self.dirty = True  # half a line of a body that HEAD never has makes no callback
        exchange.advance()

    def eof_received(self) -> bool:
        """The target closed its side: the end of a close-delimited answer, or a broken one."""
        self._ended("connection closed inside the answer")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self.closed = True
        self._ended("connection lost" if exc is None else type(exc).__name__, reset=exc is not None)

    def pause_writing(self) -> None:
        """The target does not read as fast as the caller sends."""
        self.write_paused = True

    def resume_writing(self) -> None:
        """The target caught up."""
        self.write_paused = False
        if self.exchange is not None:
            self.exchange.upstream_writable()

    # -- what llhttp calls ------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A status line has begun; after a complete answer it is nobody's."""
        if self.complete:
            self.dirty = True

    def on_status(self, reason: bytes) -> None:
        """The reason phrase, or a piece of it."""
        if not self.complete:
            self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """One field of the head; those after it are trailers and dropped."""
        if not self.head_done:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The head stands, unless it is an interim one."""
        if self.complete or self._parser is None:
            return
        status = self.status = self._parser.get_status_code()
        self._interim = 100 <= status < 200
        if self._interim:
            self._interims += 1
            if status == 101 or self._interims > _INTERIM_LIMIT:
                self._break("interim answer")
            return
        if status < 100 or len(self.reason.translate(None, _CONTROLS)) != len(self.reason):
            self._break("status line")
        headers = self.headers
        if len(headers) > _FIELD_LIMIT:
            self._break("too many fields")
        if self._fed > _HEAD_LIMIT and sum(map(_size, headers)) > _HEAD_LIMIT:
            self._break("head too large")
        if self._blanks:  # llhttp leaves the blanks behind a value
            headers[:] = [(name, value.rstrip(b" \t")) for name, value in headers]
        for name, value in headers:
            if name in _NOTED:
                self._note(name, value)
        version = self._parser.get_http_version()
        if version != "1.1" and (version != "1.0" or self.chunked):
            self._break("version or framing")
        self.keep_alive = self._parser.should_keep_alive()
        bodiless = self._head or status in {204, 304}
        self._framed = bodiless or self.chunked or self.length is not None
        self.head_done = True
        if self._head:
            # llhttp would wait for the body that Content-Length announces and HEAD never has.
            self.complete = True

    def on_body(self, data: bytes) -> None:
        """A piece of the body; after the end it is nobody's."""
        if self.complete:
            self.dirty = True
        elif self._interim:
            self._break("interim answer with a body")  # it would pass for the beginning of the real one's
        else:
            self.chunks.append(data)

    def on_message_complete(self) -> None:
        """An answer ended, or an interim one did."""
        if self._interim:
            self._interim = False
            self.reason = b""
            self.headers = []
        elif self.head_done:
            self.complete = True

    # -- inside -----------------------------------------------------------------------------------

    def _note(self, name: bytes, value: bytes) -> None:
        """Checks the fields that frame the answer; one that could be read in two ways breaks it."""
        if name == b"content-length":
            if self.length is not None or not value.isdigit() or len(value) > 18:
                self._break("Content-Length")
                return
            self.length = int(value)
        elif name == b"content-encoding":
            self.coding = (self.coding + b"," if self.coding else b"") + value.lower()
        else:
            if self.chunked or value.lower() != b"chunked":
                self._break("Transfer-Encoding")
            self.chunked = True
        if self.chunked and self.length is not None:
            self._break("Content-Length with Transfer-Encoding")

    def _break(self, reason: str) -> None:
        if self.complete:
            self.dirty = True  # what was delivered stands; only the connection is spent
        elif not self.broken:
            self.broken = reason

    def _ended(self, reason: str, *, reset: bool = False) -> None:
        self.dirty = True
        exchange = self.exchange
        if exchange is None or self.complete:
            if self.transport is not None and exchange is None:
                self.closed = True
                self.transport.close()
            return
        if self.head_done and not self._framed and not reset and not self.broken:
            self.complete = True  # delimited by the close (RFC 9112 section 6.3, rule 8)
        else:
            self._break(reason)
        exchange.advance()
