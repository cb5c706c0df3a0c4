"""A worker's end of the socket to its host's link: updates come in, questions to actors go out.

It reconnects for ever, so that a worker need not know whether there is a link. It never blocks, never holds more
than its bounds, and believes nothing it hears: whoever takes an update verifies it with pinned keys.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import random
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import cast

from models.errors import FrameRefused, LinkUnavailable, Refused
from models.planes.frames import (
    LONGEST_FRAME,
    PROTOCOL,
    WORKER,
    Answer,
    Applied,
    Call,
    Done,
    FromLink,
    FromWorker,
    Hello,
    Run,
    Surrender,
    Update,
    Welcome,
    encode,
)
from models.planes.wire import Splitter, read_from_link

LONGEST_PAYLOAD = 1024 * 1024
"""Bytes that a worker may send in one call."""

MOST_CALLS = 1024
MOST_UNSENT = 4 * 1024 * 1024
CONNECT_SECONDS = 5.0
STEADY_SECONDS = 5.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 1.0
MISMATCH_PAUSE_SECONDS = 10.0

_log = logging.getLogger("exeat.edge.link")


def pause_before_reconnect(attempt: int, chance: float) -> float:
    """Seconds to wait before the next attempt, 0.05 to 1.

    attempt: 0 for the first after a steady connection. chance: 0 to 1; spreads workers that lost one link.
    """
    longest = min(FIRST_PAUSE_SECONDS * 2.0 ** min(attempt, 16), LONGEST_PAUSE_SECONDS)
    return max(FIRST_PAUSE_SECONDS, longest * (0.5 + chance / 2))


def peer_uid(transport: asyncio.BaseTransport) -> int:
    """The user at the other end of a Unix socket, as the kernel says (SO_PEERCRED); -1 when it has gone."""
    peer = transport.get_extra_info("socket")
    if peer is None or transport.is_closing():
        return -1
    _pid, uid, _gid = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return cast("int", uid)


class LinkClient:
    """One worker's connection to its link; `run` keeps it, everything else may be called at any time.

    Single-threaded: all of it belongs to the event loop that runs `run`.
    """

    def __init__(
        self,
        path: Path,
        *,
        worker: int,
        have: Callable[[], tuple[int, int]],
        on_update: Callable[[Update], None],
        on_run: Callable[[Run], None],
        on_change: Callable[[bool], None] | None = None,
        on_surrender: Callable[[Surrender], None] | None = None,
        chance: Callable[[], float] = random.random,
        part: str = WORKER,
        holder: str = "",
        longest_frame: int = LONGEST_FRAME,
        connect_seconds: float = CONNECT_SECONDS,
        mismatch_pause: float = MISMATCH_PAUSE_SECONDS,
    ) -> None:
        """path: the link's socket. worker: its index. have: revision and sheet number it enforces, -1 for nothing;
        asked at every connection, so that the link sends what is missing. on_update, on_run: called for each
        frame in order; one that raises costs the connection, and the next one starts from `have`.
        on_change: told when `connected` changes. on_surrender: as on_run, for whoever holds permits. chance: uniform
        0 to 1. part, holder: as in `models.planes.frames.Hello`.
        """
        self._path, self._worker, self._have = str(path), worker, have
        self._on_update, self._on_run, self._on_change = on_update, on_run, on_change
        self._on_surrender, self._part, self._holder = on_surrender, part, holder
        self._chance, self._longest = chance, longest_frame
        self._connect_seconds, self._mismatch_pause = connect_seconds, mismatch_pause
        self._numbers = itertools.count(1)
        self._pending: dict[int, asyncio.Future[Answer]] = {}
        self._line: _Line | None = None

    @property
    def connected(self) -> bool:
        """Whether a link that speaks our protocol has welcomed this worker."""
        return self._line is not None

    async def run(self) -> None:
        """Connects, and connects again whenever the link is lost, until cancelled."""
        loop = asyncio.get_running_loop()
        attempt = 0
        while True:
            line = _Line(self, self._longest)
            started = loop.time()
            try:
                pause_at_least = await self._session(line)
            finally:
                line.drop()
                self._leave(line)
            attempt = 0 if loop.time() - started >= STEADY_SECONDS else attempt + 1
            pause = pause_before_reconnect(max(attempt - 1, 0), self._chance())
            await asyncio.sleep(max(pause, pause_at_least))

    async def call(self, role: str, method: str, payload: bytes, timeout: float, *, shard: int = 0) -> bytes:
        """What the actor of `role` answers. timeout: seconds from now to the answer. shard: which of several.

        Raises LinkUnavailable at once without a link, as soon as it is lost, or when the actor is away or too
        slow; Refused when the actor will not; ValueError for a payload over LONGEST_PAYLOAD.
        """
        if len(payload) > LONGEST_PAYLOAD:
            raise ValueError(f"a payload of {len(payload)} bytes, over {LONGEST_PAYLOAD}")
        if self._line is None:
            raise LinkUnavailable("there is no link")
        if len(self._pending) >= MOST_CALLS:
            raise LinkUnavailable("too many calls are waiting")
        number = next(self._numbers)
        waiting: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._pending[number] = waiting
        try:
            if not self._line.send(Call(number, role, method, payload, shard)):
                raise LinkUnavailable("the link does not read")
            async with asyncio.timeout(timeout):
                answer = await waiting
        except TimeoutError:
            raise LinkUnavailable(f"no answer within {timeout} s") from None
        finally:
            del self._pending[number]
        if answer.error == "refused":
            raise Refused(f"{role}.{method}")
        if answer.error:
            raise LinkUnavailable(f"{role}.{method}: {answer.error[:64]}")
        return answer.payload

    def applied(self, revision: int, sheet: int) -> None:
        """Says what this worker enforces now. Without a link nothing: the next connection says it anyway."""
        self._send(Applied(revision, sheet))

    def done(self, payload: bytes) -> bool:
        """Hands over a command's result, a `CommandResult` as msgpack; False when there is no link to take it."""
        return self._send(Done(payload))

    def resync(self) -> None:
        """Ends the connection; the next one tells `have` anew and so hears everything that is missing."""
        if self._line is not None:
            self._line.drop()

    # Inside

    def _send(self, frame: FromWorker) -> bool:
        if self._line is None:
            return False
        sent = self._line.send(frame)
        if not sent:
            self._line.drop()  # it does not read; a new connection starts from what we have then
        return sent

    async def _session(self, line: _Line) -> float:
        """One connection from dial to loss; the least seconds to wait before the next one."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_seconds):
                await loop.create_unix_connection(lambda: line, self._path)
                if line.peer_uid() != os.getuid():
                    _log.error("link refused", extra={"reason": "its socket is another user's"})
                    return self._mismatch_pause
                revision, sheet = self._have()
                line.send(
                    Hello(
                        protocol=PROTOCOL,
                        worker=self._worker,
                        pid=os.getpid(),
                        revision=revision,
                        sheet=sheet,
                        part=self._part,
                        holder=self._holder,
                    )
                )
                protocol = await line.welcomed
        except (OSError, TimeoutError):  # not there, or it does not answer
            return 0.0
        if protocol is None:
            return 0.0
        if protocol != PROTOCOL:
            _log.error(
                "link refused", extra={"reason": f"it speaks protocol {protocol}, this worker {PROTOCOL}"}
            )
            return self._mismatch_pause
        await line.lost
        return 0.0

    def _welcome(self, line: _Line) -> None:
        self._line = line
        _log.info("link connected" if self._part == WORKER else "link takes records")
        if self._on_change is not None:
            self._on_change(True)

    def _leave(self, line: _Line) -> None:
        if self._line is not line:
            return
        self._line = None
        _log.warning("link lost")
        for number, waiting in self._pending.items():
            if not waiting.done():
                # A result, not an exception: nobody may be left who would retrieve that.
                waiting.set_result(Answer(number, b"", "link lost"))
        if self._on_change is not None:
            self._on_change(False)

    def _take(self, frame: FromLink) -> None:
        match frame:
            case Answer():
                waiting = self._pending.get(frame.number)
                if waiting is not None and not waiting.done():
                    waiting.set_result(frame)
            case Update():
                self._on_update(frame)
            case Run():
                self._on_run(frame)
            case Surrender():
                if self._on_surrender is not None:
                    self._on_surrender(frame)
            case Welcome():
                raise FrameRefused("welcomed twice")


class _Line(asyncio.Protocol):
    """One connection: bytes to frames and back. Speaks to its client only after a welcome in our protocol."""

    def __init__(self, client: LinkClient, longest: int) -> None:
        loop = asyncio.get_running_loop()
        self._client = client
        self._splitter = Splitter(longest)
        self._transport: asyncio.Transport | None = None
        self.welcomed: asyncio.Future[int | None] = loop.create_future()
        """The link's protocol; None when the connection ended before it said so."""
        self.lost: asyncio.Future[None] = loop.create_future()

    def peer_uid(self) -> int:
        """Of the process that made the socket."""
        return -1 if self._transport is None else peer_uid(self._transport)

    def send(self, frame: FromWorker) -> bool:
        """Whether it was handed to the transport: not when that has more than MOST_UNSENT bytes waiting."""
        transport = self._transport
        if transport is None or transport.is_closing() or transport.get_write_buffer_size() > MOST_UNSENT:
            return False
        transport.write(encode(frame))
        return True

    def drop(self) -> None:
        """Ends the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        transport = self._transport
        try:
            for body in self._splitter.feed(data):
                if transport is None or transport.is_closing():
                    return
                frame = read_from_link(body)
                if self.welcomed.done():
                    self._client._take(frame)  # noqa: SLF001 - two halves of one module
                elif isinstance(frame, Welcome):
                    self._greet(frame)
                else:
                    raise FrameRefused("not welcomed yet")
        except FrameRefused as error:
            _log.error("link refused", extra={"reason": error.detail})
            self.drop()
        except Exception as error:  # noqa: BLE001 - what takes a frame is not ours, and must not stop the loop
            _log.error("link frame not taken", extra={"error": type(error).__name__})
            self.drop()

    def _greet(self, frame: Welcome) -> None:
        self.welcomed.set_result(frame.protocol)
        if frame.protocol == PROTOCOL:
            self._client._welcome(self)  # noqa: SLF001 - two halves of one module
        else:
            self.drop()

    def connection_lost(self, _error: Exception | None) -> None:
        if not self.welcomed.done():
            self.welcomed.set_result(None)
        if not self.lost.done():
            self.lost.set_result(None)
        self._client._leave(self)  # noqa: SLF001 - two halves of one module
