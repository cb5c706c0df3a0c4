"""Bodies too large to hold: a repeating pattern that both ends compute, a target that serves and checks it,
and readers that keep nothing.
"""

from __future__ import annotations

import contextlib
import os
import random
import selectors
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

MIB = 1 << 20
PIECE = 256 * 1024
_BLOCK = random.Random(7).randbytes(MIB)
_VIEW = memoryview(_BLOCK + _BLOCK)


def pattern(start: int, size: int) -> memoryview:
    """`size` bytes (at most 1 MiB) of the endless pattern, from position `start`."""
    offset = start % MIB
    return _VIEW[offset : offset + size]


class Checker:
    """Compares what it is fed with the pattern; `position` is how much was right so far."""

    def __init__(self) -> None:
        self.position = 0

    def feed(self, data: memoryview | bytes) -> None:
        while len(data):
            part = data[:MIB]
            assert part == pattern(self.position, len(part)), f"differs after {self.position} bytes"
            self.position += len(part)
            data = data[MIB:]


def send_pattern(connection: socket.socket, size: int, *, chunked: bool) -> None:
    """Sends `size` bytes of the pattern, as chunks of 256 KiB with the last one, or bare."""
    sent = 0
    while sent < size:
        piece = pattern(sent, min(PIECE, size - sent))
        if chunked:
            connection.sendall(b"".join((b"%x\r\n" % len(piece), piece, b"\r\n")))
        else:
            connection.sendall(piece)
        sent += len(piece)
    if chunked:
        connection.sendall(b"0\r\n\r\n")


class BodyReader:
    """Reads one message from a socket and checks its body against the pattern without keeping it."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._buffer = bytearray(PIECE)
        self._rest = b""
        self.checker = Checker()

    def head(self) -> bytes:
        """The head, blank line included; empty when the connection ends before one."""
        while b"\r\n\r\n" not in self._rest:
            data = self._socket.recv(65536)
            if not data:
                return b""
            self._rest += data
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        return head + b"\r\n\r\n"

    def body(self, head: bytes) -> int:
        """Reads the body that `head` frames (Content-Length, chunked, or until the close); its length."""
        self.checker = Checker()
        lower = head.lower()
        if b"transfer-encoding: chunked" in lower:
            self._chunks()
        elif b"content-length:" in lower:
            self._bytes(int(lower.split(b"content-length:")[1].split(b"\r\n")[0]))
        else:
            self.checker.feed(self._rest)
            self._rest = b""
            while size := self._socket.recv_into(self._buffer):
                self.checker.feed(memoryview(self._buffer)[:size])
        return self.checker.position

    def _bytes(self, size: int) -> None:
        taken = self._rest[:size]
        self._rest = self._rest[size:]
        self.checker.feed(taken)
        left = size - len(taken)
        view = memoryview(self._buffer)
        while left:
            got = self._socket.recv_into(view[: min(left, PIECE)])
            if not got:
                raise EOFError(self.checker.position)
            self.checker.feed(view[:got])
            left -= got

    def _line(self) -> bytes:
        while b"\r\n" not in self._rest:
            data = self._socket.recv(4096)
            if not data:
                raise EOFError(self.checker.position)
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\r\n")
        return line

    def _chunks(self) -> None:
        while size := int(self._line(), 16):
            self._bytes(size)
            assert self._line() == b""
        assert self._line() == b"", "trailers"


class ThreadUpstream:
    """A target whose every connection is served by `session` on a thread of its own, with blocking calls."""

    def __init__(self, session: Callable[[socket.socket], None]) -> None:
        self._session = session
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self.failures: list[BaseException] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._session(connection)
        except OSError:
            pass  # the edge, or the end of the test, closed the connection
        except BaseException as error:  # noqa: BLE001 - shown by the test that looks at `failures`
            self.failures.append(error)
        finally:
            self._open.discard(connection)
            connection.close()


class PatternUpstream(ThreadUpstream):
    """GET …/length/N, …/chunked/N and …/close/N sends N bytes; any body sent to it is checked and counted.

    requests: how many it has begun to answer.
    """

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.requests = 0

    def _answer(self, connection: socket.socket) -> None:
        reader = BodyReader(connection)
        while head := reader.head():
            self.requests += 1
            method, target, _ = head.split(b"\r\n", 1)[0].split(b" ")
            if method != b"GET":
                count = str(reader.body(head)).encode()
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(count), count))
                continue
            kind, size = target.decode().split("/")[-2:]
            framing = {"length": f"Content-Length: {size}", "chunked": "Transfer-Encoding: chunked"}
            line = framing.get(kind, "Connection: close")
            connection.sendall(f"HTTP/1.1 200 OK\r\n{line}\r\n\r\n".encode())
            send_pattern(connection, int(size), chunked=kind == "chunked")
            if kind == "close":
                return


def resident(pid: int) -> int:
    """Bytes of memory that a process occupies."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Watch:
    """Samples a process's memory on a thread; `growth` is the most it exceeded its start by."""

    def __init__(self, pid: int, interval: float = 0.02) -> None:
        self._pid, self._interval = pid, interval
        self._start = resident(pid)
        self._most = self._start
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def growth(self) -> int:
        self._most = max(self._most, resident(self._pid))
        return self._most - self._start

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            self._most = max(self._most, resident(self._pid))


def stalled(sockets: list[socket.socket], step: Callable[[socket.socket], int], quiet: float = 0.5) -> int:
    """Calls `step` on whatever socket can be written until none can for `quiet` seconds; the sum of the steps.

    step: sends without blocking and returns how much. This is how a test knows that the other side paused.
    """
    total = 0
    with selectors.DefaultSelector() as selector:
        for one in sockets:
            one.setblocking(False)
            selector.register(one, selectors.EVENT_WRITE)
        limit = time.monotonic() + 60
        while events := selector.select(quiet):
            assert time.monotonic() < limit, "never paused"
            for key, _ in events:
                with contextlib.suppress(BlockingIOError):
                    total += step(key.fileobj)  # type: ignore[arg-type]  # sockets were registered
        for one in sockets:
            one.setblocking(True)
            one.settimeout(20)
    return total


def steady(value: Callable[[], object], quiet: float = 0.5, seconds: float = 30) -> object:
    """Waits until `value` has not changed for `quiet` seconds and returns it: whatever ran has stopped."""
    limit = time.monotonic() + seconds
    last, since = value(), time.monotonic()
    while time.monotonic() - since < quiet:
        assert time.monotonic() < limit, "never steady"
        time.sleep(0.02)
        now = value()
        if now != last:
            last, since = now, time.monotonic()
    return last
