"""A target driven by hand: the test itself accepts the edge's connection, reads the request, writes the answer.

Nothing happens in the background, so a test decides what either end knows at every moment. Sockets block
with a timeout; the edge is another process and does its part meanwhile.
"""

from __future__ import annotations

import select
import socket
import ssl
from dataclasses import dataclass
from typing import Self

SECONDS = 20.0


@dataclass
class Head:
    """The head of a request as the target received it; names in lower case."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    raw: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    def get(self, name: str) -> str | None:
        values = self.all(name)
        return values[0] if values else None


class Peer:
    """One connection that the edge opened."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connection
        self.buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()

    def head(self) -> Head:
        """The next request's head; its body stays unread."""
        while b"\r\n\r\n" not in self.buffer:
            self._more()
        raw, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        first, *lines = raw.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        pairs = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        return Head(method, target, pairs, raw + b"\r\n\r\n")

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes."""
        while len(self.buffer) < size:
            self._more()
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def read_until(self, mark: bytes) -> bytes:
        """Everything up to and with `mark`."""
        while mark not in self.buffer:
            self._more()
        data, found, self.buffer = self.buffer.partition(mark)
        return data + found

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self, body: bytes = b"", *lines: str, status: str = "200 OK") -> None:
        """A whole answer with Content-Length."""
        head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *lines]
        self.send("\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body)

    def closed(self, seconds: float = SECONDS) -> bool:
        """Waits until the edge closes; what it still sends is kept in `buffer`. False when it does not in time."""
        self.socket.settimeout(seconds)
        try:
            while data := self.socket.recv(65536):
                self.buffer += data
        except TimeoutError:
            return False
        except (ConnectionError, ssl.SSLError):
            return True
        else:
            return True
        finally:
            self.socket.settimeout(SECONDS)

    def silent(self, seconds: float) -> bool:
        """Whether the edge sends nothing, and does not close, for `seconds`."""
        return not self.buffer and not select.select([self.socket], [], [], seconds)[0]

    def _more(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise EOFError(self.buffer)
        self.buffer += data


class HandUpstream:
    """A listening socket on loopback; `accept` gives the edge's next connection."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, receive_buffer: int = 0) -> None:
        self._tls = tls
        self._listener = socket.socket()
        if receive_buffer:  # inherited by what is accepted, and only effective before the handshake
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(128)
        self._listener.settimeout(SECONDS)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.close()

    def accept(self) -> Peer:
        """The next connection; over TLS the handshake is done."""
        connection, _ = self._listener.accept()
        connection.settimeout(SECONDS)
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_side=True)
        return Peer(connection)

    def idle(self, seconds: float) -> bool:
        """Whether nobody connects for `seconds`."""
        return not select.select([self._listener], [], [], seconds)[0]
