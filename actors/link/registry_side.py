"""Follows the region's registry: one question outstanding, every answer verified, taken over and passed on.

Answers that cannot be believed change nothing; the next question then asks for everything. It ends only by leaving:
when the registry has not answered for too long, a new link has to attach.
"""

from __future__ import annotations

import asyncio
import logging

import msgspec

from actors.link.held import Held
from actors.link.ports import Actors
from actors.link.server import LinkServer
from actors.link.watch import Patience
from actors.registry.pace import Backoff, Uniform
from actors.tasks import spawn, stop
from models.errors import CustodyError, ExeatError, PeerUnavailable
from models.planes.calls import ListenAnswer, ListenRequest

LISTEN_SECONDS = 20.0
"""Until a question counts as lost; a registry answers within 9 s."""

_log = logging.getLogger("exeat.link.registry")
_encode = msgspec.msgpack.Encoder().encode
_answer = msgspec.msgpack.Decoder(ListenAnswer)


class RegistrySide:
    """Keeps `held` up to date and the workers told; tells the registry what workers enforce."""

    def __init__(
        self,
        actors: Actors,
        held: Held,
        *,
        link: str,
        edge: str,
        patience: Patience,
        uniform: Uniform,
        seconds: float = LISTEN_SECONDS,
        workers: int = 0,
    ) -> None:
        """link: names this process, anew each start; edge: the host's id. seconds: until a question counts as lost.

        workers: how many the edge has, 0 when unknown.
        """
        self._actors, self._held = actors, held
        self._link, self._edge, self._workers = link, edge, workers
        self._patience, self._seconds = patience, seconds
        self._away = Backoff(uniform, first=0.05, most=1.0)
        self._doubts = Backoff(uniform, first=0.1, most=5.0)
        self._doubtful = False
        self._progressed, self._attended = asyncio.Event(), asyncio.Event()
        self._server: LinkServer | None = None

    def progress(self) -> None:
        """Workers came, went, or enforce something else now."""
        self._progressed.set()
        if self._server is not None and self._server.workers:
            self._attended.set()
        else:
            self._attended.clear()

    async def run(self, server: LinkServer) -> None:
        """Listens until cancelled. Raises Detached."""
        self._server = server
        self.progress()
        while True:
            await self._turn(server)
            self._patience.check()

    async def tell(self, server: LinkServer) -> None:
        """Reports what workers enforce whenever that changes, until cancelled."""
        while True:
            await self._progressed.wait()
            self._progressed.clear()
            try:
                await self._actors.report(_encode(self._request(server)))
            except ExeatError:
                continue  # the next question says it as well

    # Inside

    async def _turn(self, server: LinkServer) -> None:
        if self._attended.is_set():
            await self._ask(server)
            return
        # Commands come only to a link that has workers: once there is one, it is said with a second question,
        # which makes the registry end this one. Both answers count, or a command could fall between them.
        question = spawn("listen", self._ask(server))
        attended = spawn("attended", self._attended.wait())
        try:
            await asyncio.wait({question, attended}, return_when=asyncio.FIRST_COMPLETED)
            if not question.done():
                await self._ask(server)
            await question
        finally:
            await stop(question, attended)

    async def _ask(self, server: LinkServer) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                said = await self._actors.listen(_encode(self._request(server)))
            answer = _answer.decode(said)
        except (ExeatError, TimeoutError, msgspec.DecodeError) as error:
            detail = error.detail if isinstance(error, PeerUnavailable) else type(error).__name__
            if self._patience.failure():  # said once, not every second
                _log.warning("registry does not answer", extra={"detail": detail})
            await asyncio.sleep(self._away.after_failure())
            return
        if self._patience.success():
            _log.info("registry answers")
        self._away.reset()
        await self._heed(answer, server)

    async def _heed(self, answer: ListenAnswer, server: LinkServer) -> None:
        doubt: CustodyError | None = None
        try:
            self._held.take(answer)
        except CustodyError as error:
            doubt = error
        server.publish()
        for command in answer.commands:
            server.run_command(command)
        self._doubtful = doubt is not None
        if doubt is None:
            self._doubts.reset()
            return
        _log.error(
            "registry not believed", extra={"detail": doubt.detail, "revision": self._held.known.revision}
        )
        await asyncio.sleep(self._doubts.after_failure())

    def _request(self, server: LinkServer) -> ListenRequest:
        known = self._held.known
        return ListenRequest(
            link=self._link,
            edge=self._edge,
            revision=-1 if self._doubtful else known.revision,
            sheet=-1 if self._doubtful else known.sheet,
            issued_ms=0 if self._doubtful else known.issued_ms,
            workers=server.workers,
            expected=self._workers,
        )
