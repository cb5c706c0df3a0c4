"""The link's socket and everybody at it: who is attached, what goes to all of them, who runs a command.

It lets in processes of its own user only, and no more of them than a host has workers.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

from actors.link.attachment import HELLO_SECONDS, Attachment
from actors.link.call_side import CallSide
from actors.link.held import Held, Known
from models.custody.signing import Signed
from models.planes.frames import Answer, Call, Run, Surrender
from models.planes.permits import Recall

MOST_CONNECTIONS = 1024
"""Twice what an edge may have workers, and again as much for those that replace them."""

_log = logging.getLogger("exeat.link.server")


class LinkServer:
    """Serves workers on one socket, from `open` to `close`."""

    def __init__(
        self,
        held: Held,
        vault: CallSide,
        *,
        uid: int,
        on_progress: Callable[[], None],
        on_done: Callable[[bytes], None],
        most: int = MOST_CONNECTIONS,
        hello_seconds: float = HELLO_SECONDS,
    ) -> None:
        """uid: whose processes may attach. on_progress: told when `workers` changed; on_done: each command's result."""
        self.held = held
        self._vault, self._uid, self._most, self._hello_seconds = vault, uid, most, hello_seconds
        self._on_progress, self._on_done = on_progress, on_done
        self._all: dict[Attachment, None] = {}  # in the order of their arrival, or of their last command
        self._server: asyncio.AbstractServer | None = None
        self._closed = False

    async def open(self, sock: socket.socket) -> None:
        """Accepts workers on a listening Unix socket, which is closed with this server."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(
            lambda: Attachment(self, self._uid, self._hello_seconds), sock=sock
        )

    def close(self) -> None:
        """Stops accepting and lets everybody go, also who was accepted and has not come in yet."""
        self._closed = True
        if self._server is not None:
            self._server.close()
        for one in list(self._all):
            one.drop()

    @property
    def workers(self) -> tuple[tuple[int, int], ...]:
        """(index, revision it enforces) of each attached worker; of two with one index what both enforce."""
        found: dict[int, int] = {}
        for one in self._all:
            if one.is_worker and one.hello is not None:
                index, revision = one.hello.worker, one.applied[0]
                found[index] = min(revision, found.get(index, revision))
        return tuple(sorted(found.items()))

    @property
    def holders(self) -> tuple[str, ...]:
        """Names under which attached workers hold permits, in order."""
        return tuple(sorted({one.hello.holder for one in self._all if one.is_worker and one.hello} - {""}))

    def surrender(self, holder: str, recall: Recall) -> bool:
        """Tells the worker of that name to return permits; False when there is none that reads."""
        found = [one for one in self._all if one.is_worker and one.hello and one.hello.holder == holder]
        for one in found:
            if one.reads:
                one.send(Surrender(recall))
        return any(one.reads for one in found)

    def publish(self) -> None:
        """Sends everybody what they miss of `held`."""
        ready: dict[Known, bytes] = {}
        for one in list(self._all):
            one.push(ready)

    def run_command(self, command: Signed) -> bool:
        """Gives a command to one worker, in turn; False when there is none that reads."""
        for one in self._all:
            if one.is_worker and one.reads:
                del self._all[one]
                self._all[one] = None
                one.send(Run(command))
                return True
        _log.warning("command dropped", extra={"reason": "no worker is attached"})
        return False

    # For attachments

    def admit(self, one: Attachment) -> bool:
        """Whether there is room for one more."""
        if self._closed or len(self._all) >= self._most:
            return False
        self._all[one] = None
        return True

    def leave(self, one: Attachment) -> None:
        """It has gone."""
        if one in self._all:
            del self._all[one]
            self._on_progress()

    def progress(self, _one: Attachment) -> None:
        """It attached, or enforces something else now."""
        self._on_progress()

    async def answer(self, call: Call) -> Answer:
        """What the actor says."""
        return await self._vault.answer(call)

    def done(self, payload: bytes) -> None:
        """The result of a command."""
        self._on_done(payload)
