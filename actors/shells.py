"""The actor classes: thin shells around cores that know nothing of Ray. The only module that makes any.

Arguments are a region, paths and a URL, never a secret, because Ray keeps them; arguments and answers of methods
are msgpack. Errors of ours leave as they are, any other only by its type.
"""

from __future__ import annotations

import functools
import logging
import os
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import ray

from actors import logs
from actors.calling import ActorCaller
from actors.names import REGISTRY, VAULT
from actors.process import forbid_dumps
from actors.registry.core import RegistryCore
from actors.registry.feed_client import FeedClient
from actors.registry.mirror import LAYOUT as REGISTRY_LAYOUT
from actors.registry.mirror import Mirror
from actors.vault.core import LAYOUT as VAULT_LAYOUT
from actors.vault.core import VaultCore
from models.clock import SystemClock
from models.custody.signing import Signed, Verifier
from models.errors import ConfigurationError, ExeatError
from models.home import RegionHome
from models.planes.calls import ListenRequest, Obeyed, Orders, Ready
from models.planes.feed import CommandResult
from models.planes.frames import PROTOCOL
from models.secret import Secret
from store.sqlite import SqliteStore

_log = logging.getLogger("exeat.actors")
_encode = msgspec.msgpack.Encoder().encode
_Method = TypeVar("_Method", bound=Callable[..., Awaitable[Any]])


def _guarded(method: _Method) -> _Method:
    """Lets errors of ours out, as new as possible, and of all others only the type."""

    @functools.wraps(method)
    async def call(*arguments: Any) -> Any:
        try:
            return await method(*arguments)
        except ExeatError as error:
            raise _bare(error) from None
        except Exception as error:  # noqa: BLE001 - whatever it is, its text must not leave the process
            _log.exception("call failed", extra={"method": method.__name__})
            raise ExeatError(f"{method.__name__} failed with {type(error).__name__}") from None

    return call  # type: ignore[return-value]  # same signature, as functools.wraps says


def _bare(error: ExeatError) -> ExeatError:
    """The same error without its causes and their frames, in a form that survives pickling."""
    if isinstance(error, ConfigurationError):
        return ConfigurationError(str(error))
    return type(error)(error.detail)


class _Vault:
    """The registry's way to its region's vault."""

    def __init__(self, region: str) -> None:
        self._caller = ActorCaller(region, VAULT)

    async def obey(self, orders: Orders) -> Obeyed:
        return msgspec.msgpack.decode(await self._caller.call("obey", _encode(orders)), type=Obeyed)


class CredentialVault:
    """One region's vault: `VaultCore` behind bytes."""

    @_guarded
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

    @_guarded
    async def ready(self, _payload: bytes = b"") -> bytes:
        """`Ready`."""
        return _ready(VAULT, self._region, self._core.detail)

    @_guarded
    async def obey(self, payload: bytes) -> bytes:
        """`Orders` -> `Obeyed`."""
        return _encode(await self._core.obey(_decode(payload, Orders)))

    @_guarded
    async def grant(self, payload: bytes) -> bytes:
        """`Signed` capability -> `Signed` `Grants`."""
        return _encode(await self._core.answer(_decode(payload, Signed)))


class PolicyRegistry:
    """One region's registry: `RegistryCore` behind bytes."""

    @_guarded
    async def __init__(self, region: str, home: str, control_url: str, log: str) -> None:  # type: ignore[misc]  # Ray awaits it
        """home: of the region; log: file, or empty for stderr. Raises ConfigurationError, StoreError."""
        logs.configure(file=Path(log) if log else None, part=f"registry {region}")
        self._region = region
        paths, clock = RegionHome(Path(home)), SystemClock()
        control, vault = _verifier(paths.control_public), _verifier(paths.vault_public)
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

    @_guarded
    async def ready(self, _payload: bytes = b"") -> bytes:
        """`Ready`."""
        return _ready(REGISTRY, self._region, f"revision {self._core.state.revision}")

    @_guarded
    async def status(self, _payload: bytes = b"") -> bytes:
        """`actors.registry.core.Status`."""
        return _encode(self._core.status())

    @_guarded
    async def listen(self, payload: bytes) -> bytes:
        """`ListenRequest` -> `ListenAnswer`; see `RegistryCore.listen`."""
        return _encode(await self._core.listen(_decode(payload, ListenRequest)))

    @_guarded
    async def report(self, payload: bytes) -> bytes:
        """`ListenRequest` -> nothing: what a link's workers enforce, while its question is outstanding."""
        self._core.report(_decode(payload, ListenRequest))
        return b""

    @_guarded
    async def command_done(self, payload: bytes) -> bytes:
        """`CommandResult` -> nothing."""
        self._core.command_done(_decode(payload, CommandResult))
        return b""


_Value = TypeVar("_Value")


def _decode(payload: bytes, kind: type[_Value]) -> _Value:
    return msgspec.msgpack.decode(payload, type=kind)


def _ready(role: str, region: str, detail: str) -> bytes:
    return _encode(Ready(role=role, region=region, protocol=PROTOCOL, pid=os.getpid(), detail=detail))


def _verifier(path: Path) -> Verifier:
    try:
        return Verifier(bytes.fromhex(path.read_text(encoding="ascii").strip()))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"is not a public key of 64 hex digits ({type(error).__name__})", file=str(path)
        ) from None


# Wrapped under another name: Ray pickles a class by value, with all its module's globals, unless it finds the very
# class under its own name.
REMOTE: Final[dict[str, Any]] = {REGISTRY: ray.remote(PolicyRegistry), VAULT: ray.remote(CredentialVault)}
"""The Ray classes by role."""
