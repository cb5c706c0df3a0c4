"""Turns the bytes of one client connection into messages, over llhttp (httptools), and refuses all doubt.

It knows HTTP/1.1 framing and our bounds, nothing of proxies or targets. It must never let a message pass
whose framing two readers could read differently; where llhttp is lenient, the checks here are not.
"""

from __future__ import annotations

from collections import deque

import httptools

from models.canonical import check_host
from models.errors import Refusal, RequestHeadTooLarge, RequestMalformed
from proxy_edge.settings import EdgeSettings

_FRAMES_PER_CHUNK = 24
"""Bytes of honest framing around one chunk: sixteen hex digits, two CRLF and some zeros."""
_BLANK_LINE = b"\r\n\r\n"
_LINE_END = frozenset({b"\r", b"\n"})
_BLANK_BYTES = 64
"""How much blank space may stand between two messages."""


class Stop(Exception):  # a signal to stop parsing, not an error of its own
    """The only exception that leaves a parser callback; the refusal is kept beside it."""


class Message:
    """One request as it arrives. Body chunks gather in `chunks` until the exchange takes them."""

    __slots__ = (
        "chunked",
        "chunks",
        "complete",
        "expects",
        "headers",
        "host",
        "keep_alive",
        "length",
        "method",
        "refusal",
        "target",
        "version_minor",
        "via",
        "waiting_bytes",
    )

    def __init__(self) -> None:
        self.method = b""
        self.target = b""
        self.version_minor = 1
        self.headers: list[tuple[bytes, bytes]] = []
        self.host: bytes | None = None
        self.keep_alive = True
        self.length: int | None = None
        self.chunked = False
        self.expects = False
        self.via = b""
        self.chunks: list[bytes] = []
        self.waiting_bytes = 0
        self.complete = False
        self.refusal: Refusal | None = None

    @property
    def has_body(self) -> bool:
        """Whether the head announces a body (RFC 9112 section 6.3)."""
        return self.chunked or bool(self.length)

    def take_body(self) -> list[bytes]:
        """The body chunks that arrived since the last call; the caller owns them now."""
        chunks, self.chunks, self.waiting_bytes = self.chunks, [], 0
        return chunks


