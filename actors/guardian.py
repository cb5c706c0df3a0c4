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
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NoReturn

import msgspec
from ray.exceptions import RayError

from actors import cluster, logs
from actors.calling import ActorCaller
from actors.factory import Region, create, ensure
from actors.names import REGISTRY, Post, posts
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
AGAIN_SECONDS: Final = 0.5
WORDS_SECONDS: Final = 0.1
THREADS: Final = 4
"""For each actor: calls about names block their thread for as long as the cluster's head is away."""
LEAVE_SECONDS: Final = 3.0

_log = logging.getLogger("exeat.guardian")


class Guardian:
    """Looks after one region's actors, each on its own, so that one that takes long keeps nobody waiting."""

    def __init__(self, settings: ActorsSettings) -> None:
        self._settings = settings
        home = Home(settings.home.absolute())
        self._region = Region(
            name=settings.region,
            home=home.region(settings.region),
            control_url=settings.control_url,
            logs=None if settings.log is None else settings.log.absolute().parent,
            limiter_shards=settings.limiter_shards,
            model=settings.ner_model,
        )
        self._callers = {
            post: ActorCaller(settings.region, *post)
            for post in posts(settings.limiter_shards, settings.redactors)
        }
        self._epoch = self._read_epoch()
        self._turn = asyncio.Lock()
        self._heard = time.monotonic()
        self._pids: dict[Post, int] = {}
        self._pids_said: dict[Post, int] = {}

    async def run(self) -> str:
        """Ensures, then looks every two seconds; returns why only a new process can help."""
        threads = ThreadPoolExecutor(THREADS * len(self._callers) + THREADS)
        asyncio.get_running_loop().set_default_executor(threads)
        work = [
            spawn("guardian-lifeline", self._watch_cluster()),
            spawn("guardian-silence", self._watch_silence()),
            spawn("guardian-words", self._speak()),
            *(spawn(f"guardian-{post}", self._keep(post)) for post in self._callers),
        ]
        try:
            done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
            reason: str = done.pop().result()
            return reason
        finally:
            await stop(*work)

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

    async def _watch_silence(self) -> str:
        while True:
            await asyncio.sleep(1.0)
            if time.monotonic() - self._heard > SILENT_SECONDS:
                return "no actor answers"

    async def _keep(self, post: Post) -> str:
        """Looks after one actor, for ever."""
        async with self._turn:
            # In the order of the posts: Ray starts few processes at a time, and calls need the first ones most.
            with contextlib.suppress(RayError, ValueError):
                await asyncio.to_thread(create, self._region, post)
        while True:
            if await self._look(post):
                self._heard = time.monotonic()
                await asyncio.sleep(LOOK_SECONDS)
            else:
                await asyncio.sleep(AGAIN_SECONDS)

    async def _look(self, post: Post) -> bool:
        """Whether the actor answers as it should; one that does not is made, or replaced, if that can be done."""
        role = str(post)
        try:
            answer = await self._callers[post].call("ready", seconds=ANSWER_SECONDS)
            ready = msgspec.msgpack.decode(answer, type=Ready)
            if ready.protocol == PROTOCOL:
                self._pids[post] = ready.pid
                return True
            _log.warning("actor of another protocol", extra={"role": role, "protocol": ready.protocol})
        except (ExeatError, msgspec.DecodeError) as error:
            _log.info("actor does not answer", extra={"role": role, "detail": getattr(error, "detail", "")})
        began = time.monotonic()
        try:
            ready = await ensure(self._region, post)
        except ExeatError as error:
            _log.error("actor is away", extra={"role": role, "detail": error.detail})
            return False
        took = round(time.monotonic() - began, 2)
        _log.info(
            "actor answers", extra={"role": role, "child": ready.pid, "detail": ready.detail, "seconds": took}
        )
        self._pids[post] = ready.pid
        return True

    async def _speak(self) -> str:
        """On stdout, once: that all actors answered and the region's policy is known; then where each of them is."""
        ready = False
        while True:
            await asyncio.sleep(WORDS_SECONDS)
            if not ready:
                ready = len(self._pids) == len(self._callers) and await self._knows_policy()
                if not ready:
                    continue
                self._say(f"actors ready: {self._settings.region}")
            for post, pid in self._pids.items():
                if self._pids_said.get(post) != pid:
                    self._pids_said[post] = pid
                    self._say(f"actor {post} {pid}")

    async def _knows_policy(self) -> bool:
        try:
            answer = await self._callers[Post(REGISTRY)].call("status", seconds=ANSWER_SECONDS)
        except PeerUnavailable:
            return False
        status = msgspec.msgpack.decode(answer, type=Status)
        return status.revision >= 0 and bool(status.certificate)

    @staticmethod
    def _say(line: str) -> None:
        sys.stdout.write(f"{line}\n")
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
