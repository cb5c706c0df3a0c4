"""The guardian process: when it speaks, when it leaves, and that actors outlive it."""

from __future__ import annotations

import socket
import time

import msgspec
import pytest

from actors.names import REGISTRY, posts
from models.errors import PeerUnavailable
from models.planes.calls import Ready
from tests.cluster.conftest import OTHER, Guardian

pytestmark = [pytest.mark.usefixtures("driver"), pytest.mark.timeout(180)]


async def pid_of(role: str) -> int:
    """The process of the other region's actor."""
    from actors.calling import ActorCaller

    return msgspec.msgpack.decode(await ActorCaller(OTHER, role).call("ready"), type=Ready).pid


async def test_actors_outlive_their_guardians(other_settings, tmp_path) -> None:
    """One leaves with 75 when the cluster's epoch changes, the next finds the same actors, and ends with 0."""
    epoch = tmp_path / "epoch"
    epoch.write_text("one")
    first = Guardian(other_settings.model_copy(update={"ray_epoch_file": epoch}))
    assert first.line() == f"actors ready: {OTHER}\n"
    print(f"actors ready after {time.monotonic() - first.began:.2f} s")  # noqa: T201 - a measurement
    pid = await pid_of(REGISTRY)
    assert f"actor {REGISTRY} {pid}\n" in {first.line() for _ in posts()}
    epoch.write_text("two")
    assert first.ended() == 75
    second = Guardian(other_settings)
    assert second.line() == f"actors ready: {OTHER}\n"
    print(f"guardian ready again after {time.monotonic() - second.began:.2f} s")  # noqa: T201 - a measurement
    assert second.stop() == 0
    assert await pid_of(REGISTRY) == pid


def test_without_a_cluster_nothing_hangs(other_settings) -> None:
    """A port where nobody listens is an error within the patience asked for."""
    from actors import cluster

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    nowhere = other_settings.model_copy(update={"ray_address": f"127.0.0.1:{port}"})
    began = time.monotonic()
    with pytest.raises(PeerUnavailable, match="no Ray cluster"):
        cluster.join(nowhere, patience=0.2)
    assert time.monotonic() - began < 5
