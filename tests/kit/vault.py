"""A region's vault without Ray: its home on disk, a control plane that signs orders, hosts and workers that ask.

Everything is real; the clock is moved by hand and the store is the embedded one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from actors.vault.core import LAYOUT, VaultCore
from models.custody.capability import (
    LEASE,
    PEPPER,
    Capability,
    Grant,
    Grants,
    Wanted,
    sign_capability,
)
from models.custody.orders import Envelope, Expire, Forget, Order, Put, Revoke, sign_order
from models.custody.sealing import Binding, Opener, key_id, new_nonce, seal
from models.custody.sheet import Sheet, read_certificate, read_sheet
from models.custody.signing import Signed, Signer, Verifier
from models.home import RegionHome
from models.planes.calls import Obeyed, Orders
from models.secret import Secret
from store.interface import Store
from store.sqlite import SqliteStore
from tests.kit.plane import HandClock

REGION = "us"
CONTROL = Signer(Secret(bytes(range(32))))
IDENTITY = Signer(Secret(b"identity" * 4))
HOST = Signer(Secret(b"hostkey." * 4))
HOST_ID = "host-1"
CLIENT = "cli_one"

CALLER_KEY = "canary-caller-0123456789"
TARGET_TOKEN = "canary-target-0123456789"


def target_secret(token: str = TARGET_TOKEN, **fields: Any) -> Envelope:
    """A bearer token for a target."""
    return Envelope(side="target", auth_type="bearer", secret={"token": token}, **fields)


def caller_secret(key: str = CALLER_KEY, **fields: Any) -> Envelope:
    """A caller's API key."""
    return Envelope(side="proxy", auth_type="apiKey", secret={"key": key}, **fields)


def wanted(credential: str = "cred_t", **fields: Any) -> Wanted:
    """That credential for one destination."""
    values = {"client_id": CLIENT, "scheme": "https", "host": "api.test", "port": 443, **fields}
    return Wanted(credential_id=credential, **values)


class VaultKit:
    """One region's home, and whoever deals with its vault."""

    def __init__(self, root: Path) -> None:
        self.home = RegionHome(root)
        self.clock = HandClock()
        self.worker = Opener(Opener.new_private())
        self.home.hosts.mkdir(parents=True)
        for path, key in (
            (self.home.vault_kek, b"kek-kek-" * 4),
            (self.home.vault_key, b"identity" * 4),
            (self.home.control_public, CONTROL.public),
            (self.home.hosts / f"{HOST_ID}.pub", HOST.public),
        ):
            path.write_text(key.hex() + "\n")
            path.chmod(0o600)

    def store(self) -> SqliteStore:
        """The vault's store, not opened."""
        return SqliteStore(self.home.vault_store, LAYOUT)

    @asynccontextmanager
    async def vault(self, store: Store | None = None) -> AsyncIterator[VaultCore]:
        """A running vault over the home, as after a restart."""
        core = await VaultCore.open(
            region=REGION, home=self.home, clock=self.clock, store=self.store() if store is None else store
        )
        try:
            yield core
        finally:
            await core.close()

    async def put(
        self, core: VaultCore, credential: str, version: int, envelope: Envelope, **fields: Any
    ) -> Signed:
        """The order to keep a secret, sealed to the vault's certified key."""
        certificate = (await core.obey(Orders(()))).certificate
        public = read_certificate(certificate, Verifier(IDENTITY.public), REGION).public
        values: dict[str, Any] = {
            "purpose": "put",
            "client_id": CLIENT,
            "credential_id": credential,
            "version": version,
            "region": REGION,
            "recipient": key_id(public),
            "nonce": new_nonce(),
            **fields,
        }
        binding = Binding(**values)
        sealed = seal(Secret(msgspec.json.encode(envelope)), public, binding)
        return sign_order(Put(REGION, sealed, binding), CONTROL)

    async def keep(self, core: VaultCore, credential: str, version: int, envelope: Envelope) -> Obeyed:
        """Has a secret kept."""
        return await core.obey(Orders((await self.put(core, credential, version, envelope),)))

    def capability(
        self, *wants: Wanted, operation: str = LEASE, signer: Signer = HOST, **fields: Any
    ) -> Signed:
        """What a worker of the enrolled host asks with."""
        values: dict[str, Any] = {
            "operation": operation,
            "region": REGION,
            "host_id": HOST_ID,
            "recipient": self.worker.public,
            "nonce": new_nonce(),
            "expires_ms": self.clock.ms + 30_000,
            "wanted": wants,
            **fields,
        }
        return sign_capability(Capability(**values), signer)

    async def lease(self, core: VaultCore, *wants: Wanted) -> tuple[Grant, ...]:
        """The grants for what is wanted, `cred_t` unless told."""
        return (await core.grant(self.capability(*(wants or (wanted(),))))).grants

    async def refusal(self, core: VaultCore, want: Wanted | None = None) -> str:
        """Why one credential is not leased; empty when it is."""
        (grant,) = await self.lease(core, *(() if want is None else (want,)))
        assert bool(grant.refused) is not bool(grant.sealed)
        return grant.refused

    def opened(self, grant: Grant, purpose: str = "lease", **fields: Any) -> Secret:
        """What the worker finds in a grant. Raises SealBroken."""
        values: dict[str, Any] = {
            "purpose": purpose,
            "client_id": grant.wanted.client_id,
            "credential_id": grant.wanted.credential_id,
            "version": grant.version,
            "region": REGION,
            "scheme": grant.wanted.scheme,
            "host": grant.wanted.host,
            "port": grant.wanted.port,
            "recipient": self.worker.key_id,
            "expires_ms": grant.expires_ms,
            "nonce": grant.nonce,
            **fields,
        }
        return self.worker.open(grant.sealed, Binding(**values))

    async def token(self, core: VaultCore, want: Wanted | None = None) -> str:
        """The secret that a worker gets for `want`."""
        (grant,) = await self.lease(core, *(() if want is None else (want,)))
        envelope = msgspec.json.decode(self.opened(grant).reveal(), type=Envelope)
        return next(iter(envelope.secret.values()))

    async def pepper(self, core: VaultCore) -> Secret:
        """The region's pepper, as a worker leases it."""
        grants: Grants = await core.grant(self.capability(operation=PEPPER))
        return self.opened(grants.grants[0], "pepper")


def sheet_of(obeyed: Obeyed) -> Sheet:
    """The sheet, verified with the vault's pinned identity."""
    return read_sheet(obeyed.sheet, Verifier(IDENTITY.public), REGION)


def orders(*found: Order | Signed, signer: Signer = CONTROL) -> Orders:
    """Orders as the feed brings them."""
    return Orders(tuple(one if isinstance(one, Signed) else sign_order(one, signer) for one in found))


def revoke(credential: str = "cred_t", region: str = REGION) -> Revoke:
    """The end of a credential."""
    return Revoke(region, credential)


def forget(version: int, credential: str = "cred_t") -> Forget:
    """A deleted credential's secret goes."""
    return Forget(REGION, credential, version)


def expire(version: int, revision: int, expires_ms: int | None, credential: str = "cred_t") -> Expire:
    """A new end for the same secret."""
    return Expire(REGION, credential, version, revision, expires_ms)
