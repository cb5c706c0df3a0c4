"""Makes a region's actors when there are none, and replaces those that run another protocol.

An actor is told where its region's home is and nothing else; it must never be handed a secret, because Ray keeps
the arguments of its constructor.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import ray
from ray.exceptions import ActorUnavailableError, RayActorError, RayError, RayTaskError

from actors.calling import raise_cause
from actors.names import (
    LIMITER,
    NAMESPACE,
    RECORDER,
    REDACTOR,
    REGISTRY,
    VAULT,
    Post,
    actor_name,
    region_resource,
)
from actors.remote import REMOTE
from models.errors import PeerUnavailable
from models.home import RegionHome
from models.planes.calls import Ready
from models.planes.frames import PROTOCOL

READY_SECONDS: Final = 60.0
"""A new actor is a new interpreter; on a busy machine that takes a while."""
_GONE_SECONDS: Final = 15.0

_log = logging.getLogger("exeat.factory")


@dataclass(frozen=True, slots=True)
class Region:
    """What a region's actors are told.

    home: absolute. logs: absolute directory of their logs, None for Ray's own. limiter_shards: how many limiters
    divide the counters. model: what redactors load.
    """

    name: str
    home: RegionHome
    control_url: str
    logs: Path | None = None
    limiter_shards: int = 1
    model: str = ""

    def log(self, post: Post) -> str:
        """The file that the actor on `post` logs to; empty for Ray's own."""
        if self.logs is None:
            return ""
        number = f"-{post.shard}" if post.shard else ""
        return str(self.logs / f"{post.role}-{self.name}{number}.log")

    def arguments(self, post: Post) -> tuple[str | int, ...]:
        """What the constructor of the actor on `post` is given."""
        home, log = str(self.home.root), self.log(post)
        return {
            VAULT: (self.name, home, log),
            REGISTRY: (self.name, home, self.control_url, log),
            LIMITER: (self.name, home, log, post.shard, self.limiter_shards),
            RECORDER: (self.name, home, self.control_url, log),
            REDACTOR: (self.name, log, self.model, post.shard),
        }[post.role]


async def ensure(region: Region, post: Post, *, seconds: float = READY_SECONDS) -> Ready:
    """The region's actor on `post`, made or replaced when needed, once it answers.

    Raises PeerUnavailable when none does within `seconds`, or when its constructor failed; the detail says how.
    """
    reason = "is still starting"
    try:
        async with asyncio.timeout(seconds):
            while True:
                # Ray's calls about names and creation block for as long as the cluster's head is away.
                handle = await asyncio.to_thread(create, region, post)
                try:
                    ready = await _ask(handle)
                except ActorUnavailableError:
                    reason = "is restarting"
                    await asyncio.sleep(0.2)
                    continue
                if ready is not None and (ready.role, ready.region, ready.protocol) == (
                    post.role,
                    region.name,
                    PROTOCOL,
                ):
                    return ready
                found = None if ready is None else ready.protocol
                _log.warning(
                    "actor replaced", extra={"role": str(post), "region": region.name, "protocol": found}
                )
                await asyncio.to_thread(remove, region.name, post)
    except TimeoutError:
        raise PeerUnavailable(f"{post} of {region.name} {reason}") from None
    except RayActorError as error:
        raise PeerUnavailable(f"{post} of {region.name} did not start: {_last_line(error)}") from None
    except RayError as error:
        raise PeerUnavailable(f"{post} of {region.name} cannot be made ({type(error).__name__})") from None


def create(region: Region, post: Post) -> Any:
    """The actor's handle, of the one there is or of a new one that may still be starting. Blocks; raises RayError."""
    remote = REMOTE[post.role]
    return remote.kind.options(
        name=actor_name(region.name, *post),
        namespace=NAMESPACE,
        get_if_exists=True,
        lifetime="detached",
        max_restarts=-1,
        max_task_retries=0,  # whoever calls knows whether to ask again
        num_cpus=0.01,
        memory=remote.memory,
        resources={region_resource(region.name): 0.001},
        enable_task_events=False,
    ).remote(*region.arguments(post))


def remove(region: str, post: Post) -> None:
    """Ends the actor for good and waits until its name is free. Blocks; raises RayError, PeerUnavailable."""
    name, until = actor_name(region, *post), time.monotonic() + _GONE_SECONDS
    try:
        ray.kill(ray.get_actor(name, NAMESPACE), no_restart=True)
        while time.monotonic() < until:
            ray.get_actor(name, NAMESPACE)
            time.sleep(0.05)  # in a thread of its own; Ray tells nobody when a name is free
    except ValueError:
        return  # there is none of that name, or no longer
    raise PeerUnavailable(f"{name} does not end")


async def _ask(handle: Any) -> Ready | None:
    """What the actor says of itself; None when it does not speak our way at all."""
    try:
        return msgspec.msgpack.decode(await handle.ready.remote(b""), type=Ready)
    except RayTaskError as error:
        raise_cause(error)
    except (AttributeError, TypeError, msgspec.DecodeError):
        return None


def _last_line(error: RayActorError) -> str:
    """Why it died; our constructors raise nothing whose text may not be seen."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines and error.actor_init_failed else type(error).__name__
