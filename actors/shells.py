"""The actor classes of registry and vault: thin shells around cores. `actors.remote` makes Ray classes of them.

Arguments are a region, paths and a URL, never a secret, because Ray keeps them; arguments and answers of methods
are msgpack. Errors of ours leave as they are, any other only by its type.
"""

from __future__ import annotations

import logging
import random
from pathlib import Path

import msgspec

from actors import logs
from actors.calling import ActorCaller
from actors.names import REGISTRY, VAULT
from actors.process import forbid_dumps
from actors.registry.core import RegistryCore
from actors.registry.feed_client import FeedClient
from actors.registry.mirror import LAYOUT as REGISTRY_LAYOUT
from actors.registry.mirror import Mirror
from actors.shelling import decode, encode, guarded, public_key, ready_answer
from actors.vault.core import LAYOUT as VAULT_LAYOUT
from actors.vault.core import VaultCore
from models.clock import SystemClock
from models.custody.signing import Signed
from models.home import RegionHome
from models.planes.calls import ListenRequest, Obeyed, Orders
from models.planes.feed import CommandResult
from models.secret import Secret
from store.sqlite import SqliteStore

_log = logging.getLogger("exeat.actors")


class _Vault:
    """The registry's way to its region's vault."""

    def __init__(self, region: str) -> None:
        self._caller = ActorCaller(region, VAULT)

    async def obey(self, orders: Orders) -> Obeyed:
        return msgspec.msgpack.decode(await self._caller.call("obey", encode(orders)), type=Obeyed)


class CredentialVault:
    """One region's vault: `VaultCore` behind bytes."""

    @guarded
    async def __init__(self, region: str, home: str, log: str) -> None:  # type: ignore[misc]  # Ray awaits it
        """home: of the region; log: file, or empty for stderr. Raises as `VaultCore.open`."""
        forbid_dumps()
        logs.configure(file=Path(log) if log else None, part=f"vault {region}")
        self._region = region
        paths = RegionHome(Path(home))
        self._core = await VaultCore.open(
            region=region,
            home=paths,
            clock=SystemClock(),
            store=SqliteStore(paths.vault_store, VAULT_LAYOUT),
        )
        _log.info("vault open", extra={"detail": self._core.detail})

    @guarded
    async def ready(self, _payload: bytes = b"") -> bytes:
        """`Ready`."""
        return ready_answer(VAULT, self._region, self._core.detail)

    @guarded
    async def obey(self, payload: bytes) -> bytes:
        """`Orders` -> `Obeyed`."""
        return encode(await self._core.obey(decode(payload, Orders)))

    @guarded
    async def grant(self, payload: bytes) -> bytes:
        """`Signed` capability -> `Signed` `Grants`."""
        return encode(await self._core.answer(decode(payload, Signed)))


class PolicyRegistry:
    """One region's registry: `RegistryCore` behind bytes."""

    @guarded
    async def __init__(self, region: str, home: str, control_url: str, log: str) -> None:  # type: ignore[misc]  # Ray awaits it
        """home: of the region; log: file, or empty for stderr. Raises ConfigurationError, StoreError."""
        logs.configure(file=Path(log) if log else None, part=f"registry {region}")
        self._region = region
        paths, clock = RegionHome(Path(home)), SystemClock()
        control, vault = public_key(paths.control_public), public_key(paths.vault_public)
        uniform = random.SystemRandom().uniform
        self._core = RegistryCore(
            region,
            control=control,
            vault_key=vault,
            mirror=Mirror(SqliteStore(paths.registry_store, REGISTRY_LAYOUT), region, control, vault, clock),
            feed=FeedClient(control_url, region, lambda: Secret(paths.key.read_bytes().strip())),
            vault=_Vault(region),
            clock=clock,
            uniform=uniform,
        )
        await self._core.start()
        _log.info("registry open", extra={"revision": self._core.state.revision})

    @guarded
    async def ready(self, _payload: bytes = b"") -> bytes:
        """`Ready`."""
        return ready_answer(REGISTRY, self._region, f"revision {self._core.state.revision}")

    @guarded
    async def status(self, _payload: bytes = b"") -> bytes:
        """`actors.registry.core.Status`."""
        return encode(self._core.status())

    @guarded
    async def listen(self, payload: bytes) -> bytes:
        """`ListenRequest` -> `ListenAnswer`; see `RegistryCore.listen`."""
        return encode(await self._core.listen(decode(payload, ListenRequest)))

    @guarded
    async def report(self, payload: bytes) -> bytes:
        """`ListenRequest` -> nothing: what a link's workers enforce, while its question is outstanding."""
        self._core.report(decode(payload, ListenRequest))
        return b""

    @guarded
    async def command_done(self, payload: bytes) -> bytes:
        """`CommandResult` -> nothing."""
        self._core.command_done(decode(payload, CommandResult))
        return b""
