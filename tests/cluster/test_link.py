"""The link over a real Ray cluster: policy down, capabilities up, and what happens when either side is killed."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.link.__main__ import EXIT_AGAIN
from actors.tasks import spawn, stop
from models.custody.capability import PEPPER, Capability, Grants, sign_capability
from models.custody.sealing import Opener, new_nonce
from models.custody.signing import Signed, Signer
from models.errors import LinkUnavailable, Refused
from models.home import EdgeHome, Home, link_socket
from scripts.up.environment import clean
from tests.kit.cluster import ROOT, enrol, ray_cluster
from tests.kit.feed import REGION, FeedServer, Plane
from tests.kit.link import Region, Worker, until

HOST_ID = "host-1"


class Parts:
    """Actors, link and an edge's home on one cluster; the worker and the control plane are the test itself."""

    def __init__(self, head: Any, root: Path, feed: FeedServer) -> None:
        self.head, self.home, self.edge = head, Home(root), EdgeHome(root / "edge")
        self.feed, self.host = feed, Signer(Signer.new_private())
        self.region = Region(feed.plane.signer, enrol(root, feed.plane.signer.public))
        self.region.edge_home(self.edge.root)
        (self.home.region(REGION).hosts / f"{HOST_ID}.pub").write_text(self.host.public.hex())
        self.log = root / "link.log"
        self.epoch = root / "epoch"
        self.epoch.write_text(secrets.token_hex(4))
        self.socket = link_socket(self.edge.root, os.getuid())

    def _start(self, module: str, **settings: object) -> subprocess.Popen[bytes]:
        told = {
            "region": REGION,
            "ray_address": self.head.address,
            "ray_token_file": self.head.token,
            **settings,
        }
        environment = {f"EXEAT_{name.upper()}": str(value) for name, value in told.items()}
        return subprocess.Popen(
            [sys.executable, "-m", module],
            cwd=ROOT,
            env={**clean(os.environ), **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def actors(self) -> subprocess.Popen[bytes]:
        """The guardian of the region's actors."""
        logs = self.home.root / "logs"
        logs.mkdir(exist_ok=True)
        return self._start(
            "actors", home=self.home.root, control_url=self.feed.url, log=logs / f"actors-{REGION}.log"
        )

    def link(self) -> subprocess.Popen[bytes]:
        """The edge's link."""
        return self._start("actors.link", home=self.edge.root, log=self.log, ray_epoch_file=self.epoch)

    def actor_pid(self, role: str) -> int:
        """The process that the link found last for a role."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return next(int(line["child"]) for line in reversed(lines) if line.get("actor") == role)

    def pepper(self, worker: Opener, signer: Signer | None = None) -> bytes:
        """A capability of this host."""
        capability = Capability(
            operation=PEPPER,
            region=REGION,
            host_id=HOST_ID,
            recipient=worker.public,
            nonce=new_nonce(),
            expires_ms=time.time_ns() // 1_000_000 + 30_000,
        )
        return msgspec.msgpack.encode(sign_capability(capability, signer or self.host))


@contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """The process, and its end."""
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


async def granted(one: Worker, payload: bytes) -> bytes:
    """An answer, asking again while the actor is away."""
    async with asyncio.timeout(30.0):
        while True:
            try:
                return await one.client.call("vault", "grant", payload, 5.0)
            except LinkUnavailable:
                await asyncio.sleep(0.1)


@pytest.mark.timeout(240)
async def test_policy_capabilities_and_kills(tmp_path: Path) -> None:
    """One cluster, one story: serve, lose the link, lose the actors, meet another cluster."""
    plane = Plane()
    plane.put("target", "t1", text="1")
    feed = FeedServer(plane)
    await feed.start()
    with ExitStack() as kept:
        parts = Parts(kept.enter_context(ray_cluster()), tmp_path, feed)
        kept.enter_context(ended(parts.actors()))
        link = kept.enter_context(ended(parts.link()))
        one = Worker(parts.socket, parts.region)
        task = spawn("worker", one.client.run())
        opener = Opener(Opener.new_private())

        # Policy comes down, verified by the worker itself, within a second of the change; the sheet as well.
        await until(lambda: one.revision == plane.revision, 60.0)
        plane.put("target", "t2", text="2")
        began = time.monotonic()
        feed.wake()
        await until(lambda: one.revision == 2)
        assert time.monotonic() - began < 1.0
        await until(lambda: one.sheet >= 0)

        # Capabilities go up: the enrolled host's is granted, another's refused.
        signed = msgspec.msgpack.decode(await granted(one, parts.pepper(opener)), type=Signed)
        answer = msgspec.msgpack.decode(signed.statement, type=Grants)
        assert answer.grants[0].sealed
        with pytest.raises(Refused):
            await one.client.call("vault", "grant", parts.pepper(opener, Signer(Signer.new_private())), 5.0)

        # What the worker enforces is known upstairs.
        await until(lambda: any(report.edges and report.edges[0].revision == 2 for report in feed.uplinks))
        assert feed.uplinks[-1].edges[0].edge == "edge-1"

        # The link is killed: calls fail at once, the next link takes over where the worker is.
        link.send_signal(signal.SIGKILL)
        link.wait()
        await until(lambda: not one.client.connected)
        with pytest.raises(LinkUnavailable):
            await one.client.call("vault", "grant", b"", 60.0)
        plane.put("target", "t3", text="3")
        feed.wake()
        link = kept.enter_context(ended(parts.link()))
        await until(lambda: one.revision == 3, 30.0)
        await granted(one, parts.pepper(opener))

        # Both actors are killed: the link stays, and both are found again.
        for role in ("PolicyRegistry", "CredentialVault"):
            os.kill(parts.actor_pid(role), signal.SIGKILL)
        plane.put("target", "t4", text="4")
        feed.wake()
        await until(lambda: one.revision == 4, 30.0)
        await granted(one, parts.pepper(opener))
        assert one.state.documents == plane.documents

        # Another cluster: the link leaves to be started again.
        parts.epoch.write_text(secrets.token_hex(4))
        assert await asyncio.to_thread(link.wait, 10.0) == EXIT_AGAIN
        await until(lambda: not one.client.connected)
        await stop(task)
    await feed.stop()
    parts.socket.with_suffix(".lock").unlink(missing_ok=True)
    parts.socket.parent.rmdir()
