"""Puts a link together and runs it until it is told to stop or has to leave.

Everything that reads a key file, makes the socket or handles a signal is here; it holds no secret, because a link
has none: the two keys it reads are public.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from random import uniform

from actors.link import place
from actors.link.call_side import CallSide
from actors.link.held import Held
from actors.link.permits_side import PermitsSide
from actors.link.ports import Actors
from actors.link.registry_side import LISTEN_SECONDS, RegistrySide
from actors.link.results import Results
from actors.link.server import LinkServer
from actors.link.watch import Detached, Epoch, Patience
from actors.tasks import spawn, stop
from models.custody.signing import Verifier
from models.errors import ConfigurationError
from models.home import EdgeHome, link_socket

_log = logging.getLogger("exeat.link")


class Pinned:
    """What a link reads from its edge's home."""

    def __init__(self, home: EdgeHome) -> None:
        """Raises ConfigurationError for a file that is missing or has another form."""
        self.control = _public(home.control_public)
        self.vault = _public(home.vault_public)
        self.edge = _text(home.host_id)
        self.socket = link_socket(home.root.absolute(), os.getuid())


async def run(
    actors: Actors,
    pinned: Pinned,
    region: str,
    epoch: Epoch,
    *,
    patience: Patience | None = None,
    listen_seconds: float = LISTEN_SECONDS,
    workers: int = 0,
    shards: int = 1,
    redactors: int = 1,
    announce: Callable[[], None] = lambda: None,
) -> None:
    """Serves workers until SIGTERM. `place.taken` must hold `pinned.socket`.

    workers: how many the edge has, 0 when unknown. shards, redactors: how many limiters and redactors its region
    has. announce: called once the socket accepts. Raises Detached when only a new process can help,
    ConfigurationError when the socket cannot be made.
    """
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    held, link = Held(region, pinned.control, pinned.vault), os.urandom(8).hex()
    registry = RegistrySide(
        actors,
        held,
        link=link,
        edge=pinned.edge,
        patience=patience or Patience(loop.time),
        uniform=uniform,
        seconds=listen_seconds,
        workers=workers,
    )
    permits = PermitsSide(actors, link=link, shards=shards, uniform=uniform)
    results = Results(actors)

    def progress() -> None:
        registry.progress()
        permits.progress()

    server = LinkServer(
        held,
        CallSide(actors, redactors=redactors),
        uid=os.getuid(),
        on_progress=progress,
        on_done=results.offer,
    )
    await server.open(place.bind(pinned.socket))
    announce()
    leaving = [
        spawn("stopped", _until(stopped)),
        spawn("epoch", _why(epoch.watch())),
        spawn("registry", _why(registry.run(server))),
    ]
    serving = [
        spawn("report", registry.tell(server)),
        spawn("results", results.run()),
        spawn("permits", permits.run(server)),
    ]
    try:
        ended, _ = await asyncio.wait([*leaving, *serving], return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            if (reason := task.result()) is not None:
                raise reason
    finally:
        server.close()
        await stop(*leaving, *serving)
        loop.remove_signal_handler(signal.SIGTERM)


async def _why(work: Coroutine[None, None, None]) -> Detached | None:
    """The reason for which `work` ended, which is no failure of the task."""
    try:
        await work
    except Detached as reason:
        return reason
    return None


async def _until(event: asyncio.Event) -> None:
    await event.wait()
    _log.info("link stops")


def _text(path: Path) -> str:
    try:
        text = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not text"
        raise ConfigurationError(f"{path}: {reason}", field="EXEAT_HOME") from None
    if not text:
        raise ConfigurationError(f"{path} is empty", field="EXEAT_HOME")
    return text


def _public(path: Path) -> Verifier:
    try:
        return Verifier(bytes.fromhex(_text(path)))
    except ValueError:
        raise ConfigurationError(f"{path} must be a public key, 64 hex digits", field="EXEAT_HOME") from None
