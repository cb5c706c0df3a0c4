"""What actors are called, which a region has, and which resource pins them to it (DESIGN section 5). Values only."""

from __future__ import annotations

from typing import NamedTuple

NAMESPACE = "exeat"
"""The Ray namespace of everything of ours."""

REGISTRY = "PolicyRegistry"
VAULT = "CredentialVault"
LIMITER = "RateLimiter"
RECORDER = "Recorder"
REDACTOR = "Redactor"
SHARDED = (LIMITER, REDACTOR)
"""Roles of which a region may have several actors, numbered from 0."""
ROLES = (VAULT, REGISTRY, LIMITER, RECORDER, REDACTOR)
"""Every role, in the order in which they are listed: the registry asks the vault for its certificate."""


class Post(NamedTuple):
    """A place that one actor of a region holds. shard: its number, 0 where a role has but one."""

    role: str
    shard: int = 0

    def __str__(self) -> str:
        """As in its actor's name, for example `PolicyRegistry` or `RateLimiter/0`."""
        return f"{self.role}/{self.shard}" if self.role in SHARDED else self.role


def posts(limiter_shards: int = 1, redactors: int = 1) -> tuple[Post, ...]:
    """Every actor that a region has, in the order in which they are started."""
    count = {LIMITER: limiter_shards, REDACTOR: redactors}
    return tuple(Post(role, shard) for role in ROLES for shard in range(count.get(role, 1)))


def actor_name(region: str, role: str, shard: int = 0) -> str:
    """The name of a region's actor, for example `exeat/us-east-1/PolicyRegistry` or `exeat/us-east-1/RateLimiter/0`."""
    return f"exeat/{region}/{Post(role, shard)}"


def region_resource(region: str) -> str:
    """The custom Ray resource of hosts that belong to `region`."""
    return f"region:{region}"
