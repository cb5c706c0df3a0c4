"""Capabilities over a real link's socket to the real vault actor: only what an enrolled host states of itself, once, in time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.link_client import LinkClient
from actors.tasks import spawn, stop
from models.custody.capability import (
    LEASE,
    PEPPER,
    Capability,
    Grant,
    Wanted,
    peek,
    read_grants,
    sign_capability,
)
from models.custody.orders import Envelope, Put
from models.custody.sealing import Binding, Opener, key_id, new_nonce, seal
from models.custody.sheet import read_certificate
from models.custody.signing import Signed, Signer, Verifier
from models.errors import LinkUnavailable, Refused, SealBroken
from models.home import EdgeHome, Home, RegionHome, link_socket
from models.secret import Secret
from scripts.up.environment import clean, for_part
from tests.cluster.conftest import Control
from tests.kit.cluster import ROOT, tied_to_this_process
from tests.kit.feed import REGION

HERE, THERE = "host-here", "host-there"
TOKEN = "capability-token-0123456789"
WANTED = Wanted("cli_1", "cred_cap", "https", "api.test", 443)
pytestmark = pytest.mark.timeout(180)


class Host:
    """A worker of the host `HERE`, and whoever else writes to the link's socket."""

    def __init__(self, path: Path, signers: dict[str, Signer], vault: Verifier) -> None:
        self.signers, self.vault = signers, vault
        self.opener = Opener(Opener.new_private())
        self.client = LinkClient(
            path, worker=0, have=lambda: (-1, -1), on_update=lambda _: None, on_run=lambda _: None
        )

    def capability(self, *, signer: str | Signer = HERE, purpose: str = "", **fields: Any) -> Signed:
        """A good one, but for what is given. purpose: to sign it for."""
        values: dict[str, Any] = {
            "operation": LEASE,
            "region": REGION,
            "host_id": HERE,
            "recipient": self.opener.public,
            "nonce": new_nonce(),
            "expires_ms": now_ms() + 30_000,
            "wanted": (WANTED,),
            **fields,
        }
        found = self.signers[signer] if isinstance(signer, str) else signer
        capability = Capability(**values)
        if purpose:
            return found.sign(purpose, msgspec.msgpack.encode(capability))
        return sign_capability(capability, found)

    async def ask(self, capability: Signed) -> Grant:
        """The grant. Raises Refused, LinkUnavailable."""
        payload = await self.client.call("vault", "grant", msgspec.msgpack.encode(capability), 10.0)
        answer = msgspec.msgpack.decode(payload, type=Signed)
        (grant,) = read_grants(answer, self.vault, peek(capability).nonce).grants
        return grant

    def opened(self, grant: Grant, **fields: Any) -> Envelope:
        """What is in a grant. Raises SealBroken."""
        values: dict[str, Any] = {
            "purpose": "lease",
            "client_id": WANTED.client_id,
            "credential_id": WANTED.credential_id,
            "version": grant.version,
            "region": REGION,
            "scheme": WANTED.scheme,
            "host": WANTED.host,
            "port": WANTED.port,
            "recipient": self.opener.key_id,
            "expires_ms": grant.expires_ms,
            "nonce": grant.nonce,
            **fields,
        }
        plain = self.opener.open(grant.sealed, Binding(**values))
        return msgspec.json.decode(plain.reveal(), type=Envelope)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture(scope="module")
def signers(home: Path) -> dict[str, Signer]:
    """Two enrolled hosts of the region."""
    found = {name: Signer(Signer.new_private()) for name in (HERE, THERE)}
    for name, signer in found.items():
        (Home(home).region(REGION).hosts / f"{name}.pub").write_text(signer.public.hex())
    return found


