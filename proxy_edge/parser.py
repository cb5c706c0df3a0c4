"""Turns the bytes of one client connection into messages, over llhttp (httptools), and refuses all doubt.

It knows HTTP/1.1 framing and our bounds, nothing of proxies or targets. It must never let a message pass
whose framing two readers could read differently; where llhttp is lenient, the checks here are not.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Literal

import httptools

from models.errors import Refusal, RequestHeadTooLarge, RequestMalformed
from models.header_block import HeaderBlock
from proxy_edge.settings import EdgeSettings

_BLANK_LINE = b"\r\n\r\n"
_EMPTY_LINES = b"\r\n" * 32
"""How much may stand before a request line (RFC 9112 section 2.2): whole blank lines, not without end."""
_VERSIONS = frozenset({b" HTTP/1.1", b" HTTP/1.0"})
"""The end of every request line we read. llhttp would also take RTSP and ICE for some methods."""
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})(?=[;\r])")


class Stop(Exception):  # a signal to stop parsing, not an error of its own
    """The only exception that leaves a parser callback; the refusal is kept beside it."""


_EMPTY = HeaderBlock(b"host: none\r\n", 1)
"""Stands in a message whose head is not whole yet."""


class Message:
    """One request as it arrives. Body chunks gather in `chunks` until the exchange takes them."""

    __slots__ = (
        "block",
        "chunked",
        "chunks",
        "complete",
        "expects",
        "keep_alive",
        "length",
        "method",
        "refusal",
        "target",
        "version_minor",
        "waiting_bytes",
    )

    def __init__(self) -> None:
        self.method = b""
        self.target = b""
        self.version_minor = 1
        self.block: HeaderBlock = _EMPTY
        self.keep_alive = True
        self.length: int | None = None
        self.chunked = False
        self.expects = False
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
        "_block",
        "_chunk_line",
        "_chunk_overhead",
        "_current",
        "_ended",
        "_head",
        "_head_bytes",
        "_last_chunk",
        "_left",
        "_limits",
        "_line",
        "_parser",
        "_refused",
        "_tail",
        "_unfed",
        "_upgrading",
        "heads",
        "messages",
        "reading_body",
        "reading_head",
    )

    def __init__(self, limits: EdgeSettings) -> None:
        self._limits = limits
        self.messages: deque[Message] = deque()
        self._current: Message = Message()
        self._parser = httptools.HttpRequestParser(self)
        self._head_bytes = 0
        self._block = _EMPTY
        self._head: list[bytes] = []
        self._chunk_line = b""
        self._chunk_overhead = 0
        self._last_chunk = False
        self._refused: Refusal | None = None
        self._ended = False
        self._unfed = b""
        self._tail = b""
        self._left = 0
        self._line: bytes | None = b""
        self._upgrading: Message | None = None
        self.heads = 0
        self.reading_head = False
        self.reading_body = False

    def feed(self, data: bytes) -> None:
        """Parses `data`; messages and a refusal, if any, are appended to `messages`. Never raises.

        llhttp cannot pause, so it is fed piece by piece: up to the end of a head, of a body, of a chunk or
        of a line between chunks. A message therefore always begins where a piece begins, a full queue stops
        the feeding, and what the limits count never depends on how the bytes arrived.
        """
        if self._unfed:
            data = self._unfed + data
            self._unfed = b""
        at, size = 0, len(data)
        while at < size and not self._ended:
            if self.reading_body:
                end = min(size, at + self._left) if self._left else self._line_end(data, at)
                piece = data if end - at == size else data[at:end]
                if self._left:
                    self._left -= len(piece)
                elif not self._check_chunk_line(piece):
                    return
            else:
                if len(self.messages) > self._limits.pipelined_requests:
                    self._unfed = data[at:]
                    return
                end = self._boundary(data, at)
                piece = data if end - at == size else data[at:end]
                if not self._check_head(piece):
                    return
            at = end
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

    def _check_head(self, piece: bytes) -> bool:
        """Counts the head and refuses a request line that is not `method SP target SP version`.

        RFC 9112 section 3. Called before llhttp sees the piece: what is too large never becomes a message.
        """
        line = self._line
        limits = self._limits
        if line is None:
            self._head_bytes += len(piece)
            self._head.append(piece)
        else:
            if line:
                piece = line + piece
            text = piece.lstrip(b"\r\n")
            blanks = len(piece) - len(text)
            if blanks and (not _EMPTY_LINES.startswith(piece[:blanks]) or (text and blanks % 2)):
                return self.refuse(RequestMalformed("blank lines"))
            self._head_bytes = len(text)
            end = text.find(b"\r\n")
            if end < 0:
                self._line = piece
                if len(text) - text.endswith(b"\r") > limits.request_line_bytes:
                    return self.refuse(RequestHeadTooLarge("request line"))
                return True
            self._line = None
            self._head = [text]
            if end > limits.request_line_bytes:
                return self.refuse(RequestHeadTooLarge("request line"))
            if text.count(b" ", 0, end) != 2 or text[end - 9 : end] not in _VERSIONS:
                return self.refuse(RequestMalformed("request line"))
        if self._head_bytes > limits.head_bytes:
            return self.refuse(RequestHeadTooLarge("head"))
        return True

    def _line_end(self, data: bytes, at: int) -> int:
        return data.find(b"\n", at) + 1 or len(data)

    def _check_chunk_line(self, piece: bytes) -> bool:
        """Follows chunk-size lines and trailers (RFC 9112 section 7.1) and counts what is no framing.

        llhttp reads the same bytes and must agree: where one of the two refuses, the message is refused.
        """
        line = self._chunk_line + piece
        complete = line.endswith(b"\n")
        self._chunk_line = b"" if complete else line
        overhead = len(line)
        if self._last_chunk:
            if line in {b"\r\n", b"\r"}:
                overhead = 0  # the end of the message
        else:
            size = _CHUNK_SIZE.match(line)
            overhead -= 2 + len(size[0]) if size is not None else 18
            if complete:
                if size is None:
                    return self.refuse(RequestMalformed("chunk size"))
                length = int(size[0], 16)
                self._last_chunk = not length
                self._left = length + 2 if length else 0
        if self._chunk_overhead + overhead > self._limits.trailer_bytes:
            return self.refuse(RequestHeadTooLarge("chunk extensions or trailers"))
        if complete:
            self._chunk_overhead += overhead
        return True

    def _parse(self, piece: bytes) -> None:
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            self._after_upgrade()
        except (httptools.HttpParserError, Stop):
            self._failed()

    def refuse(self, refusal: Refusal) -> Literal[False]:
        """Ends the connection's input: the message under way, or a new last one, carries `refusal`."""
        if self._ended:
            return False
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
        return False

    # -- what llhttp calls ------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request line has begun."""
        self._current = Message()
        self.heads += 1
        self.reading_head = True

    def on_headers_complete(self) -> None:
        """The head is whole: the last moment at which a message can be refused before it is judged."""
        parser = self._parser
        current = self._current
        head = self._head[0] if len(self._head) == 1 else b"".join(self._head)
        end = head.index(b"\r\n")
        # llhttp accepted every byte of it, and the check of the request line left it exactly two blanks.
        current.method, current.target, version = head[:end].split(b" ")
        raw = head[end + 2 : -2]
        block = self._block
        if block.raw != raw:
            try:
                block = self._block = HeaderBlock(raw, self._limits.head_fields)
            except Refusal as refusal:
                self._stop(refusal)
        current.block = block
        current.length = block.length
        current.chunked = block.chunked
        current.keep_alive = parser.should_keep_alive()
        if version == b"HTTP/1.1":
            current.expects = block.expects
        else:
            current.version_minor = 0
            if block.chunked:
                self._stop(RequestMalformed("Transfer-Encoding on HTTP/1.0"))
        if current.method == b"CONNECT":
            self._stop(RequestMalformed("CONNECT"))
        self.reading_head = False
        self._line = b""
        if parser.should_upgrade():
            self._upgrading = current
            return
        self.reading_body = True
        self._chunk_overhead = 0
        self._last_chunk = False
        self._left = current.length or 0
        self.messages.append(current)

    def on_body(self, data: bytes) -> None:
        """A piece of the current message's body."""
        current = self._current
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

    def _stop(self, refusal: Refusal) -> None:
        self._refused = refusal
        raise Stop

    def _failed(self) -> None:
        """llhttp, or a callback of ours, refused what it read."""
        refusal, self._refused = self._refused, None
        if refusal is None and self._ended:
            return  # bytes after a message that closes the connection are nobody's (RFC 9112 section 9.6)
        self.refuse(refusal or RequestMalformed("not valid HTTP/1.1"))

    def _after_upgrade(self) -> None:
        """Ignores an Upgrade: a fresh parser reads the same head without it (RFC 9110 section 7.8).

        llhttp would otherwise read the message's body as a second request. Nothing of the piece is left: it
        ended with the head.
        """
        message, self._upgrading = self._upgrading, None
        if message is None:
            self.refuse(RequestMalformed("unexpected protocol switch"))
            return
        head = [b"%b %b HTTP/1.%d" % (message.method, message.target, message.version_minor)]
        head += [b"%b: %b" % pair for pair in message.block.pairs if pair[0] not in _UPGRADE_FIELDS]
        self._parser = httptools.HttpRequestParser(self)
        self._head = [b"\r\n".join(head) + b"\r\n\r\n"]
        self._parse(self._head[0])


_UPGRADE_FIELDS = frozenset({b"upgrade", b"http2-settings"})
