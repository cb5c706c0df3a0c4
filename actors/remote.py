"""The Ray class of every role: the actor classes themselves know nothing of Ray. The only module that makes any.

How much one may need, and what it can do at a time, stands here; where it runs and how it is called does not.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import ray

from actors.limiter.shell import RateLimiter
from actors.names import LIMITER, RECORDER, REDACTOR, REGISTRY, VAULT
from actors.recorder.shell import Recorder
from actors.redactor.shell import Redactor
from actors.shells import CredentialVault, PolicyRegistry

MEMORY: Final = 256 << 20
"""Bytes that an actor declares to need. Nothing is allocated for it; Ray counts them for each machine."""
MODEL_MEMORY: Final = 400 << 20
"""Of one that holds a language model."""


class Remote(NamedTuple):
    """A role's Ray class, and the memory that one actor of it declares, in bytes."""

    kind: Any
    memory: int = MEMORY


def _beside(kind: type) -> Any:
    """The class of actors whose plain methods run one at a time, while `ready` is answered on a thread of its own.

    So a redactor that is busy says at once that it lives, and nobody takes it for one that does not.
    """
    ray.method(concurrency_group="health")(kind.ready)  # type: ignore[attr-defined]  # all of our actors have it
    remote: Any = ray.remote  # whose overloads leave this option out
    return remote(concurrency_groups={"health": 1})(kind)


# Wrapped under another name: Ray pickles a class by value, with all its module's globals, unless it finds the very
# class under its own name.
REMOTE: Final[dict[str, Remote]] = {
    VAULT: Remote(ray.remote(CredentialVault)),
    REGISTRY: Remote(ray.remote(PolicyRegistry)),
    LIMITER: Remote(ray.remote(RateLimiter)),
    RECORDER: Remote(ray.remote(Recorder)),
    REDACTOR: Remote(_beside(Redactor), MODEL_MEMORY),
}
"""By role."""
