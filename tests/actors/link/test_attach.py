"""What the link makes of actors over Ray, without a cluster: another protocol, failures, waiting for a port."""

from __future__ import annotations

import os
import socket

import msgspec
import pytest

from actors.link.attach import RayActors, wait_for_cluster
from actors.names import REGISTRY, VAULT
from actors.settings import LinkSettings
from models.errors import CapabilityRefused, ExeatError, PeerUnavailable, StoreUnavailable
from models.planes.calls import Ready
from models.planes.frames import PROTOCOL
from tests.kit.link import REGION


class Caller:
    """An actor as its caller sees it."""

    def __init__(self, protocol: int = PROTOCOL) -> None:
        self.protocol = protocol
        self.calls: list[str] = []
        self.fails: ExeatError | None = None

    async def call(self, method: str, payload: bytes = b"", *, seconds: float = 0.0) -> bytes:  # noqa: ARG002 - as its caller gives it
        self.calls.append(method)
        if method == "ready":
            ready = Ready(role=VAULT, region=REGION, protocol=self.protocol, pid=os.getpid())
            return msgspec.msgpack.encode(ready)
        if self.fails is not None:
            raise self.fails
        return payload[::-1]


def actors_with(caller: Caller) -> RayActors:
    """A region whose actors are both `caller`."""
    actors = RayActors(REGION)
    actors._callers = {(REGISTRY, 0): caller, (VAULT, 0): caller}  # type: ignore[dict-item]  # the one seam to Ray
    return actors


async def test_an_actor_is_asked_for_its_protocol_before_anything_else() -> None:
    """Once, and again after it was away: its successor may be of other code."""
    caller = Caller()
    actors = actors_with(caller)
    assert await actors.grant(b"ab") == b"ba"
    await actors.grant(b"")
    caller.fails = PeerUnavailable("away")
    with pytest.raises(PeerUnavailable):
        await actors.grant(b"")
    caller.fails = None
    await actors.grant(b"")
    assert caller.calls == ["ready", "grant", "grant", "grant", "ready", "grant"]


async def test_an_actor_of_another_protocol_counts_as_away() -> None:
    """It is not called at all."""
    caller = Caller(PROTOCOL + 1)
    actors = actors_with(caller)
    for call in (actors.listen, actors.report, actors.command_done, actors.grant):
        with pytest.raises(PeerUnavailable, match="protocol"):
            await call(b"")
    assert set(caller.calls) == {"ready"}


async def test_only_disbelief_leaves_as_it_is() -> None:
    """Everything else that went wrong in an actor means that it may be asked again."""
    caller = Caller()
    actors = actors_with(caller)
    caller.fails = CapabilityRefused("used before")
    with pytest.raises(CapabilityRefused):
        await actors.grant(b"")
    caller.fails = StoreUnavailable("busy")
    with pytest.raises(PeerUnavailable):
        await actors.grant(b"")


def test_waits_for_the_clusters_port() -> None:
    """It returns once something accepts there, and not before."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            sock.listen(1)

    port = sock.getsockname()[1]
    wait_for_cluster(LinkSettings.load(region=REGION, ray_address=f"127.0.0.1:{port}"), nap=nap)
    assert len(naps) == 3
    sock.close()
