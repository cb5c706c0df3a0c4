"""Names that other parts and operators rely on."""

from __future__ import annotations

from actors.names import (
    LIMITER,
    NAMESPACE,
    RECORDER,
    REDACTOR,
    REGISTRY,
    VAULT,
    Post,
    actor_name,
    posts,
    region_resource,
)


def test_names_are_those_of_the_design() -> None:
    """DESIGN section 5: `exeat/{region}/{role}` in namespace `exeat`; the vault is started first."""
    assert NAMESPACE == "exeat"
    assert actor_name("us-east-1", REGISTRY) == "exeat/us-east-1/PolicyRegistry"
    assert actor_name("us-east-1", VAULT) == "exeat/us-east-1/CredentialVault"
    assert region_resource("us-east-1") == "region:us-east-1"
    assert actor_name("us-east-1", LIMITER, 3) == "exeat/us-east-1/RateLimiter/3"
    assert actor_name("us-east-1", REDACTOR) == "exeat/us-east-1/Redactor/0"


def test_a_region_has_one_of_each_role_and_as_many_limiters_and_redactors_as_asked_for() -> None:
    """The vault first, because the registry asks it; numbers only where there may be several."""
    assert [str(post) for post in posts(2, 3)] == [
        *("CredentialVault", "PolicyRegistry", "RateLimiter/0", "RateLimiter/1", "Recorder"),
        *("Redactor/0", "Redactor/1", "Redactor/2"),
    ]
    assert posts() == tuple(Post(role) for role in (VAULT, REGISTRY, LIMITER, RECORDER, REDACTOR))
