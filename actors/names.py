"""What actors are called, and which resource pins them to their region (DESIGN section 5). Strings only."""

from __future__ import annotations

NAMESPACE = "exeat"
"""The Ray namespace of everything of ours."""

REGISTRY = "PolicyRegistry"
VAULT = "CredentialVault"
LIMITER = "RateLimiter"
RECORDER = "Recorder"
REDACTOR = "Redactor"
SHARDED = (LIMITER, REDACTOR)
"""Roles of which a region may have several actors, numbered from 0."""
ROLES = (VAULT, REGISTRY)
"""Every role, in the order in which they are started: the registry asks the vault for its certificate."""


def actor_name(region: str, role: str, shard: int = 0) -> str:
    """The name of a region's actor, for example `exeat/us-east-1/PolicyRegistry` or `exeat/us-east-1/RateLimiter/0`."""
    name = f"exeat/{region}/{role}"
    return f"{name}/{shard}" if role in SHARDED else name


def region_resource(region: str) -> str:
    """The custom Ray resource of hosts that belong to `region`."""
    return f"region:{region}"
