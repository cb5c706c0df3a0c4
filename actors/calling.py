"""Calls to a named actor that may be restarted or replaced at any time. One attempt a call; who asks may ask again.

Ray's many failures become one of ours: `PeerUnavailable` when nothing is known, the actor's own error otherwise.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, NoReturn

import ray
from ray.exceptions import ActorUnavailableError, RayActorError, RayError, RayTaskError

from actors.names import NAMESPACE, actor_name
from models.errors import ExeatError, PeerUnavailable

CALL_SECONDS: Final = 15.0
LOOKUP_SECONDS: Final = 10.0


class ActorCaller:
    """The actor of one role in one region, found by name when needed and again after it died."""

    def __init__(self, region: str, role: str, shard: int = 0) -> None:
        self._name = actor_name(region, role, shard)
        self._handle: Any = None

    async def call(self, method: str, payload: bytes = b"", *, seconds: float = CALL_SECONDS) -> bytes:
        """The answer of `method(payload)`.

        Raises PeerUnavailable when the actor is away, dies or takes longer than `seconds`; then the call may
        have been carried out. Raises the actor's own error when that is an ExeatError.
        """
        handle = self._handle
        if handle is None:
            handle = self._handle = await self._find()
        try:
            reference = getattr(handle, method).remote(payload)
            async with asyncio.timeout(seconds):
                answer: bytes = await reference
        except TimeoutError:
            raise PeerUnavailable(f"{self._name} does not answer") from None
        except ActorUnavailableError:
            raise PeerUnavailable(f"{self._name} is restarting") from None
        except RayTaskError as error:
            raise_cause(error)
        except (RayActorError, AttributeError):
            # Dead for good under this handle, or of other code: its successor has another one.
            self._handle = None
            raise PeerUnavailable(f"{self._name} is gone") from None
        except RayError as error:
            self._handle = None
            raise PeerUnavailable(f"{self._name} cannot be called ({type(error).__name__})") from None
        return answer

    async def _find(self) -> Any:
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                # Looking a name up blocks for as long as the cluster's head is away.
                return await asyncio.to_thread(ray.get_actor, self._name, NAMESPACE)
        except (ValueError, RayError, TimeoutError) as error:
            raise PeerUnavailable(f"{self._name} is not found ({type(error).__name__})") from None


def raise_cause(error: RayTaskError) -> NoReturn:
    """Raises what the actor raised: an error of ours as it was, anything else as PeerUnavailable with its type."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, ExeatError):
        raise cause from None
    raise PeerUnavailable(f"the actor failed with {type(cause).__name__}") from None
