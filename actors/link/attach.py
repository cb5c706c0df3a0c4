"""The actors of a region over Ray, as the link needs them, and the wait for a cluster to join.

An actor of another protocol counts as away, because a detached actor keeps the code it was made with. Errors leave
as `actors.link.ports` says, whatever Ray or the actor made of them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import msgspec

from actors import cluster
from actors.calling import ActorCaller
from actors.names import REGISTRY, VAULT
from actors.settings import RaySettings
from models.errors import CustodyError, ExeatError, PeerUnavailable, Refused
from models.planes.calls import Ready
from models.planes.frames import PROTOCOL

CALL_SECONDS = 5.0
LISTEN_SECONDS = 20.0
PAUSE_SECONDS = 0.25

_log = logging.getLogger("exeat.link.attach")
_ready = msgspec.msgpack.Decoder(Ready)


def wait_for_cluster(settings: RaySettings, *, nap: Callable[[float], None] = time.sleep) -> None:
    """Returns once the cluster's port accepts connections, however long that takes."""
    if cluster.reachable(settings):
        return
    _log.info("waiting for the cluster", extra={"address": settings.ray_address})
    while not cluster.reachable(settings):
        nap(PAUSE_SECONDS)


def leave(seconds: float) -> None:
    """Leaves the cluster, or gives up after `seconds`: it may have gone first."""
    leaving = threading.Thread(target=cluster.leave, daemon=True)
    leaving.start()
    leaving.join(seconds)


class RayActors:
    """`actors.link.ports.Actors` for one region."""

    def __init__(self, region: str) -> None:
        self._region = region
        self._callers: dict[tuple[str, int], ActorCaller] = {}
        self._checked: set[tuple[str, int]] = set()

    async def listen(self, payload: bytes) -> bytes:
        """See `ports.Actors`."""
        return await self._call(REGISTRY, "listen", payload, LISTEN_SECONDS)

    async def report(self, payload: bytes) -> None:
        """See `ports.Actors`."""
        await self._call(REGISTRY, "report", payload, CALL_SECONDS)

    async def command_done(self, payload: bytes) -> None:
        """See `ports.Actors`."""
        await self._call(REGISTRY, "command_done", payload, CALL_SECONDS)

    async def grant(self, payload: bytes) -> bytes:
        """See `ports.Actors`."""
        return await self._call(VAULT, "grant", payload, CALL_SECONDS)

    async def ask(self, role: str, method: str, payload: bytes, *, shard: int = 0, seconds: float) -> bytes:
        """See `ports.Actors`."""
        return await self._call(role, method, payload, seconds, shard)

    async def _call(self, role: str, method: str, payload: bytes, seconds: float, shard: int = 0) -> bytes:
        one = role, shard
        caller = self._callers.get(one)
        if caller is None:
            caller = self._callers[one] = ActorCaller(self._region, role, shard)
        try:
            if one not in self._checked:
                await self._check(one, caller)
            return await caller.call(method, payload, seconds=seconds)
        except (CustodyError, Refused):
            raise
        except PeerUnavailable:
            self._checked.discard(one)  # its successor may be of other code
            raise
        except ExeatError as error:
            raise PeerUnavailable(f"{role}.{method}: {error.detail}") from None

    async def _check(self, one: tuple[str, int], caller: ActorCaller) -> None:
        role, _ = one
        try:
            ready = _ready.decode(await caller.call("ready", seconds=CALL_SECONDS))
        except msgspec.DecodeError:
            raise PeerUnavailable(f"{role} speaks another protocol") from None
        if ready.protocol != PROTOCOL:
            raise PeerUnavailable(f"{role} speaks protocol {ready.protocol}, this link {PROTOCOL}")
        _log.info("actor found", extra={"actor": role, "child": ready.pid})
        self._checked.add(one)