@pytest.fixture(scope="module")
def link(
    guardian: Any, settings: Any, home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A real link; the path of its socket."""
    edge, region = EdgeHome(tmp_path_factory.mktemp("edge")), Home(home).region(REGION)
    edge.control_public.write_text(region.control_public.read_text())
    edge.vault_public.write_text(region.vault_public.read_text())
    edge.host_id.write_text(HERE)
    told = {"home": edge.root, "region": REGION, "log": edge.root / "link.log"}
    told |= {"ray_address": settings.ray_address, "ray_token_file": settings.ray_token_file}
    process = subprocess.Popen(
        [sys.executable, "-m", "actors.link"],
        cwd=ROOT,
        env=for_part(clean(os.environ), **told),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=tied_to_this_process(),  # noqa: PLW1509 - nothing but two system calls
    )
    socket = link_socket(edge.root, os.getuid())
    yield socket
    process.terminate()
    process.wait(20)
    socket.with_suffix(".lock").unlink(missing_ok=True)
    with suppress(OSError):
        socket.parent.rmdir()


@pytest.fixture
async def host(
    link: Path, signers: dict[str, Signer], home: Path, control: Control, until: Callable[..., Any]
) -> AsyncIterator[Host]:
    """Connected, and the vault has the credential."""
    region = Home(home).region(REGION)
    vault = Verifier(bytes.fromhex(region.vault_public.read_text().strip()))
    one = Host(link, signers, vault)
    task = spawn("client", one.client.run())
    await until(lambda: one.client.connected)
    await until(lambda: any(uplink.certificate for uplink in control.server.uplinks))
    put(control, region, vault)

    async def kept() -> bool:
        try:
            return bool((await one.ask(one.capability())).sealed)
        except LinkUnavailable:
            return False

    await until(kept)
    yield one
    await stop(task)


def put(control: Control, region: RegionHome, vault: Verifier) -> None:
    """Has the credential's secret kept, by an order that comes with the feed."""
    signed = next(one.certificate for one in reversed(control.server.uplinks) if one.certificate)
    public = read_certificate(signed, vault, REGION).public
    binding = Binding(
        purpose="put",
        client_id=WANTED.client_id,
        credential_id=WANTED.credential_id,
        version=1,
        region=REGION,
        recipient=key_id(public),
        nonce=new_nonce(),
    )
    envelope = Envelope(side="target", auth_type="bearer", secret={"token": TOKEN})
    sealed = seal(Secret(msgspec.json.encode(envelope)), public, binding)
    control.change(orders=(Put(REGION, sealed, binding),))


async def test_what_a_host_states_of_itself_is_granted(host: Host) -> None:
    """A lease for the worker that asked and for that destination; sealed to nobody else and for nothing else."""
    grant = await host.ask(host.capability())
    assert host.opened(grant).secret == {"token": TOKEN}
    assert 0 < grant.lifetime_ms <= 60_000
    for other in ({"host": "evil.test"}, {"port": 444}, {"scheme": "http"}, {"purpose": "standby"}):
        with pytest.raises(SealBroken):
            host.opened(grant, **other)
    grant = await host.ask(host.capability(recipient=Opener(Opener.new_private()).public))
    with pytest.raises(SealBroken):
        host.opened(grant)


BAD: dict[str, dict[str, Any]] = {
    "of another enrolled host": {"signer": THERE},
    "in another host's name": {"signer": HERE, "host_id": THERE},
    "of a host that is not enrolled": {"signer": Signer(Signer.new_private()), "host_id": "host-unknown"},
    "of a path for a host": {"host_id": "../hosts/host-here"},
    "past its time": {"expires_ms": 1},
    "reaching too far ahead": {"expires_ms": 1 << 60},
    "of another region": {"region": "eu-west-1"},
    "signed for another purpose": {"purpose": "order"},
    "for another operation": {"operation": "put"},
    "for the operation of an order": {"operation": "revoke"},
    "with a short nonce": {"nonce": b"1"},
    "without a recipient": {"recipient": b""},
    "with a recipient that is no key": {"recipient": bytes(32)},
}


@pytest.mark.parametrize("name", BAD)
async def test_what_is_not_so_is_refused(host: Host, name: str) -> None:
    """By the vault itself, whatever came before it; the next good one is granted."""
    with pytest.raises(Refused):
        await host.ask(host.capability(**BAD[name]))
    assert (await host.ask(host.capability())).sealed


async def test_a_capability_is_good_once(host: Host) -> None:
    """The same bytes again, and the same nonce in another one: refused."""
    nonce = new_nonce()
    first = host.capability(nonce=nonce)
    assert (await host.ask(first)).sealed
    for again in (first, host.capability(nonce=nonce), host.capability(nonce=nonce, operation=PEPPER)):
        with pytest.raises(Refused):
            await host.ask(again)


async def test_altered_and_unsigned_ones_are_refused(host: Host) -> None:
    """One bit anywhere, no signature, no capability at all."""
    good = host.capability()
    for at in range(0, len(good.statement), 7):
        statement = bytearray(good.statement)
        statement[at] ^= 1
        with pytest.raises(Refused):
            await host.ask(Signed(bytes(statement), good.signature))
    for bad in (Signed(good.statement, bytes(64)), Signed(good.statement, b""), Signed(b"", good.signature)):
        with pytest.raises(Refused):
            await host.ask(bad)
    assert (await host.ask(good)).sealed


async def test_a_host_that_is_struck_off_is_a_stranger(host: Host, home: Path) -> None:
    """From the next question on, also for its pepper; others are not concerned."""
    path = Home(home).region(REGION).hosts / f"{HERE}.pub"
    text = path.read_text()
    path.unlink()
    try:
        for operation in (LEASE, PEPPER):
            with pytest.raises(Refused):
                await host.ask(host.capability(operation=operation))
        assert (await host.ask(host.capability(signer=THERE, host_id=THERE))).sealed
    finally:
        path.write_text(text)
    assert (await host.ask(host.capability())).sealed


async def test_the_link_offers_nothing_else(host: Host) -> None:
    """No order goes up by it, and no other method of an actor."""
    payload = msgspec.msgpack.encode(host.capability())
    for role, method in (
        ("vault", "obey"),
        ("vault", "ready"),
        ("registry", "status"),
        ("vault", "__init__"),
    ):
        with pytest.raises(Refused):
            await host.client.call(role, method, payload, 5.0)
