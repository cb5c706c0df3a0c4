"""What every actor class is made with: errors that leave bare, msgpack in and out, and what it says of itself.

An actor's method takes and gives bytes, so that Ray pickles nothing of ours; what it raises must carry no text but our
own.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from models.custody.signing import Verifier
from models.errors import ConfigurationError, ExeatError
from models.planes.calls import Ready
from models.planes.frames import PROTOCOL

_log = logging.getLogger("exeat.actors")
encode = msgspec.msgpack.Encoder().encode
_Method = TypeVar("_Method", bound=Callable[..., Awaitable[Any]])
_Plain = TypeVar("_Plain", bound=Callable[..., Any])


def guarded(method: _Method) -> _Method:
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


def guarded_sync(method: _Plain) -> _Plain:
    """As `guarded`, for the methods of an actor that does one thing at a time."""

    @functools.wraps(method)
    def call(*arguments: Any) -> Any:
        try:
            return method(*arguments)
        except ExeatError as error:
            raise _bare(error) from None
        except Exception as error:  # noqa: BLE001 - whatever it is, its text must not leave the process
            _log.error("call failed", extra={"method": method.__name__, "error": type(error).__name__})
            raise ExeatError(f"{method.__name__} failed with {type(error).__name__}") from None

    return call  # type: ignore[return-value]  # same signature, as functools.wraps says


def _bare(error: ExeatError) -> ExeatError:
    """The same error without its causes and their frames, in a form that survives pickling."""
    if isinstance(error, ConfigurationError):
        return ConfigurationError(str(error))
    return type(error)(error.detail)


_Value = TypeVar("_Value")


def decode(payload: bytes, kind: type[_Value]) -> _Value:
    """The argument of a method. Raises msgspec.DecodeError."""
    return msgspec.msgpack.decode(payload, type=kind)


def ready_answer(role: str, region: str, detail: str) -> bytes:
    """What `ready` answers: `Ready`, with the protocol of this process's code."""
    return encode(Ready(role=role, region=region, protocol=PROTOCOL, pid=os.getpid(), detail=detail))


def public_key(path: Path) -> Verifier:
    """A pinned key. Raises ConfigurationError."""
    try:
        return Verifier(bytes.fromhex(path.read_text(encoding="ascii").strip()))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"is not a public key of 64 hex digits ({type(error).__name__})", file=str(path)
        ) from None
