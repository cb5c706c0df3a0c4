"""Sees to it that one region's actors exist and answer: `exeat actors`, or `python -m actors`.

It holds no state of theirs and takes no part in their work; when it ends they live on. When the cluster is gone or
is another one it ends with status 75, so that its supervisor starts a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
import time
from typing import Final, NoReturn

import msgspec

from actors import cluster, logs
from actors.calling import ActorCaller
from actors.factory import Region, ensure
from actors.names import REGISTRY, ROLES
from actors.registry.core import Status
from actors.settings import ActorsSettings
from actors.tasks import spawn, stop
from models.errors import ExeatError, PeerUnavailable
from models.home import Home
from models.planes.calls import Ready
from models.planes.frames import PROTOCOL

LOOK_SECONDS: Final = 2.0
ANSWER_SECONDS: Final = 5.0
AWAY_SECONDS: Final = 10.0
"""How long the cluster may be unreachable before leaving."""
SILENT_SECONDS: Final = 40.0
"""How long all actors may be silent: perhaps a driver that joined anew can reach or make them."""
LEAVE_SECONDS: Final = 3.0

_log = logging.getLogger("exeat.guardian")


class Guardian:
    """The loop over one region's actors."""

    def __init__(self, settings: ActorsSettings) -> None:
        self._settings = settings
        home = Home(settings.home.absolute())
        self._region = Region(
            name=settings.region,
            home=home.region(settings.region),
            control_url=settings.control_url,
            logs=None if settings.log is None else settings.log.absolute().parent,
        )
        self._callers = {role: ActorCaller(settings.region, role) for role in ROLES}
        self._epoch = self._read_epoch()
        self._said = False
        self._pids: dict[str, int] = {}
        self._pids_said: dict[str, int] = {}

    async def run(self) -> str:
        """Ensures, then looks every two seconds; returns why only a new process can help."""
        lifeline = spawn("guardian-lifeline", self._watch_cluster())
        work = spawn("guardian-actors", self._watch_actors())
        try:
            done, _ = await asyncio.wait({lifeline, work}, return_when=asyncio.FIRST_COMPLETED)
            reason: str = done.pop().result()
            return reason
        finally:
            await stop(lifeline, work)

    def is_over(self) -> bool:
        """Whether the cluster is another one than when this began."""
        return self._read_epoch() != self._epoch

    async def _watch_cluster(self) -> str:
        seen = time.monotonic()
        while True:
            if await asyncio.to_thread(cluster.reachable, self._settings):
                seen = time.monotonic()
            elif time.monotonic() - seen > AWAY_SECONDS:
                return "the cluster is unreachable"
            if self.is_over():
                return "the cluster is a new one"
            await asyncio.sleep(0.5)

    async def _watch_actors(self) -> str:
        heard = time.monotonic()
        while True:
            answers = await asyncio.gather(*(self._look(role) for role in ROLES))
            if any(answers):
                heard = time.monotonic()
            elif time.monotonic() - heard > SILENT_SECONDS:
                return "no actor answers"
            if all(answers) and not self._said:
                await self._say_when_ready()
            self._say_where()
            # Until they are ready somebody is waiting for the line; afterwards nobody is.
            await asyncio.sleep(LOOK_SECONDS if self._said else 0.1)

    async def _look(self, role: str) -> bool:
        """Whether the actor answers as it should; one that does not is made, or replaced, if that can be done."""
        try:
            answer = await self._callers[role].call("ready", seconds=ANSWER_SECONDS)
            ready = msgspec.msgpack.decode(answer, type=Ready)
            if ready.protocol == PROTOCOL:
                self._pids[role] = ready.pid
                return True
            _log.warning("actor of another protocol", extra={"role": role, "protocol": ready.protocol})
        except (ExeatError, msgspec.DecodeError) as error:
            _log.info("actor does not answer", extra={"role": role, "detail": getattr(error, "detail", "")})
        began = time.monotonic()
        try:
            ready = await ensure(self._region, role)
        except ExeatError as error:
            _log.error("actor is away", extra={"role": role, "detail": error.detail})
            await asyncio.sleep(0.5)
            return False
        took = round(time.monotonic() - began, 2)
        _log.info(
            "actor answers", extra={"role": role, "child": ready.pid, "detail": ready.detail, "seconds": took}
        )
        self._pids[role] = ready.pid
        return True

    def _say_where(self) -> None:
        """A line on stdout for each actor whose process is another one than was said before."""
        for role, pid in self._pids.items():
            if self._said and self._pids_said.get(role) != pid:
                self._pids_said[role] = pid
                sys.stdout.write(f"actor {role} {pid}\n")
                sys.stdout.flush()

    async def _say_when_ready(self) -> None:
        with contextlib.suppress(PeerUnavailable):
            answer = await self._callers[REGISTRY].call("status", seconds=ANSWER_SECONDS)
            status = msgspec.msgpack.decode(answer, type=Status)
            if status.revision >= 0 and status.certificate:
                self._said = True
                sys.stdout.write(f"actors ready: {self._settings.region}\n")
                sys.stdout.flush()

    def _read_epoch(self) -> bytes:
        if self._settings.ray_epoch_file is None:
            return b""
        try:
            return self._settings.ray_epoch_file.read_bytes()
        except OSError:
            return b""


def main(settings: ActorsSettings) -> int:
    """Runs until SIGTERM or SIGINT (0), or until only a new process can help (75); may end the process itself.

    `actors.settings.ray_environment` must have been called before this module was imported.
    """
    logs.configure(settings.log_level, file=settings.log, part=f"actors {settings.region}")
    guardian = Guardian(settings)  # reads the epoch before it joins that cluster
    try:
        cluster.join(settings, is_another=guardian.is_over)
    except PeerUnavailable as error:
        _log.error("leaving", extra={"detail": error.detail})
        return cluster.EXIT_AGAIN
    asyncio.run(_until_stopped(guardian))
    return cluster.EXIT_AGAIN


async def _until_stopped(guardian: Guardian) -> None:
    """Ends the process: a thread that hangs inside Ray would keep it from ever ending by itself."""
    work = spawn("guardian", guardian.run())
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        # After joining, because Ray sets handlers of its own there.
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    waiting = spawn("guardian-signal", stopped.wait())
    await asyncio.wait({work, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if not work.done():
        await stop(work)
        watchdog = threading.Timer(LEAVE_SECONDS, _end, (0,))
        watchdog.daemon = True
        watchdog.start()
        cluster.leave()
        _end(0)
    try:
        _log.error("leaving", extra={"detail": await work})
    except Exception:  # noqa: BLE001 - the rim of the process: logged, and tried again by a new one
        _log.exception("failed")
    _end(cluster.EXIT_AGAIN)


def _end(status: int) -> NoReturn:
    logging.shutdown()
    sys.stdout.flush()
    os._exit(status)
