"""One worker, or the keeper, at the link's socket: frames in, frames out, and what it was sent so far.

It never sends to a worker that does not read, so that one stuck worker costs bounded memory and nobody else's
updates: what it missed becomes one update when it reads again. The keeper delivers records, which no worker may,
and has no part in anything else.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol, cast

from actors.link.held import Held, Known
from actors.link_client import LONGEST_PAYLOAD, peer_uid
from actors.tasks import spawn
from models.errors import FrameRefused
from models.planes.frames import (
    KEEPER,
    PROTOCOL,
    WORKER,
    Answer,
    Applied,
    Call,
    Done,
    FromLink,
    FromWorker,
    Hello,
    Welcome,
    encode,
)
from models.planes.wire import Splitter, read_from_worker

LONGEST_FRAME = LONGEST_PAYLOAD + 1024
MOST_CALLS = 256
MOST_UNREAD = 1024 * 1024
HELLO_SECONDS = 5.0
DELIVERY = ("recorder", "take")
"""Role and method of the one call that a keeper may make, and a worker may not."""

_log = logging.getLogger("exeat.link.worker")


class Host(Protocol):
    """What an attachment needs of the server it belongs to."""

    held: Held

    def admit(self, one: Attachment) -> bool:
        """A connection was made; False when there are too many."""
        ...

    def leave(self, one: Attachment) -> None:
        """It ended."""
        ...

    def progress(self, one: Attachment) -> None:
        """It said hello, or what it enforces now."""
        ...

    async def answer(self, call: Call) -> Answer:
        """The answer to a call; never raises."""
        ...

    def done(self, payload: bytes) -> None:
        """A worker's result of a command."""
        ...


class Attachment(asyncio.Protocol):
    """The link's end of one worker's connection."""

    def __init__(self, host: Host, uid: int, hello_seconds: float = HELLO_SECONDS) -> None:
        """uid: whose processes may attach. hello_seconds: until a connection must have said who it is."""
        self._host, self._uid, self._hello_seconds = host, uid, hello_seconds
        self._splitter = Splitter(LONGEST_FRAME)
        self._calls: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self.hello: Hello | None = None
        self.known = Known(-1, -1)
        """What it has once it read everything that was sent."""
        self.applied = (-1, -1)
        """Revision and sheet that it enforces."""
        self.reads = True

    @property
    def attached(self) -> bool:
        """Whether it said hello in our protocol and is still there."""
        return self.hello is not None and self._transport is not None and not self._transport.is_closing()

    @property
    def is_worker(self) -> bool:
        """Whether it is attached and enforces policy: gets updates and commands, and counts as a worker."""
        return self.attached and self.hello is not None and self.hello.part == WORKER

    def push(self, ready: dict[Known, bytes] | None = None) -> None:
        """Sends what it misses, unless it does not read. ready: frames already encoded, by what they follow on."""
        if not self.is_worker or not self.reads:
            return
        frame = None if ready is None else ready.get(self.known)
        if frame is None:
            update = self._host.held.update(self.known)
            if update is None:
                return
            frame = encode(update)
            if ready is not None:
                ready[self.known] = frame
        self.known = self._host.held.after(self.known)
        self._write(frame)

    def send(self, frame: FromLink) -> None:
        """Sends one frame; nothing when the worker has gone."""
        self._write(encode(frame))

    def drop(self) -> None:
        """Ends the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    # Called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Lets it in if it is ours and there is room."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=MOST_UNREAD)
        if peer_uid(transport) != self._uid:
            _log.error("worker refused", extra={"reason": "it is another user's"})
            self.drop()
        elif not self._host.admit(self):
            _log.error("worker refused", extra={"reason": "there is no room, or no server any more"})
            self.drop()
        else:
            self._timer = asyncio.get_running_loop().call_later(self._hello_seconds, self._overdue)

    def connection_lost(self, _error: Exception | None) -> None:
        """Forgets it, and what it still asked."""
        if self._timer is not None:
            self._timer.cancel()
        for call in self._calls:
            call.cancel()
        self._host.leave(self)
        if self.hello is not None:
            _log.info(
                "%s left", self.hello.part, extra={"worker": self.hello.worker, "child": self.hello.pid}
            )

    def data_received(self, data: bytes) -> None:
        """Takes the frames that `data` completes; what is no frame ends the connection."""
        try:
            for body in self._splitter.feed(data):
                if self._transport is None or self._transport.is_closing():
                    return
                self._take(read_from_worker(body))
        except FrameRefused as error:
            _log.error("worker refused", extra={"reason": error.detail})
            self.drop()

    def pause_writing(self) -> None:
        """It does not read: nothing more is sent, nor taken from it."""
        self.reads = False
        if self._transport is not None:
            self._transport.pause_reading()  # else its calls would make answers that it does not read

    def resume_writing(self) -> None:
        """It reads again: it gets what it missed."""
        self.reads = True
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
            self.push()

    # Inside

    def _take(self, frame: FromWorker) -> None:
        if self.hello is None:
            if not isinstance(frame, Hello):
                raise FrameRefused("it did not say hello")
            self._greet(frame)
            return
        match frame:
            case Call():
                self._ask(frame)
            case Hello():
                raise FrameRefused("it said hello twice")
            case _ if self.hello.part == KEEPER:
                raise FrameRefused("a keeper only calls")
            case Applied():
                self.applied = (frame.revision, frame.sheet)
                self._host.progress(self)
            case Done():
                self._host.done(frame.payload)

    def _greet(self, hello: Hello) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.send(Welcome(PROTOCOL))
        if hello.protocol != PROTOCOL:
            reason = f"it speaks protocol {hello.protocol}, this link {PROTOCOL}"
            _log.error("worker refused", extra={"reason": reason, "worker": hello.worker, "child": hello.pid})
            if self._transport is not None:
                self._transport.close()  # after the welcome, from which it learns why
            return
        if hello.part not in {WORKER, KEEPER}:
            raise FrameRefused("it is neither worker nor keeper")
        self.hello = hello
        self.known, self.applied = Known(hello.revision, hello.sheet), (hello.revision, hello.sheet)
        _log.info(
            "%s attached",
            hello.part,
            extra={"worker": hello.worker, "child": hello.pid, "revision": hello.revision},
        )
        self._host.progress(self)
        self.push()

    def _ask(self, call: Call) -> None:
        delivers = self.hello is not None and self.hello.part == KEEPER
        if ((call.role, call.method) == DELIVERY) != delivers:
            self.send(Answer(call.number, b"", "refused"))
            return
        if len(self._calls) >= MOST_CALLS:
            self.send(Answer(call.number, b"", "unavailable"))
            return
        task = spawn(f"call-{call.number}", self._carry(call))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _carry(self, call: Call) -> None:
        self.send(await self._host.answer(call))

    def _overdue(self) -> None:
        _log.error("worker refused", extra={"reason": "it did not say hello in time"})
        self.drop()

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
