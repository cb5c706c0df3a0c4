"""Raw HTTP over a socket, for requests no client library would send and answers none would show."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from typing import Self

from tests.kit.edge import CALLER_KEY


@dataclass
class RawAnswer:
    """One parsed answer; names in lower case. raw_head: the head as it came, blank line left out."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    raw_head: bytes = b""

    def get(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name.lower()), None)


class RawClient:
    """A TCP connection that sends bytes as they are and reads answers one by one."""

    def __init__(
        self, port: int, timeout: float = 10.0, *, tls: ssl.SSLContext | None = None, receive_buffer: int = 0
    ) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(timeout)
        if receive_buffer:  # a bound for what the kernel takes off the edge's hands; set before connecting
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.socket.connect(("127.0.0.1", port))
        except OSError:
            self.socket.close()
            raise
        if tls is not None:
            # A connection that ends without close_notify was cut: that must not look like an end.
            self.socket = tls.wrap_socket(
                self.socket, server_hostname="localhost", suppress_ragged_eofs=False
            )
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def _more(self) -> bool:
        data = self.socket.recv(65536)
        self._buffer += data
        return bool(data)

    def answer(self, *, head: bool = False) -> RawAnswer:
        """Reads one answer; head: it answers a HEAD request. Raises EOFError when the connection ends first."""
        while True:
            while b"\r\n\r\n" not in self._buffer:
                if not self._more():
                    raise EOFError(self._buffer)
            text, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
            first, *lines = text.decode("latin-1").split("\r\n")
            status = int(first.split(" ")[1])
            if status >= 200:
                break
        headers = []
        for line in lines:
            name, _, value = line.partition(":")
            headers.append((name.lower(), value.strip()))
        answer = RawAnswer(status, headers, b"", text)
        if head or status in {204, 304}:
            return answer
        if answer.get("transfer-encoding") == "chunked":
            answer.body = self._chunks()
        elif (length := answer.get("content-length")) is not None:
            while len(self._buffer) < int(length):
                if not self._more():
                    raise EOFError(self._buffer)
            answer.body, self._buffer = self._buffer[: int(length)], self._buffer[int(length) :]
        else:
            while self._more():
                pass
            answer.body, self._buffer = self._buffer, b""
        return answer

    def read_until(self, mark: bytes) -> bytes:
        """Raw bytes up to and with `mark`. Raises EOFError when the connection ends first."""
        while mark not in self._buffer:
            if not self._more():
                raise EOFError(self._buffer)
        data, found, self._buffer = self._buffer.partition(mark)
        return data + found

    def _chunks(self) -> bytes:
        body = b""
        while True:
            while b"\r\n" not in self._buffer:
                if not self._more():
                    raise EOFError(body)
            size_line, _, self._buffer = self._buffer.partition(b"\r\n")
            size = int(size_line, 16)
            while len(self._buffer) < size + 2:
                if not self._more():
                    raise EOFError(body)
            body += self._buffer[:size]
            assert self._buffer[size : size + 2] == b"\r\n"
            self._buffer = self._buffer[size + 2 :]
            if size == 0:
                return body

    def closed(self) -> bool:
        """Waits until the other side closes; False when it sends more bytes instead."""
        if self._buffer:
            return False
        try:
            return self.socket.recv(1) == b""
        except (ConnectionResetError, ssl.SSLEOFError):
            return True


def get(path: str, *lines: str, key: str | None = CALLER_KEY, host: str | None = "edge.test") -> bytes:
    """A GET request with the caller's key; `lines` are further header lines."""
    return request("GET", path, *lines, key=key, host=host)


def request(
    method: str,
    path: str,
    *lines: str,
    body: bytes = b"",
    key: str | None = CALLER_KEY,
    host: str | None = "edge.test",
    version: str = "1.1",
) -> bytes:
    """A request with a Content-Length when it has a body."""
    head = [f"{method} {path} HTTP/{version}"]
    if host is not None:
        head.append(f"Host: {host}")
    if key is not None:
        head.append(f"Authorization: Bearer {key}")
    if body:
        head.append(f"Content-Length: {len(body)}")
    head += lines
    return ("\r\n".join(head) + "\r\n\r\n").encode("latin-1") + body