class RequestParser:
    """Feeds one connection's bytes to llhttp and queues messages in order of arrival.

    messages: heads that were accepted, oldest first; a refused one carries `refusal` and is the last.
    `waiting` counts what of a head or body is incomplete, for the connection's deadlines.
    """

    __slots__ = (
        "_body_in_piece",
        "_chunk_overhead",
        "_chunks_in_piece",
        "_current",
        "_ended",
        "_fed_bytes",
        "_field_bytes",
        "_left",
        "_limits",
        "_line",
        "_parser",
        "_refused",
        "_tail",
        "_unfed",
        "_upgrading",
        "messages",
        "reading_body",
        "reading_head",
    )

    def __init__(self, limits: EdgeSettings) -> None:
        self._limits = limits
        self.messages: deque[Message] = deque()
        self._current: Message = Message()
        self._parser = httptools.HttpRequestParser(self)
        self._field_bytes = self._fed_bytes = 0
        self._chunk_overhead = 0
        self._chunks_in_piece = 0
        self._body_in_piece = 0
        self._refused: Refusal | None = None
        self._ended = False
        self._unfed = b""
        self._tail = b""
        self._left = 0
        self._line: bytes | None = b""
        self._upgrading: Message | None = None
        self.reading_head = False
        self.reading_body = False

    @property
    def ended(self) -> bool:
        """No further message can come on this connection."""
        return self._ended

    def feed(self, data: bytes) -> None:
        """Parses `data`; messages and a refusal, if any, are appended to `messages`. Never raises.

        llhttp cannot pause, so it is fed piece by piece: up to the end of a head, a body or a run of chunks.
        A message therefore always begins where a piece begins, and a full queue stops the feeding.
        """
        if self._unfed:
            data = self._unfed + data
            self._unfed = b""
        at, size = 0, len(data)
        while at < size and not self._ended:
            if len(self.messages) > self._limits.pipelined_requests and not self.reading_body:
                self._unfed = data[at:]
                return
            if self.reading_body and self._left:
                end = min(size, at + self._left)
                self._left -= end - at
            else:
                end = self._boundary(data, at)
            piece = data if end - at == size else data[at:end]
            at = end
            if not (self.reading_head or self.reading_body):
                self._line = b""
            if self._line is not None and not self._check_line(piece):
                return
            self._parse(piece)

    def resume(self) -> None:
        """Parses what a full queue held back; called when a message left the queue."""
        if self._unfed:
            self.feed(b"")

    @property
    def held(self) -> int:
        """Bytes that a full queue holds back."""
        return len(self._unfed)

    def _boundary(self, data: bytes, at: int) -> int:
        """Where the next blank line ends, also one that began in the last read; else the end of `data`."""
        if at == 0 and self._tail:
            joined = (self._tail + data[:3]).find(_BLANK_LINE)
            if joined >= 0:
                end = joined + 4 - len(self._tail)
                self._tail = b""
                return end
        found = data.find(_BLANK_LINE, at)
        if found >= 0:
            self._tail = b""
            return found + 4
        self._tail = (self._tail + data[at:] if len(data) - at < 3 else data)[-3:]
        return len(data)

    def _check_line(self, piece: bytes) -> bool:
        """Refuses a request line with anything but two single blanks (RFC 9112 section 3)."""
        assert self._line is not None
        line = self._line + piece if self._line else piece
        if line[:1] in _LINE_END:
            line = line.lstrip(b"\r\n")
        end = line.find(b"\r\n")
        if end < 0:
            self._line = line
            if len(line) > self._limits.request_line_bytes:
                self.refuse(RequestHeadTooLarge("request line"))
                return False
            return True
        self._line = None
        if line.count(b" ", 0, end) != 2:
            self.refuse(RequestMalformed("request line"))
            return False
        if end > self._limits.request_line_bytes:
            self.refuse(RequestHeadTooLarge("request line"))
            return False
        return True

    def _parse(self, piece: bytes) -> None:
        while piece and not self._ended:
            before = self._current
            in_body = self.reading_body
            in_head = self.reading_head
            self._body_in_piece = self._chunks_in_piece = 0
            try:
                self._parser.feed_data(piece)
            except httptools.HttpParserUpgrade as upgrade:
                piece = self._after_upgrade(piece, upgrade.args[0])
                continue
            except (httptools.HttpParserError, Stop):
                self._failed()
                return
            if in_head and self.reading_head:
                # The head did not end in this piece: all of it was head (callbacks fire for whole fields only).
                self._fed_bytes += len(piece)
                if self._fed_bytes > self._limits.head_bytes:
                    self.refuse(RequestHeadTooLarge("head"))
            elif in_body and before.chunked:
                framing = _FRAMES_PER_CHUNK * self._chunks_in_piece
                self._chunk_overhead += len(piece) - self._body_in_piece - framing
                if self._chunk_overhead > self._limits.trailer_bytes:
                    self._spoil(before, RequestHeadTooLarge("chunk extensions or trailers"))
            elif before is self._current and not in_head and not in_body:
                # Blank lines between messages are allowed (RFC 9112 section 2.2), not without end.
                self._fed_bytes += len(piece)
                if self._fed_bytes > _BLANK_BYTES:
                    self.refuse(RequestMalformed("blank lines"))
            return

    def _spoil(self, message: Message, refusal: Refusal) -> None:
        """Refuses a message whose end may have been read already: it must not be completed."""
        self._ended = True
        message.complete = False
        message.refusal = refusal
        self.reading_head = self.reading_body = False

    def refuse(self, refusal: Refusal) -> None:
        """Ends the connection's input: the message under way, or a new last one, carries `refusal`."""
        if self._ended:
            return
        self._ended = True
        current = self._current
        if self.reading_body and not current.complete:
            current.refusal = refusal
        else:
            poison = Message()
            poison.keep_alive = False
            poison.refusal = refusal
            self.messages.append(poison)
        self.reading_head = self.reading_body = False

    # -- what llhttp calls ------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request line has begun."""
        self._current = Message()
        self._field_bytes = self._fed_bytes = 0
        self.reading_head = True

    def on_url(self, part: bytes) -> None:
        """A piece of the request target."""
        current = self._current
        current.target += part
        if len(current.target) > self._limits.request_line_bytes - 16:
            self._stop(RequestHeadTooLarge("request line"))

    def on_header(self, name: bytes, value: bytes) -> None:
        """One complete field, of the head or of the trailers."""
        if self.reading_body:
            return  # trailers are dropped: nothing was judged by them
        current = self._current
        self._field_bytes += len(name) + len(value) + 4
        name = name.lower()
        value = value.strip(b" \t")
        headers = current.headers
        headers.append((name, value))
        if name in _NOTED:
            self._note(current, name, value)
        if self._field_bytes > self._limits.head_bytes or len(headers) > self._limits.head_fields:
            self._stop(RequestHeadTooLarge("head"))

    def on_headers_complete(self) -> None:
        """The head is whole: the last moment at which a message can be refused before it is judged."""
        parser = self._parser
        current = self._current
        current.method = parser.get_method()
        version = parser.get_http_version()
        current.keep_alive = parser.should_keep_alive()
        if version != "1.1":
            if version != "1.0":
                self._stop(RequestMalformed("HTTP version"))
            current.version_minor = 0
            if current.chunked:
                self._stop(RequestMalformed("Transfer-Encoding on HTTP/1.0"))
            current.expects = False
        if current.host is None:
            self._stop(RequestMalformed("no Host"))
        if current.chunked and current.length is not None:
            self._stop(RequestMalformed("Content-Length with Transfer-Encoding"))
        if current.method == b"CONNECT":
            self._stop(RequestMalformed("CONNECT"))
        self.reading_head = False
        if parser.should_upgrade():
            self._upgrading = current
            return
        self.reading_body = True
        self._chunk_overhead = 0
        self._left = current.length or 0
        self.messages.append(current)

    def on_chunk_header(self) -> None:
        """A chunk-size line ended."""
        self._chunks_in_piece += 1

    def on_body(self, data: bytes) -> None:
        """A piece of the current message's body."""
        current = self._current
        self._body_in_piece += len(data)
        current.chunks.append(data)
        current.waiting_bytes += len(data)

    def on_message_complete(self) -> None:
        """The current message ended; for an upgrade, only its head did."""
        if self._upgrading is not None:
            return
        self.reading_body = False
        self._current.complete = True
        if not self._current.keep_alive:
            self._ended = True

    # -- inside -----------------------------------------------------------------------------------

    def _note(self, current: Message, name: bytes, value: bytes) -> None:
        """Checks the fields that frame a message, as they come."""
        if name == b"host":
            if current.host is not None:
                self._stop(RequestMalformed("two Host fields"))
            try:
                check_host(value)
            except RequestMalformed as refusal:
                self._stop(refusal)
            current.host = value
        elif name == b"content-length":
            # llhttp accepts digits only; the second line of defence is ours (RFC 9112 section 6.3).
            if current.length is not None or not value.isdigit() or not value.isascii() or len(value) > 18:
                self._stop(RequestMalformed("Content-Length"))
            current.length = int(value)
        elif name == b"transfer-encoding":
            if current.chunked or value.lower() != b"chunked":
                self._stop(RequestMalformed("Transfer-Encoding"))
            current.chunked = True
        elif name == b"via":
            current.via += value + b","
        elif name == b"expect":
            current.expects = value.lower() == b"100-continue"

    def _stop(self, refusal: Refusal) -> None:
        self._refused = refusal
        raise Stop

    def _failed(self) -> None:
        """llhttp, or a callback of ours, refused what it read."""
        refusal, self._refused = self._refused, None
        if refusal is None and self._ended:
            return  # bytes after a message that closes the connection are nobody's (RFC 9112 section 9.6)
        self.refuse(refusal or RequestMalformed("not valid HTTP/1.1"))

    def _after_upgrade(self, data: bytes, offset: int) -> bytes:
        """Ignores an Upgrade: a fresh parser reads the same head without it, then the rest (RFC 9110 7.8).

        llhttp would otherwise read the message's body as a second request. Returns what is left to parse.
        """
        message, self._upgrading = self._upgrading, None
        if message is None:
            self.refuse(RequestMalformed("unexpected protocol switch"))
            return b""
        head = [b"%b %b HTTP/1.%d" % (message.method, message.target, message.version_minor)]
        head += [b"%b: %b" % pair for pair in message.headers if pair[0] not in _UPGRADE_FIELDS]
        self._parser = httptools.HttpRequestParser(self)
        try:
            self._parser.feed_data(b"\r\n".join(head) + b"\r\n\r\n")
        except (httptools.HttpParserError, Stop):
            self._failed()
            return b""
        self._line = None
        return data[offset:]


_NOTED = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect", b"via"})
_UPGRADE_FIELDS = frozenset({b"upgrade", b"http2-settings"})
